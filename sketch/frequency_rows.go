package sketch

import (
	"cmp"
	"math"
	"slices"
)

// cell returns the counter of a key in a row: double hashing over one mix.
func (f *Frequency) mix(key uint64) (a, b uint32) {
	m := key * 0xD6E8FEB86659FD93
	m ^= m >> 32
	m *= 0xD6E8FEB86659FD93
	return uint32(m >> 32), uint32(m) | 1
}

func (f *Frequency) cell(row int, a, b uint32) int {
	return row<<f.widthBits | int((a+uint32(row)*b)>>(32-f.widthBits))
}

// rowEstimate returns the least of the key's counters. A saturated one bounds
// nothing, but the total does.
func (f *Frequency) rowEstimate(key uint64) uint64 {
	a, b := f.mix(key)
	least := uint32(math.MaxUint32)
	for row := range int(f.depth) {
		least = min(least, f.rows[f.cell(row, a, b)])
	}
	return f.unsaturated(least)
}

func (f *Frequency) unsaturated(counter uint32) uint64 {
	if counter == math.MaxUint32 {
		return f.total
	}
	return uint64(counter)
}

// raiseBy adds n to the key's least counter and lifts the others to it.
func (f *Frequency) raiseBy(key, n uint64) uint64 {
	a, b := f.mix(key)
	rows, width, down := f.rows, 1<<f.widthBits, (32-f.widthBits)&31
	least, h := uint32(math.MaxUint32), a
	for base := 0; base < len(rows); base += width {
		least = min(least, rows[base+int(h>>down)])
		h += b
	}
	to := uint32(min(uint64(least)+n, math.MaxUint32))
	h = a
	for base := 0; base < len(rows); base += width {
		cell := &rows[base+int(h>>down)]
		*cell = max(*cell, to)
		h += b
	}
	return f.unsaturated(to)
}

// raiseTo lifts the key's counters to at least n.
func (f *Frequency) raiseTo(key, n uint64) {
	a, b := f.mix(key)
	to := uint32(min(n, math.MaxUint32))
	for row := range int(f.depth) {
		c := f.cell(row, a, b)
		f.rows[c] = max(f.rows[c], to)
	}
}

// toRows ends exactness: the heaviest items stay in the table, whose counts
// remain theirs alone; the others move into the rows.
func (f *Frequency) toRows() {
	if f.rows != nil {
		return
	}
	f.rows = make([]uint32, int(f.depth)<<f.widthBits)
	f.keepHeaviest(f.heavy())
}

// keepHeaviest makes the table hold the heaviest of these, the rows the rest.
func (f *Frequency) keepHeaviest(list []frequency) {
	slices.SortFunc(list, func(a, b frequency) int {
		return cmp.Or(cmp.Compare(b.upper, a.upper), cmp.Compare(a.key, b.key))
	})
	f.table, f.n, f.least = nil, 0, 0
	f.rehash(2 * 128)
	for i, e := range list {
		if i < frequencyHeavy {
			f.insert(e)
			f.least = e.upper
			continue
		}
		f.evict(e)
	}
	if f.n < frequencyHeavy {
		f.least = 0
	}
}

// evict moves an item into the rows. What the table counted of it was in no
// counter; what it weighed before it came into the table still is.
func (f *Frequency) evict(e frequency) {
	f.inRows += e.lower
	f.raiseTo(e.key, e.upper)
}

// promote takes an item whose counters have become heavy into the table, in the
// place of the lightest there, unless that is heavier.
func (f *Frequency) promote(e frequency) {
	if f.n < frequencyHeavy {
		f.insert(e)
		return
	}
	lightest := -1
	for i := range f.table {
		if f.table[i].key != 0 && (lightest < 0 || f.table[i].upper < f.table[lightest].upper) {
			lightest = i
		}
	}
	out := f.table[lightest]
	f.least = out.upper
	if e.upper <= out.upper {
		return
	}
	f.evict(out)
	f.table[lightest] = frequency{}
	f.rehash(len(f.table)) // closes the hole
	f.place(e)
}

// mergeRows adds a sketch that has rows. An item in only one of the tables may
// have been counted in the other's rows: its bound takes that in.
func (f *Frequency) mergeRows(total, inRows uint64, heavy []frequency, counter func(i int) uint32) {
	f.toRows()
	other := Frequency{widthBits: f.widthBits, depth: f.depth, total: total}
	estimate := func(key uint64) uint64 {
		a, b := other.mix(key)
		least := uint32(math.MaxUint32)
		for row := range int(f.depth) {
			least = min(least, counter(f.cell(row, a, b)))
		}
		return other.unsaturated(least)
	}
	mine := f.heavy()
	theirs := make(map[uint64]frequency, len(heavy))
	for _, e := range heavy {
		theirs[e.key] = e
	}
	for i := range mine {
		e := &mine[i]
		if o, ok := theirs[e.key]; ok {
			e.lower += o.lower
			e.upper += o.upper
			delete(theirs, e.key)
			continue
		}
		e.upper += estimate(e.key)
	}
	for _, e := range heavy {
		if _, only := theirs[e.key]; only {
			e.upper += f.rowEstimate(e.key)
			mine = append(mine, e)
		}
	}
	for i := range f.rows {
		f.rows[i] = uint32(min(uint64(f.rows[i])+uint64(counter(i)), math.MaxUint32))
	}
	f.total += total
	f.inRows += inRows
	f.keepHeaviest(mine)
}
