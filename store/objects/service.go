package objects

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"gocloud.dev/blob"
)

// service is an object store, with what differs between them.
type service struct {
	blobs *blob.Bucket
	ends  bool // an object's end can be read without knowing its size, see readEnd
	close func() error

	// absent reports whether an error is the service's word that the object of
	// an operation does not exist.
	absent func(op operation, err error) bool

	// status returns the HTTP status that a service failed with, or 0.
	status func(err error) int

	// startAfter gives a request for a listing, by its driver's type, a key to
	// begin at or behind.
	startAfter func(as func(any) bool, key string)

	// version returns what tells an object from another of the same name, or "".
	version func(r *blob.Reader) string
}

// Open opens the bucket of a URL: s3://bucket/prefix, gs://bucket/prefix or
// azblob://container/prefix, with the query parameters that gocloud.dev knows
// for them, such as ?region=eu-west-1. Credentials come from where the cloud's
// own tools look for them: environment, files, the machine's role. Of the
// bucket, nothing is asked yet.
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
	case "s3":
		s, err = openS3(ctx, u)
	case "gs":
		s, err = openGCS(ctx, u)
	case "azblob":
		s, err = openAzure(ctx, u)
	default:
		err = errors.New("it wants s3://, gs:// or azblob://")
	}
	if err != nil {
		return nil, fmt.Errorf("open object store %s: %w", u.Redacted(), err)
	}
	return newBucket(s, prefix), nil
}

// versionOf returns what tells an object from another of the same name.
func (s *service) versionOf(r *blob.Reader) string {
	if v := s.version(r); v != "" {
		return v
	}
	return strconv.FormatInt(r.ModTime().UnixNano(), 10)
}
