package sketch

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// caps are the limits on the weight of a centroid, in counts: a centroid that
// reaches from rank a to rank b of n may weigh w when, with v the smaller of
// a(n-a) and b(n-b),
//
//	w² ≤ (2 sin(π/δ))² v       k1: δ/2π · asin(2q-1)
//	w n ≤ Z/δ v                k2: δ/Z · log(q/(1-q)), Z = 4 log(n/δ) + 24
//
// Both are the derivative of the scale function at the end nearer to a tail. No
// logarithm and no division for each centroid.
type caps struct{ n, k1, k2 float64 }

func newCaps(n, compression float64) caps {
	sine := 2 * math.Sin(math.Pi/compression)
	z := 4*math.Log(max(n/compression, 1)) + 24
	return caps{n: n, k1: sine * sine, k2: z / compression / n}
}

// at returns the weight allowed by one end at that rank.
func (c *caps) at(rank float64) float64 {
	v := rank * (c.n - rank)
	limit := math.Sqrt(c.k1 * v)
	if k2 := c.k2 * v; k2 < limit {
		return k2
	}
	return limit
}

// join merges two ascending lists, centroids and single values, before which
// lies that weight, joins neighbours as far as the caps allow, and appends the
// result to dst. dst may be the front of cs when there are no values.
//
// Means are summed as differences to the first of each group, so that equal
// values keep their value to the last bit.
func (limits caps) join(dst, cs []centroid, values []float64, before float64) []centroid {
	var (
		n       = limits.n
		half    = n / 2
		allowed = limits.at(before) // before is the weight of all groups written
		first   float64             // the group: its first mean,
		last    float64             // its last,
		weight  float64             // its weight,
		signed  float64             // negative if it is mixed,
		sum     float64             // and Σ weight · (mean - first)
		i, j    int
		mean    float64 // the next centroid or value
		own     float64
	)
	for i < len(cs) || j < len(values) {
		if j == len(values) || i < len(cs) && cs[i].mean <= values[j] {
			mean, own = cs[i].mean, cs[i].signed
			i++
		} else {
			mean, own = values[j], 1
			j++
		}
		wt := math.Abs(own)
		joined := weight + wt
		if weight > 0 && joined <= allowed {
			after := before + joined
			v := after * (n - after)
			if after <= half || joined*joined <= limits.k1*v && joined <= limits.k2*v {
				weight, signed = joined, -joined
				sum += wt * (mean - first)
				last = mean
				continue
			}
		}
		if weight > 0 {
			dst = append(dst, centroid{groupMean(first, last, sum, weight), signed})
			before += weight
			allowed = limits.at(before)
		}
		first, last, weight, signed, sum = mean, mean, wt, own, 0
	}
	if weight > 0 {
		dst = append(dst, centroid{groupMean(first, last, sum, weight), signed})
	}
	return dst
}

// groupMean is at most the last mean, whatever rounding or overflow says.
func groupMean(first, last, sum, weight float64) float64 {
	if sum == 0 {
		return first
	}
	if mean := first + sum/weight; mean <= last {
		return mean
	}
	return last
}

// compress joins ascending centroids of total weight n in place.
//
// A heavy value that recurs, such as 12 of latencies in whole milliseconds, stays
// by itself: joined with its neighbours it would turn into a mean that never
// occurred, and a share of ranks as large as the centroid would be answered wrong.
func compress(cs []centroid, n, compression float64) []centroid {
	limits := newCaps(n, compression)
	out := cs[:0]
	start, before, rank := 0, 0.0, 0.0 // of the stretch without such a value; rank is before i
	for i, c := range cs {
		w := c.weight()
		if c.signed > 1 && w > heavyShare*limits.at(rank) {
			out = append(limits.join(out, cs[start:i], nil, before), c)
			start, before = i+1, rank+w
		}
		rank += w
	}
	return limits.join(out, cs[start:], nil, before)
}

// heavyShare is the part of its limit above which a centroid of one value is
// heavy. A third keeps the number of centroids below twice the usual, and the
// error that joined values cause below half a point of rank.
const heavyShare = 1. / 3

// takeBuffer merges a full buffer into the centroids.
func (t *TDigest) takeBuffer() {
	if int(t.sorted) != len(t.cs) || len(t.cs) > 4*exactValues {
		// The digest holds merged ones at high resolution. Keep it.
		t.append(t.buf)
		t.buf = t.buf[:0]
		t.reserve(0)
		return
	}
	sortFloats(t.buf)
	t.weight += float64(len(t.buf))
	t.min = min(t.min, t.buf[0])
	t.max = max(t.max, t.buf[len(t.buf)-1])
	var stack [2 * exactValues]centroid
	t.recurring = t.recurring || repeats(t.buf)
	if t.inexact && !t.recurring {
		limits := newCaps(t.weight, t.compression)
		t.store(limits.join(stack[:0], t.cs, t.buf, 0))
		t.resolved = true
	} else if cs := mergeDistinct(stack[:0], t.cs, t.buf); !t.inexact && len(cs) <= exactValues {
		t.store(cs)
	} else {
		t.store(compress(cs, t.weight, t.compression))
		t.inexact, t.resolved = true, true
	}
	t.buf = t.buf[:0]
}

// store makes sorted centroids the digest's own, with little room to spare: a
// digest may be one of a hundred thousand.
func (t *TDigest) store(cs []centroid) {
	if cap(t.cs) < len(cs) {
		t.cs = make([]centroid, 0, (len(cs)+15)&^15)
	}
	t.cs = append(t.cs[:0], cs...)
	t.sorted = int32(len(t.cs))
}

// repeats reports whether a value occurs twice in ascending values.
func repeats(values []float64) bool {
	for i := 1; i < len(values); i++ {
		if values[i] == values[i-1] {
			return true
		}
	}
	return false
}

// mergeDistinct merges ascending centroids and values; equal ones become one.
func mergeDistinct(dst, cs []centroid, values []float64) []centroid {
	i := 0
	for _, x := range values {
		for i < len(cs) && cs[i].mean <= x {
			dst = append(dst, cs[i])
			i++
		}
		if n := len(dst); n > 0 && dst[n-1].mean == x && !dst[n-1].mixed() {
			dst[n-1].signed++
			continue
		}
		dst = append(dst, centroid{x, 1})
	}
	return append(dst, cs[i:]...)
}

// sortCentroids sorts the merged centroids in and joins equal ones, which
// loses nothing.
func (t *TDigest) sortCentroids() {
	if int(t.sorted) < len(t.cs) {
		if cap(t.spare) < len(t.cs) {
			t.spare = make([]centroid, cap(t.cs))
		}
		sorted, spare := sortByMean(t.cs, t.spare[:len(t.cs)])
		t.cs, t.spare = joinEqual(sorted), spare
		t.recurring = t.recurring || len(t.cs) < len(sorted)
		t.sorted = int32(len(t.cs))
	}
}

func joinEqual(cs []centroid) []centroid {
	n := 0
	for _, c := range cs[1:] {
		if last := &cs[n]; c.mean == last.mean && (c.signed < 0) == (last.signed < 0) {
			last.signed += c.signed
			continue
		}
		n++
		cs[n] = c
	}
	return cs[:n+1]
}

// sortByMean sorts centroids by mean into one of the two slices given, of the
// same length, and returns that one and the other. Merged digests are many runs
// of a like distribution, so a pass into buckets that divide the bits of a
// sample's range evenly, and an insertion pass, do most; means that crowd their
// buckets go by radix.
func sortByMean(cs, spare []centroid) (sorted, other []centroid) {
	switch {
	case len(cs) <= insertionMax:
		insertCentroids(cs, math.MaxInt)
		return cs, spare
	case len(cs) > radixMax:
		slices.SortFunc(cs, compareMeans)
		return cs, spare
	case bucketCentroids(cs, spare):
		return spare, cs
	}
	keys := make([]uint64, 2*len(cs))
	from := keys[:len(cs)]
	for i, c := range cs {
		from[i] = ordered(c.mean)&^(1<<32-1) | uint64(i)
	}
	for i, k := range radixUpper(from, keys[len(cs):]) {
		spare[i] = cs[uint32(k)]
	}
	if !insertCentroids(spare, 8*len(cs)) {
		slices.SortFunc(spare, compareMeans)
	}
	return spare, cs
}

// bucketCentroids sorts cs into sorted, or returns false if that takes many moves.
func bucketCentroids(cs, sorted []centroid) bool {
	const maxBucketBits = 12
	var sample [64]float64
	for i := range sample {
		sample[i] = cs[(2*i+1)*len(cs)/(2*len(sample))].mean
	}
	insertFloats(sample[:])
	lo, hi := ordered(sample[1]), ordered(sample[len(sample)-2])
	if lo >= hi {
		return false
	}
	// An eighth more than the sample spans on either side, and all that lies
	// beyond in the first and last bucket.
	margin := (hi - lo) / 8
	lo -= min(margin, lo)
	bucketBits := min(bits.Len(uint(len(cs))), maxBucketBits)
	shift := max(bits.Len64(hi-lo+margin), bucketBits) - bucketBits
	last := uint64(1)<<bucketBits - 1
	var space [1<<maxBucketBits + 1]uint16
	ends := space[:last+2]
	bucket := func(mean float64) uint64 {
		k := ordered(mean)
		if k < lo {
			return 0
		}
		return min((k-lo)>>shift, last)
	}
	for _, c := range cs {
		ends[bucket(c.mean)+1]++
	}
	sum := uint16(0)
	for i, n := range ends {
		sum += n
		ends[i] = sum
	}
	for _, c := range cs {
		at := &ends[bucket(c.mean)]
		sorted[*at] = c
		*at++
	}
	return insertCentroids(sorted, 12*len(cs))
}

// insertCentroids sorts by insertion, or gives up after that many moves.
func insertCentroids(cs []centroid, moves int) bool {
	for i := 1; i < len(cs); i++ {
		c, j := cs[i], i
		for ; j > 0 && cs[j-1].mean > c.mean; j-- {
			cs[j] = cs[j-1]
		}
		if j < i {
			cs[j] = c
			if moves -= i - j; moves < 0 {
				return false
			}
		}
	}
	return true
}

func compareMeans(a, b centroid) int { return cmp.Compare(a.mean, b.mean) }
