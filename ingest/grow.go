package ingest

import (
	"math"
	"slices"
	"unicode/utf8"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// grown is one measure of a cell that has outgrown its log. Only what its kind
// needs is set.
type grown struct {
	stats     stats
	quantiles sketch.Quantiles
	distinct  *sketch.HLL
	top       *sketch.Top
	frequency *sketch.Frequency
}

// stats are the exact numbers of a numeric field.
type stats struct {
	values     int64
	sum, carry float64 // Neumaier's compensated sum
	min, max   float64
}

func (s *stats) add(f float64) {
	if s.values == 0 {
		s.min, s.max = f, f
	}
	s.values++
	s.min, s.max = min(s.min, f), max(s.max, f)
	t := s.sum + f
	if math.Abs(s.sum) >= math.Abs(f) {
		s.carry += (s.sum - t) + f
	} else {
		s.carry += (f - t) + s.sum
	}
	s.sum = t
}

func (s *stats) total() float64 {
	if math.IsInf(s.sum, 0) { // the carry of an overflow is NaN
		return s.sum
	}
	return s.sum + s.carry
}

func tokenOf(hash uint64) uint32 { return sketch.Token(hash) }

func hashOf(seed uint64, t []byte) uint64 { return sketch.Hash(seed, t) }

// cutUTF8 cuts text to at most n bytes, between characters.
func cutUTF8(t []byte, n int) []byte {
	for n > 0 && !utf8.RuneStart(t[n]) {
		n--
	}
	return t[:n]
}

// columns are the records of one cell's log, field by field, without the
// missing ones. They are scratch: encoding may reorder them.
type columns struct {
	numbers [][]float64
	stats   []stats // of numbers
	hashes  [][]uint64
	narrow  [][]uint32
	tokens  []uint32
	ids     []uint32
	top     []sketch.TopItem
	hashed  []uint64
}

func newColumns(p *plan) *columns {
	return &columns{numbers: make([][]float64, p.numbers), stats: make([]stats, p.numbers),
		hashes: make([][]uint64, len(p.forms)), narrow: make([][]uint32, len(p.forms))}
}

// gather reads the cell's log.
func (c *columns) gather(p *piece, of *cell) {
	for i := range c.numbers {
		c.numbers[i], c.stats[i] = c.numbers[i][:0], stats{}
	}
	for i := range c.hashes {
		c.hashes[i], c.narrow[i] = c.hashes[i][:0], c.narrow[i][:0]
	}
	words, perChunk := p.plan.words, p.plan.records
	for left, chunk := int(of.logged), of.first; left > 0; left -= perChunk {
		data := p.chunkOf(chunk)
		chunk = uint32(data[0])
		data = data[1:]
		for range min(left, perChunk) {
			record := data[:words]
			data = data[words:]
			for i := range c.numbers {
				if f := math.Float64frombits(record[i]); f == f {
					c.numbers[i] = append(c.numbers[i], f)
					c.stats[i].add(f)
				}
			}
			for i, f := range p.plan.forms {
				if f.keep == asHash {
					if h := record[f.at]; h != 0 {
						c.hashes[i] = append(c.hashes[i], h)
					}
				} else if v := uint32(record[f.at/2] >> (32 * (f.at & 1))); v != none {
					c.narrow[i] = append(c.narrow[i], v)
				}
			}
		}
	}
}

// tokensOf gives the HyperLogLog tokens of an item field.
func (c *columns) tokensOf(p *piece, field int) []uint32 {
	c.tokens = c.tokens[:0]
	switch p.plan.forms[field].keep {
	case asToken:
		c.tokens = append(c.tokens, c.narrow[field]...)
	case asHash:
		for _, h := range c.hashes[field] {
			c.tokens = append(c.tokens, tokenOf(h))
		}
	case asID:
		for _, id := range c.narrow[field] {
			c.tokens = append(c.tokens, tokenOf(p.items.hashes[id]))
		}
	}
	return c.tokens
}

// hashesOf gives the hashes of an item field, one for each event.
func (c *columns) hashesOf(p *piece, field int) []uint64 {
	c.hashed = c.hashed[:0]
	if p.plan.forms[field].keep == asHash {
		c.hashed = append(c.hashed, c.hashes[field]...)
	} else {
		for _, id := range c.narrow[field] {
			c.hashed = append(c.hashed, p.items.hashes[id])
		}
	}
	return c.hashed
}

// topOf counts the items of a field.
func (c *columns) topOf(p *piece, field int) []sketch.TopItem {
	c.ids = append(c.ids[:0], c.narrow[field]...)
	slices.Sort(c.ids)
	c.top = c.top[:0]
	for i := 0; i < len(c.ids); {
		j := i + 1
		for j < len(c.ids) && c.ids[j] == c.ids[i] {
			j++
		}
		n := uint64(j - i)
		c.top = append(c.top, sketch.TopItem{Item: p.items.part(int(c.ids[i]), 0), Count: n, Lower: n, Upper: n})
		i = j
	}
	return c.top
}

// drain empties the cell's log into its sketches.
func (p *piece) drain(c *cell) {
	if c.logged == 0 {
		return
	}
	measures := p.plan.stream.Measures
	if c.grown == 0 {
		for _, m := range measures {
			p.extend(m)
		}
		c.grown = uint32(len(p.grown) / len(measures))
	}
	col := p.scratch
	col.gather(p, c)
	for i := range measures {
		g := &p.grown[(int(c.grown)-1)*len(measures)+i]
		p.heap -= g.sizeBytes()
		g.take(p, col, i)
		p.heap += g.sizeBytes()
	}
	c.drained += int64(c.logged)
	c.logged = 0
}

func (p *piece) drainAll() {
	for i := range p.cells {
		if p.cells[i].grown != 0 {
			p.drain(&p.cells[i])
		}
	}
}

// extend appends a grown measure, reusing the sketch that an earlier life of
// the piece left there.
func (p *piece) extend(m weir.Measure) {
	n := len(p.grown)
	if n < cap(p.grown) {
		p.grown = p.grown[:n+1]
	} else {
		p.grown = append(p.grown, grown{})
	}
	g := &p.grown[n]
	g.stats = stats{}
	switch {
	case g.quantiles != nil:
		g.quantiles.Reset()
	case g.distinct != nil:
		g.distinct.Reset()
	case g.top != nil:
		g.top.Reset()
	case g.frequency != nil:
		g.frequency.Reset()
	default:
		switch m.Kind {
		case weir.Quantile:
			if m.Params.Sketch == weir.DDSketch {
				g.quantiles = sketch.NewDDSketch(m.Params.Scale)
			} else {
				g.quantiles = sketch.NewTDigest(m.Params.Compression)
			}
		case weir.Distinct:
			g.distinct = sketch.NewHLL(m.Params.Precision, p.plan.stream.Seed)
		case weir.Top:
			g.top = sketch.NewTop(m.Params.Slots)
		case weir.Frequency:
			g.frequency = sketch.NewFrequency(m.Params.Epsilon, m.Params.Delta, p.plan.stream.Seed)
		}
	}
	p.heap += g.sizeBytes()
}

const grownBytes = 96

func (g *grown) sizeBytes() int {
	n := grownBytes
	switch {
	case g.quantiles != nil:
		n += g.quantiles.SizeBytes()
	case g.distinct != nil:
		n += g.distinct.SizeBytes()
	case g.top != nil:
		n += g.top.SizeBytes()
	case g.frequency != nil:
		n += g.frequency.SizeBytes()
	}
	return n
}

// take merges a gathered log into the measure.
func (g *grown) take(p *piece, col *columns, measure int) {
	switch m := &p.plan.stream.Measures[measure]; m.Kind {
	case weir.Sum, weir.Quantile:
		f := p.plan.number[measure]
		g.stats.merge(&col.stats[f])
		if g.quantiles != nil {
			g.quantiles.AddValues(col.numbers[f])
		}
	case weir.Distinct:
		g.distinct.AddTokens(col.tokensOf(p, p.plan.item[measure]))
	case weir.Top:
		for _, t := range col.topOf(p, p.plan.item[measure]) {
			g.top.Add(t.Item, t.Count)
		}
	case weir.Frequency:
		for _, h := range col.hashesOf(p, p.plan.item[measure]) {
			g.frequency.AddHash(h, 1)
		}
	}
}

func (s *stats) merge(o *stats) {
	if o.values == 0 {
		return
	}
	if s.values == 0 {
		*s = *o
		return
	}
	values, lo, hi := s.values+o.values, min(s.min, o.min), max(s.max, o.max)
	s.carry += o.carry
	s.add(o.sum)
	s.values, s.min, s.max = values, lo, hi
}
