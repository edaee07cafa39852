package store

import (
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"
)

// groupReader reads the columns of one row group.
type groupReader struct {
	segment *Segment
	blocks  *checked
	ordinal int
	rows    int64
	chunks  []parquet.ColumnChunk
}

// rowRange is rows [lo, hi) of a row group.
type rowRange struct{ lo, hi int64 }

// windowBounds returns the first and last window of the row group.
func (g *groupReader) windowBounds(column int) (low, high int64, ok bool) {
	lo, hi, ok := g.chunk(column).Bounds()
	if !ok {
		return 0, 0, false
	}
	return lo.Int64(), hi.Int64(), true
}

func (g *groupReader) chunk(column int) *parquet.FileColumnChunk {
	return g.chunks[column].(*parquet.FileColumnChunk)
}

// load fetches what the ranges need of the columns: of sketches the pages that
// hold them, of numbers all, since theirs is one page.
func (g *groupReader) load(columns []int, ranges []rowRange) error {
	selected := int64(0)
	for _, r := range ranges {
		selected += r.hi - r.lo
	}
	var extents []extent
	for _, j := range columns {
		if g.segment.columns[j].role == roleSketch && selected < g.rows/2 {
			index, err := g.chunk(j).OffsetIndexFrom(g.blocks)
			if err != nil {
				return err
			}
			extents = appendPages(extents, index, ranges, g.rows)
			continue
		}
		m := &g.segment.file.Metadata().RowGroups[g.ordinal].Columns[j].MetaData
		start := m.DataPageOffset
		if m.DictionaryPageOffset > 0 {
			start = m.DictionaryPageOffset
		}
		extents = append(extents, extent{start, start + m.TotalCompressedSize})
	}
	return g.blocks.load(extents)
}

// appendPages appends where the pages lie that hold the ranges.
func appendPages(extents []extent, index parquet.OffsetIndex, ranges []rowRange, rows int64) []extent {
	next := 0
	for i := range index.NumPages() {
		lo, hi := index.FirstRowIndex(i), rows
		if i+1 < index.NumPages() {
			hi = index.FirstRowIndex(i + 1)
		}
		for next < len(ranges) && ranges[next].hi <= lo {
			next++
		}
		if next < len(ranges) && ranges[next].lo < hi {
			start := index.Offset(i)
			extents = append(extents, extent{start, start + index.CompressedPageSize(i)})
		}
	}
	return extents
}

// each calls visit with the parts of pages that hold the ranges, in order: rows
// [lo, hi) of a page, which is valid only during the call.
func (g *groupReader) each(column int, ranges []rowRange, visit func(page parquet.Page, lo, hi int64) error) error {
	pages := g.chunk(column).PagesFrom(g.blocks)
	defer pages.Close()
	var (
		page        parquet.Page
		first, last int64 // rows of page
	)
	defer func() { parquet.Release(page) }()
	for _, r := range ranges {
		for at := r.lo; at < r.hi; {
			if at >= last {
				parquet.Release(page)
				page = nil
				if at > last {
					if err := pages.SeekToRow(at); err != nil {
						return err
					}
				}
				next, err := pages.ReadPage()
				if errors.Is(err, io.EOF) {
					return damaged("%v ends at row %d of %d", &g.segment.columns[column], at, g.rows)
				} else if err != nil {
					return err
				}
				page, first, last = next, at, at+next.NumRows()
				if first == last {
					return damaged("%v has an empty page", &g.segment.columns[column])
				}
			}
			to := min(r.hi, last)
			if err := visit(page, at-first, to-first); err != nil {
				return err
			}
			at = to
		}
	}
	return nil
}

func (g *groupReader) ints(dst []int64, column int, ranges []rowRange) ([]int64, error) {
	err := g.each(column, ranges, func(page parquet.Page, lo, hi int64) error {
		data := page.Data()
		dst = append(dst, data.Int64()[lo:hi]...)
		return nil
	})
	return dst, err
}

func (g *groupReader) floats(dst []float64, column int, ranges []rowRange) ([]float64, error) {
	err := g.each(column, ranges, func(page parquet.Page, lo, hi int64) error {
		data := page.Data()
		dst = append(dst, data.Double()[lo:hi]...)
		return nil
	})
	return dst, err
}

// bytes copies the byte strings, those of a page into one piece of memory.
func (g *groupReader) bytes(dst [][]byte, column int, ranges []rowRange) ([][]byte, error) {
	err := g.each(column, ranges, func(page parquet.Page, lo, hi int64) error {
		data := page.Data()
		values, offsets := data.ByteArray()
		base := offsets[lo]
		piece := append([]byte(nil), values[base:offsets[hi]]...)
		for i := lo; i < hi; i++ {
			from, to := offsets[i]-base, offsets[i+1]-base
			dst = append(dst, piece[from:to:to])
		}
		return nil
	})
	return dst, err
}

// dimensionRuns is a dimension column of a row group: values[i] holds from row
// starts[i] on.
type dimensionRuns struct {
	starts []int64
	values []string
}

func (g *groupReader) dimension(column int) (dimensionRuns, error) {
	var (
		runs       dimensionRuns
		dictionary []string
		row        int64
		last       int32 = -1
	)
	err := g.each(column, []rowRange{{0, g.rows}}, func(page parquet.Page, lo, hi int64) error {
		if dictionary == nil {
			d := page.Dictionary()
			if d == nil {
				return damaged("%v has no dictionary", &g.segment.columns[column])
			}
			data := d.Page().Data()
			values, offsets := data.ByteArray()
			all := string(values)
			for i := range d.Len() {
				dictionary = append(dictionary, all[offsets[i]:offsets[i+1]])
			}
		}
		data := page.Data()
		for _, id := range data.Int32()[lo:hi] {
			if id != last {
				if id < 0 || int(id) >= len(dictionary) {
					return damaged("%v has value %d of a dictionary of %d", &g.segment.columns[column], id, len(dictionary))
				}
				runs.starts = append(runs.starts, row)
				runs.values = append(runs.values, dictionary[id])
				last = id
			}
			row++
		}
		return nil
	})
	return runs, err
}
