package sketch

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"
)

// Top finds the heaviest items: Misra-Gries counters, which are SpaceSaving's.
//
// Idea: count every item while there is room. When there is none, drop the
// lightest and remember how heavy the heaviest of them may have been: the
// floor. An item that comes (back) later starts with an uncertainty of the floor.
//
//	Papers     Misra, Gries, "Finding repeated elements" (1982); Metwally, Agrawal,
//	           El Abbadi, "SpaceSaving" (2005); Agarwal et al., "Mergeable
//	           summaries" (2012), which shows that the two are one
//	Guarantee  floor ≤ N/(k+1) with k slots and a total of N: every item heavier than
//	           that is there. Each item carries its own bounds, and they always hold.
//	           Up to k different items: exact.
//	Bytes      item + 40 in memory, item + 2 to 4 encoded.
//	Merge law  mergeable: floors add. Exact while nothing was dropped; then the order
//	           of merging can change which light items remain, never the bounds.
//	Otherwise  [Frequency] for the count of any item, heavy or not.
//
// A Top holds up to twice its slots before it drops to them, so dropping costs
// little; encoding drops to the slots. Merging encodings made with few slots into
// a Top of many loses nothing that they still had.
//
// A Top is safe for concurrent reads. It never changes on reading.
type Top struct {
	slots   int
	total   uint64
	floor   uint64 // no absent item is heavier
	entries []topEntry
	index   []uint32 // of entries plus one by hash, open addressing, 0 is free
	names   []byte   // items, one after another
}

type topEntry struct {
	at, size     uint32 // of the item in names
	hash         uint32
	lower, upper uint64
}

// TopItem is an item and its count. Lower and Upper hold the truth.
type TopItem struct {
	Item  string `json:"item"`
	Count uint64 `json:"count"`
	Lower uint64 `json:"lower"`
	Upper uint64 `json:"upper"`
}

// DefaultSlots is the usual number of slots, and MaxSlots the largest.
const (
	DefaultSlots = 128
	MaxSlots     = 1 << 20
)

// NewTop returns an empty sketch that keeps that many items, between 1 and MaxSlots.
func NewTop(slots int) *Top { return &Top{slots: min(max(slots, 1), MaxSlots)} }

// Slots returns how many items the sketch keeps.
func (t *Top) Slots() int { return t.slots }

// Add counts an item n times.
func (t *Top) Add(item string, n uint64) {
	if n == 0 {
		return
	}
	t.total += n
	h := uint32(xxh3.HashString(item))
	if e := find(t, h, item); e != nil {
		e.lower += n
		e.upper += n
		return
	}
	insert(t, h, item, n, t.floor+n)
	t.makeRoom()
}

// find returns the entry of an item, nil if there is none. Being generic, it
// serves items in a string and items in somebody's bytes without copying them.
func find[S string | []byte](t *Top, h uint32, item S) *topEntry {
	if len(t.index) == 0 {
		return nil
	}
	mask := uint32(len(t.index) - 1)
	for i := h & mask; t.index[i] != 0; i = (i + 1) & mask {
		e := &t.entries[t.index[i]-1]
		if e.hash == h && string(t.names[e.at:e.at+e.size]) == string(item) {
			return e
		}
	}
	return nil
}

func insert[S string | []byte](t *Top, h uint32, item S, lower, upper uint64) {
	if 4*(len(t.entries)+1) > 3*len(t.index) {
		t.rehash(max(8, 2*len(t.index)))
	}
	t.entries = append(t.entries, topEntry{
		at: uint32(len(t.names)), size: uint32(len(item)), hash: h, lower: lower, upper: upper,
	})
	t.names = append(t.names, item...)
	t.link(len(t.entries) - 1)
}

func (t *Top) link(entry int) {
	mask := uint32(len(t.index) - 1)
	i := t.entries[entry].hash & mask
	for t.index[i] != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = uint32(entry + 1)
}

func (t *Top) rehash(size int) {
	t.index = make([]uint32, size)
	for i := range t.entries {
		t.link(i)
	}
}

func (t *Top) name(e *topEntry) []byte { return t.names[e.at : e.at+e.size] }

// makeRoom drops to the slots when twice as many are taken.
func (t *Top) makeRoom() {
	if len(t.entries) >= 2*t.slots && len(t.entries) > t.slots {
		t.drop()
	}
}

// drop keeps the heaviest items and raises the floor to the heaviest dropped.
func (t *Top) drop() {
	if len(t.entries) <= t.slots {
		return
	}
	keep := keepHeaviest(t.slots, len(t.entries),
		func(i int) uint64 { return t.entries[i].upper }, func(i int) uint32 { return t.entries[i].hash })
	t.floor = max(t.floor, keep.heaviest)
	kept := t.entries[:0]
	names := make([]byte, 0, len(t.names))
	for _, e := range t.entries {
		if keep.stays(e.upper, e.hash) {
			at := uint32(len(names))
			names = append(names, t.name(&e)...)
			e.at = at
			kept = append(kept, e)
		}
	}
	t.entries, t.names = kept, names
	clear(t.index)
	for i := range t.entries {
		t.link(i)
	}
}

// keeping says which items stay: those heavier than the heaviest that goes, and
// of those as heavy as it the ones with the largest hashes, so that it does not
// depend on the order in which they came.
type keeping struct {
	heaviest uint64 // of those that go
	ties     int    // how many as heavy stay
	hash     uint32 // those whose hash is above, and
	equal    int    // so many whose hash is this
}

// keepHeaviest chooses slots of n > slots items.
func keepHeaviest(slots, n int, weight func(i int) uint64, hash func(i int) uint32) keeping {
	numbers := make([]uint64, n)
	for i := range numbers {
		numbers[i] = weight(i)
	}
	k := keeping{heaviest: nthLargest(numbers, slots), ties: slots}
	hashes := numbers[:0]
	for i := range n {
		switch w := weight(i); {
		case w > k.heaviest:
			k.ties--
		case w == k.heaviest:
			hashes = append(hashes, uint64(hash(i)))
		}
	}
	k.equal = k.ties
	if k.ties < len(hashes) {
		k.hash = uint32(nthLargest(hashes, k.ties))
		for _, h := range hashes {
			if uint32(h) > k.hash {
				k.equal--
			}
		}
	}
	return k
}

// stays is asked about each item once.
func (k *keeping) stays(weight uint64, hash uint32) bool {
	if weight != k.heaviest || hash != k.hash {
		return weight > k.heaviest || weight == k.heaviest && hash > k.hash
	}
	k.equal--
	return k.equal >= 0
}

// nthLargest returns the value that n others are at least as large as. It
// reorders the values.
func nthLargest(v []uint64, n int) uint64 {
	for len(v) > 16 {
		// The middle of three; equal values gather in the middle.
		a, b, c := v[0], v[len(v)/2], v[len(v)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		larger, smaller := 0, len(v) // [larger | equal | not yet looked at | smaller]
		for i := 0; i < smaller; {
			switch x := v[i]; {
			case x > pivot:
				v[i], v[larger] = v[larger], x
				larger++
				i++
			case x < pivot:
				smaller--
				v[i], v[smaller] = v[smaller], x
			default:
				i++
			}
		}
		switch {
		case n < larger:
			v = v[:larger]
		case n < smaller:
			return pivot
		default:
			v, n = v[smaller:], n-smaller
		}
	}
	slices.Sort(v)
	return v[len(v)-1-n]
}

// Merge adds what the other sketch holds, which does not change.
func (t *Top) Merge(o *Top) error {
	if t == o {
		o = o.clone()
	}
	m := t.beginMerge(o.total, o.floor)
	for i := range o.entries {
		e := &o.entries[i]
		merge(m, e.hash, o.name(e), e.lower, e.upper)
	}
	m.end()
	return nil
}

func (t *Top) clone() *Top {
	c := *t
	c.entries, c.index, c.names = slices.Clone(t.entries), slices.Clone(t.index), slices.Clone(t.names)
	return &c
}

// topMerge adds one summary to another. An item in both adds both bounds; an
// item absent from one may have weighed that one's floor there.
type topMerge struct {
	*Top
	before uint64 // floor before
	floorB uint64 // floor of what is merged
}

func (t *Top) beginMerge(total, floor uint64) topMerge {
	m := topMerge{Top: t, before: t.floor, floorB: floor}
	t.total += total
	t.floor += floor
	for i := range t.entries {
		if floor == 0 {
			break
		}
		t.entries[i].upper += floor
	}
	return m
}

func merge[S string | []byte](m topMerge, h uint32, item S, lower, upper uint64) {
	if e := find(m.Top, h, item); e != nil {
		e.lower += lower
		e.upper += upper - m.floorB // which beginMerge had added
		return
	}
	insert(m.Top, h, item, lower, m.before+upper)
}

func (m topMerge) end() { m.makeRoom() }

// Total returns the sum of all counts, of dropped items too.
func (t *Top) Total() uint64 { return t.total }

// Floor returns what no absent item is heavier than.
func (t *Top) Floor() uint64 { return t.floor }

// Exact reports whether no item was ever dropped.
func (t *Top) Exact() bool { return t.floor == 0 }

// Items returns the n heaviest items, heaviest first. Count is what was counted
// of the item since it came in: the lower bound, and most often the truth.
func (t *Top) Items(n int) []TopItem {
	n = min(max(n, 0), len(t.entries))
	if n == 0 {
		return []TopItem{}
	}
	lowers := make([]uint64, len(t.entries))
	for i := range t.entries {
		lowers[i] = t.entries[i].lower
	}
	least := nthLargest(lowers, n-1)
	order := make([]*topEntry, 0, n)
	for i := range t.entries {
		if t.entries[i].lower >= least {
			order = append(order, &t.entries[i])
		}
	}
	slices.SortFunc(order, func(a, b *topEntry) int {
		return cmp.Or(cmp.Compare(b.lower, a.lower), cmp.Compare(b.upper, a.upper), bytes.Compare(t.name(a), t.name(b)))
	})
	items := make([]TopItem, n)
	for i, e := range order[:n] {
		items[i] = TopItem{Item: string(t.name(e)), Count: e.lower, Lower: e.lower, Upper: e.upper}
	}
	return items
}

// Item returns the count of one item, heavy or not.
func (t *Top) Item(item string) TopItem {
	if e := find(t, uint32(xxh3.HashString(item)), item); e != nil {
		return TopItem{Item: item, Count: e.lower, Lower: e.lower, Upper: e.upper}
	}
	return TopItem{Item: item, Upper: t.floor}
}

// SizeBytes is the memory the sketch holds.
func (t *Top) SizeBytes() int { return 112 + 32*cap(t.entries) + 4*cap(t.index) + cap(t.names) }

// Reset empties the sketch, and keeps its memory for reuse.
func (t *Top) Reset() {
	clear(t.index)
	*t = Top{slots: t.slots, entries: t.entries[:0], index: t.index, names: t.names[:0]}
}

func (t *Top) String() string {
	return fmt.Sprintf("top of %d slots: %d items of a total of %d, the rest at most %d each",
		t.slots, len(t.entries), t.total, t.floor)
}
