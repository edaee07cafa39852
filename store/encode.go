package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/weir-stream/weir"
)

// groupRows is how many cells make a row group: what one series costs to read,
// against what a group costs.
const groupRows = 10_000

// EncodeSegment returns the file of a segment. The batches of cells are sorted
// one after the other by dimensions, then window, have all of the stream's
// measures, and are kept until their row group is written. A gap has none.
//
// The pages are laid out here and not by the Parquet library's writer, which
// takes every value as a variant and copies it four times: that is three times
// slower. Headers, footer and compression are the library's.
func EncodeSegment(stream *weir.Stream, meta SegmentMeta, cells iter.Seq[*weir.Cells]) ([]byte, error) {
	if err := meta.validate(); err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}
	meta.Hash = meta.Definition.Hash()
	text, err := json.Marshal(&meta)
	if err != nil {
		return nil, fmt.Errorf("encode segment: metadata: %w", err)
	}
	if len(text) > maxHeadBytes {
		return nil, fmt.Errorf("encode segment: %d bytes of metadata, at most %d can be stored", len(text), maxHeadBytes)
	}
	e := &encoder{definition: &meta.Definition, columns: columnsOf(&meta.Definition)}
	e.headers = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&e.header))
	e.out = append(e.out, parquetTag...)
	e.out = appendHead(e.out, text)
	if cells != nil {
		for c := range cells {
			if err := e.add(c, stream); err != nil {
				return nil, fmt.Errorf("encode segment: %w", err)
			}
		}
	}
	if err := e.writeGroup(); err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}
	footer, err := e.finish(text)
	if err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}
	return seal(e.out, footer), nil
}

// encoder builds the data of a file.
type encoder struct {
	definition *Definition
	columns    []column
	out        []byte
	rows       int64
	groups     []format.RowGroup
	indexes    [][]format.OffsetIndex // parallel to groups

	pending     []span // rows of the next group
	pendingRows int
	last        cellKey // of the last row that was added

	header  bytes.Buffer
	headers *thrift.Encoder
	page    []byte // scratch
	packed  []byte // scratch of compression
	derived derived
}

// span is rows [lo, hi) of a batch; its first row belongs to the series of that
// index.
type span struct {
	cells  *weir.Cells
	lo, hi int
	series int
}

type cellKey struct {
	series []string
	window int64
}

// add takes a batch, and writes row groups as they fill up.
func (e *encoder) add(c *weir.Cells, stream *weir.Stream) error {
	if c.Width != int64(stream.Window) {
		return fmt.Errorf("cells of width %d for a stream of width %d", c.Width, int64(stream.Window))
	}
	if err := e.checkOrder(c, len(stream.Dimensions)); err != nil {
		return err
	}
	if err := e.checkMeasures(c); err != nil {
		return err
	}
	series := 0
	for lo := 0; lo < c.Rows(); {
		hi := min(lo+groupRows-e.pendingRows, c.Rows())
		for c.Starts[series+1] <= lo {
			series++
		}
		e.pending = append(e.pending, span{cells: c, lo: lo, hi: hi, series: series})
		e.pendingRows += hi - lo
		lo = hi
		if e.pendingRows == groupRows {
			if err := e.writeGroup(); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkOrder refuses cells that a reader could not find again.
func (e *encoder) checkOrder(c *weir.Cells, dimensions int) error {
	if len(c.Starts) != len(c.Series)+1 || c.Starts[len(c.Series)] != c.Rows() || c.Starts[0] != 0 {
		return fmt.Errorf("%d series with %d starts for %d rows", len(c.Series), len(c.Starts), c.Rows())
	}
	for s, dims := range c.Series {
		if len(dims) != dimensions {
			return fmt.Errorf("series %q has %d dimensions, the stream %d", dims, len(dims), dimensions)
		}
		lo, hi := c.Starts[s], c.Starts[s+1]
		if lo >= hi {
			return fmt.Errorf("series %q has rows [%d, %d)", dims, lo, hi)
		}
		if e.last.series != nil {
			order := slices.Compare(e.last.series, dims)
			if order > 0 || order == 0 && e.last.window >= c.Window[lo] {
				return fmt.Errorf("series %q at %d comes after %q at %d", dims, c.Window[lo], e.last.series, e.last.window)
			}
		}
		for i := lo + 1; i < hi; i++ {
			if c.Window[i-1] >= c.Window[i] {
				return fmt.Errorf("window %d of series %q comes after %d", c.Window[i], dims, c.Window[i-1])
			}
		}
		e.last = cellKey{series: dims, window: c.Window[hi-1]}
	}
	return nil
}

// checkMeasures refuses cells that lack what the definition says they have.
func (e *encoder) checkMeasures(c *weir.Cells) error {
	if len(c.Measures) != len(e.definition.Measures) {
		return fmt.Errorf("%d measures, the definition has %d", len(c.Measures), len(e.definition.Measures))
	}
	for i, m := range e.definition.Measures {
		have := &c.Measures[i]
		complete := have.Present && len(c.Count) == c.Rows()
		if m.Kind.Numeric() {
			complete = complete && len(have.Values) == c.Rows() && len(have.Sum) == c.Rows() && len(have.Min) == c.Rows() && len(have.Max) == c.Rows()
		}
		if m.Kind != weir.Sum {
			complete = complete && len(have.Sketch) == c.Rows()
		}
		if !complete {
			return fmt.Errorf("%v measure %s does not have a value for each of %d cells", m.Kind, m.Name, c.Rows())
		}
	}
	return nil
}

// writeGroup writes the pending rows as a row group.
func (e *encoder) writeGroup() error {
	if e.pendingRows == 0 {
		return nil
	}
	group := format.RowGroup{
		NumRows: int64(e.pendingRows), FileOffset: int64(len(e.out)), Ordinal: int16(len(e.groups)),
		Columns: make([]format.ColumnChunk, len(e.columns)),
	}
	if len(e.groups) > math.MaxInt16 {
		return fmt.Errorf("more than %d row groups", math.MaxInt16)
	}
	for i := range e.columns {
		if e.columns[i].role == roleDimension || i == 0 {
			group.SortingColumns = append(group.SortingColumns, format.SortingColumn{ColumnIdx: int32(i)})
		}
	}
	// By dimensions first, then window, which is column 0.
	group.SortingColumns = append(group.SortingColumns[1:], group.SortingColumns[0])
	e.makeRoom()
	index := make([]format.OffsetIndex, len(e.columns))
	for i := range e.columns {
		chunk := &chunkWriter{encoder: e, column: &e.columns[i], index: &index[i], start: len(e.out)}
		if err := chunk.write(); err != nil {
			return fmt.Errorf("%v: %w", chunk.column, err)
		}
		group.Columns[i] = chunk.finish(int64(e.pendingRows))
		group.TotalByteSize += group.Columns[i].MetaData.TotalUncompressedSize
		group.TotalCompressedSize += group.Columns[i].MetaData.TotalCompressedSize
	}
	e.groups = append(e.groups, group)
	e.indexes = append(e.indexes, index)
	e.rows += int64(e.pendingRows)
	clear(e.pending)
	e.pending, e.pendingRows = e.pending[:0], 0
	return nil
}

// makeRoom grows the file for the pending rows: append would copy it four times
// over, growing it by a quarter each time.
func (e *encoder) makeRoom() {
	need := 8*len(e.columns)*e.pendingRows + 4096
	for _, s := range e.pending {
		for i := range s.cells.Measures {
			if sketches := s.cells.Measures[i].Sketch; sketches != nil {
				for _, b := range sketches[s.lo:s.hi] {
					need += 4 + len(b)
				}
			}
		}
	}
	if cap(e.out)-len(e.out) < need {
		e.out = slices.Grow(e.out, max(need, cap(e.out)))
	}
}

// finish writes the offset indexes and returns the footer.
func (e *encoder) finish(meta []byte) ([]byte, error) {
	for g := range e.groups {
		for i := range e.groups[g].Columns {
			chunk := &e.groups[g].Columns[i]
			text, err := e.encodeThrift(&e.indexes[g][i])
			if err != nil {
				return nil, err
			}
			chunk.OffsetIndexOffset, chunk.OffsetIndexLength = int64(len(e.out)), int32(len(text))
			e.out = append(e.out, text...)
		}
	}
	file := format.FileMetaData{
		Version:   2,
		Schema:    schemaOf(e.columns),
		NumRows:   e.rows,
		RowGroups: e.groups,
		KeyValueMetadata: []format.KeyValue{
			{Key: metadataKey, Value: string(meta)},
		},
		CreatedBy:    "weir version 1",
		ColumnOrders: slices.Repeat([]format.ColumnOrder{{Value: new(format.TypeDefinedOrder)}}, len(e.columns)),
	}
	return e.encodeThrift(&file)
}

// encodeThrift returns bytes that are valid until it is called again.
func (e *encoder) encodeThrift(v any) ([]byte, error) {
	e.header.Reset()
	err := e.headers.Encode(v)
	return e.header.Bytes(), err
}

func schemaOf(columns []column) []format.SchemaElement {
	elements := []format.SchemaElement{{Name: "cell", NumChildren: thrift.New(int32(len(columns)))}}
	for i := range columns {
		c := &columns[i]
		element := format.SchemaElement{
			Name:           c.name,
			Type:           thrift.New(c.physical()),
			RepetitionType: thrift.New(format.Required),
		}
		switch c.role {
		case roleWindow:
			element.LogicalType.Value = &format.TimestampType{IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: new(format.NanoSeconds)}}
		case roleDimension:
			element.LogicalType.Value = new(format.StringType)
			element.ConvertedType = thrift.New(deprecated.UTF8)
		}
		elements = append(elements, element)
	}
	return elements
}
