package objects

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	"gocloud.dev/blob/s3blob"
)

// service is an object store, with what differs between them.
type service struct {
	blobs  *blob.Bucket
	ends   bool                        // an object's end can be read without knowing its size
	absent func(operation, error) bool // the service says that the object does not exist
	close  func() error
}

// Open opens the bucket of a URL: s3://bucket/prefix, gs://bucket/prefix or
// azblob://container/prefix, with the query parameters that gocloud.dev knows
// for them, such as ?region=eu-west-1. Credentials come from where the cloud's
// own tools look for them: environment, files, the machine's role. No request is
// made yet.
func Open(ctx context.Context, location string) (*Bucket, error) {
	u, err := url.Parse(location)
	if err == nil {
		_, err = url.ParseQuery(u.RawQuery)
	}
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	prefix := u.Path
	u.Path, u.RawPath = "", ""
	var s service
	switch u.Scheme {
	case s3blob.Scheme:
		s, err = openS3(ctx, u)
	case "gs", "azblob":
		// Both clients repeat a failed request by themselves as well.
		var blobs *blob.Bucket
		if blobs, err = blob.OpenBucket(ctx, u.String()); err == nil {
			s = service{blobs: blobs, absent: isAbsent, close: blobs.Close}
		}
	default:
		err = errors.New("it wants s3://, gs:// or azblob://")
	}
	if err != nil {
		return nil, fmt.Errorf("open object store %s: %w", u.Redacted(), err)
	}
	return newBucket(s, prefix), nil
}

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
	return service{blobs: blobs, ends: true, absent: isAbsent, close: func() error {
		err := errors.Join(repeating.Close(), blobs.Close())
		transport.GetTransport().CloseIdleConnections()
		return err
	}}, nil
}

// idleConnections are kept for the next burst of reads.
const idleConnections = 128

// isAbsent reports whether a service said that an object does not exist.
func isAbsent(op operation, err error) bool {
	var api smithy.APIError // S3
	if errors.As(err, &api) {
		// The second is made of a status without a body, which is all that HEAD
		// has for an answer; only Delete asks so. To GET some proxy may have
		// answered it.
		return api.ErrorCode() == "NoSuchKey" || op == opDelete && api.ErrorCode() == "NotFound"
	}
	return errors.Is(err, storage.ErrObjectNotExist) || bloberror.HasCode(err, bloberror.BlobNotFound)
}

// startAfter makes a listing begin at or behind a key.
func startAfter(key string) func(as func(any) bool) error {
	return func(as func(any) bool) error {
		var (
			inS3  *s3.ListObjectsV2Input
			inGCS *storage.Query
			inAz  *container.ListBlobsHierarchyOptions
		)
		switch {
		case as(&inS3):
			inS3.StartAfter = &key
		case as(&inGCS):
			inGCS.StartOffset = key
		case as(&inAz):
			inAz.StartFrom = &key
		}
		return nil
	}
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

// versionOf returns what tells an object from another of the same name.
func versionOf(r *blob.Reader) string {
	var (
		inS3  s3.GetObjectOutput
		inGCS *storage.Reader
		inAz  azblob.DownloadStreamResponse
	)
	switch {
	case r.As(&inS3) && inS3.ETag != nil:
		return *inS3.ETag
	case r.As(&inGCS):
		return strconv.FormatInt(inGCS.Attrs.Generation, 10)
	case r.As(&inAz) && inAz.ETag != nil:
		return string(*inAz.ETag)
	}
	return strconv.FormatInt(r.ModTime().UnixNano(), 10)
}
