//go:build noazure

package objects

import (
	"context"
	"errors"
	"net/url"
)

func openAzure(context.Context, *url.URL) (service, error) {
	return service{}, errors.New("this build leaves Azure Blob Storage out (noazure)")
}
