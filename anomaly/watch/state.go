package watch

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weir-stream/weir/anomaly"
	"github.com/weir-stream/weir/anomaly/incident"
)

// A saved state is a machine between two windows:
//
//	zstd( header length u32 │ header JSON │ series … )
//
//	series   dimension values │ run │ detector
//	values   n × (length uvarint, text), n as the definition says
//	run      seen, since, peak's window, peak's began    varint
//	         unlearned, bad, good                        uvarint
//	         incident                                    length uvarint, text
//	         previous; value, expected, lower, upper,
//	         score and size of the peak                  float64
//	         direction, reason of the peak               byte
//	detector length uvarint, state as the detector encodes it
//
// Integers are little-endian. The frame carries a checksum. A state counts only
// under the definition whose hash it has; of another, what counts is how far
// windows had been judged. That may be further than the machine is, which then is
// one that still learns the past.
type stateHeader struct {
	Format     int               `json:"format"`
	Definition string            `json:"definition"`
	Next       int64             `json:"next"`   // start of the next window, Unix ns
	Judged     int64             `json:"judged"` // windows that begin before it raise nothing; none before Next does
	Number     int64             `json:"number"`
	Left       int64             `json:"left"`
	Series     int               `json:"series"`
	Open       []incident.Record `json:"open"`
}

const (
	stateFormat   = 1
	maxStateBytes = 256 << 20 // before compression; more is not saved
)

var (
	errState      = errors.New("not a saved state")
	errStateLarge = fmt.Errorf("it has more than %d MiB", maxStateBytes>>20)
)

func (m *machine) encode() ([]byte, error) {
	size := 0
	for _, s := range m.series {
		size += s.detector.SizeBytes()
	}
	if size > maxStateBytes {
		return nil, errStateLarge
	}
	header := stateHeader{Format: stateFormat, Definition: m.def.hash, Next: m.next, Judged: max(m.next, m.silent), Number: m.number, Left: m.left, Series: len(m.series)}
	for _, id := range slices.SortedFunc(maps.Keys(m.open), compareIDs) {
		header.Open = append(header.Open, *m.open[id])
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(text)))
	out = append(out, text...)
	var state []byte
	for _, k := range slices.Sorted(maps.Keys(m.series)) {
		s := m.series[k]
		for _, v := range s.by {
			out = appendText(out, v)
		}
		p := &s.peak.said
		for _, n := range []int64{s.seen, s.since, s.peak.window, p.Began} {
			out = binary.AppendVarint(out, n)
		}
		out = binary.AppendUvarint(out, uint64(s.unlearned))
		out = binary.AppendUvarint(out, uint64(s.bad))
		out = binary.AppendUvarint(out, uint64(s.good))
		out = appendText(out, s.incident)
		for _, x := range []float64{s.previous, p.Value, p.Expected, p.Lower, p.Upper, p.Score, p.Size} {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
		}
		out = append(out, byte(p.Direction), byte(p.Reason))
		state = s.detector.AppendBinary(state[:0])
		out = binary.AppendUvarint(out, uint64(len(state)))
		out = append(out, state...)
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return w.EncodeAll(out, nil), nil
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// openState takes the frame off a saved state, and reads its header. What follows
// the header is left.
func openState(data []byte) (header stateHeader, rest []byte, err error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxStateBytes))
	if err != nil {
		return header, nil, err
	}
	defer r.Close()
	raw, err := r.DecodeAll(data, nil)
	if err != nil {
		return header, nil, fmt.Errorf("%w: %w", errState, err)
	}
	in := &reader{rest: raw}
	if err := json.Unmarshal(in.take(uint64(in.uint32())), &header); err != nil || in.bad {
		return header, nil, fmt.Errorf("%w: its header is damaged", errState)
	}
	if header.Format != stateFormat {
		return header, nil, fmt.Errorf("%w: format %d; this version reads %d", errState, header.Format, stateFormat)
	}
	return header, in.rest, nil
}

// DescribeState prints what a saved state says of itself.
func DescribeState(out io.Writer, data []byte) error {
	header, rest, err := openState(data)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "state of a detector, format %d, definition %s\n", header.Format, header.Definition)
	fmt.Fprintf(out, "windows learned  before %s\n", time.Unix(0, header.Next).UTC().Format(time.RFC3339Nano))
	fmt.Fprintf(out, "windows judged   before %s\n", time.Unix(0, max(header.Next, header.Judged)).UTC().Format(time.RFC3339Nano))
	fmt.Fprintf(out, "series           %d, in %d bytes; %d left out\n", header.Series, len(rest), header.Left)
	fmt.Fprintf(out, "next batch       %d\n", header.Number)
	for i := range header.Open {
		fmt.Fprintf(out, "open             %s: %s\n", header.Open[i].ID, header.Open[i].Summary)
	}
	return nil
}

// decodeState reads a saved state. Of another definition it is only how far
// windows had been judged, and the machine is nil.
func decodeState(d *definition, data []byte) (m *machine, judged int64, err error) {
	header, rest, err := openState(data)
	if err != nil {
		return nil, 0, err
	}
	in := &reader{rest: rest}
	judged = max(header.Next, header.Judged) // states of before Judged was written have none
	if header.Definition != d.hash {
		return nil, judged, nil
	}
	m = newMachine(d, header.Next)
	m.number, m.left = header.Number, header.Left
	for i := range header.Open {
		m.open[header.Open[i].ID] = &header.Open[i]
	}
	for range header.Series {
		s := &series{by: make([]string, len(d.config.By))}
		for i := range s.by {
			s.by[i] = in.text()
		}
		p := &s.peak.said
		for _, to := range []*int64{&s.seen, &s.since, &s.peak.window, &p.Began} {
			*to = in.varint()
		}
		s.unlearned, s.bad, s.good, s.incident = int(in.uvarint()), int(in.uvarint()), int(in.uvarint()), in.text()
		for _, to := range []*float64{&s.previous, &p.Value, &p.Expected, &p.Lower, &p.Upper, &p.Score, &p.Size} {
			*to = math.Float64frombits(in.uint64())
		}
		kinds := in.take(2)
		state := in.take(in.uvarint())
		if in.bad {
			return nil, 0, fmt.Errorf("%w: it ends within a series", errState)
		}
		p.Direction, p.Reason = anomaly.Direction(int8(kinds[0])), anomaly.Reason(int8(kinds[1]))
		if s.detector, err = d.fresh(); err != nil {
			return nil, 0, err
		}
		if err := s.detector.UnmarshalBinary(state); err != nil {
			return nil, 0, fmt.Errorf("%w: series %s: %w", errState, strings.Join(s.by, ","), err)
		}
		m.series[key(s.by)] = s
	}
	return m, judged, nil
}

// reader takes apart what may be damaged. Past the end, it reads zeros and is
// bad.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad = true
		return make([]byte, min(n, 16))
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) text() string   { return string(r.take(r.uvarint())) }

func (r *reader) varint() int64 {
	x, n := binary.Varint(r.rest)
	r.skip(n)
	return x
}

func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.rest)
	r.skip(n)
	return x
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.bad = true
		return
	}
	r.rest = r.rest[n:]
}
