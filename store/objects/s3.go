package objects

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// idleConnections are kept for the next burst of reads.
const idleConnections = 128

// openS3 opens a bucket whose client makes each request once: repeating is the
// Bucket's, which counts.
func openS3(ctx context.Context, u *url.URL) (service, error) {
	opener := new(s3blob.URLOpener)
	repeating, err := opener.OpenBucketURL(ctx, u)
	if err != nil {
		return service{}, err
	}
	var client *s3.Client
	if !repeating.As(&client) {
		return service{}, errors.New("it has no S3 client")
	}
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = idleConnections, idleConnections
	})
	once := s3.New(client.Options(), func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{}
		o.HTTPClient = transport
		// It warns of parts of objects that have no checksum, and of answers that
		// were cut off. Segments have checksums, and errors are returned.
		o.Logger = logging.Nop{}
	})
	// Of the parameters, encryption is in the opener's options by now.
	blobs, err := s3blob.OpenBucket(ctx, once, u.Host, &opener.Options)
	if err != nil {
		return service{}, err
	}
	return service{
		blobs: blobs,
		ends:  true,
		close: func() error {
			err := errors.Join(repeating.Close(), blobs.Close())
			transport.GetTransport().CloseIdleConnections()
			return err
		},
		absent: absentInS3,
		status: func(err error) int {
			var answer interface{ HTTPStatusCode() int }
			if errors.As(err, &answer) {
				return answer.HTTPStatusCode()
			}
			return 0
		},
		startAfter: func(as func(any) bool, key string) {
			var in *s3.ListObjectsV2Input
			if as(&in) {
				in.StartAfter = &key
			}
		},
		version: func(r *blob.Reader) string {
			var out s3.GetObjectOutput
			if !r.As(&out) || out.ETag == nil {
				return ""
			}
			return *out.ETag
		},
	}, nil
}

func absentInS3(op operation, err error) bool {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return false
	}
	// The second is made of a status without a body, which is all that HEAD has
	// for an answer; only Delete asks so. To GET some proxy may have answered it.
	return answer.ErrorCode() == "NoSuchKey" || op == opDelete && answer.ErrorCode() == "NotFound"
}

// readEnd makes a read return the last bytes of an object.
func readEnd(bytes int64) func(as func(any) bool) error {
	return func(as func(any) bool) error {
		var in *s3.GetObjectInput
		if as(&in) {
			in.Range = aws.String("bytes=-" + strconv.FormatInt(bytes, 10))
		}
		return nil
	}
}

// startOf returns where in the object an answer begins, and false if the answer
// does not say.
func startOf(r *blob.Reader) (int64, bool) {
	var out s3.GetObjectOutput
	if !r.As(&out) {
		return 0, false
	}
	if out.ContentRange == nil {
		return 0, true // the whole object
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(*out.ContentRange, "bytes "), "-")
	at, err := strconv.ParseInt(first, 10, 64)
	return at, err == nil
}
