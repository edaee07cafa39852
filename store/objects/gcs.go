//go:build !nogcs

package objects

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/gcsblob" // gs://
	"google.golang.org/api/googleapi"
)

// openGCS opens a bucket whose client repeats failed requests by itself as well.
func openGCS(ctx context.Context, u *url.URL) (service, error) {
	blobs, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return service{}, err
	}
	return service{
		blobs:  blobs,
		close:  blobs.Close,
		absent: func(_ operation, err error) bool { return errors.Is(err, storage.ErrObjectNotExist) },
		status: func(err error) int {
			var answer *googleapi.Error
			if errors.As(err, &answer) {
				return answer.Code
			}
			return 0
		},
		startAfter: func(as func(any) bool, key string) {
			var in *storage.Query
			if as(&in) {
				in.StartOffset = key
			}
		},
		version: func(r *blob.Reader) string {
			var out *storage.Reader
			if !r.As(&out) {
				return ""
			}
			return strconv.FormatInt(out.Attrs.Generation, 10)
		},
	}, nil
}
