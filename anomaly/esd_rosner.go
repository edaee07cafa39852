package anomaly

import (
	"math"
	"slices"
)

// ESD is the generalised extreme Studentised deviate test for many outliers:
// Rosner (1983), Percentage Points for a Generalized ESD Many-Outlier
// Procedure, Technometrics 25(2). It takes away the value farthest from the
// centre, again and again, each time in units of the scatter of those left, and
// then finds the last that was too far to be one of a normal sample. Those
// before it are outliers too, even where they hid each other.
//
// n values and m steps cost O(n log n + m log n), for nothing but the ends of
// the ordered values is ever taken away.
type ESD struct {
	// Alpha is the chance of finding an outlier in a normal sample.
	Alpha float64

	Tails Tails

	// Moments measures by mean and standard deviation, as Rosner does. Otherwise
	// it is by median and median absolute deviation, which the outliers do not
	// widen (S-H-ESD).
	Moments bool
}

// Tails says on which side of the centre outliers are looked for.
type Tails uint8

// The tails.
const (
	BothTails Tails = iota
	UpperTail
	LowerTail
)

func (t Tails) String() string {
	return [...]string{"both", "upper", "lower"}[t]
}

// ESDStep is the removal of one value.
type ESDStep struct {
	Index  int     // of the value, counted from 0
	Centre float64 // of the values until then
	Scale  float64
	R      float64 // how far the value is from the centre, in scales
}

// Steps takes away the farthest value up to most times, and returns what was
// taken. It ends early when what is left has no scatter, or no two values. x
// must be finite.
func (e ESD) Steps(x []float64, most int) []ESDStep { return e.steps(x, most, nil) }

// steps is Steps for values of which some go together: with the value i go
// those that together(i) names.
func (e ESD) steps(x []float64, most int, together func(i int) []int) []ESDStep {
	left := newExtremes(x)
	var moments *moments
	if e.Moments {
		moments = newMoments(x)
	}
	var steps []ESDStep
	// Two degrees of freedom go at the last step, and one is needed.
	for most = min(most, len(x)-2); len(steps) < most && left.len() > 0; {
		var s ESDStep
		if e.Moments {
			s.Centre, s.Scale = moments.mean(), moments.deviation()
		} else {
			s.Centre = left.median()
			s.Scale = madOfNormal * left.medianDistance(s.Centre)
		}
		if !(s.Scale > 0) {
			break
		}
		s.Index, s.R = left.take(func(v float64) float64 {
			return e.Tails.beyond(v, s.Centre) / s.Scale
		})
		steps = append(steps, s)
		if e.Moments {
			moments.remove(x[s.Index])
		}
		if together == nil {
			continue
		}
		for _, i := range together(s.Index) {
			left.drop(x[i], i)
			if e.Moments {
				moments.remove(x[i])
			}
		}
	}
	return steps
}

// madOfNormal times the median absolute deviation is the standard deviation of
// a normal sample.
const madOfNormal = 1.4826

// beyond is how far v lies from the centre on the side that counts.
func (t Tails) beyond(v, centre float64) float64 {
	switch t {
	case UpperTail:
		return v - centre
	case LowerTail:
		return centre - v
	}
	return math.Abs(v - centre)
}

// Critical returns what R must exceed at a step, counted from 0, over n values
// for the steps up to it to be outliers.
func (e ESD) Critical(n, step int) float64 {
	left := float64(n - step) // the values before the step
	p := 1 - e.Alpha/left
	if e.Tails == BothTails {
		p = 1 - e.Alpha/(2*left)
	}
	t := studentQuantile(1-p, left-2)
	return t * (left - 1) / math.Sqrt((left-2+t*t)*left)
}

// Outliers returns how many of the steps over n values took outliers: all up to
// the last whose R exceeds its critical value.
func (e ESD) Outliers(n int, steps []ESDStep) int {
	// The more values, the larger the critical value. So a step that does not
	// exceed the one of a later step does not exceed its own, and few are needed.
	least := math.Inf(-1)
	for i, s := range slices.Backward(steps) {
		if s.R <= least {
			continue
		}
		if least = e.Critical(n, i); s.R > least {
			return i + 1
		}
	}
	return 0
}

// moments are the mean and the standard deviation of a set of numbers from
// which numbers are taken. The sums have twice the usual digits, for what is
// taken first is what is largest, and its rounding must not stay behind.
type moments struct {
	n      int
	shift  float64 // what the numbers are measured from
	sum    twofold
	square twofold
}

func newMoments(x []float64) *moments {
	m := &moments{n: len(x)}
	if len(x) > 0 {
		m.shift = selectRank(slices.Clone(x), len(x)/2)
	}
	for _, v := range x {
		m.add(v, 1)
	}
	return m
}

func (m *moments) remove(v float64) {
	m.n--
	m.add(v, -1)
}

func (m *moments) add(v, sign float64) {
	v -= m.shift
	m.sum.add(sign * v)
	square := v * v
	m.square.add(sign * square)
	m.square.add(sign * math.FMA(v, v, -square))
}

func (m *moments) mean() float64 { return m.shift + m.sum.value()/float64(m.n) }

func (m *moments) deviation() float64 {
	if m.n < 2 {
		return 0
	}
	mean := m.sum.value() / float64(m.n)
	return math.Sqrt(max(0, m.square.value()-m.sum.value()*mean) / float64(m.n-1))
}

// twofold is a sum that keeps what rounding takes away.
type twofold struct{ high, low float64 }

func (t *twofold) add(v float64) {
	sum := t.high + v
	back := sum - t.high
	t.low += (t.high - (sum - back)) + (v - back)
	t.high = sum
}

func (t *twofold) value() float64 { return t.high + t.low }
