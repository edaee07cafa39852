package sketch

import "math"

// settled returns the digest's centroids in order without changing it.
func (t *TDigest) settled() []centroid {
	if len(t.buf) == 0 && int(t.sorted) == len(t.cs) {
		return t.cs
	}
	c := TDigest{cs: make([]centroid, len(t.cs), len(t.cs)+len(t.buf)), sorted: t.sorted, compression: t.compression}
	copy(c.cs, t.cs)
	for _, x := range t.buf {
		c.cs = append(c.cs, centroid{x, 1})
	}
	c.sortCentroids()
	return c.cs
}

// Quantile returns the q-quantile, interpolated between order statistics.
//
// Centroids that were merged may reach a little into each other, but hardly
// past a neighbour's mean: those bound the value. Where only single values lie
// towards an end of the distribution the rank is exact. No confidence short of
// certainty would make the interval smaller in a way that can be defended, so
// it is the same for all.
func (t *TDigest) Quantile(q, confidence float64) Estimate {
	cs := t.settled()
	return quantile(q, t.count, func(rank float64) Estimate { return t.orderStatistic(cs, rank) })
}

// orderStatistic returns the value of a rank, from 1 to the count.
func (t *TDigest) orderStatistic(cs []centroid, rank float64) Estimate {
	if rank*2 > t.count {
		return t.quantileFromTop(cs, rank)
	}
	before, alone := 0.0, true
	for i, c := range cs {
		alone = alone && c.weight == 1
		if before+c.weight >= rank {
			return t.quantileAt(cs, i, before, rank, alone)
		}
		before += c.weight
	}
	return exactly(t.max) // weights sum to the count, so only rounding leads here
}

func (t *TDigest) quantileFromTop(cs []centroid, rank float64) Estimate {
	before, alone := t.count, true
	for i := len(cs) - 1; i >= 0; i-- {
		alone = alone && cs[i].weight == 1
		before -= cs[i].weight
		if before < rank {
			return t.quantileAt(cs, i, before, rank, alone)
		}
	}
	return exactly(t.min)
}

// quantileAt answers from centroid i, before which lies that weight and inside
// of which lies the rank. Values are taken to be spread evenly between the
// middles of neighbouring centroids.
func (t *TDigest) quantileAt(cs []centroid, i int, before, rank float64, alone bool) Estimate {
	c := cs[i]
	if !t.inexact || alone {
		return exactly(c.mean)
	}
	e := Estimate{Value: c.mean, Lower: t.min, Upper: t.max}
	at := rank - 0.5 // the middle of that value's share
	middle := before + c.weight/2
	left, leftMiddle := t.min, 0.0
	right, rightMiddle := t.max, t.count
	if i > 0 {
		left, leftMiddle = cs[i-1].mean, before-cs[i-1].weight/2
		e.Lower = left
	}
	if i+1 < len(cs) {
		right, rightMiddle = cs[i+1].mean, before+c.weight+cs[i+1].weight/2
		e.Upper = right
	}
	switch {
	case c.weight == 1:
	case at < middle:
		e.Value = between(left, c.mean, (at-leftMiddle)/(middle-leftMiddle))
	default:
		e.Value = between(c.mean, right, (at-middle)/(rightMiddle-middle))
	}
	return e
}

// Rank returns the fraction of values that are at most x.
func (t *TDigest) Rank(x, confidence float64) Estimate {
	if t.count == 0 || math.IsNaN(x) {
		return unknown()
	}
	if x < t.min {
		return exactly(0)
	}
	if x >= t.max {
		return exactly(1)
	}
	cs := t.settled()
	before, i, alone := 0.0, 0, true // centroids before i have a mean of at most x
	for i < len(cs) && cs[i].mean <= x {
		alone = alone && cs[i].weight == 1
		before += cs[i].weight
		i++
	}
	if !t.inexact || alone && (i == len(cs) || cs[i].weight == 1) {
		return exactly(before / t.count)
	}
	left, leftMiddle := t.min, 0.0
	right, rightMiddle := t.max, t.count
	lower, upper := before, before
	if i > 0 {
		left, leftMiddle = cs[i-1].mean, before-cs[i-1].weight/2
		if cs[i-1].weight > 1 {
			lower -= cs[i-1].weight
		}
	}
	if i < len(cs) {
		right, rightMiddle = cs[i].mean, before+cs[i].weight/2
		if cs[i].weight > 1 {
			upper += cs[i].weight
		}
	}
	value := leftMiddle
	if right > left {
		value += (x - left) / (right - left) * (rightMiddle - leftMiddle)
	}
	return Estimate{
		Value: math.Min(math.Max(value, lower), upper) / t.count,
		Lower: math.Max(lower, 0) / t.count,
		Upper: math.Min(upper, t.count) / t.count,
	}
}
