package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/zeebo/xxh3"
)

// checked reads the data of a segment and gives away only blocks whose checksum
// is right. It remembers what it read until it is told to forget, and lives for
// one call, in one goroutine.
type checked struct {
	ctx     context.Context // of the one call that the reader lives for
	object  Object
	end     *ending
	name    string
	regions []region // what is remembered
	free    [][]byte // memory of what was forgotten
}

// region is a run of whole blocks; only the last of a file may be short.
type region struct {
	start int64
	data  []byte
}

// extent is a range of bytes.
type extent struct{ start, end int64 }

// gapWorthReading is how far apart extents of a file may be to be fetched at
// once: reading this much is cheaper than another read.
const gapWorthReading = 32 << 10

// load fetches the blocks of all extents, in as few reads as are sensible.
func (r *checked) load(extents []extent) error {
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	var joined []extent
	gap := int64(gapWorthReading)
	if distant, ok := r.object.(Distant); ok {
		gap = distant.RequestBytes()
	}
	for _, e := range extents {
		if e.start < 0 || e.end > r.end.dataBytes || e.start > e.end {
			return damaged("bytes [%d, %d) are outside of its data", e.start, e.end)
		}
		e.start -= e.start % blockBytes
		if tail := e.end % blockBytes; tail > 0 {
			e.end = min(e.end+blockBytes-tail, r.end.dataBytes)
		}
		if r.has(e) {
			continue
		}
		if n := len(joined); n > 0 && e.start <= joined[n-1].end+gap {
			joined[n-1].end = max(joined[n-1].end, e.end)
			continue
		}
		joined = append(joined, e)
	}
	for _, e := range joined {
		if err := r.fetch(e); err != nil {
			return err
		}
	}
	return nil
}

// fetch reads and checks whole blocks. A block that fails is read once more:
// what is wrong may be on the way and not in the store.
func (r *checked) fetch(e extent) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	data := r.buffer(int(e.end - e.start))
	if err := r.readFull(data, e.start); err != nil {
		return err
	}
	for at := e.start; at < e.end; at += blockBytes {
		block := data[at-e.start : min(at+blockBytes, e.end)-e.start]
		want := r.end.sums[at/blockBytes]
		if xxh3.Hash(block) == want {
			continue
		}
		if cached, ok := r.object.(Cached); ok {
			cached.Forget(at, int64(len(block)))
		}
		if err := r.readFull(block, at); err != nil {
			return err
		}
		if xxh3.Hash(block) != want {
			return damaged("the checksum of bytes [%d, %d) is wrong", at, at+int64(len(block)))
		}
	}
	r.regions = append(r.regions, region{start: e.start, data: data})
	return nil
}

// buffer returns memory of a size, of what was forgotten if that is enough.
func (r *checked) buffer(size int) []byte {
	for i, b := range r.free {
		if cap(b) >= size {
			r.free = slices.Delete(r.free, i, i+1)
			return b[:size]
		}
	}
	return make([]byte, size)
}

// forget makes the memory of all regions free for others.
func (r *checked) forget() {
	r.free = r.free[:0]
	for _, x := range r.regions {
		r.free = append(r.free, x.data)
	}
	r.regions = r.regions[:0]
}

func (r *checked) readFull(p []byte, at int64) error {
	n, err := r.object.ReadAt(p, at)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return damaged("it ends at byte %d, where %d were written", at+int64(n), r.end.dataBytes)
	default:
		return fmt.Errorf("read %s: %w", r.name, err)
	}
}

// ReadAt implements io.ReaderAt. What was not loaded is loaded now.
func (r *checked) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at > r.end.dataBytes {
		return 0, damaged("byte %d is outside of its data", at)
	}
	n := 0
	for n < len(p) && at < r.end.dataBytes {
		data := r.loaded(at)
		if data == nil {
			start := at - at%blockBytes
			if err := r.fetch(extent{start, min(start+blockBytes, r.end.dataBytes)}); err != nil {
				return n, err
			}
			continue
		}
		k := copy(p[n:], data)
		n, at = n+k, at+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// has reports whether an extent lies in one region.
func (r *checked) has(e extent) bool {
	data := r.loaded(e.start)
	return e.start == e.end || int64(len(data)) >= e.end-e.start
}

// loaded returns what is loaded from an offset on.
func (r *checked) loaded(at int64) []byte {
	for i := range r.regions {
		if x := &r.regions[i]; x.start <= at && at < x.start+int64(len(x.data)) {
			return x.data[at-x.start:]
		}
	}
	return nil
}
