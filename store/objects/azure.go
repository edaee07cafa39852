//go:build !noazure

package objects

import (
	"context"
	"errors"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
)

// openAzure opens a container whose client repeats failed requests by itself as
// well.
func openAzure(ctx context.Context, u *url.URL) (service, error) {
	blobs, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return service{}, err
	}
	return service{
		blobs:  blobs,
		close:  blobs.Close,
		absent: func(_ operation, err error) bool { return bloberror.HasCode(err, bloberror.BlobNotFound) },
		status: func(err error) int {
			var answer *azcore.ResponseError
			if errors.As(err, &answer) {
				return answer.StatusCode
			}
			return 0
		},
		startAfter: func(as func(any) bool, key string) {
			var in *container.ListBlobsHierarchyOptions
			if as(&in) {
				in.StartFrom = &key
			}
		},
		version: func(r *blob.Reader) string {
			var out azblob.DownloadStreamResponse
			if !r.As(&out) || out.ETag == nil {
				return ""
			}
			return string(*out.ETag)
		},
	}, nil
}
