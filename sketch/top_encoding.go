package sketch

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"
)

// The encoding of a Top, canonical while exact:
//
//	'K' | version, form | slots uvarint | n uvarint | payload | checksum
//
//	form 1, exact     n × (size uvarint, item, count uvarint)
//	form 2, dropped   total uvarint | floor uvarint
//	                  | n × (size uvarint, item, lower uvarint, upper-lower uvarint)
//
// Items are ordered by their last eight bytes, read as a little-endian number
// and as if zeros preceded shorter items; then as strings. Names of one kind
// begin alike and end differently, so that one comparison of numbers decides.
const (
	formTopExact   = 1
	formTopDropped = 2
)

// tailKey returns the last eight bytes of an item.
func tailKey[S string | []byte](item S) uint64 {
	if n := len(item); n >= 8 {
		return binary.LittleEndian.Uint64([]byte(item[n-8:]))
	}
	key := uint64(0)
	for i := range len(item) {
		key = key>>8 | uint64(item[i])<<56
	}
	return key
}

type keyed struct {
	key uint64
	at  int // of the item
}

// sortKeyed sorts by key, and asks less only about equal keys.
func sortKeyed(order []keyed, less func(a, b int) bool) {
	if len(order) > 32 {
		slices.SortFunc(order, func(a, b keyed) int {
			if a.key != b.key {
				return cmp.Compare(a.key, b.key)
			}
			if less(a.at, b.at) {
				return -1
			}
			return 1
		})
		return
	}
	for i := 1; i < len(order); i++ {
		x, j := order[i], i
		for ; j > 0 && (order[j-1].key > x.key || order[j-1].key == x.key && less(x.at, order[j-1].at)); j-- {
			order[j] = order[j-1]
		}
		order[j] = x
	}
}

// AppendBinary appends the sketch's encoding to dst. More items than slots are
// dropped from it; the sketch itself does not change.
func (t *Top) AppendBinary(dst []byte) []byte {
	if len(t.entries) > t.slots {
		t = t.clone()
		t.drop()
	}
	var stack [stackSort]keyed
	order := stack[:0]
	for i := range t.entries {
		order = append(order, keyed{tailKey(t.name(&t.entries[i])), i})
	}
	sortKeyed(order, func(a, b int) bool {
		return string(t.name(&t.entries[a])) < string(t.name(&t.entries[b]))
	})
	start := len(dst)
	form := byte(formTopExact)
	if t.floor > 0 {
		form = formTopDropped
	}
	dst = slices.Grow(dst, len(t.names)+4*len(order)+16)
	dst = appendTopHeader(dst, form, t.slots, len(order))
	if form == formTopDropped {
		dst = binary.AppendUvarint(dst, t.total)
		dst = binary.AppendUvarint(dst, t.floor)
	}
	for _, o := range order {
		e := &t.entries[o.at]
		dst = binary.AppendUvarint(dst, uint64(e.size))
		dst = append(dst, t.name(e)...)
		dst = binary.AppendUvarint(dst, e.lower)
		if form == formTopDropped {
			dst = binary.AppendUvarint(dst, e.upper-e.lower)
		}
	}
	return seal(dst, start)
}

func appendTopHeader(dst []byte, form byte, slots, n int) []byte {
	dst = append(dst, byte(KindTop), encodingVersion<<4|form)
	dst = binary.AppendUvarint(dst, uint64(slots))
	return binary.AppendUvarint(dst, uint64(n))
}

// AppendTop appends the encoding of the sketch to which exactly these items
// were added, without making one. The items must differ; only Item and Count
// are read. It reorders items that are more than the slots: the lightest are
// dropped, and their weight becomes the floor.
func AppendTop(dst []byte, slots int, items []TopItem) []byte {
	slots = min(max(slots, 1), MaxSlots)
	form, total, floor := byte(formTopExact), uint64(0), uint64(0)
	if len(items) > slots {
		for i := range items {
			total += items[i].Count
		}
		hash := func(i int) uint32 { return uint32(xxh3.HashString(items[i].Item)) }
		keep := keepHeaviest(slots, len(items), func(i int) uint64 { return items[i].Count }, hash)
		form, floor = formTopDropped, keep.heaviest
		kept := 0
		for i := range items {
			if items[i].Count >= floor && keep.stays(items[i].Count, hash(i)) {
				items[i], items[kept] = items[kept], items[i]
				kept++
			}
		}
		items = items[:kept]
	}
	var stack [stackSort]keyed
	order, size := stack[:0], 0
	for i := range items {
		order = append(order, keyed{tailKey(items[i].Item), i})
		size += len(items[i].Item)
	}
	sortKeyed(order, func(a, b int) bool { return items[a].Item < items[b].Item })
	start := len(dst)
	dst = slices.Grow(dst, size+4*len(order)+16)
	dst = appendTopHeader(dst, form, slots, len(order))
	if form == formTopDropped {
		dst = binary.AppendUvarint(dst, total)
		dst = binary.AppendUvarint(dst, floor)
	}
	for _, o := range order {
		item := &items[o.at]
		dst = binary.AppendUvarint(dst, uint64(len(item.Item)))
		dst = append(dst, item.Item...)
		dst = binary.AppendUvarint(dst, item.Count)
		if form == formTopDropped {
			dst = append(dst, 0)
		}
	}
	return seal(dst, start)
}

// topPayload is an opened encoding.
type topPayload struct {
	slots, n     int
	dropped      bool
	total, floor uint64
	items        reader
}

func openTop(data []byte) (topPayload, error) {
	form, body, err := open(KindTop, data)
	if err != nil {
		return topPayload{}, err
	}
	r := reader{b: body}
	slots := r.uvarint()
	e := topPayload{slots: int(min(slots, MaxSlots+1)), n: r.count(2), dropped: form == formTopDropped}
	if e.dropped {
		e.total, e.floor = r.uvarint(), r.uvarint()
	}
	if form != formTopExact && !e.dropped || r.failed || slots == 0 || slots > MaxSlots || e.n > e.slots ||
		e.dropped && e.floor == 0 || e.floor > e.total || e.total > maxWeight {
		return e, corrupt(KindTop, "form %d, %d items in %d slots, floor %d of %d", form, e.n, slots, e.floor, e.total)
	}
	e.items = r
	if !e.dropped {
		if e.total, err = e.check(); err != nil {
			return e, err
		}
	} else if _, err = e.check(); err != nil {
		return e, err
	}
	return e, nil
}

// next reads one item.
func (e *topPayload) next(r *reader) (item []byte, lower, upper uint64) {
	item = r.bytes(r.uvarint())
	lower = r.uvarint()
	upper = lower
	if e.dropped {
		upper += r.uvarint()
	}
	return item, lower, upper
}

// check reads all items once and returns the sum of what was counted.
func (e *topPayload) check() (uint64, error) {
	r, sum := e.items, uint64(0)
	for i := range e.n {
		_, lower, upper := e.next(&r)
		if r.failed || lower == 0 || lower > maxWeight || upper < lower || upper < e.floor || upper > maxWeight {
			return 0, corrupt(KindTop, "item %d of %d counts %d to %d, floor %d", i, e.n, lower, upper, e.floor)
		}
		sum += lower
	}
	if !r.done() || sum > maxWeight {
		return 0, corrupt(KindTop, "%d bytes after the last item, sum %d", len(r.b), sum)
	}
	return sum, nil
}

// MergeBinary adds what an encoded sketch holds, straight from its bytes. On an
// error the sketch has not changed.
func (t *Top) MergeBinary(data []byte) error {
	e, err := openTop(data)
	if err != nil {
		return err
	}
	m := t.beginMerge(e.total, e.floor)
	for range e.n {
		item, lower, upper := e.next(&e.items)
		merge(m, uint32(xxh3.Hash(item)), item, lower, upper)
	}
	m.end()
	return nil
}

// UnmarshalBinary makes the sketch what it was when it was encoded.
func (t *Top) UnmarshalBinary(data []byte) error {
	e, err := openTop(data)
	if err != nil {
		return err
	}
	d := NewTop(e.slots)
	if err := d.MergeBinary(data); err != nil {
		return err
	}
	if len(d.entries) != e.n {
		return corrupt(KindTop, "an item occurs twice")
	}
	*t = *d
	return nil
}
