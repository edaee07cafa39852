package query

import (
	"sync/atomic"
	"time"
)

// Limits bound what one question may use. A zero field of [Options] or of a
// [Request] leaves the bound that is there.
type Limits struct {
	Time   time.Duration // from asking to the last value
	Cells  int64         // cells read
	Series int           // series in the answer
	Points int           // values of a column, over all series
	Bytes  int64         // of sketches held at a time
}

// defaultLimits answer a year of hours over a hundred series, and keep one
// question from starving the process.
var defaultLimits = Limits{
	Time:   30 * time.Second,
	Cells:  20_000_000,
	Series: 20_000,
	Points: 1_000_000,
	Bytes:  256 << 20,
}

// over returns the limits with those given in place of the ones that are there.
func (l Limits) over(there Limits) Limits {
	return Limits{
		Time:   choose(l.Time, there.Time),
		Cells:  choose(l.Cells, there.Cells),
		Series: choose(l.Series, there.Series),
		Points: choose(l.Points, there.Points),
		Bytes:  choose(l.Bytes, there.Bytes),
	}
}

// within returns the limits, none wider than those that are there.
func (l Limits) within(there Limits) Limits {
	l = l.over(there)
	return Limits{
		Time:   min(l.Time, there.Time),
		Cells:  min(l.Cells, there.Cells),
		Series: min(l.Series, there.Series),
		Points: min(l.Points, there.Points),
		Bytes:  min(l.Bytes, there.Bytes),
	}
}

func choose[T int | int64 | time.Duration](given, there T) T {
	if given > 0 {
		return given
	}
	return there
}

// Counters count what an engine did since it began.
type Counters struct {
	Questions     int64 // asked
	Cells         int64 // merged
	Refreshes     int64 // of a catalog, because an owner was ahead or a segment was gone
	BadParams     int64
	TooManyCells  int64
	TooManySeries int64
	TooManyPoints int64
	TooMuchMemory int64
	TooLong       int64
	Failed        int64 // for any other reason
}

// counters are those of Counters, while they count.
type counters struct {
	questions, cells, refreshes, badParams                             atomic.Int64
	tooManyCells, tooManySeries, tooManyPoints, tooMuchMemory, tooLong atomic.Int64
	failed                                                             atomic.Int64
}

func (c *counters) read() Counters {
	return Counters{
		Questions:     c.questions.Load(),
		Cells:         c.cells.Load(),
		Refreshes:     c.refreshes.Load(),
		BadParams:     c.badParams.Load(),
		TooManyCells:  c.tooManyCells.Load(),
		TooManySeries: c.tooManySeries.Load(),
		TooManyPoints: c.tooManyPoints.Load(),
		TooMuchMemory: c.tooMuchMemory.Load(),
		TooLong:       c.tooLong.Load(),
		Failed:        c.failed.Load(),
	}
}
