package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"gocloud.dev/blob"

	"github.com/weir-stream/weir/store"
)

const (
	// openedBytes is how much of an object comes with the request that opens
	// it: the blocks of 64 KiB that the last 32 KiB of it touch, however its
	// size falls, since a segment's reader wants those and a cache whole blocks.
	openedBytes = 96 << 10

	// requestBytes is what a connection transfers in the time that a request
	// takes to be answered: some 15 ms at some 60 MB/s.
	requestBytes = 1 << 20
)

// object is an object opened for reading.
type object struct {
	bucket  *Bucket
	ctx     context.Context // of the call that opened it
	name    string
	key     string
	size    int64
	version string
	opened  atomic.Pointer[span] // what came with opening it, until it is closed
}

// span is a part of an object.
type span struct {
	start int64
	data  []byte
}

// Open implements store.Bucket.
func (b *Bucket) Open(ctx context.Context, name string) (store.Object, error) {
	key, err := b.key(name)
	o := &object{bucket: b, ctx: ctx, name: name, key: key}
	if err == nil {
		err = b.try(ctx, opOpen, 0, o.open)
		if b.service.status(err) == http.StatusRequestedRangeNotSatisfiable {
			// It is empty or, to some servers, shorter than what was asked for.
			err = b.try(ctx, opOpen, 0, o.openWhole)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return o, nil
}

func (o *object) open(ctx context.Context, progress func(int)) error {
	var options blob.ReaderOptions
	if o.bucket.service.ends {
		options.BeforeRead = readEnd(openedBytes)
	}
	r, err := o.bucket.service.blobs.NewRangeReader(ctx, o.key, 0, openedBytes, &options)
	if err != nil {
		return err
	}
	defer r.Close()
	o.size, o.version = r.Size(), o.bucket.service.versionOf(r)
	var start int64
	if o.bucket.service.ends {
		var ok bool
		if start, ok = startOf(r); !ok {
			return errors.New("the answer does not say which part of the object it is")
		}
	}
	data, err := readAll(r, int(min(openedBytes, o.size-start)), progress)
	o.opened.Store(&span{start: start, data: data})
	return err
}

// openWhole opens an object that is small enough to come with it whole.
func (o *object) openWhole(ctx context.Context, progress func(int)) error {
	r, err := o.bucket.service.blobs.NewReader(ctx, o.key, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	o.size, o.version = r.Size(), o.bucket.service.versionOf(r)
	data, err := readAll(r, int(min(openedBytes, o.size)), progress)
	o.opened.Store(&span{data: data})
	return err
}

// Size implements store.Object.
func (o *object) Size() int64 { return o.size }

// Version tells the object from another of the same name.
func (o *object) Version() string { return o.version }

// RequestBytes implements store.Distant.
func (o *object) RequestBytes() int64 { return requestBytes }

// Forget implements store.Cached.
func (o *object) Forget(_, _ int64) { o.opened.Store(nil) }

// Close drops what came with opening the object.
func (o *object) Close() error {
	o.opened.Store(nil)
	return nil
}

// Reopen implements store.Reopener.
func (o *object) Reopen(ctx context.Context) store.Object {
	return &object{bucket: o.bucket, ctx: ctx, name: o.name, key: o.key, size: o.size, version: o.version}
}

// ReadAt implements store.Object. What did not come with opening is one request.
// That the object is another by now is not noticed here: segments have
// checksums.
func (o *object) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("read %s: offset %d is negative", o.name, at)
	}
	want := p[:max(min(int64(len(p)), o.size-at), 0)]
	n, err := o.readAt(want, at)
	switch {
	case err != nil:
		return n, fmt.Errorf("read %s at %d: %w", o.name, at, err)
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

func (o *object) readAt(p []byte, at int64) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s := o.opened.Load(); s != nil && s.start <= at && at+int64(len(p)) <= s.start+int64(len(s.data)) {
		return copy(p, s.data[at-s.start:]), nil
	}
	err = o.bucket.try(o.ctx, opRange, 0, func(ctx context.Context, progress func(int)) error {
		r, err := o.bucket.service.blobs.NewRangeReader(ctx, o.key, at, int64(len(p)), nil)
		if err != nil {
			return err
		}
		defer r.Close()
		n, err = readFull(r, p, progress)
		return err
	})
	if o.bucket.service.status(err) == http.StatusRequestedRangeNotSatisfiable {
		return 0, nil // it is shorter than it was
	}
	return n, err
}
