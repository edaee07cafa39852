package query

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// sketcher is a sketch that other sketches are merged into, used again and
// again by one goroutine.
type sketcher interface {
	MergeBinary(encoded []byte) error
	AppendBinary(dst []byte) []byte
	Reset()
}

// settler is a sketch that puts off work until it is asked, and would then do
// it for every question.
type settler interface{ Settle() }

// newSketcher makes the sketch into which cells of a measure are merged.
func newSketcher(s *weir.Stream, m weir.Measure) sketcher {
	switch m.Kind {
	case weir.Quantile:
		if m.Params.Sketch == weir.DDSketch {
			return sketch.NewDDSketch(m.Params.Scale)
		}
		return sketch.NewTDigest(m.Params.Compression)
	case weir.Distinct:
		return sketch.NewHLL(m.Params.Precision, s.Seed)
	case weir.Top:
		// The union of cells that are exact, each having fewer items than slots,
		// may have more. With room for them nothing is lost.
		return sketch.NewTop(max(topRoom*m.Params.Slots, minTopSlots))
	case weir.Frequency:
		return sketch.NewFrequency(m.Params.Epsilon, m.Params.Delta, s.Seed)
	}
	panic(fmt.Sprintf("query: measure %q of kind %v has no sketch", m.Name, m.Kind))
}

const (
	maxBins     = 1000 // of a histogram: finer ones are joined
	topRoom     = 8    // slots of a merged top for each of a cell's
	minTopSlots = 1024
)

// evaluate makes the series of the answer, sorted by their values.
func (m *merger) evaluate(ctx context.Context) ([]Series, error) {
	if m.span.window > m.span.step {
		// Windows overlap: each bucket is merged once, and then into each of them.
		if err := m.condense(ctx); err != nil {
			return nil, err
		}
	}
	times := make([]int64, m.points)
	for i := range times {
		times[i] = m.span.from + int64(i)*m.span.step
	}
	series := make([]Series, len(m.values))
	for group := range series {
		series[group] = Series{By: m.values[group], T: times, Columns: make([]Column, len(m.plan.columns))}
		for i, c := range m.plan.columns {
			series[group].Columns[i] = newColumn(c.Expression, m.points)
			if c.Function.Exact() {
				m.exactColumn(&series[group].Columns[i], c, group)
			}
		}
	}
	x := m.index()
	for measure, wanted := range m.sketches {
		if !wanted {
			continue
		}
		err := m.inParallel(ctx, len(series)*m.points, m.evaluator(measure, &x, series))
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(series, func(a, b Series) int { return slices.Compare(a.By, b.By) })
	return series, nil
}

// exactColumn fills a column of one group from its slots.
func (m *merger) exactColumn(out *Column, c column, group int) {
	base := group * m.buckets
	for point := range m.points {
		first, last := m.span.bucketsOf(point)
		first, last = first+base, last+base
		switch c.Function {
		case Count, Rate:
			events := int64(0)
			for slot := first; slot < last; slot++ {
				events += m.count[slot]
			}
			out.Value[point] = float64(events)
			if c.Function == Rate {
				out.Value[point] /= time.Duration(m.span.window).Seconds()
			}
		default:
			out.Value[point] = m.numbers[c.measure].over(c.Function, first, last)
		}
	}
}

// over answers a function for the slots [first, last): NaN for the extremes and
// mean of no values.
func (n *numbers) over(f Function, first, last int) float64 {
	var values int64
	sum, lost, least, greatest := 0.0, 0.0, math.Inf(1), math.Inf(-1)
	for slot := first; slot < last; slot++ {
		if n.values[slot] == 0 {
			continue
		}
		values += n.values[slot]
		total := sum + n.sum[slot]
		if math.Abs(sum) >= math.Abs(n.sum[slot]) {
			lost += (sum - total) + n.sum[slot]
		} else {
			lost += (n.sum[slot] - total) + sum
		}
		sum = total
		lost += n.lost[slot]
		least, greatest = min(least, n.min[slot]), max(greatest, n.max[slot])
	}
	switch {
	case f == Sum:
		return sum + lost
	case values == 0:
		return math.NaN()
	case f == Min:
		return least
	case f == Max:
		return greatest
	case f == Mean:
		return (sum + lost) / float64(values)
	}
	panic(fmt.Sprintf("query: %q is no exact function of a measure", f))
}

// evaluator returns what merges one measure at one point and asks it all that
// was selected of it. Each goroutine takes its own.
func (m *merger) evaluator(measure int, x *index, series []Series) func() func(int) error {
	var asked []int // columns
	for i, c := range m.plan.columns {
		if c.measure == measure && !c.Function.Exact() {
			asked = append(asked, i)
		}
	}
	hashes := make(map[int]uint64) // of items, by column
	for _, i := range asked {
		if c := m.plan.columns[i]; c.Function == Frequency {
			hashes[i] = sketch.HashString(m.plan.stream.Seed, c.Item)
		}
	}
	return func() func(int) error {
		merged := newSketcher(m.plan.stream, m.plan.stream.Measures[measure])
		return func(n int) error {
			group, point := n/m.points, n%m.points
			first, last := m.span.bucketsOf(point)
			merged.Reset()
			if err := m.mergeInto(merged, measure, x, group*m.buckets+first, group*m.buckets+last); err != nil {
				return err
			}
			if s, ok := merged.(settler); ok {
				s.Settle()
			}
			for _, i := range asked {
				c := &m.plan.columns[i]
				ask(merged, c, hashes[i], m.plan.request.Confidence, &series[group].Columns[i], point)
			}
			return nil
		}
	}
}

// ask puts one expression to a merged sketch.
func ask(s sketcher, c *column, hash uint64, confidence float64, out *Column, point int) {
	switch s := s.(type) {
	case sketch.Quantiles:
		if c.Function == Histogram {
			out.Bins[point] = s.Histogram(maxBins).Bins
			return
		}
		if s.Count() == 0 {
			return // there is none: newColumn said so
		}
		if c.Function == Rank {
			out.set(point, s.Rank(c.Value, confidence))
		} else {
			out.set(point, s.Quantile(c.Quantile, confidence))
		}
	case *sketch.HLL:
		out.set(point, s.Estimate(confidence))
	case *sketch.Top:
		out.Items[point] = s.Items(c.N)
	case *sketch.Frequency:
		out.set(point, s.Estimate(hash, confidence))
	default:
		panic(fmt.Sprintf("query: a %T was asked for %q", s, c.Function))
	}
}

// condense merges the sketches of each slot into one, in place of all batches.
func (m *merger) condense(ctx context.Context) error {
	x := m.index()
	next := batch{slots: make([]int32, len(m.count)), sketches: make([][][]byte, len(m.sketches))}
	for slot := range next.slots {
		next.slots[slot] = int32(slot)
	}
	for measure, wanted := range m.sketches {
		if !wanted {
			continue
		}
		encoded := make([][]byte, len(m.count))
		next.sketches[measure] = encoded
		err := m.inParallel(ctx, len(m.count), func() func(int) error {
			merged := newSketcher(m.plan.stream, m.plan.stream.Measures[measure])
			return func(slot int) error {
				if x.starts[slot] == x.starts[slot+1] {
					return nil
				}
				merged.Reset()
				err := m.mergeInto(merged, measure, &x, slot, slot+1)
				encoded[slot] = slices.Clip(merged.AppendBinary(nil))
				return err
			}
		})
		if err != nil {
			return err
		}
	}
	m.batches, m.bytes = []batch{next}, 0
	for _, encoded := range next.sketches {
		for _, e := range encoded {
			m.bytes += int64(len(e)) + sliceBytes
		}
	}
	return nil
}

// relieve condenses where the bytes held pass the limit, and refuses to go on
// where that frees less than half of it: the next batches would fill it again.
func (m *merger) relieve(ctx context.Context) error {
	limit := m.plan.limits.Bytes
	if m.bytes <= limit {
		return nil
	}
	if err := m.condense(ctx); err != nil {
		return err
	}
	if m.bytes > limit/2 {
		return exceeded(ErrTooMuchMemory, "the sketches of %d series and %d steps take %d bytes when merged; the limit is %d: ask for a longer step, a shorter range or fewer series",
			len(m.values), m.points, m.bytes, limit/2)
	}
	return nil
}

// inParallel calls work for 0 to n-1 in chunks, on as many goroutines as there
// are processors, and returns when all have ended. Each goroutine works with
// what one call of worker returns. Where a value ends up depends on its number
// alone, so the answer doesn't depend on the number of processors.
func (m *merger) inParallel(ctx context.Context, n int, worker func() func(int) error) error {
	processors := runtime.GOMAXPROCS(0)
	chunk := min(max(n/(8*processors), 1), 64)
	chunks := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	for range min(processors, (n+chunk-1)/chunk) {
		g.Go(func() error {
			work := worker()
			for first := range chunks {
				for i := first; i < min(first+chunk, n); i++ {
					if err := work(i); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(chunks)
		for first := 0; first < n; first += chunk {
			select {
			case chunks <- first:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	return g.Wait()
}
