// Package blockcache keeps parts of objects near: in memory and, if wanted, in a
// file on a local disk.
//
//	Open ──────────────────────────────────────────→ bucket
//	ReadAt ─→ memory ─→ disk ─→ bucket, adjoining blocks at once
//	            └─ used longest ago ─→ disk ─ used longest ago ─→ gone
//
// An object is cut into blocks of 64 KiB, as segments are for their checksums. A
// block is known by the object's name, its version (what the service calls the
// ETag or generation) and its number, so an object that takes the place of
// another under its name is never mixed up with it. Whole objects, listings and
// puts pass by.
//
// # What is believed
//
// A segment's reader checks every block. One that is damaged, wherever that
// happened, it makes the cache forget, and reads once more from the bucket. The
// cache checks blocks from its disk by itself too, for a disk fails in ways that
// memory does not.
//
// # Bounds
//
// Each level holds at most its size, and gives up what was used longest ago. A
// block that many ask for is read once: the others wait for whoever asked first.
// The file is a level of this process alone and begins empty; a disk that fails
// costs hits, never an answer.
//
// # Concurrency
//
// Nothing here starts a goroutine. One lock guards the books of both levels; no
// bytes are read or written under it, but for copies of blocks in memory.
package blockcache

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/weir-stream/weir/store"
)

// blockBytes is the size of a block. Segments have a checksum for as much.
const blockBytes = 64 << 10

// Options bounds a cache.
type Options struct {
	Memory int64 // bytes of blocks in memory

	DiskPath string // a file for more of them, or ""
	DiskSize int64  // its bytes
}

// Cache is a bucket with parts of objects of another one near. It serves any
// number of goroutines.
type Cache struct {
	store.Bucket
	disk *disk // nil without

	mu      sync.Mutex // guards what follows, and the books of disk
	memory  lru[[]byte]
	flights map[blockID]*flight // blocks that somebody is reading
	stats   Stats
}

// blockID says which block of which object.
type blockID struct {
	name, version string
	size          int64
	number        int64
}

// flight is a block that is being read. What it brought is there once it landed;
// data is nil if it brought nothing.
type flight struct {
	landed chan struct{}
	data   []byte
}

// New returns a cache of objects in the bucket. With a disk it takes hold of the
// file, which belongs to one cache at a time, and empties it.
func New(bucket store.Bucket, o Options) (*Cache, error) {
	c := &Cache{Bucket: bucket, flights: make(map[blockID]*flight)}
	c.memory = newLRU[[]byte](max(o.Memory, 0))
	if o.DiskPath != "" {
		var err error
		if c.disk, err = openDisk(o.DiskPath, o.DiskSize); err != nil {
			return nil, fmt.Errorf("open block cache: %w", err)
		}
	}
	return c, nil
}

// Close gives up the file. The bucket stays open.
func (c *Cache) Close() error {
	if c.disk == nil {
		return nil
	}
	if err := c.disk.close(); err != nil {
		return fmt.Errorf("close block cache: %w", err)
	}
	return nil
}

// Open implements store.Bucket. The bucket is asked: what stands under a name
// may be new.
func (c *Cache) Open(ctx context.Context, name string) (store.Object, error) {
	under, err := c.Bucket.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	o := &object{cache: c, ctx: ctx, under: under, id: blockID{name: name, size: under.Size()}}
	if v, ok := under.(interface{ Version() string }); ok {
		o.id.version = v.Version()
	}
	if again, ok := under.(store.Reopener); ok {
		return &reopener{object: *o, again: again}, nil
	}
	return o, nil
}

// object is an object read through the cache.
type object struct {
	cache *Cache
	ctx   context.Context // of the call that opened it
	under store.Object
	id    blockID // number is of no meaning
}

// Size implements store.Object.
func (o *object) Size() int64 { return o.id.size }

// Close implements store.Object.
func (o *object) Close() error { return o.under.Close() }

// RequestBytes implements store.Distant.
func (o *object) RequestBytes() int64 {
	if d, ok := o.under.(store.Distant); ok {
		return d.RequestBytes()
	}
	return 0
}

// Forget implements store.Cached.
func (o *object) Forget(offset, length int64) {
	if under, ok := o.under.(store.Cached); ok {
		under.Forget(offset, length)
	}
	o.cache.mu.Lock()
	defer o.cache.mu.Unlock()
	for n := offset / blockBytes; n*blockBytes < offset+length; n++ {
		o.cache.forget(o.block(n))
		o.cache.stats.Forgotten++
	}
}

// reopener is an object that can be reopened.
type reopener struct {
	object
	again store.Reopener
}

// Reopen implements store.Reopener.
func (o *reopener) Reopen(ctx context.Context) store.Object {
	return &object{cache: o.cache, ctx: ctx, under: o.again.Reopen(ctx), id: o.id}
}

func (o *object) block(n int64) blockID {
	id := o.id
	id.number = n
	return id
}

// ReadAt implements store.Object.
func (o *object) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("read %s: offset %d is negative", o.id.name, at)
	}
	want := p[:max(min(int64(len(p)), o.id.size-at), 0)]
	n, err := o.readAt(want, at)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// readAt takes what blocks it can from the cache, then fetches runs of missing
// ones, then waits for those that others fetch.
func (o *object) readAt(p []byte, at int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	first, last := at/blockBytes, (at+int64(len(p))-1)/blockBytes
	waits := make(map[int64]*flight)
	var mine []int64
	for n := first; n <= last; n++ {
		data, f, found := o.cache.find(o.block(n))
		switch {
		case found:
			o.copy(p, at, n, data)
		case f != nil:
			waits[n] = f
		default:
			mine = append(mine, n)
		}
	}
	if err := o.fetch(p, at, mine); err != nil {
		return 0, err
	}
	for n, f := range waits {
		select {
		case <-f.landed:
		case <-o.ctx.Done():
			return 0, fmt.Errorf("read %s: %w", o.id.name, context.Cause(o.ctx))
		}
		if f.data != nil {
			o.copy(p, at, n, f.data)
			continue
		}
		// Whoever fetched it failed, perhaps for a reason of its own.
		begin := max(n*blockBytes, at)
		part := p[begin-at : min((n+1)*blockBytes-at, int64(len(p)))]
		if _, err := o.readAt(part, begin); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// copy copies what a block has of the bytes of p, which begin at an offset.
func (o *object) copy(p []byte, at, n int64, block []byte) {
	if begin := n * blockBytes; begin >= at {
		copy(p[begin-at:], block)
	} else {
		copy(p, block[at-begin:])
	}
}

// fetch reads blocks that this caller has taken off for, adjoining ones at once.
func (o *object) fetch(p []byte, at int64, mine []int64) error {
	// What is left when this returns, or panics, could not be read.
	defer func() { o.cache.land(o.id, mine, nil) }()
	for len(mine) > 0 {
		run := 1
		for run < len(mine) && mine[run] == mine[run-1]+1 {
			run++
		}
		begin := mine[0] * blockBytes
		data := make([]byte, min(begin+int64(run)*blockBytes, o.id.size)-begin)
		n, err := o.under.ReadAt(data, begin)
		if n < len(data) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		o.cache.land(o.id, mine[:run], data)
		for i, number := range mine[:run] {
			o.copy(p, at, number, blockOf(data, i))
		}
		mine = mine[run:]
	}
	return nil
}

// blockOf returns block i of a run of blocks.
func blockOf(run []byte, i int) []byte {
	begin := i * blockBytes
	end := min(begin+blockBytes, len(run))
	return run[begin:end:end]
}
