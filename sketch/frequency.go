package sketch

import (
	"fmt"
	"math"
	"math/bits"
)

// Frequency answers how often any item occurred: count-min with conservative update.
//
// Idea: each of a few rows has a counter for the item, shared with others; the
// least of them overestimates least. Adding raises only the counters that must
// rise. An exact table of items comes first and stays for the heaviest.
//
//	Papers     Cormode, Muthukrishnan, "An improved data stream summary: the
//	           count-min sketch" (2005); Estan, Varghese, "New directions in traffic
//	           measurement" (2002), conservative update; Roy, Khan, Alonso,
//	           "Augmented sketch" (2016), heavy items kept beside
//	Guarantee  never too low; too high by at most ε N with probability 1-δ, and
//	           with skewed items by orders of magnitude less.
//	Bytes      24 to 48 an item while exact, 7 encoded. Then 4 e/ε ln(1/δ): 80 KiB at
//	           ε = 0.001, δ = 0.01, and 20 to 40 KB encoded.
//	Merge law  exact while exact. Then sums of counters keep being upper bounds, but
//	           depend on the order; conservative counters must not be subtracted.
//	Otherwise  [Top] for which items are heavy: a Frequency does not know them by name.
//
// Items are hashes, of which the upper 48 bits are kept.
//
// A Frequency is safe for concurrent reads. It never changes on reading.
type Frequency struct {
	seed      uint64
	total     uint64
	inRows    uint64 // of the total, what the table did not count
	least     uint64 // no heavy item has a smaller upper bound
	hash      HashID
	widthBits uint8
	depth     uint8
	n         int         // items in the table
	table     []frequency // open addressing by key, key 0 is free
	rows      []uint32    // depth rows of 1<<widthBits; nil while exact
}

// frequency is an item of the table. Before there are rows its bounds are equal.
type frequency struct {
	key          uint64 // upper 48 bits of the hash, plus one
	lower, upper uint64
}

const (
	frequencyKeyBits = 48
	frequencyHeavy   = 96 // items kept beside the rows
	maxWidthBits     = 24
	maxDepth         = 16
)

// DefaultEpsilon and DefaultDelta are the usual error and its probability.
const (
	DefaultEpsilon = 0.001
	DefaultDelta   = 0.01
)

// NewFrequency returns an empty sketch for hashes made by [Hash] with the seed.
// Epsilon and delta must lie between 0 and 1; they are met or bettered by the
// next width that is a power of two, up to 2^24, and depth, up to 16.
func NewFrequency(epsilon, delta float64, seed uint64) *Frequency {
	widthBits, depth := frequencyShape(epsilon, delta)
	return &Frequency{seed: seed, hash: XXH3, widthBits: widthBits, depth: depth}
}

func frequencyShape(epsilon, delta float64) (widthBits, depth uint8) {
	if !(epsilon > 0 && epsilon < 1) || !(delta > 0 && delta < 1) {
		panic(fmt.Sprintf("sketch: Frequency epsilon %g or delta %g is not between 0 and 1", epsilon, delta))
	}
	width := math.Ceil(math.Log2(math.E / epsilon))
	rows := math.Ceil(-math.Log(delta))
	return uint8(min(max(width, 2), maxWidthBits)), uint8(min(max(rows, 1), maxDepth))
}

// exactLimit is how many items the exact table holds at most: with them it
// takes about half the memory of the rows.
func (f *Frequency) exactLimit() int { return max(16, int(f.depth)<<f.widthBits/16) }

// Epsilon returns the bound on the error as a fraction of the total.
func (f *Frequency) Epsilon() float64 { return math.E / float64(uint64(1)<<f.widthBits) }

// Delta returns the probability that the error is larger than that.
func (f *Frequency) Delta() float64 { return math.Exp(-float64(f.depth)) }

func frequencyKey(hash uint64) uint64 { return hash>>(64-frequencyKeyBits) + 1 }

// AddHash counts the item of this hash n times.
func (f *Frequency) AddHash(hash, n uint64) {
	if n == 0 {
		return
	}
	f.total += n
	f.addKey(frequencyKey(hash), n)
}

func (f *Frequency) addKey(key, n uint64) {
	if e := f.find(key); e != nil {
		e.lower += n
		e.upper += n
		return
	}
	if f.rows == nil {
		f.insert(frequency{key, n, n})
		if f.n > f.exactLimit() {
			f.toRows()
		}
		return
	}
	f.inRows += n
	if after := f.raiseBy(key, n); after > f.least+f.least/8+16 {
		f.promote(frequency{key, 0, after})
	}
}

// find returns the table's entry of a key, or nil.
func (f *Frequency) find(key uint64) *frequency {
	if len(f.table) == 0 {
		return nil
	}
	mask := len(f.table) - 1
	for i := tableSlot(key, len(f.table)); ; i = (i + 1) & mask {
		switch e := &f.table[i]; e.key {
		case key:
			return e
		case 0:
			return nil
		}
	}
}

func tableSlot(key uint64, size int) int {
	slot, _ := bits.Mul64(key*0x9E3779B97F4A7C15, uint64(size))
	return int(slot)
}

func (f *Frequency) insert(e frequency) {
	if 4*(f.n+1) > 3*len(f.table) {
		f.rehash(max(8, 2*len(f.table)))
	}
	f.n++
	f.place(e)
}

func (f *Frequency) place(e frequency) {
	mask := len(f.table) - 1
	i := tableSlot(e.key, len(f.table))
	for f.table[i].key != 0 {
		i = (i + 1) & mask
	}
	f.table[i] = e
}

func (f *Frequency) rehash(size int) {
	old := f.table
	f.table = make([]frequency, size)
	for _, e := range old {
		if e.key != 0 {
			f.place(e)
		}
	}
}

// Merge adds what the other sketch holds, which does not change.
func (f *Frequency) Merge(o *Frequency) error {
	if f.seed != o.seed || f.hash != o.hash || f.widthBits != o.widthBits || f.depth != o.depth {
		return mismatch(KindFrequency, "%v into %v", o, f)
	}
	if o.rows == nil {
		for _, e := range o.table {
			if e.key != 0 {
				f.total += e.upper
				f.addKey(e.key, e.upper)
			}
		}
		return nil
	}
	heavy := o.heavy()
	f.mergeRows(o.total, o.inRows, heavy, func(i int) uint32 { return o.rows[i] })
	return nil
}

// heavy returns the table's entries.
func (f *Frequency) heavy() []frequency {
	list := make([]frequency, 0, f.n)
	for _, e := range f.table {
		if e.key != 0 {
			list = append(list, e)
		}
	}
	return list
}

// Estimate returns how often the item of this hash occurred. The upper bound
// is certain. By Markov's inequality a row is too high by t/width of the sum
// with probability at most 1/t, and all rows are with probability 1/t^depth.
func (f *Frequency) Estimate(hash uint64, confidence float64) Estimate {
	key := frequencyKey(hash)
	e := f.find(key)
	if f.rows == nil {
		if e == nil {
			return exactly(0)
		}
		return exactly(float64(e.upper))
	}
	var lower, upper uint64
	if e != nil {
		lower, upper = e.lower, e.upper
	} else {
		upper = f.rowEstimate(key)
	}
	t := math.Pow(1-clampConfidence(confidence), -1/float64(f.depth))
	excess := t * float64(f.inRows) / float64(uint64(1)<<f.widthBits)
	value := float64(upper)
	return Estimate{Value: value, Lower: math.Max(float64(lower), math.Ceil(value-excess)), Upper: value}
}

// Total returns the sum of all counts.
func (f *Frequency) Total() uint64 { return f.total }

// Exact reports whether every item still has its own counter.
func (f *Frequency) Exact() bool { return f.rows == nil }

// SizeBytes is the memory the sketch holds.
func (f *Frequency) SizeBytes() int { return 96 + 24*cap(f.table) + 4*cap(f.rows) }

// Reset empties the sketch.
func (f *Frequency) Reset() {
	*f = Frequency{seed: f.seed, hash: f.hash, widthBits: f.widthBits, depth: f.depth}
}

func (f *Frequency) String() string {
	how := "exact"
	if f.rows != nil {
		how = fmt.Sprintf("too high by at most %.3g of the total in %.3g %% of cases", f.Epsilon(), 100*(1-f.Delta()))
	}
	return fmt.Sprintf("count-min %d × %d, %v seed %d: total %d, %d items in its table, %s",
		f.depth, 1<<f.widthBits, f.hash, f.seed, f.total, f.n, how)
}
