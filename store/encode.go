package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/weir-stream/weir"
)

const (
	groupRows = 10_000   // of a row group: what one series costs to read, against what a group costs
	pageBytes = 64 << 10 // of a page of sketches, likewise; columns of numbers have one page a group

	// maxBoundBytes is the longest dimension value that goes into statistics.
	maxBoundBytes = 64
)

// topCodec keeps its encoders from call to call; each is half a megabyte.
var topCodec = zstd.Codec{Level: zstd.SpeedFastest}

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

// chunkWriter writes one column of a row group.
type chunkWriter struct {
	*encoder
	column *column
	index  *format.OffsetIndex
	start  int // of the chunk in the file

	dictionary int // bytes of the dictionary page
	unpacked   int // bytes of the pages before compression, headers included
	pages      int
	stats      format.Statistics
}

func (w *chunkWriter) write() error {
	switch w.column.role {
	case roleDimension:
		return w.writeDimension()
	case roleSketch:
		return w.writeSketches()
	default:
		w.page = w.appendNumbers(w.page[:0])
		return w.writePage(format.DataPage, format.Plain, w.pendingRows, 0)
	}
}

// appendNumbers appends the column's plain encoding.
func (w *chunkWriter) appendNumbers(dst []byte) []byte {
	dst = slices.Grow(dst, 8*w.pendingRows)
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for _, s := range w.pending {
		c := s.cells
		switch w.column.role {
		case roleWindow:
			for _, v := range c.Window[s.lo:s.hi] {
				low, high = min(low, v), max(high, v)
			}
			dst = appendInts(dst, c.Window[s.lo:s.hi])
		case roleCount:
			dst = appendInts(dst, c.Count[s.lo:s.hi])
		case roleValues:
			dst = appendInts(dst, c.Measures[w.column.index].Values[s.lo:s.hi])
		case roleSum:
			dst = appendFloats(dst, c.Measures[w.column.index].Sum[s.lo:s.hi])
		case roleMin:
			dst = appendExtremes(dst, c.Measures[w.column.index].Min[s.lo:s.hi], c.Measures[w.column.index].Values[s.lo:s.hi])
		case roleMax:
			dst = appendExtremes(dst, c.Measures[w.column.index].Max[s.lo:s.hi], c.Measures[w.column.index].Values[s.lo:s.hi])
		}
	}
	switch w.column.role {
	case roleWindow:
		w.stats.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(low))
		w.stats.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(high))
	case roleP50:
		dst = appendFloats(dst, w.derived.first)
	case roleP99:
		dst = appendFloats(dst, w.derived.second)
	case roleDistinct:
		dst = appendFloats(dst, w.derived.first)
	}
	return dst
}

func appendInts(dst []byte, values []int64) []byte {
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
	}
	return dst
}

func appendFloats(dst []byte, values []float64) []byte {
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// appendExtremes appends a minimum or maximum, NaN where there were no values.
func appendExtremes(dst []byte, values []float64, counts []int64) []byte {
	for i, v := range values {
		if counts[i] == 0 {
			v = math.NaN()
		}
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// writeSketches writes pages of byte strings, and has derived what the columns
// that follow hold.
func (w *chunkWriter) writeSketches() error {
	w.page = w.page[:0]
	w.derived.reset()
	measure := &w.definition.Measures[w.column.index]
	rows, first := 0, 0
	for _, s := range w.pending {
		sketches := s.cells.Measures[w.column.index].Sketch
		for _, b := range sketches[s.lo:s.hi] {
			if rows > 0 && len(w.page)+len(b) > pageBytes {
				if err := w.writePage(format.DataPage, format.Plain, rows, first); err != nil {
					return err
				}
				first += rows
				rows, w.page = 0, w.page[:0]
			}
			w.page = binary.LittleEndian.AppendUint32(w.page, uint32(len(b)))
			w.page = append(w.page, b...)
			rows++
			if err := w.derived.add(measure, w.definition.Seed, b); err != nil {
				return err
			}
		}
	}
	return w.writePage(format.DataPage, format.Plain, rows, first)
}

// writeDimension writes a dictionary of the values, and which of them each row
// has, as runs: the rows are sorted.
func (w *chunkWriter) writeDimension() error {
	var (
		ids        = make(map[string]uint32)
		runs       []run
		dictionary = w.page[:0]
		low, high  string
	)
	for _, s := range w.pending {
		series := s.series
		for lo := s.lo; lo < s.hi; series++ {
			hi := min(s.cells.Starts[series+1], s.hi)
			value := s.cells.Series[series][w.column.index]
			id, known := ids[value]
			if !known {
				id = uint32(len(ids))
				ids[value] = id
				dictionary = binary.LittleEndian.AppendUint32(dictionary, uint32(len(value)))
				dictionary = append(dictionary, value...)
				if id == 0 {
					low, high = value, value
				}
				low, high = min(low, value), max(high, value)
			}
			if n := len(runs); n > 0 && runs[n-1].id == id {
				runs[n-1].rows += hi - lo
			} else {
				runs = append(runs, run{id: id, rows: hi - lo})
			}
			lo = hi
		}
	}
	w.page = dictionary
	if err := w.writePage(format.DictionaryPage, format.Plain, len(ids), 0); err != nil {
		return err
	}
	w.dictionary = len(w.out) - w.start
	if len(low) <= maxBoundBytes && len(high) <= maxBoundBytes {
		w.stats.MinValue, w.stats.MaxValue = []byte(low), []byte(high)
	}
	width := max(1, bits.Len(uint(len(ids)-1)))
	w.page = append(w.page[:0], byte(width))
	for _, r := range runs {
		w.page = binary.AppendUvarint(w.page, uint64(r.rows)<<1)
		for b := 0; b < width; b += 8 {
			w.page = append(w.page, byte(r.id>>b))
		}
	}
	return w.writePage(format.DataPage, format.RLEDictionary, w.pendingRows, 0)
}

type run struct {
	id   uint32
	rows int
}

// writePage writes the scratch page.
func (w *chunkWriter) writePage(kind format.PageType, encoding format.Encoding, values, firstRow int) error {
	body := w.page
	if w.column.codec == format.Zstd {
		var err error
		if w.packed, err = topCodec.Encode(w.packed, body); err != nil {
			return err
		}
		body = w.packed
	}
	if len(w.page) > math.MaxInt32 {
		return fmt.Errorf("a page of %d bytes", len(w.page))
	}
	header := format.PageHeader{
		Type:                 kind,
		UncompressedPageSize: int32(len(w.page)),
		CompressedPageSize:   int32(len(body)),
		CRC:                  int32(crc32.ChecksumIEEE(body)),
	}
	if kind == format.DictionaryPage {
		header.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{NumValues: int32(values), Encoding: encoding})
	} else {
		header.DataPageHeader = thrift.New(format.DataPageHeader{
			NumValues: int32(values), Encoding: encoding,
			DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		})
	}
	text, err := w.encodeThrift(&header)
	if err != nil {
		return err
	}
	if kind == format.DataPage {
		w.pages++
		w.index.PageLocations = append(w.index.PageLocations, format.PageLocation{
			Offset: int64(len(w.out)), CompressedPageSize: int32(len(text) + len(body)), FirstRowIndex: int64(firstRow),
		})
	}
	w.unpacked += len(text) + len(w.page)
	w.out = append(w.out, text...)
	w.out = append(w.out, body...)
	return nil
}

// finish describes the chunk.
func (w *chunkWriter) finish(rows int64) format.ColumnChunk {
	m := format.ColumnMetaData{
		Type:                  w.column.physical(),
		Encoding:              []format.Encoding{format.Plain, format.RLE},
		PathInSchema:          []string{w.column.name},
		Codec:                 w.column.codec,
		NumValues:             rows,
		TotalUncompressedSize: int64(w.unpacked),
		TotalCompressedSize:   int64(len(w.out) - w.start),
		DataPageOffset:        int64(w.start + w.dictionary),
		Statistics:            w.stats,
	}
	if w.dictionary > 0 {
		m.Encoding = append(m.Encoding, format.RLEDictionary)
		m.DictionaryPageOffset = int64(w.start)
	}
	return format.ColumnChunk{MetaData: m}
}
