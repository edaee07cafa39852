package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir"
)

// Live pieces between two nodes, version 1. Numbers are varints (zigzag where
// they can be negative), strings and bytes have their length before them:
//
//	"WLP1" │ complaint │ pieces │ piece … │ xxh3 of all before, 8 bytes
//
//	piece   partition │ from │ to │ log │ shift │ watermark │ idle │ events │ late
//	        rejected: number, then reason │ events …
//	        cells: 0 none, or 1 and
//	cells   width │ series: number, then per series its dimensions │ rows
//	        window of each row (zigzag, from the one before) │ count of each row
//	        per measure: flags (1 present, 2 numbers, 4 sketches)
//	          numbers   values of each row; sum, min, max of each, 8 bytes each
//	          sketches  bytes of each row
//
// The stream's definition is not in it: both sides have agreed on its hash.
const magic = "WLP1"

const (
	hasColumn = 1 << iota
	hasNumbers
	hasSketches
)

func appendPieces(b []byte, pieces []weir.Piece, complaint string) []byte {
	from := len(b)
	b = append(b, magic...)
	b = appendText(b, complaint)
	b = binary.AppendUvarint(b, uint64(len(pieces)))
	for i := range pieces {
		b = appendPiece(b, &pieces[i])
	}
	return binary.LittleEndian.AppendUint64(b, xxh3.Hash(b[from:]))
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendPiece(b []byte, p *weir.Piece) []byte {
	b = appendText(b, p.Partition)
	b = binary.AppendVarint(b, p.From)
	b = binary.AppendVarint(b, p.To)
	b = appendText(b, p.Log)
	for _, v := range []int64{p.Shift, p.Watermark, p.Idle, p.Events, p.Late} {
		b = binary.AppendVarint(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Rejected)))
	for reason, n := range p.Rejected {
		b = appendText(b, reason)
		b = binary.AppendVarint(b, n)
	}
	if p.Cells == nil {
		return append(b, 0)
	}
	return appendCells(append(b, 1), p.Cells)
}

func appendCells(b []byte, c *weir.Cells) []byte {
	b = binary.AppendVarint(b, c.Width)
	b = binary.AppendUvarint(b, uint64(len(c.Series)))
	for i, dims := range c.Series {
		for _, d := range dims {
			b = appendText(b, d)
		}
		b = binary.AppendUvarint(b, uint64(c.Starts[i+1]-c.Starts[i]))
	}
	before := int64(0)
	for _, w := range c.Window {
		b = binary.AppendVarint(b, w-before)
		before = w
	}
	for _, n := range c.Count {
		b = binary.AppendVarint(b, n)
	}
	for m := range c.Measures {
		b = appendColumn(b, &c.Measures[m])
	}
	return b
}

func appendColumn(b []byte, c *weir.Column) []byte {
	var flags byte
	if c.Present {
		flags |= hasColumn
	}
	if c.Values != nil {
		flags |= hasNumbers
	}
	if c.Sketch != nil {
		flags |= hasSketches
	}
	b = append(b, flags)
	for _, n := range c.Values {
		b = binary.AppendVarint(b, n)
	}
	if c.Values != nil {
		for _, numbers := range [][]float64{c.Sum, c.Min, c.Max} {
			for _, x := range numbers {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
			}
		}
	}
	for _, sketch := range c.Sketch {
		b = appendText(b, sketch)
	}
	return b
}

// decodePieces reads what another node sent. What does not hold together is an
// error: nothing of it is used then. Sketches are checked by whoever merges them.
func decodePieces(b []byte, s *weir.Stream) (pieces []weir.Piece, complaint string, err error) {
	if len(b) < len(magic)+8 || string(b[:len(magic)]) != magic {
		return nil, "", errors.New("it is not an answer of this version")
	}
	end := len(b) - 8
	if xxh3.Hash(b[:end]) != binary.LittleEndian.Uint64(b[end:]) {
		return nil, "", errors.New("its checksum is wrong")
	}
	d := decoder{rest: b[len(magic):end]}
	complaint = d.text()
	n := d.number(minPiece)
	for range n {
		pieces = append(pieces, d.piece(s))
		if d.err != nil {
			return nil, "", d.err
		}
	}
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes follow its end", len(d.rest))
	}
	return pieces, complaint, d.err
}

// minPiece is how many bytes a piece has at least.
const minPiece = 11

// decoder reads from bytes that are not trusted. After an error it reads zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.rest = nil
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail("it ends within a number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// natural reads a number that cannot be negative.
func (d *decoder) natural(what string) int64 {
	v := d.varint()
	if v < 0 {
		d.fail("%s is %d", what, v)
		return 0
	}
	return v
}

// number reads how many things follow, each of at least so many bytes: never
// more than the rest can hold, so that it is safe to make room for them.
func (d *decoder) number(least int) int {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("it ends within a number")
		return 0
	}
	d.rest = d.rest[n:]
	if v > uint64(len(d.rest)/least) {
		d.fail("it says that %d things follow in %d bytes", v, len(d.rest))
		return 0
	}
	return int(v)
}

func (d *decoder) bytes() []byte {
	n := d.number(1)
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes()) }

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("it ends early")
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

func (d *decoder) piece(s *weir.Stream) (p weir.Piece) {
	p.Partition = d.text()
	p.From, p.To = d.natural("an offset"), d.natural("an offset")
	if p.To < p.From {
		d.fail("a piece covers offsets [%d, %d)", p.From, p.To)
	}
	p.Log = d.text()
	p.Shift, p.Watermark, p.Idle = d.varint(), d.varint(), d.varint()
	p.Events, p.Late = d.natural("events"), d.natural("late events")
	if n := d.number(2); n > 0 {
		p.Rejected = make(map[string]int64)
		for range n {
			reason := d.text()
			p.Rejected[reason] = d.natural("rejected events")
		}
	}
	switch d.byte() {
	case 0:
	case 1:
		p.Cells = d.cells(s)
	default:
		d.fail("a piece has neither cells nor none")
	}
	return p
}

func (d *decoder) cells(s *weir.Stream) *weir.Cells {
	c := &weir.Cells{Width: d.varint(), Measures: make([]weir.Column, len(s.Measures))}
	if c.Width != int64(s.Window) {
		d.fail("windows are %d ns wide", c.Width)
	}
	n := d.number(len(s.Dimensions) + 3) // its rows' number, and of a row window and count
	c.Series, c.Starts = make([][]string, 0, n), make([]int, 1, n+1)
	rows := 0
	for range n {
		dims := make([]string, len(s.Dimensions))
		for i := range dims {
			dims[i] = d.text()
		}
		if len(c.Series) > 0 && slices.Compare(c.Series[len(c.Series)-1], dims) >= 0 {
			d.fail("series are not in order")
		}
		own := d.number(1)
		if rows += own; own == 0 || rows > len(d.rest) { // a row has at least a byte, in what is left
			d.fail("a series has %d of %d rows", own, rows)
			return c
		}
		c.Series, c.Starts = append(c.Series, dims), append(c.Starts, rows)
	}
	c.Window, c.Count = make([]int64, rows), make([]int64, rows)
	window := int64(0)
	for i := range c.Window {
		window += d.varint()
		c.Window[i] = window
		if weir.WindowStart(window, c.Width) != window {
			d.fail("a window starts at %d", window)
			return c
		}
	}
	for i := range c.Series {
		for row := c.Starts[i] + 1; row < c.Starts[i+1]; row++ {
			if c.Window[row] <= c.Window[row-1] {
				d.fail("windows of a series are not in order")
			}
		}
	}
	for i := range c.Count {
		c.Count[i] = d.natural("a count")
	}
	for m := range c.Measures {
		d.column(&c.Measures[m], rows, s.Measures[m].Kind)
	}
	return c
}

func (d *decoder) column(c *weir.Column, rows int, kind weir.Kind) {
	flags := d.byte()
	c.Present = flags&hasColumn != 0
	switch {
	case flags > hasColumn|hasNumbers|hasSketches, !c.Present && flags != 0:
		d.fail("a column has the flags %d", flags)
	case flags&hasNumbers != 0 != (c.Present && kind.Numeric()):
		d.fail("a column of kind %v has the flags %d", kind, flags)
	}
	if flags&hasNumbers != 0 && d.room(rows, 25) {
		c.Values = make([]int64, rows)
		for i := range c.Values {
			c.Values[i] = d.natural("a number of values")
		}
		c.Sum, c.Min, c.Max = d.floats(rows), d.floats(rows), d.floats(rows)
	}
	if flags&hasSketches != 0 && d.room(rows, 1) {
		c.Sketch = make([][]byte, rows)
		for i := range c.Sketch {
			c.Sketch[i] = d.bytes()
		}
	}
}

// room reports whether so many rows can still follow.
func (d *decoder) room(rows, size int) bool {
	if d.err == nil && rows > len(d.rest)/size {
		d.fail("%d rows follow in %d bytes", rows, len(d.rest))
	}
	return d.err == nil
}

func (d *decoder) floats(rows int) []float64 {
	if !d.room(rows, 8) {
		return make([]float64, rows)
	}
	out := make([]float64, rows)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(d.rest[8*i:]))
	}
	d.rest = d.rest[8*rows:]
	return out
}
