package sketch

import (
	"math"
	"math/bits"
	"slices"
)

// Sorting decides what a t-digest and a token list cost: 512 values take 51 ns
// each with slices.Sort and about 10 by radix. Up to insertionMax an insertion
// sort is faster than either. Scratch lives on the stack for as many values as
// a small cell holds.
const (
	insertionMax = 20
	stackSort    = 128
	radixMax     = 1<<16 - 1 // counts are 16 bits
)

// sortTokens sorts tokens. They are hashes, so their top bits spread them well
// over 256 buckets, and an insertion pass finishes; tokens that do not spread
// (somebody chose them) are left to slices.Sort.
func sortTokens(v []uint32) {
	if len(v) <= insertionMax {
		insertUint32(v)
		return
	}
	if len(v) > 4096 {
		slices.Sort(v)
		return
	}
	var ends [257]uint16
	for _, t := range v {
		ends[t>>24+1]++
	}
	sum, most := uint16(0), uint16(0)
	for i, n := range ends {
		most = max(most, n)
		sum += n
		ends[i] = sum
	}
	if int(most) > 8+len(v)/64 {
		slices.Sort(v)
		return
	}
	var stack [stackSort]uint32
	tmp := stack[:]
	if len(v) > len(stack) {
		tmp = make([]uint32, len(v))
	}
	tmp = tmp[:copy(tmp, v)]
	for _, t := range tmp {
		b := t >> 24
		v[ends[b]] = t
		ends[b]++
	}
	insertUint32(v)
}

func insertUint32(v []uint32) {
	for i := 1; i < len(v); i++ {
		x, j := v[i], i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
	}
}

// ordered maps a float to an integer of the same order.
func ordered(x float64) uint64 {
	b := math.Float64bits(x)
	return b ^ (uint64(int64(b)>>63) | 1<<63)
}

func unordered(u uint64) float64 {
	return math.Float64frombits(u ^ (uint64(^int64(u)>>63) | 1<<63))
}

// sortFloats sorts finite values: one pass into buckets that divide the range
// of their bits evenly, which suits values of any magnitude, and an insertion
// pass; or, where that would crowd some buckets, by radix.
func sortFloats(v []float64) {
	switch {
	case len(v) <= insertionMax:
		insertFloats(v)
	case len(v) > radixMax:
		slices.Sort(v)
	case len(v) > stackSort || !bucketFloats(v):
		radixFloats(v)
	}
}

// bucketFloats sorts at most stackSort values, or returns false and leaves
// them as they are.
func bucketFloats(v []float64) bool {
	var keys, sorted [stackSort]uint64
	lo, hi := uint64(math.MaxUint64), uint64(0)
	for i, x := range v {
		k := ordered(x)
		keys[i&(stackSort-1)] = k
		if k != orderedZero { // lies far from every other value in bits
			lo = min(lo, k)
		}
		hi = max(hi, k)
	}
	if lo >= hi {
		return false
	}
	shift := max(bits.Len64(hi-lo), 8) - 8
	var ends [257]uint16
	crowded := uint16(2 + len(v)/16)
	zeros := uint16(0)
	for _, k := range keys[:len(v)] {
		if k < lo {
			zeros++
			continue
		}
		ends[(k-lo)>>shift&255+1]++
	}
	sum, most := zeros, uint16(0)
	for i, n := range ends {
		most = max(most, n)
		sum += n
		ends[i] = sum
	}
	if most > crowded {
		return false
	}
	for i := range zeros {
		sorted[i&(stackSort-1)] = orderedZero
	}
	for _, k := range keys[:len(v)] {
		if k < lo {
			continue
		}
		at := &ends[(k-lo)>>shift&255]
		sorted[*at&(stackSort-1)] = k
		*at++
	}
	for i, k := range sorted[:len(v)] {
		v[i] = unordered(k)
	}
	insertFloats(v)
	return true
}

const orderedZero = 1 << 63

// radixFloats sorts by a radix pass over each byte of the upper half of the bits
// that is not the same in all of them, then an insertion pass.
func radixFloats(v []float64) {
	var stack [2 * stackSort]uint64
	keys := stack[:]
	if 2*len(v) > len(stack) {
		keys = make([]uint64, 2*len(v))
	}
	from, to := keys[:len(v)], keys[len(v):2*len(v)]
	for i, x := range v {
		from[i] = ordered(x)
	}
	from = radixUpper(from, to)
	for i, u := range from {
		v[i] = unordered(u)
	}
	insertNearly(v)
}

// radixUpper sorts at most radixMax keys by their upper 32 bits, stably, using
// tmp of the same length, and returns whichever of the two holds the result.
func radixUpper(keys, tmp []uint64) []uint64 {
	var counts [4][256]uint16
	for _, k := range keys {
		counts[0][k>>32&255]++
		counts[1][k>>40&255]++
		counts[2][k>>48&255]++
		counts[3][k>>56]++
	}
	tmp = tmp[:len(keys)]
	for digit := range counts {
		at := &counts[digit]
		shift := 32 + 8*uint(digit)
		if int(at[keys[0]>>shift&255]) == len(keys) {
			continue // all alike
		}
		sum := uint16(0)
		for i, n := range at {
			at[i] = sum
			sum += n
		}
		for _, k := range keys {
			d := byte(k >> shift)
			tmp[at[d]] = k
			at[d]++
		}
		keys, tmp = tmp, keys
	}
	return keys
}

func insertFloats(v []float64) {
	for i := 1; i < len(v); i++ {
		x, j := v[i], i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
	}
}

// insertNearly finishes values that are in order by their upper halves. Values
// that agree there in long runs (somebody's counter near 10¹⁵) would make
// insertion quadratic, so it gives up after a number of moves.
func insertNearly(v []float64) {
	moves := 8 * len(v)
	for i := 1; i < len(v); i++ {
		x, j := v[i], i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
		if moves -= i - j; moves < 0 {
			slices.Sort(v)
			return
		}
	}
}

func insertUint64(v []uint64) {
	for i := 1; i < len(v); i++ {
		x, j := v[i], i
		for ; j > 0 && v[j-1] > x; j-- {
			v[j] = v[j-1]
		}
		v[j] = x
	}
}
