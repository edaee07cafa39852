// Package objects keeps a store's objects in S3, Google Cloud Storage or Azure
// Blob Storage, by way of gocloud.dev/blob. It is apart from package store so
// that only who opens such a bucket carries the clients of three clouds. They are
// most of the program's size; the build tags nogcs and noazure leave two of them
// out.
//
// # Put if absent
//
// A put is conditional: If-None-Match for S3 and Azure, generation 0 for GCS. In
// S3 an object of several parts is stored, and refused, when the upload is
// completed. A refusal alone does not say whose object stands there: a request
// whose answer was lost may have stored ours before it was repeated. So a put
// that was refused reads the object back, and is done if it is the one that was
// to be put. Every other failure leaves the outcome unknown, and is for the
// caller to settle.
//
// # Absent is a strong word
//
// A chain of segments ends where a name is absent, so only the service itself
// may say so, of the object. That the bucket is missing, that access is denied
// (S3 says so instead of absent to those who may not list), that the host has no
// address: these are errors here, though libraries fold some of them into "not
// found".
//
// # Requests
//
// Each has a deadline that moves while bytes arrive, and is repeated a few times
// with jitter if it failed for a reason that may pass. Opening an object brings
// its end along where the service can do that, else its beginning: the metadata
// of a segment are then there in one request, and a small segment whole.
//
// Nothing here starts a goroutine; the clients beneath keep connections open
// until Close.
package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/weir-stream/weir/store"
)

// Bucket is a store.Bucket in an object store. It serves any number of
// goroutines.
type Bucket struct {
	service service
	prefix  string // of all keys: "" or ends in '/'
	policy  policy
	metrics *metrics
}

// pageNames is how many names a request for a listing asks for, the most that
// S3 gives.
const pageNames = 1000

func newBucket(s service, prefix string) *Bucket {
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &Bucket{service: s, prefix: prefix, policy: defaultPolicy, metrics: newMetrics()}
}

// Close ends the connections.
func (b *Bucket) Close() error {
	if err := b.service.close(); err != nil {
		return fmt.Errorf("close the object store: %w", err)
	}
	return nil
}

// Put implements store.Bucket.
func (b *Bucket) Put(ctx context.Context, name string, data []byte) error {
	if err := b.put(ctx, name, data); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (b *Bucket) put(ctx context.Context, name string, data []byte) error {
	key, err := b.key(name)
	if err != nil {
		return err
	}
	for attempt, wait := 1, b.policy.first; ; attempt, wait = attempt+1, min(2*wait, b.policy.longest) {
		err := b.try(ctx, opPut, len(data), func(ctx context.Context, _ func(int)) error {
			return b.service.blobs.Upload(ctx, key, bytes.NewReader(data), &blob.WriterOptions{
				ContentType: "application/octet-stream",
				IfNotExist:  true,
			})
		})
		if err == nil {
			b.metrics.written.Add(float64(len(data)))
		}
		if !isTaken(err) {
			return err
		}
		own, readErr := b.holds(ctx, key, data)
		switch {
		case readErr == nil && own:
			return nil
		case readErr == nil:
			return store.ErrExists
		case !errors.Is(readErr, store.ErrNotFound) || attempt == b.policy.attempts:
			return fmt.Errorf("refused (%w), and what is stored cannot be read: %w", err, readErr)
		}
		// It was deleted since, or another put holds the name and is not done.
		if err := pause(ctx, jitter(wait)); err != nil {
			return err
		}
	}
}

// holds reports whether the object under the key is the data.
func (b *Bucket) holds(ctx context.Context, key string, data []byte) (bool, error) {
	same := false
	err := b.try(ctx, opRead, 0, func(ctx context.Context, progress func(int)) error {
		r, err := b.service.blobs.NewReader(ctx, key, nil)
		if err != nil {
			return err
		}
		defer r.Close()
		if same = r.Size() == int64(len(data)); !same {
			return nil
		}
		stored, err := readAll(r, len(data), progress)
		same = bytes.Equal(stored, data)
		return err
	})
	return same, err
}

// Read implements store.Bucket.
func (b *Bucket) Read(ctx context.Context, name string) ([]byte, error) {
	key, err := b.key(name)
	var data []byte
	if err == nil {
		err = b.try(ctx, opRead, 0, func(ctx context.Context, progress func(int)) error {
			r, err := b.service.blobs.NewReader(ctx, key, nil)
			if err != nil {
				return err
			}
			defer r.Close()
			data, err = readAll(r, int(r.Size()), progress)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// readAll reads exactly size bytes.
func readAll(r io.Reader, size int, progress func(int)) ([]byte, error) {
	data := make([]byte, size)
	n, err := readFull(r, data, progress)
	if err != nil {
		return nil, fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	return data, nil
}

// readFull fills p, and tells of every step.
func readFull(r io.Reader, p []byte, progress func(int)) (n int, err error) {
	for n < len(p) {
		k, err := r.Read(p[n:])
		n += k
		progress(k)
		switch {
		case n == len(p):
			return n, nil
		case errors.Is(err, io.EOF):
			return n, io.ErrUnexpectedEOF
		case err != nil:
			return n, err
		}
	}
	return n, nil
}

// List implements store.Bucket. It asks for a page of names whenever the last
// one is used up.
func (b *Bucket) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		options := blob.ListOptions{Prefix: b.prefix + folder, Delimiter: "/"}
		if after > folder {
			options.BeforeList = func(as func(any) bool) error {
				b.service.startAfter(as, b.prefix+after)
				return nil
			}
		}
		last := after
		for token := blob.FirstPageToken; len(token) > 0; {
			var page []*blob.ListObject
			var next []byte
			err := b.try(ctx, opList, 0, func(ctx context.Context, _ func(int)) (err error) {
				page, next, err = b.service.blobs.ListPage(ctx, token, pageNames, &options)
				return err
			})
			if err != nil {
				yield("", fmt.Errorf("list %s: %w", folder, err))
				return
			}
			for _, o := range page {
				// A service may begin at after rather than behind it, and repeat
				// a folder on the next page.
				name := strings.TrimPrefix(o.Key, b.prefix)
				if name <= last || name == folder {
					continue
				}
				if !yield(name, nil) {
					return
				}
				last = name
			}
			token = next
		}
	}
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	key, err := b.key(name)
	if err == nil {
		tried := false
		err = b.try(ctx, opDelete, 0, func(ctx context.Context, _ func(int)) error {
			err := b.service.blobs.Delete(ctx, key)
			if tried && b.service.absent(opDelete, err) {
				return nil // the request before did it, and its answer was lost
			}
			tried = true
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// key returns the key of a name.
func (b *Bucket) key(name string) (string, error) {
	for component := range strings.SplitSeq(name, "/") {
		if component == "" || component == "." || component == ".." {
			return "", fmt.Errorf("%q cannot be a name in an object store", name)
		}
	}
	return b.prefix + name, nil
}

// isTaken reports whether a put was refused because the name is taken.
func isTaken(err error) bool { return gcerrors.Code(err) == gcerrors.FailedPrecondition }

// policy says how long a request may take, and how often it is repeated.
type policy struct {
	patience time.Duration // without a byte, or an answer
	rate     int           // bytes a second at which a body is sent at the least
	attempts int
	first    time.Duration // before the second attempt; from then on doubled
	longest  time.Duration
}

var defaultPolicy = policy{
	patience: 20 * time.Second,
	rate:     1 << 20,
	attempts: 4,
	first:    100 * time.Millisecond,
	longest:  2 * time.Second,
}
