package query

import (
	"math"
	"time"

	"github.com/weir-stream/weir/sketch"
)

// Answer is what a question comes back with: values, and how far they can be
// believed.
type Answer struct {
	Stream     string
	From, To   time.Time     // the range used: the one asked for, widened to whole windows or steps
	Step       time.Duration // 0: one answer over the whole range
	Window     time.Duration // of a point; wider than Step if it slides
	Confidence float64       // of every lower and upper

	Watermark time.Time // event time up to which all partitions are believed complete; zero: unknown
	Complete  bool      // everything of the range has been seen and counted
	Notes     []string  // why not, and whatever else a reader should know; for people

	Offsets  map[string]int64 // of each partition: events below it are counted
	Late     int64            // events that came when their window was believed complete; they are counted
	Rejected map[string]int64 // events that were refused while the range was read, by reason

	By     []string // names of the dimensions grouped by
	Series []Series // sorted by their values
}

// Series are the points of one combination of dimension values. All series of
// an answer have the same points, so that they can be stacked and compared: a
// window without events counts 0. A combination without any event in the range
// is not there; without a group-by, there is always one series.
type Series struct {
	By      []string // values, parallel to Answer.By
	T       []int64  // Unix nanoseconds. The point at t tells of [t+step-window, t+step), or [from, to) without a step
	Columns []Column // parallel to what was selected
}

// Column is one expression's values at each point of a series.
//
// Scalars are in Value, where NaN stands for "there is none" (the quantile of
// no values) and is written as null. Lower and Upper are nil for functions that
// are exact by nature (count, rate, sum, min, max, mean): there the value is its
// own bounds, and JSON and CSV leave them out. Every estimate has both, equal to
// the value while the sketch is exact. Lists carry their bounds within.
type Column struct {
	Name                string
	Value, Lower, Upper []float64
	Items               [][]sketch.TopItem // of top, in place of Value
	Bins                [][]sketch.Bin     // of histogram, in place of Value
}

// At returns the estimate at a point. Of an exact column, the bounds are the value.
func (c *Column) At(point int) sketch.Estimate {
	e := sketch.Estimate{Value: c.Value[point], Lower: c.Value[point], Upper: c.Value[point]}
	if c.Lower != nil {
		e.Lower, e.Upper = c.Lower[point], c.Upper[point]
	}
	return e
}

func (c *Column) set(point int, e sketch.Estimate) {
	c.Value[point], c.Lower[point], c.Upper[point] = e.Value, e.Lower, e.Upper
}

// newColumn makes the column of an expression, without a value at any point.
func newColumn(e Expression, points int) Column {
	c := Column{Name: e.text}
	switch {
	case e.Function == Top:
		c.Items = make([][]sketch.TopItem, points)
	case e.Function == Histogram:
		c.Bins = make([][]sketch.Bin, points)
	case e.Function.Exact():
		c.Value = make([]float64, points)
	default:
		all := make([]float64, 3*points)
		for i := range all {
			all[i] = math.NaN()
		}
		c.Value, c.Lower, c.Upper = all[:points:points], all[points:2*points:2*points], all[2*points:]
	}
	return c
}
