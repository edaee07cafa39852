package anomaly

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// STL splits a series into a seasonal part, a trend and a remainder by locally
// weighted regression: Cleveland, Cleveland, McRae, Terpenning (1990), STL: A
// Seasonal-Trend Decomposition Procedure Based on Loess. With its zero fields
// it is R's stl with a periodic season.
//
// Each pass smooths every phase of the season by itself (all the Mondays),
// takes out of that what is slower than a season, and smooths what the season
// leaves into the trend:
//
//	y - trend ─▶ loess of each phase ─▶ minus its moving averages ─▶ seasonal
//	y - seasonal ─▶ loess ─▶ trend ─▶ next pass
//
// A robust decomposition repeats this with weights that take from a point the
// more the further the last pass left it, down to nothing.
//
// It needs the whole series at once, in memory, without a hole. The trend
// bends at a step of the level; it does not step.
type STL struct {
	// Period is the number of observations of a season, at least 2.
	Period int

	// Seasonal smooths each phase over seasons: its Window counts seasons. With
	// the window 0 the season is periodic, the same from first to last.
	Seasonal Loess

	// Trend smooths the deseasonalised series. Its default window is the smallest
	// odd one that keeps the season out: 1.5 periods or a little more.
	Trend Loess

	// LowPass tells the season from what is slower. Its default window is the
	// period, or the next odd number.
	LowPass Loess

	// Robust decompositions do not follow outliers.
	Robust bool

	// Inner is how many passes are made under the same weights, and Outer how
	// often the weights are made anew. 0 is the default, 2 and 0 passes, or 1 and
	// 15 if Robust. Outer counts only if Robust.
	Inner, Outer int
}

// Loess is how one of the smoothers of [STL] works. Fields left 0 are defaults.
type Loess struct {
	// Window is how many points the smoother looks at; an odd number, at least 3.
	// It may be more than there are: the fit is the flatter.
	Window int

	// Fit is the curve that is fitted. The default is [Constant] for the season
	// and [Linear] for the others.
	Fit Fit

	// Jump is the distance of the points that are fitted; those between lie on
	// straight lines. The default is a tenth of the window.
	Jump int
}

// Fit is the curve fitted around a point.
type Fit uint8

// The fits.
const (
	DefaultFit Fit = iota
	Constant
	Linear
)

// Decomposition is a series in three parts, which add up to it.
type Decomposition struct {
	Seasonal, Trend, Remainder []float64

	// Weight, between 0 and 1, is how much each point counted in the last pass.
	Weight []float64
}

// ErrPeriods is wrapped by the errors for series too short for their period.
var ErrPeriods = errors.New("less than two periods")

// Decompose splits y, which must have more than two periods, all finite.
func (s STL) Decompose(y []float64) (*Decomposition, error) {
	periodic := s.Seasonal.Window == 0
	s, err := s.resolve(len(y))
	if err != nil {
		return nil, fmt.Errorf("STL: %w", err)
	}
	for i, v := range y {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("STL: observation %d is %v", i+1, v)
		}
	}
	p := newSTLPass(s, y)
	for outer := 0; ; outer++ {
		for range s.Inner {
			p.run(outer > 0)
		}
		if outer == s.Outer {
			break
		}
		p.reweigh()
	}
	if periodic {
		averagePhases(p.seasonal, s.Period)
	}
	d := &Decomposition{Seasonal: p.seasonal, Trend: p.trend, Remainder: make([]float64, len(y)), Weight: p.weight}
	for i, v := range y {
		d.Remainder[i] = v - d.Seasonal[i] - d.Trend[i]
		if math.IsNaN(d.Remainder[i]) || math.IsInf(d.Remainder[i], 0) {
			return nil, errors.New("STL: the values are too large to be added up")
		}
	}
	return d, nil
}

// resolve puts the defaults in place and checks the rest.
func (s STL) resolve(n int) (STL, error) {
	if s.Period < 2 {
		return s, fmt.Errorf("a season of %d observations is none; the period must be at least 2", s.Period)
	}
	if n <= 2*s.Period {
		return s, fmt.Errorf("%d observations are not more than two periods of %d: %w", n, s.Period, ErrPeriods)
	}
	if s.Seasonal.Window == 0 {
		s.Seasonal.Window = 10*n + 1 // so wide that all seasons weigh alike
	}
	if s.Trend.Window == 0 {
		s.Trend.Window = nextOdd(math.Ceil(1.5 * float64(s.Period) / (1 - 1.5/float64(s.Seasonal.Window))))
	}
	if s.LowPass.Window == 0 {
		s.LowPass.Window = nextOdd(float64(s.Period))
	}
	for _, l := range []struct {
		name string
		*Loess
		fit Fit
	}{
		{"seasonal", &s.Seasonal, Constant},
		{"trend", &s.Trend, Linear},
		{"low-pass", &s.LowPass, Linear},
	} {
		if l.Window < 3 || l.Window%2 == 0 {
			return s, fmt.Errorf("the %s window of %d is not an odd number from 3 on", l.name, l.Window)
		}
		if l.Fit == DefaultFit {
			l.Fit = l.fit
		}
		if l.Jump == 0 {
			l.Jump = (l.Window + 9) / 10
		}
		if l.Jump < 0 || l.Fit > Linear {
			return s, fmt.Errorf("the %s smoother has jump %d and fit %d, which are none", l.name, l.Jump, l.Fit)
		}
	}
	if s.Inner < 0 || s.Outer < 0 {
		return s, fmt.Errorf("%d inner and %d outer passes are less than none", s.Inner, s.Outer)
	}
	inner, outer := 2, 0
	if s.Robust {
		inner, outer = 1, 15
	}
	if s.Inner == 0 {
		s.Inner = inner
	}
	if s.Outer == 0 || !s.Robust {
		s.Outer = outer
	}
	return s, nil
}

func nextOdd(x float64) int { return int(x) | 1 }

// averagePhases gives each phase of the season its mean.
func averagePhases(seasonal []float64, period int) {
	for phase := range period {
		sum, n := 0.0, 0
		for i := phase; i < len(seasonal); i += period {
			sum += seasonal[i]
			n++
		}
		for i := phase; i < len(seasonal); i += period {
			seasonal[i] = sum / float64(n)
		}
	}
}

// stlPass holds what the passes over one series share.
type stlPass struct {
	y      []float64
	period int

	seasonal, trend, weight []float64

	phases [2]*loess // of the longer and of the shorter phases
	low    *loess
	smooth *loess // the trend's

	phase, phaseWeight []float64 // one phase of the season
	cycle              []float64 // the smoothed phases, with a period before and one after
	rest               []float64
	scratch            []float64
}

func newSTLPass(s STL, y []float64) *stlPass {
	n, period := len(y), s.Period
	longest := (n + period - 1) / period
	p := &stlPass{
		y: y, period: period,
		seasonal: make([]float64, n), trend: make([]float64, n), weight: make([]float64, n),
		low:    newLoess(n, s.LowPass, false),
		smooth: newLoess(n, s.Trend, false),
		phase:  make([]float64, longest), phaseWeight: make([]float64, longest),
		cycle: make([]float64, n+2*period), rest: make([]float64, n+2*period), scratch: make([]float64, n+2*period),
	}
	p.phases[0] = newLoess(longest, s.Seasonal, true)
	p.phases[1] = p.phases[0]
	if shortest := n / period; shortest < longest {
		p.phases[1] = newLoess(shortest, s.Seasonal, true)
	}
	for i := range p.weight {
		p.weight[i] = 1
	}
	return p
}

// run makes one pass from the trend to a new season and a new trend.
func (p *stlPass) run(weighted bool) {
	n := len(p.y)
	weight := p.weight
	if !weighted {
		weight = nil
	}
	p.smoothPhases(weight)

	// What is slower than a season is not the season's.
	once := movingAverage(p.scratch, p.cycle, p.period)
	twice := movingAverage(p.rest, once, p.period)
	thrice := movingAverage(p.scratch, twice, 3)
	p.low.smooth(p.rest[:n], thrice, nil)
	for i := range p.seasonal {
		p.seasonal[i] = p.cycle[p.period+i] - p.rest[i]
	}

	deseasonalised := p.scratch[:n]
	for i, v := range p.y {
		deseasonalised[i] = v - p.seasonal[i]
	}
	p.smooth.smooth(p.trend, deseasonalised, weight)
}

// smoothPhases fills cycle with the smoothed phases of the detrended series.
func (p *stlPass) smoothPhases(weight []float64) {
	n := len(p.y)
	for phase := range p.period {
		k := 0
		for i := phase; i < n; i += p.period {
			p.phase[k] = p.y[i] - p.trend[i]
			if weight != nil {
				p.phaseWeight[k] = weight[i]
			}
			k++
		}
		smoother := p.phases[0]
		if k < len(p.phase) {
			smoother = p.phases[1]
		}
		var phaseWeight []float64
		if weight != nil {
			phaseWeight = p.phaseWeight[:k]
		}
		smoothed := p.scratch[:k+2]
		smoother.smoothBeyond(smoothed, p.phase[:k], phaseWeight)
		for j, v := range smoothed {
			p.cycle[j*p.period+phase] = v
		}
	}
}

// reweigh takes weight from the points that the last pass left far away: the
// bisquare of the distance in units of six times the median distance.
func (p *stlPass) reweigh() {
	n := len(p.y)
	distance := p.scratch[:n]
	for i, v := range p.y {
		distance[i] = math.Abs(v - (p.trend[i] + p.seasonal[i]))
	}
	ordered := p.rest[:n]
	copy(ordered, distance)
	upper := n / 2
	lower := n - upper - 1
	h := selectRank(ordered, upper)
	if lower == upper {
		h += h
	} else {
		h += slices.Max(ordered[:upper]) // lower is upper-1
	}
	h *= 3
	for i, d := range distance {
		switch {
		case d <= 0.001*h:
			p.weight[i] = 1
		case d <= 0.999*h:
			u := d / h
			u = 1 - u*u
			p.weight[i] = u * u
		default:
			p.weight[i] = 0
		}
	}
}

// movingAverage writes the means of every k neighbours to dst and returns them.
func movingAverage(dst, x []float64, k int) []float64 {
	dst = dst[:len(x)-k+1]
	sum := 0.0
	for _, v := range x[:k] {
		sum += v
	}
	dst[0] = sum / float64(k)
	for i := 1; i < len(dst); i++ {
		sum += x[i+k-1] - x[i-1]
		dst[i] = sum / float64(k)
	}
	return dst
}
