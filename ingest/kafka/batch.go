package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/weir-stream/weir/ingest"
)

// A record batch, as it lies in the log and comes over the wire:
//
//	 0  base offset       8
//	 8  length            4   of what follows
//	12  leader epoch      4
//	16  magic             1   2
//	17  CRC-32C           4   of what follows
//	21  attributes        2   0-2 codec, 3 log append time, 4 transactional, 5 control
//	23  last offset delta 4
//	27  base time         8
//	35  max time          8
//	43  producer ID       8
//	51  producer epoch    2
//	53  base sequence     4
//	57  records           4
//	61  the records, compressed together
//
// A record is its length, attributes (1 byte), time and offset as differences
// from the base, key, value, and the headers. All numbers are zigzag varints;
// a length of -1 means that there is nothing.
const (
	batchHead      = 61
	beforeLength   = 12
	maxBatchBytes  = 128 << 20 // of one batch, decompressed; brokers take 1 MiB unless told otherwise
	attrAppendTime = 1 << 3
	attrTxn        = 1 << 4
	attrControl    = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError says that a batch is not what its producer wrote, or nothing
// that a producer could have written.
type CorruptError struct {
	Offset int64 // the batch's first
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("record batch at offset %d: %s", e.Offset, e.Reason)
}

// abortedTxn is a transaction whose records a consumer must not see.
type abortedTxn struct {
	producer int64
	first    int64
}

// batchReader reads the record batches of one partition out of a fetch
// response, hiding control records and those of aborted transactions. Its
// memory is used again from one response to the next, and nothing it returns
// lies in the response itself.
type batchReader struct {
	raw     []byte // not yet read
	next    int64  // log offset of the next record
	aborted []abortedTxn
	hidden  []int64 // producers inside an aborted transaction
	headers bool    // whether anybody asks for headers
	codecs  codecs
}

// reset begins a response that was asked for the records from next on. It may
// reorder aborted.
func (r *batchReader) reset(raw []byte, next int64, aborted []abortedTxn) {
	slices.SortFunc(aborted, func(a, b abortedTxn) int { return int(min(1, max(-1, a.first-b.first))) })
	r.raw, r.next, r.aborted, r.hidden = raw, next, aborted, r.hidden[:0]
}

// more reports whether a batch is left. A batch that the response cut off is
// not.
func (r *batchReader) more() bool {
	if len(r.raw) < beforeLength {
		return false
	}
	length := int32(binary.BigEndian.Uint32(r.raw[8:]))
	return length < 0 || int64(length) <= int64(len(r.raw)-beforeLength) // a bad length is for read to find
}

// read appends batches to b until its data reach the limit, or until none is
// left. Offsets get the shift added. After an error, b holds what was good
// before it; if there is any, the error comes with the next call.
func (r *batchReader) read(b *ingest.Batch, shift int64, limit int) error {
	for n := 0; r.more() && len(b.Data) < limit; n++ {
		data, records, headers := len(b.Data), len(b.Records), len(b.Headers)
		if err := r.batch(b, shift); err != nil {
			b.Data, b.Records, b.Headers = b.Data[:data], b.Records[:records], b.Headers[:headers]
			if n > 0 {
				return nil
			}
			return err
		}
	}
	return nil
}

func (r *batchReader) batch(b *ingest.Batch, shift int64) error {
	base := int64(binary.BigEndian.Uint64(r.raw))
	length := int32(binary.BigEndian.Uint32(r.raw[8:]))
	corrupt := func(reason string) error { return &CorruptError{Offset: base, Reason: reason} }
	if length < batchHead-beforeLength {
		if length > 4 && len(r.raw) > 16 && r.raw[16] < 2 {
			return corrupt("its format is that of Kafka before 0.11, which is not read")
		}
		return corrupt("its length cannot be")
	}
	raw := r.raw[:beforeLength+int(length)]
	if magic := raw[16]; magic != 2 {
		return corrupt(fmt.Sprintf("its format is version %d; only version 2, of Kafka 0.11 and later, is read", magic))
	}
	if sum := crc32.Checksum(raw[21:], castagnoli); sum != binary.BigEndian.Uint32(raw[17:]) {
		return corrupt("its checksum is wrong")
	}
	attributes := binary.BigEndian.Uint16(raw[21:])
	lastDelta := int32(binary.BigEndian.Uint32(raw[23:]))
	last := base + int64(lastDelta)
	if base < 0 || lastDelta < 0 || last < base {
		return corrupt("its offsets cannot be")
	}
	if last >= r.next && !r.hides(raw, attributes, last) {
		if err := r.records(b, raw, attributes, base, shift); err != "" {
			return corrupt(err)
		}
	}
	r.raw = r.raw[len(raw):]
	r.next = max(r.next, last+1)
	return nil
}

// hides keeps track of transactions and reports whether none of the batch's
// records are events.
func (r *batchReader) hides(raw []byte, attributes uint16, last int64) bool {
	producer := int64(binary.BigEndian.Uint64(raw[43:]))
	for len(r.aborted) > 0 && r.aborted[0].first <= last {
		if p := r.aborted[0].producer; !slices.Contains(r.hidden, p) {
			r.hidden = append(r.hidden, p)
		}
		r.aborted = r.aborted[1:]
	}
	if attributes&attrControl != 0 {
		// A marker, of a commit or of an abort, ends its producer's transaction.
		if i := slices.Index(r.hidden, producer); i >= 0 {
			r.hidden = slices.Delete(r.hidden, i, i+1)
		}
		return true
	}
	return attributes&attrTxn != 0 && slices.Contains(r.hidden, producer)
}

// records appends the batch's records from r.next on. It returns what is wrong
// with them.
func (r *batchReader) records(b *ingest.Batch, raw []byte, attributes uint16, base, shift int64) string {
	count := int32(binary.BigEndian.Uint32(raw[57:]))
	if count == 0 && len(raw) == batchHead {
		return "" // compaction leaves a batch without its records
	}
	var err error
	start := len(b.Data)
	if b.Data, err = r.codecs.inflate(b.Data, raw[batchHead:], codec(attributes&7)); err != nil {
		return "its records cannot be decompressed: " + err.Error()
	}
	lastDelta := int64(binary.BigEndian.Uint32(raw[23:]))
	baseTime := int64(binary.BigEndian.Uint64(raw[27:]))
	appendTime := int64(binary.BigEndian.Uint64(raw[35:]))
	data, i, previous := b.Data, start, int64(-1)
	for range count {
		size, n := varint(data[i:])
		if n <= 0 || size < 1 || size > int64(len(data)-i-n) {
			return "a record's length cannot be"
		}
		i += n
		f := fields{data: data[:i+int(size)], at: i + 1} // behind the attributes, which mean nothing
		i += int(size)
		time := baseTime + f.number()
		delta := f.number()
		key, value := f.span(), f.span()
		from := uint32(len(b.Headers))
		for range f.count() {
			h := ingest.Header{Name: f.span(), Value: f.span()}
			if f.bad {
				break
			}
			if r.headers {
				b.Headers = append(b.Headers, h)
			}
		}
		if f.bad || f.at != len(f.data) {
			return "a record's fields do not add up to its length"
		}
		if delta <= previous || delta > lastDelta {
			return "its records' offsets are out of order"
		}
		if previous = delta; base+delta < r.next {
			continue // the batch begins before what was asked for
		}
		if attributes&attrAppendTime != 0 {
			time = appendTime
		}
		b.Records = append(b.Records, ingest.Record{Offset: base + delta + shift, Millis: time, Key: key, Value: value,
			Headers: [2]uint32{from, uint32(len(b.Headers))}})
	}
	if i != len(data) {
		return "more follows its last record"
	}
	return ""
}

// fields takes the fields of a record one after the other.
type fields struct {
	data []byte
	at   int
	bad  bool
}

func (f *fields) number() int64 {
	if f.at > len(f.data) {
		f.bad = true
		return 0
	}
	v, n := varint(f.data[f.at:])
	if n <= 0 {
		f.bad = true
		return 0
	}
	f.at += n
	return v
}

func (f *fields) span() ingest.Span {
	size := f.number()
	if size == -1 {
		return ingest.Missing
	}
	if f.bad || size < 0 || size > int64(len(f.data)-f.at) {
		f.bad = true
		return ingest.Missing
	}
	s := ingest.Span{At: uint32(f.at), Len: int32(size)}
	f.at += int(size)
	return s
}

func (f *fields) count() int64 {
	n := f.number()
	if n < 0 || n > int64(len(f.data)-f.at) { // each takes bytes
		f.bad = true
		return 0
	}
	return n
}

// varint reads a zigzag varint. n <= 0 says that there is none.
func varint(b []byte) (v int64, n int) {
	if len(b) > 0 && b[0] < 0x80 { // most
		u := uint64(b[0])
		return int64(u>>1) ^ -int64(u&1), 1
	}
	return binary.Varint(b)
}
