package ingest

import (
	"bytes"
	"unsafe"
)

// interner numbers tuples of byte strings in order of arrival: the series of a
// shard (a tuple of dimension values) and the items of a piece (a tuple of
// one). It only grows, so a reader that took a view may go on reading while
// the owner adds.
//
//	table   open addressing, a power of two, at most half full: hash's high 32 bits | id+1
//	hashes  by id
//	ends    by id and part: where the part ends in arena
//	arena   the parts, one behind the other
type interner struct {
	parts  int
	table  []uint64
	hashes []uint64
	ends   []uint32
	arena  []byte
}

func newInterner(parts int) *interner {
	return &interner{parts: parts, table: make([]uint64, 64)}
}

func (t *interner) len() int { return len(t.hashes) }

// find returns the number of a tuple, or -1. key is its parts one behind the
// other; inner is where in key each part but the last ends.
func (t *interner) find(hash uint64, key []byte, inner []uint32) int {
	mask := uint64(len(t.table) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		e := t.table[i]
		if e == 0 {
			return -1
		}
		if uint32(e>>32) == uint32(hash>>32) {
			if id := int(uint32(e)) - 1; t.equal(id, key, inner) {
				return id
			}
		}
	}
}

func (t *interner) equal(id int, key []byte, inner []uint32) bool {
	if t.parts == 0 {
		return true
	}
	last := id*t.parts + t.parts - 1
	start := uint32(0)
	if id > 0 {
		start = t.ends[last-t.parts]
	}
	if !bytes.Equal(t.arena[start:t.ends[last]], key) {
		return false
	}
	for j, end := range inner {
		if t.ends[id*t.parts+j]-start != end {
			return false
		}
	}
	return true
}

// full reports whether the arena cannot take another key: offsets have 32 bits.
func (t *interner) full(key []byte) bool { return len(t.arena)+len(key) > 1<<31 }

// add numbers a tuple that find did not find.
func (t *interner) add(hash uint64, key []byte, inner []uint32) int {
	id := len(t.hashes)
	start := uint32(len(t.arena))
	t.hashes = append(t.hashes, hash)
	t.arena = append(t.arena, key...)
	for _, end := range inner {
		t.ends = append(t.ends, start+end)
	}
	if t.parts > 0 {
		t.ends = append(t.ends, uint32(len(t.arena)))
	}
	if 2*len(t.hashes) > len(t.table) {
		t.table = make([]uint64, 2*len(t.table))
		for id, hash := range t.hashes {
			t.place(id, hash)
		}
	} else {
		t.place(id, hash)
	}
	return id
}

func (t *interner) place(id int, hash uint64) {
	mask := uint64(len(t.table) - 1)
	i := hash & mask
	for t.table[i] != 0 {
		i = (i + 1) & mask
	}
	t.table[i] = hash&^0xffffffff | uint64(id+1)
}

// part returns one part of a tuple, without copying: it is valid as long as
// the interner is not reset.
func (t *interner) part(id, part int) string {
	i := id*t.parts + part
	start := uint32(0)
	if i > 0 {
		start = t.ends[i-1]
	}
	if n := t.ends[i] - start; n > 0 {
		return unsafe.String(&t.arena[start], n)
	}
	return ""
}

// view is a copy that the owner's later additions do not touch. It cannot find.
func (t *interner) view() interner {
	return interner{parts: t.parts, hashes: t.hashes, ends: t.ends, arena: t.arena}
}

func (t *interner) reset() {
	clear(t.table)
	t.hashes, t.ends, t.arena = t.hashes[:0], t.ends[:0], t.arena[:0]
}

func (t *interner) usedBytes() int {
	return 16*len(t.hashes) + 8*len(t.hashes) + 4*len(t.ends) + len(t.arena)
}

// key gives a tuple as find and add take it.
func (t *interner) key(id int) (key []byte, inner []uint32) {
	if t.parts == 0 {
		return nil, nil
	}
	start, i := uint32(0), id*t.parts
	if i > 0 {
		start = t.ends[i-1]
	}
	for _, end := range t.ends[i : i+t.parts-1] {
		inner = append(inner, end-start)
	}
	return t.arena[start:t.ends[i+t.parts-1]], inner
}
