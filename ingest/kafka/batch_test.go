package kafka

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/weir-stream/weir/ingest"
)

// random is seeded by WEIR_SEED, or by the clock; it prints which.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("WEIR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

// message is a record as a test writes and expects it.
type message struct {
	offset     int64
	millis     int64
	key, value string // "<nil>" is missing
	headers    string // "a=b c=d"
}

// batchSpec is a batch to be encoded.
type batchSpec struct {
	base, last int64
	attributes uint16
	producer   int64
	maxTime    int64
	messages   []message
	xerial     bool
}

func appendBytes(b []byte, s string) []byte {
	if s == "<nil>" {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

func (s batchSpec) encode(t testing.TB) []byte {
	t.Helper()
	var records []byte
	baseTime := int64(0)
	if len(s.messages) > 0 {
		baseTime = s.messages[0].millis
	}
	for _, m := range s.messages {
		r := []byte{0}
		r = binary.AppendVarint(r, m.millis-baseTime)
		r = binary.AppendVarint(r, m.offset-s.base)
		r = appendBytes(appendBytes(r, m.key), m.value)
		headers := strings.Fields(m.headers)
		r = binary.AppendVarint(r, int64(len(headers)))
		for _, h := range headers {
			name, value, _ := strings.Cut(h, "=")
			r = appendBytes(appendBytes(r, name), value)
		}
		records = append(binary.AppendVarint(records, int64(len(r))), r...)
	}
	if len(s.messages) > 0 {
		records = deflate(t, records, codec(s.attributes&7), s.xerial)
	}
	b := make([]byte, batchHead, batchHead+len(records))
	binary.BigEndian.PutUint64(b, uint64(s.base))
	binary.BigEndian.PutUint32(b[8:], uint32(batchHead-beforeLength+len(records)))
	b[16] = 2
	binary.BigEndian.PutUint16(b[21:], s.attributes)
	binary.BigEndian.PutUint32(b[23:], uint32(s.last-s.base))
	binary.BigEndian.PutUint64(b[27:], uint64(baseTime))
	binary.BigEndian.PutUint64(b[35:], uint64(s.maxTime))
	binary.BigEndian.PutUint64(b[43:], uint64(s.producer))
	binary.BigEndian.PutUint32(b[57:], uint32(len(s.messages)))
	b = append(b, records...)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

func deflate(t testing.TB, b []byte, how codec, framed bool) []byte {
	t.Helper()
	var out bytes.Buffer
	switch how {
	case gzipped:
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
	case snappy:
		if !framed {
			return s2.EncodeSnappy(nil, b)
		}
		out.Write(xerial)
		out.Write([]byte{0, 0, 0, 1, 0, 0, 0, 1})
		for len(b) > 0 {
			n := min(len(b), 32<<10)
			block := s2.EncodeSnappy(nil, b[:n])
			out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(block))))
			out.Write(block)
			b = b[n:]
		}
	case lz4ed:
		z := lz4.NewWriter(&out)
		z.Write(b)
		z.Close()
	case zstded:
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		return z.EncodeAll(b, nil)
	default:
		return b
	}
	return out.Bytes()
}

func messagesOf(b *ingest.Batch) []message {
	var out []message
	text := func(s ingest.Span) string {
		if s.Len < 0 {
			return "<nil>"
		}
		return string(s.In(b.Data))
	}
	for _, r := range b.Records {
		var headers []string
		for _, h := range b.Headers[r.Headers[0]:r.Headers[1]] {
			headers = append(headers, text(h.Name)+"="+text(h.Value))
		}
		out = append(out, message{r.Offset, r.Millis, text(r.Key), text(r.Value), strings.Join(headers, " ")})
	}
	return out
}

func readAllBatches(t testing.TB, r *batchReader) []message {
	t.Helper()
	b := ingest.Batch{Records: []ingest.Record{}}
	for r.more() {
		if err := r.read(&b, 0, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	return messagesOf(&b)
}

func expectMessages(t testing.TB, got, want []message) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %d messages, want %d\ngot  %.2000v\nwant %.2000v", len(got), len(want), got, want)
	}
}

// Whatever was written comes back, with every codec, in batches of every size.
func TestBatchesAreReadAsWritten(t *testing.T) {
	rng := random(t)
	for how := uncompressed; how <= zstded; how++ {
		for _, framed := range []bool{false, true} {
			if framed && how != snappy {
				continue
			}
			r := batchReader{headers: true}
			for range 30 {
				var raw []byte
				var want []message
				offset := rng.Int64N(1 << 40)
				first := offset
				for range 1 + rng.IntN(4) {
					s := batchSpec{base: offset, attributes: uint16(how), producer: -1, xerial: framed}
					for range 1 + rng.IntN(1+rng.IntN(500)) {
						m := message{offset: offset, millis: 1_700_000_000_000 + rng.Int64N(100000) - 50000, key: "<nil>",
							value: strings.Repeat("x\n", rng.IntN(1+rng.IntN(200)))}
						if rng.IntN(2) == 0 {
							m.key = fmt.Sprint("k", rng.IntN(100))
						}
						if rng.IntN(10) == 0 {
							m.value = "<nil>"
						}
						if rng.IntN(5) == 0 {
							m.headers = "a=1 a=2 empty= null=<nil>"
						}
						s.messages = append(s.messages, m)
						offset += 1 + rng.Int64N(1+rng.Int64N(20)) // compaction leaves holes
					}
					s.last = offset - 1
					want = append(want, s.messages...)
					raw = append(raw, s.encode(t)...)
				}
				r.reset(raw, first, nil)
				expectMessages(t, readAllBatches(t, &r), want)
				if r.next != offset {
					t.Fatalf("next offset %d, want %d", r.next, offset)
				}
				// From the middle of a batch, what lies before is not handed out.
				skip := rng.IntN(len(want))
				r.reset(raw, want[skip].offset, nil)
				expectMessages(t, readAllBatches(t, &r), want[skip:])
			}
			r.codecs.close()
		}
	}
}

func TestNextOffsetIsBehindTheBatchEvenWhenItsRecordsAreGone(t *testing.T) {
	raw := batchSpec{base: 10, last: 19, messages: []message{{offset: 12, value: "a", key: "<nil>"}}}.encode(t)
	raw = append(raw, batchSpec{base: 20, last: 29}.encode(t)...) // compacted away, all of it
	r := batchReader{}
	r.reset(raw, 11, nil)
	expectMessages(t, readAllBatches(t, &r), []message{{offset: 12, value: "a", key: "<nil>"}})
	if r.next != 30 {
		t.Errorf("next offset %d, want 30", r.next)
	}
}

func TestLogAppendTimeIsThatOfTheBatch(t *testing.T) {
	raw := batchSpec{base: 0, last: 1, attributes: attrAppendTime, maxTime: 77,
		messages: []message{{offset: 0, millis: 5, key: "<nil>", value: "a"}, {offset: 1, millis: 6, key: "<nil>", value: "b"}}}.encode(t)
	var r batchReader
	r.reset(raw, 0, nil)
	expectMessages(t, readAllBatches(t, &r), []message{{0, 77, "<nil>", "a", ""}, {1, 77, "<nil>", "b", ""}})
}

// A random history of transactions, read from anywhere, shows exactly what was
// committed or never in a transaction.
func TestAbortedRecordsAreHidden(t *testing.T) {
	rng := random(t)
	for range 200 {
		var raw [][]byte
		var starts []int64
		var batches [][]message
		var producers []int64
		aborted := map[int64]bool{} // by batch index
		var list []abortedTxn
		running := map[int64][]int{}
		firsts := map[int64]int64{}
		offset := int64(100)
		add := func(s batchSpec) {
			raw = append(raw, s.encode(t))
			starts = append(starts, s.base)
			batches = append(batches, s.messages)
			producers = append(producers, s.producer)
		}
		for range 40 {
			pid := int64(rng.IntN(4))
			if len(running[pid]) > 0 && rng.IntN(3) == 0 { // end its transaction
				kind := "\x00\x00\x00\x01"
				if rng.IntN(2) == 0 {
					kind = "\x00\x00\x00\x00"
					for _, i := range running[pid] {
						aborted[int64(i)] = true
					}
					list = append(list, abortedTxn{pid, firsts[pid]})
				}
				delete(running, pid)
				add(batchSpec{base: offset, last: offset, attributes: attrTxn | attrControl, producer: pid,
					messages: []message{{offset: offset, key: kind, value: "\x00\x00\x00\x00\x00\x00"}}})
				batches[len(batches)-1] = nil
				offset++
				continue
			}
			n := 1 + rng.Int64N(3)
			s := batchSpec{base: offset, last: offset + n - 1, producer: pid, attributes: attrTxn}
			if len(running[pid]) == 0 && rng.IntN(3) == 0 {
				s.attributes = 0 // outside of any transaction
			} else {
				if len(running[pid]) == 0 {
					firsts[pid] = offset
				}
				running[pid] = append(running[pid], len(raw))
			}
			for range n {
				s.messages = append(s.messages, message{offset: offset, key: "<nil>", value: fmt.Sprint(offset)})
				offset++
			}
			add(s)
		}
		// The last stable offset ends what a broker shows.
		end := len(raw)
		for _, is := range running {
			end = min(end, is[0])
		}
		for from := range end {
			var want []message
			var wire []byte
			for i := from; i < end; i++ {
				wire = append(wire, raw[i]...)
				if !aborted[int64(i)] {
					want = append(want, batches[i]...)
				}
			}
			var r batchReader
			r.reset(wire, starts[from], overlapping(list, starts, producers, batches, starts[from]))
			expectMessages(t, readAllBatches(t, &r), want)
		}
	}
}

// overlapping gives the transactions whose marker lies at the offset or behind
// it: a broker tells of no others.
func overlapping(list []abortedTxn, starts, producers []int64, batches [][]message, from int64) []abortedTxn {
	var out []abortedTxn
	for _, a := range list {
		for i := range starts {
			if producers[i] == a.producer && batches[i] == nil && starts[i] > a.first { // its marker
				if starts[i] >= from {
					out = append(out, a)
				}
				break
			}
		}
	}
	return out
}

// A response may end anywhere in its last batch.
func TestTruncatedBatchIsLeftOut(t *testing.T) {
	one := batchSpec{base: 0, last: 0, messages: []message{{offset: 0, key: "<nil>", value: "one"}}}.encode(t)
	two := batchSpec{base: 1, last: 1, messages: []message{{offset: 1, key: "<nil>", value: "two"}}}.encode(t)
	for cut := range two {
		var r batchReader
		r.reset(append(bytes.Clone(one), two[:cut]...), 0, nil)
		expectMessages(t, readAllBatches(t, &r), []message{{0, 0, "<nil>", "one", ""}})
		if r.next != 1 {
			t.Fatalf("cut at %d: next %d", cut, r.next)
		}
	}
}

// Every flipped bit that the checksum speaks for is found, and so is every one
// in the checksum and in the format's number.
func TestEveryFlippedBitIsFound(t *testing.T) {
	whole := batchSpec{base: 3, last: 4, attributes: uint16(lz4ed), producer: -1, messages: []message{
		{offset: 3, millis: 5, key: "k", value: strings.Repeat("value ", 20), headers: "a=b"}, {offset: 4, millis: 6, key: "<nil>", value: "v"}}}.encode(t)
	for bit := 16 * 8; bit < 8*len(whole); bit++ {
		raw := bytes.Clone(whole)
		raw[bit/8] ^= 1 << (bit % 8)
		var r batchReader
		r.reset(raw, 3, nil)
		b := ingest.Batch{Records: []ingest.Record{}}
		var corrupt *CorruptError
		if err := r.read(&b, 0, 1<<20); !errors.As(err, &corrupt) || corrupt.Offset != 3 || len(b.Records) > 0 || len(b.Data) > 0 {
			t.Fatalf("bit %d: %v, %d records", bit, err, len(b.Records))
		}
	}
}

// What is good before a bad batch is handed out first.
func TestErrorComesBehindWhatIsGood(t *testing.T) {
	raw := batchSpec{base: 0, last: 0, messages: []message{{offset: 0, key: "<nil>", value: "one"}}}.encode(t)
	bad := batchSpec{base: 1, last: 1, messages: []message{{offset: 1, key: "<nil>", value: "two"}}}.encode(t)
	bad[len(bad)-1] ^= 1
	var r batchReader
	r.reset(append(raw, bad...), 0, nil)
	b := ingest.Batch{Records: []ingest.Record{}}
	if err := r.read(&b, 5, 1<<20); err != nil {
		t.Fatal(err)
	}
	expectMessages(t, messagesOf(&b), []message{{5, 0, "<nil>", "one", ""}})
	if err := r.read(&b, 5, 1<<20); err == nil || r.next != 1 {
		t.Fatalf("error %v, next %d", err, r.next)
	}
}

func TestBombsAreDefused(t *testing.T) {
	bomb := make([]byte, maxBatchBytes+1)
	for how := gzipped; how <= zstded; how++ {
		var c codecs
		out, err := c.inflate(nil, deflate(t, bomb, how, false), how)
		if err == nil || len(out) > 0 {
			t.Errorf("codec %d: %d bytes, error %v", how, len(out), err)
		}
		c.close()
	}
}

func TestOldFormatsAreRefusedByName(t *testing.T) {
	raw := make([]byte, 40)
	binary.BigEndian.PutUint32(raw[8:], 20)
	raw[16] = 1
	var r batchReader
	r.reset(raw, 0, nil)
	if err := r.read(&ingest.Batch{}, 0, 1); err == nil || !strings.Contains(err.Error(), "before 0.11") {
		t.Error(err)
	}
}

// In the steady state, reading allocates nothing.
func TestBatchesAreReadWithoutAllocating(t *testing.T) {
	for how := uncompressed; how <= zstded; how++ {
		raw := benchmarkBatch(t, how)
		r := batchReader{headers: true}
		b := ingest.Batch{Records: []ingest.Record{}}
		n := testing.AllocsPerRun(50, func() {
			b.Data, b.Records, b.Headers = b.Data[:0], b.Records[:0], b.Headers[:0]
			r.reset(raw, 0, nil)
			if err := r.read(&b, 0, 1<<20); err != nil {
				t.Fatal(err)
			}
		})
		limit := 3.0 // of the codecs, which keep some of their memory in pools that the collector may empty
		if how == uncompressed {
			limit = 0
		}
		if n > limit {
			t.Errorf("codec %d: %v allocations a batch", how, n)
		}
		r.codecs.close()
	}
}

func benchmarkBatch(t testing.TB, how codec) []byte {
	s := batchSpec{last: 999, attributes: uint16(how), producer: -1}
	for i := range int64(1000) {
		s.messages = append(s.messages, message{offset: i, millis: i, key: "<nil>",
			value: fmt.Sprintf(`{"time":"2026-01-01T00:%02d:%02dZ","service":"checkout-%d","latency":%d.%d,"user":"u%d","path":"/p/%d"}`,
				i/60%60, i%60, i%7, i*7919%1000, i%10, i*104729%100000, i%50)})
	}
	return s.encode(t)
}

func BenchmarkBatchReader(b *testing.B) {
	for how, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		raw := benchmarkBatch(b, codec(how))
		b.Run(name, func(b *testing.B) {
			var r batchReader
			out := ingest.Batch{Records: []ingest.Record{}}
			for b.Loop() {
				out.Data, out.Records, out.Headers = out.Data[:0], out.Records[:0], out.Headers[:0]
				r.reset(raw, 0, nil)
				if err := r.read(&out, 0, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}

// No bytes, with their checksum made right or not, make the reader panic, read
// past the end, or hand out offsets that fall.
func FuzzBatchReader(f *testing.F) {
	for how := uncompressed; how <= zstded; how++ {
		f.Add(batchSpec{base: 3, last: 4, attributes: uint16(how), messages: []message{
			{offset: 3, millis: 5, key: "k", value: "value value value", headers: "a=b"}, {offset: 4, key: "<nil>", value: "<nil>"}}}.encode(f), true)
	}
	f.Add(batchSpec{base: 3, last: 3, attributes: attrTxn | attrControl, messages: []message{{offset: 3, key: "\x00\x00\x00\x00"}}}.encode(f), true)
	f.Fuzz(func(t *testing.T, raw []byte, mend bool) {
		if mend && len(raw) >= batchHead {
			raw = bytes.Clone(raw)
			binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-beforeLength))
			raw[16] = 2
			binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
		}
		r := batchReader{headers: true}
		defer r.codecs.close()
		r.reset(raw, 2, []abortedTxn{{producer: 1, first: 2}})
		b := ingest.Batch{Records: []ingest.Record{}}
		for r.more() {
			if err := r.read(&b, 0, 1<<20); err != nil {
				break
			}
		}
		previous := int64(1)
		for _, record := range b.Records {
			if record.Offset <= previous || record.Offset >= r.next {
				t.Fatalf("offset %d behind %d, next %d", record.Offset, previous, r.next)
			}
			previous = record.Offset
		}
		messagesOf(&b) // every span lies in the data
	})
}
