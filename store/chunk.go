package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	pageBytes = 64 << 10 // of a page of sketches; columns of numbers have one page a group

	// maxBoundBytes is the longest dimension value that goes into statistics.
	maxBoundBytes = 64
)

// topCodec keeps its encoders from call to call; each is half a megabyte.
var topCodec = zstd.Codec{Level: zstd.SpeedFastest}

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
