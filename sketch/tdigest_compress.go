package sketch

import (
	"cmp"
	"math"
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
// root, no logarithm and no division for each centroid.
type caps struct{ n, k1, k2 float64 }

func newCaps(n, compression float64) caps {
	sine := 2 * math.Sin(math.Pi/compression)
	z := 4*math.Log(math.Max(n/compression, 1)) + 24
	return caps{n: n, k1: sine * sine, k2: z / compression}
}

func (c *caps) allow(before, weight float64) bool {
	after := before + weight
	v := math.Min(before*(c.n-before), after*(c.n-after))
	return weight*weight <= c.k1*v && weight*c.n <= c.k2*v
}

// builder joins ascending centroids as far as the caps allow and writes them to
// out. Means are summed as differences to the first of each group, so that equal
// values keep their value to the last bit.
type builder struct {
	caps
	out    []centroid
	before float64 // weight of all groups written
	first  float64 // the group: its first mean,
	last   float64 // its last,
	weight float64 // its weight,
	sum    float64 // and Σ weight · (mean - first)
}

func (b *builder) add(c centroid) {
	if w := b.weight + c.weight; b.allow(b.before, w) {
		b.weight = w
		b.sum += c.weight * (c.mean - b.first)
		b.last = c.mean
		return
	}
	b.flush()
	b.first, b.last, b.weight, b.sum = c.mean, c.mean, c.weight, 0
}

func (b *builder) flush() {
	if b.weight == 0 {
		return
	}
	mean := b.first
	if b.sum != 0 {
		if mean += b.sum / b.weight; !(mean <= b.last) { // by a rounding, or an overflow
			mean = b.last
		}
	}
	b.out = append(b.out, centroid{mean, b.weight})
	b.before += b.weight
	b.weight = 0
}

// compress joins ascending centroids of total weight n in place.
func compress(cs []centroid, n, compression float64) []centroid {
	b := builder{caps: newCaps(n, compression), out: cs[:0]}
	for _, c := range cs {
		b.add(c)
	}
	b.flush()
	return b.out
}

// takeBuffer merges a full buffer into the centroids.
func (t *TDigest) takeBuffer() {
	if int(t.sorted) != len(t.cs) || len(t.cs) > 4*exactValues {
		// The digest holds merged ones at high resolution. Keep it.
		for _, x := range t.buf {
			t.cs = append(t.cs, centroid{x, 1})
		}
		t.buf = t.buf[:0]
		t.reserve(0)
		return
	}
	sortFloats(t.buf)
	var stack [2 * exactValues]centroid
	old := append(stack[:0], t.cs...)
	if !t.inexact {
		t.cs = mergeDistinct(t.cs[:0], old, t.buf)
		if len(t.cs) > exactValues {
			t.cs = compress(t.cs, t.count, t.compression)
			t.inexact = true
		}
	} else {
		t.cs = mergeCapped(t.cs[:0], old, t.buf, t.count, t.compression)
	}
	t.sorted = int32(len(t.cs))
	t.buf = t.buf[:0]
}

// mergeDistinct merges ascending centroids and values; equal ones become one.
func mergeDistinct(dst, cs []centroid, values []float64) []centroid {
	i := 0
	for _, x := range values {
		for i < len(cs) && cs[i].mean <= x {
			dst = append(dst, cs[i])
			i++
		}
		if len(dst) > 0 && dst[len(dst)-1].mean == x {
			dst[len(dst)-1].weight++
			continue
		}
		dst = append(dst, centroid{x, 1})
	}
	return append(dst, cs[i:]...)
}

// mergeCapped merges ascending centroids and values of total weight n and
// joins them on the way.
func mergeCapped(dst, cs []centroid, values []float64, n, compression float64) []centroid {
	b := builder{caps: newCaps(n, compression), out: dst}
	i := 0
	for _, x := range values {
		for i < len(cs) && cs[i].mean <= x {
			b.add(cs[i])
			i++
		}
		b.add(centroid{x, 1})
	}
	for ; i < len(cs); i++ {
		b.add(cs[i])
	}
	b.flush()
	return b.out
}

// sortCentroids sorts the merged centroids in and joins equal ones, which
// loses nothing.
func (t *TDigest) sortCentroids() {
	if int(t.sorted) < len(t.cs) {
		t.cs = joinEqual(sortByMean(t.cs))
		t.sorted = int32(len(t.cs))
	}
}

func joinEqual(cs []centroid) []centroid {
	n := 0
	for _, c := range cs[1:] {
		if c.mean == cs[n].mean {
			cs[n].weight += c.weight
			continue
		}
		n++
		cs[n] = c
	}
	return cs[:n+1]
}

// sortByMean sorts centroids by mean: a radix sort of the upper half of the
// mean with the position beside it, then an insertion pass.
func sortByMean(cs []centroid) []centroid {
	if len(cs) <= insertionMax || len(cs) > radixMax {
		slices.SortFunc(cs, compareMeans)
		return cs
	}
	keys := make([]uint64, 2*len(cs))
	from := keys[:len(cs)]
	for i, c := range cs {
		from[i] = ordered(c.mean)&^(1<<32-1) | uint64(i)
	}
	from = radixUpper(from, keys[len(cs):])
	old := slices.Clone(cs)
	for i, k := range from {
		cs[i] = old[uint32(k)]
	}
	moves := 8 * len(cs)
	for i := 1; i < len(cs); i++ {
		c, j := cs[i], i
		for ; j > 0 && cs[j-1].mean > c.mean; j-- {
			cs[j] = cs[j-1]
		}
		cs[j] = c
		if moves -= i - j; moves < 0 {
			slices.SortFunc(cs, compareMeans)
			return cs
		}
	}
	return cs
}

func compareMeans(a, b centroid) int { return cmp.Compare(a.mean, b.mean) }
