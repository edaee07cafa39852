package sketch

import (
	"fmt"
	"math"
	"slices"
)

// DDSketch answers quantiles and ranks with a bound on the relative error.
//
// Idea: count values in buckets that grow by a constant factor, here
// 2^(2^-scale), so that every value of a bucket is within α of its middle. The
// buckets are those of Prometheus native histograms, and convert to and from
// them without loss.
//
//	Papers     Masson, Rim, Lee, "DDSketch" (2019); Epicoco et al., "UDDSketch"
//	           (2020), whose uniform collapse bounds the number of buckets.
//	Guarantee  relative error at most α, always: 1.08 % at scale 5, 2.2 % at 4, 0.54 %
//	           at 6. Above 2,048 buckets (64 octaves at scale 5) neighbours are
//	           joined, the scale falls by one, and α doubles: [DDSketch.Alpha] says it.
//	           At most 64 values are kept as they are: exact.
//	Bytes      8 a bucket in memory between the smallest and the largest value, 1 to 2
//	           a non-empty bucket encoded; while exact, 8 a value and fewer encoded.
//	Merge law  exact: merging equals concatenation, bit for bit, in any order. Different
//	           scales merge at the lower one.
//	Otherwise  [TDigest] is smaller, and sharper at extreme quantiles and where all
//	           values lie close together far from 0.
//
// A DDSketch is safe for concurrent reads. It never changes on reading.
type DDSketch struct {
	scale    int8
	finest   int8 // the scale before any collapse
	count    uint64
	zero     uint64
	min, max float64
	values   []float64 // while exact: all values, in no order
	positive buckets
	negative buckets // of absolute values
	bucketed bool
}

// The range of scales, and the usual one.
const (
	MinScale     = -4
	MaxScale     = 8
	DefaultScale = 5
)

const (
	ddExact      = 64
	ddMaxBuckets = 2048
)

// NewDDSketch returns an empty sketch. It panics unless -4 ≤ scale ≤ 8.
func NewDDSketch(scale int) *DDSketch {
	if scale < MinScale || scale > MaxScale {
		panic(fmt.Sprintf("sketch: DDSketch scale %d is not within %d and %d", scale, MinScale, MaxScale))
	}
	return &DDSketch{scale: int8(scale), finest: int8(scale), min: math.Inf(1), max: math.Inf(-1)}
}

// Scale returns s of the base 2^(2^-s), as it is now.
func (d *DDSketch) Scale() int { return int(d.scale) }

// Alpha returns the bound on the relative error, as it is now.
func (d *DDSketch) Alpha() float64 {
	base := math.Exp2(math.Exp2(-float64(d.scale)))
	return (base - 1) / (base + 1)
}

// Add adds a value. Values that are not finite are ignored; reject and count
// them where they enter.
func (d *DDSketch) Add(x float64) {
	if !(math.Abs(x) <= math.MaxFloat64) {
		return
	}
	if x < d.min {
		d.min = x + 0
	}
	if x > d.max {
		d.max = x + 0
	}
	d.count++
	if !d.bucketed {
		d.values = append(d.values, x+0)
		if len(d.values) > ddExact {
			d.toBuckets()
		}
		return
	}
	d.addBucketed(x, 1)
}

func (d *DDSketch) addBucketed(x float64, n uint64) {
	b := &d.positive
	switch {
	case x < 0:
		b, x = &d.negative, -x
	case x == 0:
		d.zero += n
		return
	}
	i := bucketIndex(x, d.scale)
	if at := uint(i) - uint(b.low); at < uint(len(b.counts)) {
		b.counts[at] += n
		return
	}
	d.fit(b, i, i, d.scale)
	i = bucketIndex(x, d.scale)
	b.widen(i, i)
	b.counts[i-b.low] += n
}

// AddValues adds values, and may reorder them.
func (d *DDSketch) AddValues(values []float64) {
	for _, x := range values {
		d.Add(x)
	}
}

// toBuckets gives up the exact values.
func (d *DDSketch) toBuckets() {
	values := d.values
	d.values, d.bucketed = nil, true
	for _, x := range values {
		d.addBucketed(x, 1)
	}
}

// fit lowers the scale until buckets lo to hi, of that scale, can join b within
// the limit. What it does depends only on the extremes of what was added, so
// order does not matter.
func (d *DDSketch) fit(b *buckets, lo, hi int, scale int8) {
	d.coarsen(scale)
	for {
		by := uint(scale - d.scale)
		from, to := shiftUp(lo, by), shiftUp(hi, by)
		if len(b.counts) > 0 {
			from, to = min(from, b.low), max(to, b.low+len(b.counts)-1)
		}
		others := len(d.positive.counts) + len(d.negative.counts) - len(b.counts)
		if to-from+1+others <= ddMaxBuckets {
			return
		}
		d.coarsen(d.scale - 1)
	}
}

// coarsen lowers the scale.
func (d *DDSketch) coarsen(scale int8) {
	if scale >= d.scale {
		return
	}
	by := uint(d.scale - scale)
	d.positive.coarsen(by)
	d.negative.coarsen(by)
	d.scale = scale
}

// Fold lowers the scale, to make the sketch smaller or to compare it with
// coarser ones. It does nothing when scale is not lower.
func (d *DDSketch) Fold(scale int) { d.coarsen(int8(max(scale, MinScale))) }

// Merge adds what the other sketch holds, which does not change.
func (d *DDSketch) Merge(o *DDSketch) error {
	d.coarsen(o.scale)
	if !o.bucketed {
		for _, x := range o.values {
			d.Add(x)
		}
		return nil
	}
	if !d.bucketed {
		d.toBuckets()
	}
	if n := len(o.negative.counts); n > 0 {
		d.fit(&d.negative, o.negative.low, o.negative.low+n-1, o.scale)
		d.negative.add(&o.negative, uint(o.scale-d.scale))
	}
	if n := len(o.positive.counts); n > 0 {
		d.fit(&d.positive, o.positive.low, o.positive.low+n-1, o.scale)
		d.positive.add(&o.positive, uint(o.scale-d.scale))
	}
	d.zero += o.zero
	d.merged(o.count, o.min, o.max)
	return nil
}

func (d *DDSketch) merged(count uint64, lo, hi float64) {
	d.count += count
	d.min = math.Min(d.min, lo)
	d.max = math.Max(d.max, hi)
}

// Settle does nothing: a DDSketch is always ready to answer.
func (d *DDSketch) Settle() {}

// Count returns how many values were added.
func (d *DDSketch) Count() uint64 { return d.count }

// Min returns the smallest value, NaN if there is none.
func (d *DDSketch) Min() float64 {
	if d.count == 0 {
		return math.NaN()
	}
	return d.min
}

// Max returns the largest value, NaN if there is none.
func (d *DDSketch) Max() float64 {
	if d.count == 0 {
		return math.NaN()
	}
	return d.max
}

// Exact reports whether the sketch still holds every value.
func (d *DDSketch) Exact() bool { return !d.bucketed }

// SizeBytes is the memory the sketch holds.
func (d *DDSketch) SizeBytes() int {
	return 144 + 8*(cap(d.values)+cap(d.positive.room)+cap(d.negative.room))
}

// Reset empties the sketch and returns to the scale it was made with.
func (d *DDSketch) Reset() {
	*d = DDSketch{scale: d.finest, finest: d.finest, min: math.Inf(1), max: math.Inf(-1), values: d.values[:0]}
}

func (d *DDSketch) String() string {
	how := "exact"
	if d.bucketed {
		how = fmt.Sprintf("within %.3g %%", 100*d.Alpha())
	}
	return fmt.Sprintf("DDSketch scale %d, %d values from %g to %g, %s", d.scale, d.count, d.Min(), d.Max(), how)
}

// sortedValues returns the values of an exact sketch in order.
func (d *DDSketch) sortedValues() []float64 {
	values := slices.Clone(d.values)
	sortFloats(values)
	return values
}

// Quantile returns the q-quantile, interpolated between order statistics. The
// interval is that of the buckets they are in, and certain.
func (d *DDSketch) Quantile(q, confidence float64) Estimate {
	if d.count == 0 || math.IsNaN(q) {
		return unknown()
	}
	rank, part := quantilePlace(q, float64(d.count))
	if !d.bucketed {
		values := d.sortedValues()
		i := int(rank) - 1
		return exactly(between(values[i], values[min(i+1, len(values)-1)], part))
	}
	e, through := d.orderStatistic(uint64(rank))
	if part > 0 && uint64(rank) == through {
		next, _ := d.orderStatistic(through + 1)
		e = e.towards(next, part)
	}
	return e
}

// orderStatistic returns the value of a rank, from 1 to the count, and the last
// rank in the same bucket.
func (d *DDSketch) orderStatistic(rank uint64) (e Estimate, through uint64) {
	negative := d.negative.total()
	if rank <= negative {
		i, below := d.negative.find(negative-rank+1, negative) // these ascend away from 0
		e := d.within(i)
		return d.clip(Estimate{-e.Value, -e.Upper, -e.Lower}), negative - below
	}
	before := negative + d.zero
	if rank <= before {
		return exactly(0), before
	}
	i, below := d.positive.find(rank-before, d.count-before)
	return d.clip(d.within(i)), before + below + d.positive.counts[i-d.positive.low]
}

// within returns the bounds of a bucket and the value that is within α of all in it.
func (d *DDSketch) within(i int) Estimate {
	lo, hi := bucketBound(i-1, d.scale), bucketBound(i, d.scale)
	if lo == 0 { // among the smallest numbers there are, which have few digits
		return Estimate{Value: hi, Lower: lo, Upper: hi}
	}
	return Estimate{Value: 2 * lo / (1 + lo/hi), Lower: lo, Upper: hi}
}

func (d *DDSketch) clip(e Estimate) Estimate {
	return Estimate{
		Value: math.Min(math.Max(e.Value, d.min), d.max),
		Lower: math.Max(e.Lower, d.min),
		Upper: math.Min(e.Upper, d.max),
	}
}

// Rank returns the fraction of values that are at most x. Only where in its own
// bucket x lies is uncertain.
func (d *DDSketch) Rank(x, confidence float64) Estimate {
	if d.count == 0 || math.IsNaN(x) {
		return unknown()
	}
	if x < d.min {
		return exactly(0)
	}
	if x >= d.max {
		return exactly(1)
	}
	n := float64(d.count)
	if !d.bucketed {
		below := 0
		for _, v := range d.values {
			if v <= x {
				below++
			}
		}
		return exactly(float64(below) / n)
	}
	if x == 0 {
		return exactly(float64(d.negative.total()+d.zero) / n)
	}
	if x > 0 {
		i := bucketIndex(x, d.scale)
		below, inside := d.positive.split(i)
		below += d.negative.total() + d.zero
		return d.rankIn(i, x, float64(below), float64(inside))
	}
	i := bucketIndex(-x, d.scale)
	smaller, inside := d.negative.split(i)
	e := d.rankIn(i, -x, float64(smaller), float64(inside))
	total := float64(d.negative.total()) / n
	return Estimate{total - e.Value, total - e.Upper, total - e.Lower}
}

func (d *DDSketch) rankIn(i int, x, below, inside float64) Estimate {
	n := float64(d.count)
	lo, hi := bucketBound(i-1, d.scale), bucketBound(i, d.scale)
	part := 1.0
	if lo < hi {
		part = min(max((x-lo)/(hi-lo), 0), 1)
	}
	return Estimate{(below + part*inside) / n, below / n, (below + inside) / n}
}
