package sketch

import "math"

// quantile interpolates linearly between order statistics, as most tools do
// (type 7 of Hyndman and Fan 1996): of n values in order, the q-quantile is the
// one of rank 1+q(n-1), and between two ranks in proportion.
func quantile(q, n float64, orderStatistic func(rank float64) Estimate) Estimate {
	if n == 0 || math.IsNaN(q) {
		return unknown()
	}
	place := 1 + math.Min(math.Max(q, 0), 1)*(n-1)
	rank := math.Floor(place)
	e := orderStatistic(rank)
	if part := place - rank; part > 0 {
		next := orderStatistic(rank + 1)
		e = Estimate{
			Value: between(e.Value, next.Value, part),
			Lower: between(e.Lower, next.Lower, part),
			Upper: between(e.Upper, next.Upper, part),
		}
	}
	return e
}

// between interpolates so that the ends are met exactly and never passed.
func between(a, b, part float64) float64 {
	part = math.Min(math.Max(part, 0), 1)
	return math.Min(math.Max(a*(1-part)+b*part, a), b)
}
