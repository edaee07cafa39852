package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
)

// What callers of a bucket decide on.
var (
	// ErrExists says that the name was taken. What is stored under it is
	// durable, and is not what was put.
	ErrExists = errors.New("the name is taken")

	// ErrNotFound says that nothing is stored under the name.
	ErrNotFound = errors.New("nothing of that name is stored")

	// ErrSync says that an fsync failed. What the disk holds is unknown, and
	// asking again would be answered from memory: the process must end.
	ErrSync = errors.New("fsync failed, what the disk holds is unknown")

	// ErrUnavailable says that the store is away, or overloaded: what was asked
	// for may well be had later.
	ErrUnavailable = errors.New("the store is not available")
)

// Bucket stores immutable objects by name. Names are made of components joined
// by '/'. Any error of Put but ErrExists leaves the outcome unknown: the object
// may be there, or appear later.
type Bucket interface {
	// Put stores the object if nothing has its name, else fails with ErrExists.
	// When it returns nil the object is durable.
	Put(ctx context.Context, name string, data []byte) error

	// Read returns the whole object, or ErrNotFound.
	Read(ctx context.Context, name string) ([]byte, error)

	// Open opens the object for reading parts of it, or fails with ErrNotFound.
	Open(ctx context.Context, name string) (Object, error)

	// List yields what lies directly under a folder, in order: names of objects,
	// and of folders, which end in '/'. The folder is "" or ends in '/'. Only
	// names greater than after are yielded.
	List(ctx context.Context, folder, after string) iter.Seq2[string, error]

	// Delete removes the object, or fails with ErrNotFound.
	Delete(ctx context.Context, name string) error
}

// Object is a stored object opened for reading. It may be read by several
// goroutines.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Reopener is an Object that holds nothing which has to be closed. Where it was
// closed, Reopen returns it for more reads, under another context, without
// asking the bucket: the object that was opened is meant, whatever stands under
// its name by now.
type Reopener interface {
	Object
	Reopen(ctx context.Context) Object
}

// Distant is an Object each of whose reads is a request over a network.
// RequestBytes says how many bytes are read in the time that a request takes:
// what lies nearer together is better read at once.
type Distant interface {
	Object
	RequestBytes() int64
}

// Cached is an Object that may be read from a cache. Forget makes the next read
// of the bytes come from the bucket: they were found to be damaged.
type Cached interface {
	Object
	Forget(offset, length int64)
}

// Syncer is a bucket in which an object can be read before it is durable: one
// that was put by a process which died before its last fsync. Whoever is going
// to build on an object that it did not put calls Sync first.
type Syncer interface {
	Sync(ctx context.Context, folder string) error
}

// syncFolder makes durable what can be read in the folder.
func syncFolder(ctx context.Context, bucket Bucket, folder string) error {
	if s, ok := bucket.(Syncer); ok {
		return s.Sync(ctx, folder)
	}
	return nil
}

// probeFolder holds the objects of Probe while it runs.
const probeFolder = "~probe" // not a name that escape writes

// Probe checks that the bucket refuses a second put under one name, the promise
// on which everything else rests: some object stores and gateways ignore the
// condition. It tries a small object and one large enough to be sent in parts,
// and leaves nothing behind.
func Probe(ctx context.Context, bucket Bucket) error {
	const partsBytes = 17 << 20 // S3's client sends parts from 16 MiB on, others sooner
	for _, size := range []int{64, partsBytes} {
		if err := probe(ctx, bucket, size); err != nil {
			return fmt.Errorf("probe the store with an object of %d bytes: %w", size, err)
		}
	}
	return nil
}

func probe(ctx context.Context, bucket Bucket, size int) error {
	name := probeFolder + "/" + rand.Text()
	first := bytes.Repeat([]byte{1}, size)
	if err := bucket.Put(ctx, name, first); err != nil {
		return fmt.Errorf("first put: %w", err)
	}
	second := bytes.Repeat([]byte{2}, size)
	putErr := bucket.Put(ctx, name, second)
	stored, readErr := bucket.Read(ctx, name)
	if err := bucket.Delete(context.WithoutCancel(ctx), name); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	switch {
	case putErr == nil:
		return errors.New("a second put under the same name was not refused: this store cannot keep one writer from overwriting another")
	case !errors.Is(putErr, ErrExists):
		return fmt.Errorf("second put: %w", putErr)
	case readErr != nil:
		return fmt.Errorf("read back: %w", readErr)
	case !bytes.Equal(stored, first):
		return errors.New("the second put was refused, but the first object is not what is read back")
	}
	return nil
}
