package anomaly

import (
	"math"
	"slices"
)

const (
	maxSearched    = 4096 // points a search for a period keeps at most
	minCorrelation = 0.25 // autocorrelation that makes a period
	harmonicShare  = 0.9  // a shorter period is preferred that has so much of the best one's
)

// periodSearch keeps the points of the warm-up until a period is looked for.
type periodSearch struct{ points []Point }

// add keeps a point, and reports whether the warm-up is complete.
func (s *periodSearch) add(p Point, config SeasonalConfig) bool {
	s.points = append(s.points, p)
	return len(s.points) >= min(config.Warmup, maxSearched)
}

// period is the lag, from 2 to longest, at which the points resemble themselves
// most, or [NoSeason]. Outliers are clipped and a linear trend is taken out
// first, for either would drown the season.
func (s *periodSearch) period(longest int) int {
	x := make([]float64, len(s.points))
	for i, p := range s.points {
		x[i] = p.Value
	}
	detrend(x)
	clip(x)
	longest = min(longest, len(x)/2)
	power := 0.0
	for _, v := range x {
		power += v * v
	}
	if power == 0 {
		return NoSeason
	}
	r := make([]float64, longest+2)
	for lag := 1; lag < len(r) && lag < len(x); lag++ {
		sum := 0.0
		for i := lag; i < len(x); i++ {
			sum += x[i] * x[i-lag]
		}
		r[lag] = sum / power * float64(len(x)) / float64(len(x)-lag)
	}
	// Up to the first lag without correlation, it is smoothness, not a season.
	start := 1
	for start <= longest && r[start] > 0 {
		start++
	}
	best := 0.0
	for lag := max(start, 2); lag <= longest; lag++ {
		best = max(best, r[lag])
	}
	if best < minCorrelation {
		return NoSeason
	}
	first := max(start, 2)
	for r[first] < harmonicShare*best {
		first++
	}
	// The top of the hill that begins here.
	top := first
	for lag := first; lag <= min(longest, first+first/4); lag++ {
		if r[lag] > r[top] {
			top = lag
		}
	}
	return top
}

// detrend takes the least-squares line out.
func detrend(x []float64) {
	n := float64(len(x))
	var sx, sxt float64
	for i, v := range x {
		sx += v
		sxt += v * (float64(i) - (n-1)/2)
	}
	mean, slope := sx/n, 0.0
	if n > 1 {
		slope = sxt / (n * (n*n - 1) / 12)
	}
	for i := range x {
		x[i] -= mean + slope*(float64(i)-(n-1)/2)
	}
}

// clip brings values beyond three scaled median deviations back to them.
func clip(x []float64) {
	sizes := make([]float64, len(x))
	for i, v := range x {
		sizes[i] = math.Abs(v)
	}
	slices.Sort(sizes)
	limit := 3 * 1.4826 * sizes[len(sizes)/2]
	if limit == 0 {
		return
	}
	for i, v := range x {
		x[i] = min(max(v, -limit), limit)
	}
}
