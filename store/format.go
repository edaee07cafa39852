package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

// A segment is a Parquet file with two additions of ours that other readers
// never look at, since Parquet finds everything by offset from its footer:
//
//	┌──────────────────────────────────────────────────────────┬─────────┐
//	│ "PAR1"                                                   │         │
//	│ head     "WEIRhead" | bytes u32 | metadata JSON          │         │
//	│          | xxh3 of all of the head before it u64         │         │
//	│ row group 0                                              │  data,  │
//	│   window      page                                       │ checked │
//	│   origin      dictionary page, page                      │ by the  │
//	│   count       page                                       │ sums    │
//	│   delay_tdigest  page, page, …                           │         │
//	│   …                                                      │         │
//	│ row group 1, …            each 10,000 rows, the last less│         │
//	│ offset indexes                                           │         │
//	├──────────────────────────────────────────────────────────┼─────────┤
//	│ trailer  xxh3 of each 64 KiB of data, u64 …              │         │
//	│          | their number u32 | version u32 | "WEIRsums"   │ checked │
//	│          | xxh3 of the whole rest of the end u64         │ by that │
//	│ footer   of Parquet, with the metadata JSON as "weir"    │         │
//	│ its bytes u32 | "PAR1"                                   │         │
//	└──────────────────────────────────────────────────────────┴─────────┘
//
// Integers are little-endian. A reader fetches the end, checks it, and only then
// gives the footer to the Parquet library, which may fall over a damaged one. Of
// the data it fetches whole blocks of 64 KiB and checks each before use. So
// every flipped or missing byte is found, before it is believed, by whoever
// reads it; Parquet's own page checksums are there for other tools.
//
// The head is a second copy of the metadata. Where the end is lost, it still
// says how far the segment goes, so the chain does not end in it.
//
// # Columns
//
// Rows are sorted by dimensions, then window. All columns are required.
//
//	window               TIMESTAMP(NANOS)  start of the window
//	<dimension>          STRING            dictionary
//	count                INT64             events
//	<m>_count            INT64             sum, quantile: values seen
//	<m>_sum _min _max    DOUBLE            likewise; min and max are NaN where count is 0
//	<m>_tdigest          BYTE_ARRAY        quantile; sketches are empty where no value was seen
//	<m>_ddsketch         BYTE_ARRAY        quantile, sketch: ddsketch
//	<m>_p50 _p99         DOUBLE            read from the sketch, NaN where it is empty
//	<m>_hll              BYTE_ARRAY        distinct
//	<m>_distinct         DOUBLE            read from the sketch
//	<m>_top              BYTE_ARRAY        top, zstd: items repeat from cell to cell
//	<m>_frequency        BYTE_ARRAY        frequency
//
// The columns that are read from a sketch are for other tools; we read the
// sketch. A name that is already taken (dimension "count", say) gets a "_" put
// behind it until it is free; readers of ours go by the definition.
//
// # Version history
//
//	1  the first
const formatVersion = 1

const (
	metadataKey = "weir"
	parquetTag  = "PAR1"
	headTag     = "WEIRhead"
	sumsTag     = "WEIRsums"
	sumsVersion = 1

	blockBytes   = 16 << 10
	sealBytes    = 4 + 4 + len(sumsTag) + 8 // the trailer behind its sums
	parquetBytes = 4 + len(parquetTag)      // what follows the footer
	maxHeadBytes = 1 << 20                  // of the head's metadata
)

// ErrDamaged says that stored bytes are not what was written.
var ErrDamaged = errors.New("damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// appendHead appends the head to the first bytes of a file.
func appendHead(dst []byte, meta []byte) []byte {
	start := len(dst)
	dst = append(dst, headTag...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(meta)))
	dst = append(dst, meta...)
	return binary.LittleEndian.AppendUint64(dst, xxh3.Hash(dst[start:]))
}

// parseHead returns the metadata at the head of a file, of which it needs only
// the beginning.
func parseHead(file []byte) (*SegmentMeta, error) {
	const before = len(parquetTag) + len(headTag) + 4
	if len(file) < before || string(file[:before-4]) != parquetTag+headTag {
		return nil, damaged("the head is not one")
	}
	n := int(binary.LittleEndian.Uint32(file[before-4:]))
	if n > maxHeadBytes || len(file) < before+n+8 {
		return nil, damaged("the head is cut short")
	}
	if xxh3.Hash(file[len(parquetTag):before+n]) != binary.LittleEndian.Uint64(file[before+n:]) {
		return nil, damaged("the head's checksum is wrong")
	}
	return parseMeta(file[before : before+n])
}

func parseMeta(text []byte) (*SegmentMeta, error) {
	m := new(SegmentMeta)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, damaged("metadata: %v", err)
	}
	if err := m.validate(); err != nil {
		return nil, damaged("metadata: %v", err)
	}
	return m, nil
}

// seal returns the file of the data and the Parquet footer (without what
// follows it), with the trailer between the two.
func seal(data, footer []byte) []byte {
	start := len(data)
	file := data
	for block := data; len(block) > 0; block = block[min(blockBytes, len(block)):] {
		file = binary.LittleEndian.AppendUint64(file, xxh3.Hash(block[:min(blockBytes, len(block))]))
	}
	n := (len(file) - start) / 8
	file = binary.LittleEndian.AppendUint32(file, uint32(n))
	file = binary.LittleEndian.AppendUint32(file, sumsVersion)
	file = append(file, sumsTag...)
	at := len(file)
	file = append(file, make([]byte, 8)...)
	file = append(file, footer...)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(footer)))
	file = append(file, parquetTag...)
	binary.LittleEndian.PutUint64(file[at:], sealHash(file[start:], at-start))
	return file
}

// sealHash hashes the end of a file without the hash itself, which is at an
// offset in it.
func sealHash(end []byte, at int) uint64 {
	h := xxh3.New()
	h.Write(end[:at])
	h.Write(end[at+8:])
	return h.Sum64()
}

// ending is the checked end of a file.
type ending struct {
	dataBytes int64
	sums      []uint64
	footer    []byte // and what follows it
}

// parseEnding checks the end of a file, given at least that of it that sizes
// asks for. What it returns keeps nothing of the argument but the footer.
func parseEnding(end []byte, size int64) (*ending, error) {
	footerBytes, endBytes, err := endingBytes(end, size)
	if err != nil {
		return nil, err
	}
	if int64(len(end)) < endBytes {
		return nil, damaged("the end is cut short")
	}
	end = end[int64(len(end))-endBytes:]
	at := len(end) - parquetBytes - footerBytes - 8
	if sealHash(end, at) != binary.LittleEndian.Uint64(end[at:]) {
		return nil, damaged("the checksum of the footer is wrong")
	}
	e := &ending{dataBytes: size - endBytes, footer: end[at+8:]}
	e.sums = make([]uint64, (len(end)-footerBytes-parquetBytes-sealBytes)/8)
	for i := range e.sums {
		e.sums[i] = binary.LittleEndian.Uint64(end[8*i:])
	}
	if int64(len(e.sums)) != (e.dataBytes+blockBytes-1)/blockBytes {
		return nil, damaged("%d checksums for %d bytes of data", len(e.sums), e.dataBytes)
	}
	return e, nil
}

// endingBytes returns how long the footer of a file is, and the end of the file
// from the first checksum on. Of the end it needs what leads up to the sums.
func endingBytes(end []byte, size int64) (footerBytes int, endBytes int64, err error) {
	if len(end) < parquetBytes || string(end[len(end)-len(parquetTag):]) != parquetTag {
		return 0, 0, damaged("it does not end as a Parquet file")
	}
	footer := int64(binary.LittleEndian.Uint32(end[len(end)-parquetBytes:]))
	need := footer + int64(sealBytes+parquetBytes)
	if need > size {
		return 0, 0, damaged("a footer of %d bytes in a file of %d", footer, size)
	}
	if need > int64(len(end)) {
		return int(footer), need, nil // not known yet, but at least this
	}
	trailer := end[int64(len(end))-need:]
	if string(trailer[8:8+len(sumsTag)]) != sumsTag {
		return 0, 0, damaged("it has no checksums")
	}
	if v := binary.LittleEndian.Uint32(trailer[4:]); v != sumsVersion {
		return 0, 0, damaged("checksums of version %d", v)
	}
	need += 8 * int64(binary.LittleEndian.Uint32(trailer))
	if need > size {
		return 0, 0, damaged("more checksums than the file has room for")
	}
	return int(footer), need, nil
}
