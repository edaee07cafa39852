package sketch

import "math"

// Bucket i at scale s holds values in (2^((i-1)/2^s), 2^(i/2^s)].

// bucketIndex returns the bucket of a positive finite value: its exponent and
// mantissa give the bucket at scale 8, and every 2^k of those are one at 8-k.
func bucketIndex(x float64, scale int8) int {
	b := math.Float64bits(x)
	exponent := int(b>>52) - 1023
	if exponent == -1023 { // subnormal
		b = math.Float64bits(x * 0x1p64)
		exponent = int(b>>52) - 1023 - 64
	}
	mantissa := b & (1<<52 - 1)
	part := int(octaveStart[mantissa>>44])
	for part < len(octave8) && octave8[part] < mantissa {
		part++
	}
	down := uint(MaxScale-scale) & 31
	return (exponent<<8 + part + 1<<down - 1) >> down
}

// bucketBound returns the upper bound of bucket i. The last bucket ends with
// the largest finite number, as in Prometheus.
func bucketBound(i int, scale int8) float64 {
	at := i << uint(MaxScale-scale)
	bound := math.Ldexp(math.Float64frombits(octave8[at&255]|1023<<52), at>>8)
	return math.Min(bound, math.MaxFloat64)
}

// buckets are the counts of consecutive buckets, low being the first. Both the
// first and the last are occupied; room is the array behind, with space to
// spare at either end.
type buckets struct {
	low    int
	counts []uint64
	room   []uint64
	start  int // of counts in room
}

// widen makes buckets from lo to hi part of the range.
func (b *buckets) widen(lo, hi int) {
	if len(b.counts) == 0 {
		n := hi - lo + 1
		b.room = make([]uint64, max(8, n))
		b.low, b.start, b.counts = lo, 0, b.room[:n]
		return
	}
	lo, hi = min(lo, b.low), max(hi, b.low+len(b.counts)-1)
	n, before := hi-lo+1, b.low-lo
	if before > b.start || b.start-before+n > len(b.room) {
		spare := n / 4
		room := make([]uint64, n+2*spare)
		copy(room[spare+before:], b.counts)
		b.room, b.start = room, spare+before
	}
	b.start -= before
	b.low = lo
	b.counts = b.room[b.start : b.start+n]
}

// add adds the counts of another store whose scale is higher by that much.
func (b *buckets) add(o *buckets, by uint) {
	if len(o.counts) == 0 {
		return
	}
	b.widen(shiftUp(o.low, by), shiftUp(o.low+len(o.counts)-1, by))
	if by == 0 {
		dst := b.counts[o.low-b.low:]
		for i, n := range o.counts {
			dst[i] += n
		}
		return
	}
	for i, n := range o.counts {
		b.counts[shiftUp(o.low+i, by)-b.low] += n
	}
}

// shiftUp returns the bucket that i is part of when the scale falls by that much.
func shiftUp(i int, by uint) int { return (i + 1<<by - 1) >> by }

func (b *buckets) coarsen(by uint) {
	if len(b.counts) == 0 {
		return
	}
	var c buckets
	c.add(b, by)
	*b = c
}

func (b *buckets) total() uint64 {
	sum := uint64(0)
	for _, n := range b.counts {
		sum += n
	}
	return sum
}

// find returns the bucket of the rank-th of total counts, and how many lie
// below it.
func (b *buckets) find(rank, total uint64) (index int, below uint64) {
	if rank <= total/2 {
		for i, n := range b.counts {
			if below+n >= rank {
				return b.low + i, below
			}
			below += n
		}
	}
	below = total
	i := len(b.counts) - 1
	for ; i >= 0; i-- {
		if below -= b.counts[i]; below < rank {
			break
		}
	}
	return b.low + i, below
}

// split returns how many counts lie below bucket i and how many inside it.
func (b *buckets) split(i int) (below, inside uint64) {
	for k, n := range b.counts {
		switch at := b.low + k; {
		case at < i:
			below += n
		case at == i:
			return below, n
		default:
			return below, 0
		}
	}
	return below, 0
}
