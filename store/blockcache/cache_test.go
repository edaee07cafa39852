package blockcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// remote is a bucket as an object store is one: objects have versions and can be
// reopened, and reads are counted and can fail.
type remote struct {
	storetest.Memory
	version atomic.Int64
	reads   atomic.Int64
	onRead  func(ctx context.Context, name string, at int64) error
}

func (r *remote) Open(ctx context.Context, name string) (store.Object, error) {
	o, err := r.Memory.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &remoteObject{Object: o, bucket: r, ctx: ctx, name: name, version: strconv.FormatInt(r.version.Load(), 10)}, nil
}

type remoteObject struct {
	store.Object
	bucket        *remote
	ctx           context.Context
	name, version string
}

func (o *remoteObject) Version() string { return o.version }

func (o *remoteObject) Reopen(ctx context.Context) store.Object {
	again := *o
	again.ctx = ctx
	return &again
}

func (o *remoteObject) ReadAt(p []byte, at int64) (int, error) {
	o.bucket.reads.Add(1)
	if o.bucket.onRead != nil {
		if err := o.bucket.onRead(o.ctx, o.name, at); err != nil {
			return 0, err
		}
	}
	return o.Object.ReadAt(p, at)
}

func newCache(t *testing.T, bucket store.Bucket, o Options) *Cache {
	t.Helper()
	c, err := New(bucket, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func read(ctx context.Context, c store.Bucket, name string, size, at int) ([]byte, error) {
	o, err := c.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	p := make([]byte, size)
	n, err := o.ReadAt(p, int64(at))
	return p[:n], err
}

func pattern(seed, size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

func TestContract(t *testing.T) {
	storetest.Contract(t, newCache(t, new(remote), Options{Memory: 1 << 20}))
}

// Many readers of many objects get what is stored, whatever a level drops, and
// the levels stay within their bounds.
func TestReadersGetWhatIsStored(t *testing.T) {
	for what, o := range map[string]Options{
		"nothing fits":    {Memory: 1000},
		"memory":          {Memory: 5 * blockBytes},
		"memory and disk": {Memory: 5 * blockBytes, DiskPath: filepath.Join(t.TempDir(), "cache/blocks"), DiskSize: 12 * blockBytes},
		"little disk":     {Memory: 2 * blockBytes, DiskPath: filepath.Join(t.TempDir(), "blocks"), DiskSize: blockBytes},
		"all fits":        {Memory: 1 << 30},
	} {
		t.Run(what, func(t *testing.T) {
			bucket := new(remote)
			objects := make([][]byte, 6)
			blocks := int64(0)
			for i := range objects {
				objects[i] = pattern(i, i*blockBytes+i*i*1000)
				blocks += int64(len(objects[i])+blockBytes-1) / blockBytes
				if err := bucket.Put(t.Context(), fmt.Sprint("o/", i), objects[i]); err != nil {
					t.Fatal(err)
				}
			}
			c := newCache(t, bucket, o)
			var readers sync.WaitGroup
			for r := range 4 {
				readers.Go(func() {
					rng := rand.New(rand.NewPCG(7, uint64(r)))
					for range 300 {
						i := rng.IntN(len(objects))
						at, size := rng.IntN(len(objects[i])+10), rng.IntN(3*blockBytes)
						got, err := read(t.Context(), c, fmt.Sprint("o/", i), size, at)
						want := objects[i][min(at, len(objects[i])):min(at+size, len(objects[i]))]
						if !bytes.Equal(got, want) || (len(want) < size) != errors.Is(err, io.EOF) {
							t.Errorf("object %d, [%d, +%d): %d bytes, %v", i, at, size, len(got), err)
							return
						}
						if s := c.Stats(); s.MemoryBytes > o.Memory || s.DiskBytes > o.DiskSize {
							t.Errorf("over the bounds: %+v", s)
							return
						}
					}
				})
			}
			readers.Wait()
			s := c.Stats()
			if s.DiskErrors > 0 || s.MemoryHits+s.DiskHits+s.Misses+s.Joined == 0 {
				t.Errorf("%+v", s)
			}
			if what == "all fits" && (s.Misses != blocks || s.MemoryEvictions > 0) {
				t.Errorf("every block is read once: %+v", s)
			}
			if what == "memory and disk" && (s.DiskHits == 0 || s.DiskEvictions == 0) {
				t.Errorf("the disk is of no use: %+v", s)
			}
			if len(c.flights) > 0 {
				t.Errorf("%d blocks are still being read", len(c.flights))
			}
		})
	}
}

// A block that many want is read once, and blocks beside each other at once.
func TestOneReadForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := new(remote)
		bucket.onRead = func(context.Context, string, int64) error { time.Sleep(time.Second); return nil }
		data := pattern(1, 10*blockBytes)
		if err := bucket.Put(t.Context(), "o", data); err != nil {
			t.Fatal(err)
		}
		c := newCache(t, bucket, Options{Memory: 1 << 30})
		var readers sync.WaitGroup
		for range 50 {
			readers.Go(func() {
				got, err := read(t.Context(), c, "o", 3*blockBytes, 4*blockBytes+5)
				if err != nil || !bytes.Equal(got, data[4*blockBytes+5:][:3*blockBytes]) {
					t.Error(len(got), err)
				}
			})
		}
		readers.Wait()
		if n := bucket.reads.Load(); n != 1 {
			t.Errorf("%d reads", n)
		}
		if s := c.Stats(); s.Misses != 4 || s.Joined != 49*4 {
			t.Errorf("%+v", s)
		}
	})
}

// Who waits for another's read is not failed by that other's failure, and gives
// up when its own context ends.
func TestWaitingForOneThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := new(remote)
		bucket.onRead = func(ctx context.Context, _ string, _ int64) error {
			select {
			case <-time.After(time.Minute):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		data := pattern(1, 100)
		if err := bucket.Put(t.Context(), "o", data); err != nil {
			t.Fatal(err)
		}
		c := newCache(t, bucket, Options{Memory: 1 << 20})
		var readers sync.WaitGroup
		readers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := read(ctx, c, "o", 100, 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		readers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := read(ctx, c, "o", 100, 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		readers.Go(func() {
			if got, err := read(t.Context(), c, "o", 100, 0); err != nil || !bytes.Equal(got, data) {
				t.Error(len(got), err)
			}
		})
		readers.Wait()
	})
}

// An object that takes the place of another is read anew, and the old one,
// reopened, is read from the cache.
func TestVersionsAreApart(t *testing.T) {
	bucket := new(remote)
	if err := bucket.Put(t.Context(), "o", []byte("old")); err != nil {
		t.Fatal(err)
	}
	c := newCache(t, bucket, Options{Memory: 1 << 20})
	o, err := c.Open(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3)
	if _, err := o.ReadAt(p, 0); err != nil || string(p) != "old" {
		t.Fatal(string(p), err)
	}
	bucket.Overwrite("o", []byte("new"))
	bucket.version.Add(1)
	if got, err := read(t.Context(), c, "o", 3, 0); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	reads := bucket.reads.Load()
	again := o.(store.Reopener).Reopen(t.Context())
	if _, err := again.ReadAt(p, 0); err != nil || string(p) != "old" || bucket.reads.Load() != reads {
		t.Errorf("%q, %v, %d reads more", p, err, bucket.reads.Load()-reads)
	}
}

// What a reader says is damaged is read from the bucket.
func TestForget(t *testing.T) {
	bucket := new(remote)
	data := pattern(1, 3*blockBytes)
	if err := bucket.Put(t.Context(), "o", data); err != nil {
		t.Fatal(err)
	}
	c := newCache(t, bucket, Options{Memory: blockBytes + entryBytes, DiskPath: filepath.Join(t.TempDir(), "b"), DiskSize: 1 << 20})
	o, err := c.Open(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(data))
	for range 2 {
		if _, err := o.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
	}
	o.(store.Cached).Forget(blockBytes, 2*blockBytes)
	before := bucket.reads.Load()
	if _, err := o.ReadAt(p, 0); err != nil || !bytes.Equal(p, data) {
		t.Fatal(err)
	}
	if n := bucket.reads.Load() - before; n != 1 {
		t.Errorf("%d reads", n)
	}
	if s := c.Stats(); s.Forgotten != 2 || s.Misses != 5 {
		t.Errorf("%+v", s)
	}
}

// A disk whose bytes change, or that fails, costs hits and nothing else.
func TestDiskThatFails(t *testing.T) {
	bucket := new(remote)
	data := pattern(1, 8*blockBytes)
	if err := bucket.Put(t.Context(), "o", data); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "blocks")
	c := newCache(t, bucket, Options{Memory: blockBytes + entryBytes, DiskPath: path, DiskSize: 1 << 20})
	readTwice := func() {
		t.Helper()
		for range 2 {
			if got, err := read(t.Context(), c, "o", len(data), 0); err != nil || !bytes.Equal(got, data) {
				t.Fatal(len(got), err)
			}
		}
	}
	readTwice()
	if s := c.Stats(); s.DiskHits == 0 || s.DiskErrors > 0 {
		t.Fatalf("%+v", s)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range int64(8) {
		if _, err := file.WriteAt([]byte("damage"), i*blockBytes+100); err != nil {
			t.Fatal(err)
		}
	}
	readTwice()
	damaged := c.Stats()
	if damaged.DiskErrors < 7 {
		t.Errorf("%+v", damaged)
	}
	if err := file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	readTwice()
	if s := c.Stats(); s.DiskErrors == damaged.DiskErrors {
		t.Errorf("%+v", s)
	}
}

func TestDiskBelongsToOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "blocks")
	o := Options{Memory: 1 << 20, DiskPath: path, DiskSize: 1 << 20}
	newCache(t, new(remote), o)
	if c, err := New(new(remote), o); err == nil {
		c.Close()
		t.Error("two caches share a file")
	}
	o.DiskSize, o.DiskPath = 10, path+"2"
	if c, err := New(new(remote), o); err == nil {
		c.Close()
		t.Error("a disk of 10 bytes")
	}
}
