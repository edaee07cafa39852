//go:build nogcs

package objects

import (
	"context"
	"errors"
	"net/url"
)

func openGCS(context.Context, *url.URL) (service, error) {
	return service{}, errors.New("this build leaves Google Cloud Storage out (nogcs)")
}
