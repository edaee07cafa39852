package query

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/weir-stream/weir"
)

// merger folds batches of cells into a grid of slots, one for each group and
// bucket:
//
//	            bucket 0   1   2   3
//	group 0 JFK      [ 0   1   2   3 ]
//	group 1 LAX      [ 4   5   6   7 ]      slot = group × buckets + bucket
//
// What is exact is added up at once. Sketches stay as the bytes they came in
// until all are there, and each slot is then merged in one go, in the order of
// the batches: on its own a t-digest would be compressed once for each batch
// instead of once. If the bytes held pass the limit, every slot's are merged
// into one sketch before reading goes on.
//
// A merger is one goroutine's until all batches are added.
type merger struct {
	plan    *plan
	span    span
	buckets int
	points  int

	groups map[string]int // by the values grouped by, each preceded by its length
	values [][]string     // of each group
	key    []byte         // scratch

	count    []int64
	numbers  []numbers // parallel to stream.Measures; empty unless asked for
	sketches []bool    // measures whose sketches are asked for
	batches  []batch
	bytes    int64 // of sketches in batches

	cells    int64
	overflow bool         // the overflow series had cells in the range
	missing  map[int]bool // measures that some cells of the range were stored without
}

// numbers are the exact columns of one measure, a value for each slot.
type numbers struct {
	values   []int64
	sum      []float64
	lost     []float64 // what rounding took from sum (Neumaier)
	min, max []float64
}

// batch is the sketches of one batch of cells and the slot of each row, -1
// where the row is outside the range.
type batch struct {
	slots    []int32
	sketches [][][]byte // parallel to stream.Measures; nil unless asked for
}

func newMerger(p *plan, s span) *merger {
	m := &merger{
		plan: p, span: s, buckets: s.buckets(), points: s.points(),
		groups:   make(map[string]int),
		numbers:  make([]numbers, len(p.stream.Measures)),
		sketches: make([]bool, len(p.stream.Measures)),
		missing:  make(map[int]bool),
	}
	for _, c := range p.columns {
		if c.measure >= 0 && !c.Function.Exact() {
			m.sketches[c.measure] = true
		}
	}
	if len(p.by) == 0 {
		m.addGroup(nil) // there is an answer even without an event: zero
	}
	return m
}

// add folds one batch in. The merger keeps its sketches.
func (m *merger) add(c *weir.Cells) error {
	slots, err := m.slotsOf(c)
	if err != nil {
		return err
	}
	kept := batch{slots: slots, sketches: make([][][]byte, len(c.Measures))}
	keep := false
	for row, slot := range slots {
		if slot >= 0 {
			m.count[slot] += c.Count[row]
			m.cells++
			keep = true
		}
	}
	if !keep {
		return nil
	}
	if m.cells > m.plan.limits.Cells {
		return tooManyCells(m.plan.limits.Cells)
	}
	keep = false
	for measure, wanted := range m.plan.wanted {
		if !wanted {
			continue
		}
		if measure >= len(c.Measures) || !c.Measures[measure].Present {
			m.missing[measure] = true
			continue
		}
		column := &c.Measures[measure]
		if len(column.Values) > 0 {
			m.addNumbers(measure, column, slots)
		}
		if m.sketches[measure] {
			kept.sketches[measure] = column.Sketch
			keep = true
			for _, encoded := range column.Sketch {
				m.bytes += int64(len(encoded)) + sliceBytes
			}
		}
	}
	if keep {
		m.batches = append(m.batches, kept)
	}
	return nil
}

const sliceBytes = 24 // of a slice's header

func tooManyCells(limit int64) error {
	return exceeded(ErrTooManyCells, "the question reads more than the limit of %d; ask for a shorter range, or filter with where", limit)
}

// slotsOf finds the slot of every row, a series at a time.
func (m *merger) slotsOf(c *weir.Cells) ([]int32, error) {
	slots := make([]int32, c.Rows())
	for i, dims := range c.Series {
		group := -1
		bucket, bucketStart, bucketEnd := 0, int64(math.MaxInt64), int64(math.MinInt64) // of the row before
		for row := c.Starts[i]; row < c.Starts[i+1]; row++ {
			window := c.Window[row]
			if window < m.span.kept || window >= m.span.to {
				slots[row] = -1
				continue
			}
			if group < 0 {
				var err error
				if group, err = m.groupOf(dims); err != nil {
					return nil, err
				}
			}
			if window < bucketStart || window >= bucketEnd {
				bucket = int((window - m.span.read) / m.span.bucket)
				bucketStart = m.span.read + int64(bucket)*m.span.bucket
				bucketEnd = bucketStart + m.span.bucket
			}
			slots[row] = int32(group*m.buckets + bucket)
		}
	}
	return slots, nil
}

// groupOf returns the group of a series.
func (m *merger) groupOf(dims []string) (int, error) {
	if len(dims) > 0 && !slices.ContainsFunc(dims, func(d string) bool { return d != weir.Other }) {
		m.overflow = true
	}
	if len(m.plan.by) == 0 {
		return 0, nil
	}
	m.key = m.key[:0]
	for _, at := range m.plan.by {
		m.key = binary.AppendUvarint(m.key, uint64(len(dims[at])))
		m.key = append(m.key, dims[at]...)
	}
	if group, ok := m.groups[string(m.key)]; ok {
		return group, nil
	}
	limits := m.plan.limits
	if len(m.values) >= limits.Series {
		return 0, exceeded(ErrTooManySeries, "by %s makes more than the limit of %d; group by fewer dimensions, or filter with where",
			list(m.plan.request.By), limits.Series)
	}
	if (len(m.values)+1)*max(m.buckets, m.points) > limits.Points {
		return 0, exceeded(ErrTooManyPoints, "%d series of %d points; the limit is %d over all series: ask for a longer step, a shorter range or fewer series",
			len(m.values)+1, max(m.buckets, m.points), limits.Points)
	}
	values := make([]string, len(m.plan.by))
	for i, at := range m.plan.by {
		values[i] = dims[at]
	}
	m.groups[string(m.key)] = len(m.values)
	m.addGroup(values)
	return len(m.values) - 1, nil
}

// addGroup makes the slots of a further group.
func (m *merger) addGroup(values []string) {
	m.values = append(m.values, values)
	m.count = grown(m.count, m.buckets)
	for _, c := range m.plan.columns {
		if n := c.measure; n >= 0 && c.Function.Exact() && len(m.numbers[n].sum) < len(m.count) {
			m.numbers[n].grow(m.buckets)
		}
	}
}

func grown[T any](s []T, n int) []T { return append(s, make([]T, n)...) }

func (n *numbers) grow(by int) {
	n.values, n.sum, n.lost = grown(n.values, by), grown(n.sum, by), grown(n.lost, by)
	n.min, n.max = grown(n.min, by), grown(n.max, by)
	for i := len(n.min) - by; i < len(n.min); i++ {
		n.min[i], n.max[i] = math.Inf(1), math.Inf(-1)
	}
}

func (m *merger) addNumbers(measure int, c *weir.Column, slots []int32) {
	n := &m.numbers[measure]
	if len(n.sum) == 0 {
		return // only its sketch is asked for
	}
	for row, slot := range slots {
		if slot < 0 || c.Values[row] == 0 {
			continue
		}
		n.values[slot] += c.Values[row]
		sum, x := n.sum[slot], c.Sum[row]
		total := sum + x
		if math.Abs(sum) >= math.Abs(x) {
			n.lost[slot] += (sum - total) + x
		} else {
			n.lost[slot] += (x - total) + sum
		}
		n.sum[slot] = total
		n.min[slot] = min(n.min[slot], c.Min[row])
		n.max[slot] = max(n.max[slot], c.Max[row])
	}
}

// index lists the rows of every slot, in the order of the batches.
type index struct {
	starts []int32 // of each slot's rows, and their number
	batch  []int32
	row    []int32
}

func (m *merger) index() index {
	x := index{starts: make([]int32, len(m.count)+1)}
	for _, b := range m.batches {
		for _, slot := range b.slots {
			if slot >= 0 {
				x.starts[slot+1]++
			}
		}
	}
	for slot := range m.count {
		x.starts[slot+1] += x.starts[slot]
	}
	total := x.starts[len(m.count)]
	x.batch, x.row = make([]int32, total), make([]int32, total)
	next := slices.Clone(x.starts)
	for i, b := range m.batches {
		for row, slot := range b.slots {
			if slot >= 0 {
				x.batch[next[slot]], x.row[next[slot]] = int32(i), int32(row)
				next[slot]++
			}
		}
	}
	return x
}

// mergeInto merges a measure's sketches of the slots [first, last).
func (m *merger) mergeInto(s sketcher, measure int, x *index, first, last int) error {
	for i := x.starts[first]; i < x.starts[last]; i++ {
		column := m.batches[x.batch[i]].sketches[measure]
		if column == nil {
			continue
		}
		encoded := column[x.row[i]]
		if len(encoded) == 0 {
			continue
		}
		if err := s.MergeBinary(encoded); err != nil {
			return fmt.Errorf("merge the %s of %q: %w", m.plan.stream.Measures[measure].Kind, m.plan.stream.Measures[measure].Name, err)
		}
	}
	return nil
}
