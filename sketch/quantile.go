package sketch

import "math"

// A q-quantile is interpolated linearly between order statistics, as most tools
// do (type 7 of Hyndman and Fan 1996): of n values in order it is the one of rank
// 1+q(n-1), and between two ranks in proportion.

// quantilePlace returns the rank of the q-quantile of n > 0 values, from 1 to n,
// and how far it lies towards the next rank.
func quantilePlace(q, n float64) (rank, part float64) {
	place := 1 + min(max(q, 0), 1)*(n-1)
	rank = math.Floor(place)
	return rank, place - rank
}

// towards returns the estimate that lies that far towards the next.
func (e Estimate) towards(next Estimate, part float64) Estimate {
	return Estimate{
		Value: between(e.Value, next.Value, part),
		Lower: between(e.Lower, next.Lower, part),
		Upper: between(e.Upper, next.Upper, part),
	}
}

// between interpolates so that the ends are met exactly and never passed.
func between(a, b, part float64) float64 {
	part = min(max(part, 0), 1)
	return min(max(a*(1-part)+b*part, a), b)
}
