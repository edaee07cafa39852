package sketch

import (
	"math"
	"slices"
)

// settled returns the digest, or a copy of it in which nothing waits.
func (t *TDigest) settled() *TDigest {
	if len(t.buf) == 0 && int(t.sorted) == len(t.cs) {
		return t
	}
	c := *t
	c.cs, c.buf, c.spare = slices.Clone(t.cs), slices.Clone(t.buf), nil
	c.Settle()
	return &c
}

// Quantile returns the q-quantile, interpolated between order statistics.
//
// Centroids that were merged may reach a little into each other, but hardly
// past a neighbour's mean: those bound the value. Where only single values lie
// towards an end of the distribution the rank is exact. No confidence short of
// certainty would make the interval smaller in a way that can be defended, so
// it is the same for all.
func (t *TDigest) Quantile(q, confidence float64) Estimate {
	if t.count() == 0 || math.IsNaN(q) {
		return unknown()
	}
	t = t.settled()
	rank, part := quantilePlace(q, t.weight)
	i, before := t.locate(rank)
	through := before + t.cs[i].weight()
	if t.cs[i].mixed() && rank > 1 && rank+1 <= through && rank+1 < t.weight {
		return t.orderStatistic(i, before, rank+part) // a line leads from one rank to the next
	}
	e := t.orderStatistic(i, before, rank)
	if part == 0 {
		return e
	}
	if through < rank+1 {
		i, before = i+1, through
	}
	return e.towards(t.orderStatistic(i, before, rank+1), part)
}

// locate returns the centroid in which a rank lies, from 1 to the weight, and
// the weight before it.
func (t *TDigest) locate(rank float64) (i int, before float64) {
	cs := t.cs
	if 2*rank <= t.weight {
		for i < len(cs)-1 && before+cs[i].weight() < rank {
			before += cs[i].weight()
			i++
		}
		return i, before
	}
	before = t.weight
	for i = len(cs) - 1; ; i-- {
		if before -= cs[i].weight(); before < rank || i == 0 {
			return i, before
		}
	}
}

// alone reports whether centroid i, and all between it and an end, are each one value.
func (t *TDigest) alone(i int) bool {
	below, above := t.cs[:i+1], t.cs[i:]
	if len(above) < len(below) {
		below = above
	}
	for _, c := range below {
		if c.mixed() {
			return false
		}
	}
	return true
}

// orderStatistic returns the value of a rank inside centroid i, before which
// lies that weight. Values are taken to be spread evenly between the middles of
// neighbouring centroids, but for values that recur.
func (t *TDigest) orderStatistic(i int, before, rank float64) Estimate {
	cs, c := t.cs, t.cs[i]
	margin := t.margin(rank)
	switch {
	case rank == 1:
		return exactly(t.min)
	case rank == t.weight:
		return exactly(t.max)
	case !t.inexact || margin == 0 && !c.mixed() && t.alone(i):
		return exactly(c.mean)
	}
	e := Estimate{Value: c.mean, Lower: t.valueBelow(i, before, rank-margin), Upper: t.valueAbove(i, before, rank+margin)}
	if !c.mixed() {
		return e
	}
	at := rank - 0.5 // the middle of that value's share
	if middle := before + c.weight()/2; at < middle {
		left, leftMiddle := t.min, 0.0
		if i > 0 {
			left, leftMiddle = cs[i-1].mean, before
			if cs[i-1].mixed() {
				leftMiddle -= cs[i-1].weight() / 2
			}
		}
		e.Value = between(left, c.mean, (at-leftMiddle)/(middle-leftMiddle))
	} else {
		right, rightMiddle := t.max, t.weight
		if i+1 < len(cs) {
			right, rightMiddle = cs[i+1].mean, before+c.weight()
			if cs[i+1].mixed() {
				rightMiddle += cs[i+1].weight() / 2
			}
		}
		e.Value = between(c.mean, right, (at-middle)/(rightMiddle-middle))
	}
	return e
}

// margin returns by how much a rank may be off. In a digest of added values it
// is 0, and neighbouring centroids bound a value. Where digests were merged, each
// brought a centroid that reaches across the value asked for, as heavy as its
// limit allowed; all of them may err to the same side.
func (t *TDigest) margin(rank float64) float64 {
	margin := 0.0
	if t.coarse > 0 {
		limits := newCaps(t.weight, t.compression)
		margin = limits.at(rank) * t.coarse / t.weight
	}
	if t.finer {
		limits := newCaps(t.weight, mergedFiner*t.compression)
		margin = max(margin, limits.at(rank))
	}
	return margin
}

// valueBelow returns what no value of that rank is below: the mean of its
// centroid, or of the one before centroid i if it is that or a later one.
func (t *TDigest) valueBelow(i int, before, rank float64) float64 {
	for i--; i >= 0; i-- {
		if before -= t.cs[i].weight(); before < rank {
			return t.cs[i].mean
		}
	}
	return t.min
}

// valueAbove is valueBelow's opposite.
func (t *TDigest) valueAbove(i int, before, rank float64) float64 {
	before += t.cs[i].weight()
	for i++; i < len(t.cs); i++ {
		if before += t.cs[i].weight(); before >= rank {
			return t.cs[i].mean
		}
	}
	return t.max
}

// Rank returns the fraction of values that are at most x.
func (t *TDigest) Rank(x, confidence float64) Estimate {
	if t.count() == 0 || math.IsNaN(x) {
		return unknown()
	}
	t = t.settled()
	if x < t.min {
		return exactly(0)
	}
	if x >= t.max {
		return exactly(1)
	}
	cs := t.cs
	before, i, alone := 0.0, 0, true // centroids before i have a mean of at most x
	for i < len(cs) && cs[i].mean <= x {
		alone = alone && !cs[i].mixed()
		before += cs[i].weight()
		i++
	}
	margin := t.margin(before)
	if !t.inexact || margin == 0 && alone && (i == len(cs) || !cs[i].mixed()) {
		return exactly(before / t.weight)
	}
	left, leftMiddle := t.min, 0.0
	right, rightMiddle := t.max, t.weight
	lower, upper := before, before
	if i > 0 {
		left, leftMiddle = cs[i-1].mean, before
		if cs[i-1].mixed() {
			lower -= cs[i-1].weight()
			leftMiddle -= cs[i-1].weight() / 2
		}
	}
	if i < len(cs) {
		right, rightMiddle = cs[i].mean, before
		if cs[i].mixed() {
			upper += cs[i].weight()
			rightMiddle += cs[i].weight() / 2
		}
	}
	lower, upper = lower-margin, upper+margin
	value := leftMiddle
	if right > left {
		value += (x - left) / (right - left) * (rightMiddle - leftMiddle)
	}
	return Estimate{
		Value: math.Min(math.Max(value, lower), upper) / t.weight,
		Lower: math.Max(lower, 0) / t.weight,
		Upper: math.Min(upper, t.weight) / t.weight,
	}
}

// TrimmedMean returns the mean of the values between two quantiles. What the cut
// takes of the centroids at its ends is uncertain, no more.
func (t *TDigest) TrimmedMean(from, to, confidence float64) Estimate {
	from, to = max(from, 0), min(to, 1)
	if t.count() == 0 || !(from < to) {
		return unknown()
	}
	t = t.settled()
	lo, hi := from*t.weight, to*t.weight
	ends := [2]Estimate{t.Quantile(from, confidence), t.Quantile(to, confidence)}
	var sum Estimate
	before := 0.0
	for _, c := range t.cs {
		after := before + c.weight()
		part := min(after, hi) - max(before, lo)
		if part > 0 {
			e := exactly(c.mean)
			if c.mixed() && before < lo {
				e.Lower, e.Upper = ends[0].Lower, max(ends[0].Upper, c.mean)
			} else if c.mixed() && after > hi {
				e.Lower, e.Upper = min(ends[1].Lower, c.mean), ends[1].Upper
			}
			sum.Value += part * e.Value
			sum.Lower += part * e.Lower
			sum.Upper += part * e.Upper
		}
		before = after
	}
	n := hi - lo
	return Estimate{Value: sum.Value / n, Lower: sum.Lower / n, Upper: sum.Upper / n}
}
