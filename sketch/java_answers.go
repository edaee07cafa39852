package sketch

import "math"

// The reference takes half of a centroid's values to lie on each side of its
// mean, spread evenly to the next mean, but knows that a centroid of weight 1 is
// one value, exactly there, and that the extremes are values too.

// Quantile returns what the reference's MergingDigest answers.
func (d *JavaTDigest) Quantile(q float64) float64 {
	cs := d.Centroids
	if len(cs) == 0 || !(q >= 0 && q <= 1) {
		return math.NaN()
	}
	if len(cs) == 1 {
		return cs[0].Mean
	}
	n := d.Count()
	index := q * n
	first, last := cs[0], cs[len(cs)-1]
	switch {
	case index < 1:
		return d.Min
	case first.Weight > 1 && index < first.Weight/2:
		return d.Min + (index-1)/(first.Weight/2-1)*(first.Mean-d.Min)
	case index > n-1:
		return d.Max
	case last.Weight > 1 && n-index <= last.Weight/2:
		return d.Max - (n-index-1)/(last.Weight/2-1)*(d.Max-last.Mean)
	}
	middle := first.Weight / 2 // rank of the middle of the left of two centroids
	for i := range cs[:len(cs)-1] {
		left, right := cs[i], cs[i+1]
		next := middle + (left.Weight+right.Weight)/2
		if next <= index {
			middle = next
			continue
		}
		after, before := index-middle, next-index // distances to both middles
		if left.Weight == 1 {
			if after < 0.5 {
				return left.Mean
			}
			after -= 0.5
		}
		if right.Weight == 1 {
			if before <= 0.5 {
				return right.Mean
			}
			before -= 0.5
		}
		return weightedMean(left.Mean, before, right.Mean, after)
	}
	return last.Mean
}

// weightedMean never leaves the range of the two means.
func weightedMean(a, weightA, b, weightB float64) float64 {
	mean := (a*weightA + b*weightB) / (weightA + weightB)
	return min(max(mean, min(a, b)), max(a, b))
}

// Rank returns what the reference's MergingDigest answers as cdf: the fraction
// of values below x, counting half of those equal to it.
func (d *JavaTDigest) Rank(x float64) float64 {
	cs := d.Centroids
	switch {
	case len(cs) == 0 || math.IsNaN(x):
		return math.NaN()
	case x < d.Min:
		return 0
	case x > d.Max:
		return 1
	case len(cs) == 1:
		return 0.5 // the range is that of one value, or taken to be
	}
	n := d.Count()
	first, last := cs[0], cs[len(cs)-1]
	switch {
	case x < first.Mean:
		if x == d.Min {
			return 0.5 / n
		}
		return (1 + (x-d.Min)/(first.Mean-d.Min)*(first.Weight/2-1)) / n
	case x > last.Mean:
		if x == d.Max {
			return 1 - 0.5/n
		}
		return 1 - (1+(d.Max-x)/(d.Max-last.Mean)*(last.Weight/2-1))/n
	}
	before := 0.0 // weight of the centroids before i
	for i := 0; i < len(cs)-1; i++ {
		left, right := cs[i], cs[i+1]
		switch {
		case left.Mean == x:
			same := 0.0
			for ; i < len(cs) && cs[i].Mean == x; i++ {
				same += cs[i].Weight
			}
			return (before + same/2) / n
		case left.Mean < x && x < right.Mean:
			return between2(left, right, before, x) / n
		}
		before += left.Weight
	}
	return 1 - 0.5/n // x is the last mean
}

// between2 returns the weight up to x, strictly between two centroids.
func between2(left, right JavaCentroid, before, x float64) float64 {
	from, to := before+left.Weight/2, before+left.Weight+right.Weight/2
	if left.Weight == 1 {
		from += 0.5
	}
	if right.Weight == 1 {
		to -= 0.5
	}
	return from + (to-from)*(x-left.Mean)/(right.Mean-left.Mean)
}
