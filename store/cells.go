package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/weir-stream/weir"
)

// Cells returns the selected cells as the given stream sees them: a dimension
// that the segment does not have is "", one that the stream no longer has is
// left out, and a measure of another definition is not present. Where leaving
// out a dimension joins series, their cells stand side by side, several of one
// window.
//
// It reads the columns that are needed, and of row groups that no selected
// window falls in, nothing.
func (s *Segment) Cells(ctx context.Context, stream *weir.Stream, sel weir.Selection) (*weir.Cells, error) {
	cells, err := s.cells(ctx, stream, sel)
	if err != nil {
		return nil, fmt.Errorf("read segment %s: %w", s.name, err)
	}
	return cells, nil
}

func (s *Segment) cells(ctx context.Context, stream *weir.Stream, sel weir.Selection) (*weir.Cells, error) {
	r := &cellReader{segment: s, stream: stream, sel: sel}
	r.plan()
	if s.file.NumRows() > 0 {
		object, err := s.bucket.Open(ctx, s.name)
		if err != nil {
			return nil, err
		}
		defer object.Close()
		if object.Size() != s.size {
			return nil, damaged("it has %d bytes, it had %d", object.Size(), s.size)
		}
		blocks := &checked{ctx: ctx, object: object, end: s.end, name: s.name}
		for i, group := range s.file.RowGroups() {
			blocks.forget()
			g := &groupReader{segment: s, blocks: blocks, ordinal: i, rows: group.NumRows(), chunks: group.ColumnChunks()}
			if err := r.readGroup(g); err != nil {
				return nil, readError(err)
			}
		}
	}
	r.out.Starts = append(r.out.Starts, len(r.out.Window))
	if r.joins {
		sortSeries(&r.out)
	}
	return &r.out, nil
}

// readError makes what the Parquet library says of checked bytes ErrDamaged:
// they are what was written, and still it cannot read them.
func readError(err error) error {
	if errors.Is(err, parquet.ErrCorrupted) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// cellReader reads the selected cells of one segment, row group by row group.
type cellReader struct {
	segment *Segment
	stream  *weir.Stream
	sel     weir.Selection
	out     weir.Cells

	window, count int
	stored        []int   // columns of the segment's dimensions
	dimensions    []int   // column of each of the stream's dimensions, -1 where it has none
	measures      [][]int // columns of each of the stream's measures that is read: numbers, then the sketch
	joins         bool    // a stored dimension is left out, or the order of series is another

	asked  []string // the series that Match was asked about last
	answer bool

	needed []int // columns of cells, without window and dimensions
	ranges []rowRange
}

// plan finds the columns of what is asked for.
func (r *cellReader) plan() {
	d := &r.segment.meta.Definition
	r.out.Width = int64(d.Window)
	r.out.Measures = make([]weir.Column, len(r.stream.Measures))
	r.measures = make([][]int, len(r.stream.Measures))
	r.dimensions = make([]int, len(r.stream.Dimensions))
	r.stored = make([]int, len(d.Dimensions))
	for i := range r.segment.columns {
		switch c := &r.segment.columns[i]; c.role {
		case roleWindow:
			r.window = i
		case roleCount:
			r.count = i
		case roleDimension:
			r.stored[c.index] = i
		}
	}
	r.needed = append(r.needed, r.count)
	found := 0
	for i, dim := range r.stream.Dimensions {
		r.dimensions[i] = -1
		if at := d.dimension(dim.Name); at >= 0 {
			r.dimensions[i] = r.stored[at]
			found++
		}
	}
	// Also where the order of dimensions changed, the order of series did.
	r.joins = found < len(r.stored) || !slices.IsSorted(slices.DeleteFunc(slices.Clone(r.dimensions), func(i int) bool { return i < 0 }))
	for i, m := range r.stream.Measures {
		at := d.measure(m, r.stream.Seed)
		if !r.sel.Wants(i) || at < 0 {
			continue
		}
		r.out.Measures[i].Present = true
		for j := range r.segment.columns {
			c := &r.segment.columns[j]
			if c.index != at {
				continue
			}
			switch c.role {
			case roleSketch:
				if !r.sel.WantsSketch(i) && m.Kind.Numeric() {
					continue
				}
			case roleValues, roleSum, roleMin, roleMax:
			default:
				continue
			}
			r.measures[i] = append(r.measures[i], j)
			r.needed = append(r.needed, j)
		}
	}
}

// readGroup reads what is needed first: the dimensions, then, if any series is
// wanted, the windows, unless all of the group are, and then the rest.
func (r *cellReader) readGroup(g *groupReader) error {
	low, high, ok := g.windowBounds(r.window)
	if ok && (high < r.sel.From || low >= r.sel.To) {
		return nil
	}
	all := []rowRange{{0, g.rows}}
	everyWindow := ok && r.sel.From <= low && high < r.sel.To
	if everyWindow && r.sel.Match == nil {
		// Nothing can be left out: fetch all at once.
		if err := g.load(slices.Concat(r.stored, []int{r.window}, r.needed), all); err != nil {
			return err
		}
	}
	if err := g.load(r.stored, all); err != nil {
		return err
	}
	runs, err := r.readSeries(g)
	if err != nil || len(runs) == 0 {
		return err
	}
	if err := g.load([]int{r.window}, all); err != nil {
		return err
	}
	windows, err := g.ints(nil, r.window, all)
	if err != nil {
		return err
	}
	r.selectRows(runs, windows, everyWindow)
	if len(r.ranges) == 0 {
		return nil
	}
	if err := g.load(r.needed, r.ranges); err != nil {
		return err
	}
	r.reserve(g)
	return r.readColumns(g)
}

// reserve makes room for as many rows of this and each further group as are
// selected of this one.
func (r *cellReader) reserve(g *groupReader) {
	rows := 0
	for _, x := range r.ranges {
		rows += int(x.hi - x.lo)
	}
	rows *= len(g.segment.file.RowGroups()) - g.ordinal
	r.out.Count = room(r.out.Count, rows)
	for i, columns := range r.measures {
		out := &r.out.Measures[i]
		for _, j := range columns {
			switch r.segment.columns[j].role {
			case roleValues:
				out.Values = room(out.Values, rows)
			case roleSum:
				out.Sum = room(out.Sum, rows)
			case roleMin:
				out.Min = room(out.Min, rows)
			case roleMax:
				out.Max = room(out.Max, rows)
			case roleSketch:
				out.Sketch = room(out.Sketch, rows)
			}
		}
	}
}

// room grows a slice by doubling where append would add a quarter.
func room[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, len(s)))
}

func (r *cellReader) readColumns(g *groupReader) (err error) {
	if r.out.Count, err = g.ints(r.out.Count, r.count, r.ranges); err != nil {
		return err
	}
	for i, columns := range r.measures {
		out := &r.out.Measures[i]
		for _, j := range columns {
			switch r.segment.columns[j].role {
			case roleValues:
				out.Values, err = g.ints(out.Values, j, r.ranges)
			case roleSum:
				out.Sum, err = g.floats(out.Sum, j, r.ranges)
			case roleMin:
				out.Min, err = g.floats(out.Min, j, r.ranges)
			case roleMax:
				out.Max, err = g.floats(out.Max, j, r.ranges)
			case roleSketch:
				out.Sketch, err = g.bytes(out.Sketch, j, r.ranges)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// selectRows finds the rows of the selected windows, and appends their series
// and windows to the cells.
func (r *cellReader) selectRows(runs []seriesRun, windows []int64, everyWindow bool) {
	r.ranges = r.ranges[:0]
	for _, run := range runs {
		lo, hi := run.lo, run.hi
		if !everyWindow {
			of := windows[lo:hi]
			from, _ := slices.BinarySearch(of, r.sel.From)
			to, _ := slices.BinarySearch(of, r.sel.To)
			lo, hi = run.lo+int64(from), run.lo+int64(to)
		}
		if lo >= hi {
			continue
		}
		if n := len(r.out.Series); n == 0 || !slices.Equal(r.out.Series[n-1], run.dims) {
			r.out.Series = append(r.out.Series, run.dims)
			r.out.Starts = append(r.out.Starts, len(r.out.Window))
		}
		r.out.Window = append(r.out.Window, windows[lo:hi]...)
		if n := len(r.ranges); n > 0 && r.ranges[n-1].hi == lo {
			r.ranges[n-1].hi = hi
		} else {
			r.ranges = append(r.ranges, rowRange{lo, hi})
		}
	}
}

// seriesRun is a run of rows of one series.
type seriesRun struct {
	rowRange
	dims []string
}

// readSeries reads the dimensions of a row group and returns its selected
// series. Series that the stream cannot
// tell apart but the segment does stay runs of their own, since their windows
// begin anew.
func (r *cellReader) readSeries(g *groupReader) ([]seriesRun, error) {
	starts := []int64{0}
	columns := make([]dimensionRuns, len(r.segment.columns))
	for _, i := range r.stored {
		runs, err := g.dimension(i)
		if err != nil {
			return nil, err
		}
		columns[i] = runs
		starts = append(starts, runs.starts...)
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	var selected []seriesRun
	values := make([]string, len(starts)*len(r.dimensions))
	at := make([]int, len(columns))
	for i, lo := range starts {
		hi := g.rows
		if i+1 < len(starts) {
			hi = starts[i+1]
		}
		dims := values[:len(r.dimensions):len(r.dimensions)]
		values = values[len(r.dimensions):]
		for d, j := range r.dimensions {
			if j < 0 {
				continue
			}
			c := &columns[j]
			for at[j]+1 < len(c.starts) && c.starts[at[j]+1] <= lo {
				at[j]++
			}
			dims[d] = c.values[at[j]]
		}
		if r.matches(dims) {
			selected = append(selected, seriesRun{rowRange: rowRange{lo, hi}, dims: dims})
		}
	}
	return selected, nil
}

// matches asks once for each series, also where it goes on in the next row group.
func (r *cellReader) matches(dims []string) bool {
	if r.sel.Match == nil {
		return true
	}
	if r.asked == nil || !slices.Equal(r.asked, dims) {
		r.asked, r.answer = dims, r.sel.Match(dims)
	}
	return r.answer
}

// sortSeries puts the runs of one series together and all into order.
func sortSeries(c *weir.Cells) {
	rows := make([]int, c.Rows())
	of := make([]int, c.Rows())
	for s := range c.Series {
		for i := c.Starts[s]; i < c.Starts[s+1]; i++ {
			rows[i], of[i] = i, s
		}
	}
	order := make([]int, len(c.Series))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(c.Series[a], c.Series[b]) })
	rank := make([]int, len(c.Series))
	var series [][]string
	for _, s := range order {
		if n := len(series); n == 0 || !slices.Equal(series[n-1], c.Series[s]) {
			series = append(series, c.Series[s])
		}
		rank[s] = len(series) - 1
	}
	slices.SortStableFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank[of[a]], rank[of[b]]), cmp.Compare(c.Window[a], c.Window[b]))
	})
	starts := make([]int, 0, len(series)+1)
	for i, row := range rows {
		if rank[of[row]] == len(starts) {
			starts = append(starts, i)
		}
	}
	c.Series, c.Starts = series, append(starts, len(rows))
	c.Window, c.Count = permute(c.Window, rows), permute(c.Count, rows)
	for i := range c.Measures {
		m := &c.Measures[i]
		m.Values, m.Sum, m.Min, m.Max = permute(m.Values, rows), permute(m.Sum, rows), permute(m.Min, rows), permute(m.Max, rows)
		m.Sketch = permute(m.Sketch, rows)
	}
}

func permute[T any](values []T, rows []int) []T {
	if values == nil {
		return nil
	}
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = values[row]
	}
	return out
}
