package ingest

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// everything selects all cells of a stream, with all their measures.
func everything(s *weir.Stream) weir.Selection {
	all := weir.Selection{From: math.MinInt64, To: math.MaxInt64, Measures: make([]bool, len(s.Measures))}
	for i := range all.Measures {
		all.Measures[i] = true
	}
	return all
}

// cellsOf gives the selected cells in batches of at most rows, in the order of
// weir.Cells.
func (p *piece) cellsOf(sel weir.Selection, rows int) iter.Seq[*weir.Cells] {
	return func(yield func(*weir.Cells) bool) {
		e := encoder{piece: p, sel: &sel, columns: p.scratch}
		if p.frozen {
			p.settle()
			e.columns = newColumns(p.plan) // others may be reading this piece too
		}
		series, bySeries := e.order()
		b := e.batch(min(rows, len(p.cells)))
		for _, s := range series {
			dims := p.dims(int(s))
			begun := false
			for _, n := range bySeries(s) {
				if len(b.Window) == rows {
					b.Starts = append(b.Starts, rows)
					if !yield(b) {
						return
					}
					b = e.batch(rows)
					begun = false
				}
				if !begun {
					b.Series, b.Starts = append(b.Series, dims), append(b.Starts, len(b.Window))
					begun = true
				}
				e.add(b, &p.cells[n])
			}
		}
		if len(b.Window) > 0 {
			b.Starts = append(b.Starts, len(b.Window))
			yield(b)
		}
	}
}

// encoder lays cells out in columns.
type encoder struct {
	piece   *piece
	sel     *weir.Selection
	columns *columns
	arena   []byte // sketches, one behind the other
}

// order gives the selected series that have cells in the selected time, sorted
// by their dimensions, and the cells of each, sorted by window.
func (e *encoder) order() (series []uint32, cells func(uint32) []uint32) {
	p := e.piece
	begin := make([]uint32, len(p.heads)+1)
	for i := range p.cells {
		if c := &p.cells[i]; c.window >= e.sel.From && c.window < e.sel.To {
			begin[c.series+1]++
		}
	}
	for _, s := range p.active {
		if begin[s+1] > 0 && (e.sel.Match == nil || e.sel.Match(p.dims(int(s)))) {
			series = append(series, s)
		}
	}
	slices.SortFunc(series, func(a, b uint32) int {
		for i := range p.series.parts {
			if c := cmp.Compare(p.series.part(int(a), i), p.series.part(int(b), i)); c != 0 {
				return c
			}
		}
		return 0
	})
	for i := range p.heads {
		begin[i+1] += begin[i]
	}
	next := slices.Clone(begin)
	sorted := make([]uint32, begin[len(begin)-1])
	for i := range p.cells {
		if c := &p.cells[i]; c.window >= e.sel.From && c.window < e.sel.To {
			sorted[next[c.series]] = uint32(i)
			next[c.series]++
		}
	}
	byWindow := func(a, b uint32) int { return cmp.Compare(p.cells[a].window, p.cells[b].window) }
	return series, func(s uint32) []uint32 {
		own := sorted[begin[s]:begin[s+1]]
		if !slices.IsSortedFunc(own, byWindow) { // late events opened older windows
			slices.SortFunc(own, byWindow)
		}
		return own
	}
}

// dims copies the dimension values of a series.
func (p *piece) dims(series int) []string {
	dims := make([]string, p.series.parts)
	for i := range dims {
		dims[i] = strings.Clone(p.series.part(series, i))
	}
	return dims
}

// batch begins a batch; its sketches will take about what the last one's took.
func (e *encoder) batch(rows int) *weir.Cells {
	e.arena = make([]byte, 0, len(e.arena)+len(e.arena)/16)
	measures := e.piece.plan.stream.Measures
	b := &weir.Cells{Width: e.piece.width, Measures: make([]weir.Column, len(measures)),
		Window: make([]int64, 0, rows), Count: make([]int64, 0, rows)}
	for i, m := range measures {
		if !e.sel.Wants(i) {
			continue
		}
		c := &b.Measures[i]
		c.Present = true
		if m.Kind.Numeric() {
			c.Values = make([]int64, 0, rows)
			c.Sum, c.Min, c.Max = make([]float64, 0, rows), make([]float64, 0, rows), make([]float64, 0, rows)
		}
		if m.Kind != weir.Sum && e.sel.WantsSketch(i) {
			c.Sketch = make([][]byte, 0, rows)
		}
	}
	return b
}

// add appends a row.
func (e *encoder) add(b *weir.Cells, c *cell) {
	p := e.piece
	measures := p.plan.stream.Measures
	if c.grown != 0 && c.logged > 0 { // only in the owner's hands: settled otherwise
		p.drain(c)
	}
	b.Window = append(b.Window, c.window)
	b.Count = append(b.Count, c.drained+int64(c.logged))
	if c.grown == 0 && c.logged > 0 {
		e.columns.gather(p, c)
	}
	for i := range measures {
		col := &b.Measures[i]
		if !col.Present {
			continue
		}
		m := &measures[i]
		var st *stats
		start := len(e.arena)
		if c.grown != 0 {
			g := &p.grown[int(c.grown-1)*len(measures)+i]
			st = &g.stats
			if col.Sketch != nil {
				e.arena = g.append(e.arena)
			}
		} else {
			if m.Kind.Numeric() {
				st = &e.columns.stats[p.plan.number[i]]
			}
			if col.Sketch != nil {
				e.encode(m, i)
			}
		}
		if m.Kind.Numeric() {
			col.Values = append(col.Values, st.values)
			col.Sum = append(col.Sum, st.total())
			col.Min = append(col.Min, st.min)
			col.Max = append(col.Max, st.max)
		}
		if col.Sketch != nil {
			col.Sketch = append(col.Sketch, e.arena[start:len(e.arena):len(e.arena)])
		}
	}
}

// encode appends the sketch of a measure, straight from the gathered log.
// A measure that saw no value has none.
func (e *encoder) encode(m *weir.Measure, i int) {
	p, col := e.piece, e.columns
	switch m.Kind {
	case weir.Quantile:
		values := col.numbers[p.plan.number[i]]
		switch {
		case len(values) == 0:
		case m.Params.Sketch == weir.DDSketch:
			e.arena = sketch.AppendDDSketch(e.arena, m.Params.Scale, values)
		default:
			e.arena = sketch.AppendTDigest(e.arena, m.Params.Compression, values)
		}
	case weir.Distinct:
		if tokens := col.tokensOf(p, p.plan.item[i]); len(tokens) > 0 {
			e.arena = sketch.AppendHLL(e.arena, m.Params.Precision, p.plan.stream.Seed, tokens)
		}
	case weir.Top:
		if items := col.topOf(p, p.plan.item[i]); len(items) > 0 {
			e.arena = sketch.AppendTop(e.arena, m.Params.Slots, items)
		}
	case weir.Frequency:
		if hashes := col.hashesOf(p, p.plan.item[i]); len(hashes) > 0 {
			e.arena = sketch.AppendFrequency(e.arena, m.Params.Epsilon, m.Params.Delta, p.plan.stream.Seed, hashes)
		}
	}
}

// append appends the encoding of a grown measure.
func (g *grown) append(dst []byte) []byte {
	switch {
	case g.quantiles != nil && g.stats.values > 0:
		return g.quantiles.AppendBinary(dst)
	case g.distinct != nil:
		return g.distinct.AppendBinary(dst)
	case g.top != nil:
		return g.top.AppendBinary(dst)
	case g.frequency != nil:
		return g.frequency.AppendBinary(dst)
	}
	return dst
}
