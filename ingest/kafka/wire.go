package kafka

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// requestWriter builds a request of the Kafka protocol. From some version on, every
// API is "flexible": lengths are varints, one too large so that 0 can say that
// there is nothing, and every structure ends in tagged fields.
type requestWriter struct {
	b        []byte
	flexible bool
}

func (w *requestWriter) int8(v int8)   { w.b = append(w.b, byte(v)) }
func (w *requestWriter) int16(v int16) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *requestWriter) int32(v int32) { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }
func (w *requestWriter) int64(v int64) { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }
func (w *requestWriter) id(v topicID)  { w.b = append(w.b, v[:]...) }

func (w *requestWriter) bool(v bool) {
	b := int8(0)
	if v {
		b = 1
	}
	w.int8(b)
}

func (w *requestWriter) count(n int) {
	if w.flexible {
		w.b = binary.AppendUvarint(w.b, uint64(n)+1)
	} else {
		w.int32(int32(n))
	}
}

func (w *requestWriter) string(s string) {
	if w.flexible {
		w.b = binary.AppendUvarint(w.b, uint64(len(s))+1)
	} else {
		w.int16(int16(len(s)))
	}
	w.b = append(w.b, s...)
}

// end ends a structure, with no tagged fields.
func (w *requestWriter) end() {
	if w.flexible {
		w.b = append(w.b, 0)
	}
}

// begin writes a request's header; its size is filled in by finish.
func (w *requestWriter) begin(api, version int16, correlation int32, client string, flexible bool) {
	w.b, w.flexible = w.b[:0], false
	w.int32(0)
	w.int16(api)
	w.int16(version)
	w.int32(correlation)
	w.string(client) // never compact in the header
	w.flexible = flexible
	w.end()
}

func (w *requestWriter) finish() []byte {
	binary.BigEndian.PutUint32(w.b, uint32(len(w.b)-4))
	return w.b
}

// maxResponse bounds what a broker may answer.
const maxResponse = 1 << 30

// responseReader takes a response apart. It trusts no length: nothing is read
// past the response's own size, and after the first fault every answer is zero.
type responseReader struct {
	limit    io.LimitedReader
	r        *bufio.Reader
	flexible bool
	scratch  [16]byte
	err      error
}

var errMalformed = errors.New("the broker's response does not follow the protocol")

// begin reads the size and the header of a response.
func (r *responseReader) begin(from io.Reader, correlation int32, flexible bool) error {
	r.err, r.flexible = nil, flexible
	if _, err := io.ReadFull(from, r.scratch[:8]); err != nil {
		return fmt.Errorf("read the broker's response: %w", err)
	}
	size := int32(binary.BigEndian.Uint32(r.scratch[:]))
	if size < 4 || size > maxResponse {
		return fmt.Errorf("%w: it says that it is %d bytes long", errMalformed, size)
	}
	if id := int32(binary.BigEndian.Uint32(r.scratch[4:])); id != correlation {
		return fmt.Errorf("%w: it answers request %d, not %d", errMalformed, id, correlation)
	}
	r.limit = io.LimitedReader{R: from, N: int64(size) - 4}
	if r.r == nil {
		r.r = bufio.NewReaderSize(nil, 4096)
	}
	r.r.Reset(&r.limit)
	r.end()
	return r.err
}

// left is how many bytes of the response have not been read.
func (r *responseReader) left() int64 { return r.limit.N + int64(r.r.Buffered()) }

// finish expects that all was read.
func (r *responseReader) finish() error {
	if r.err == nil && r.left() > 0 {
		r.err = fmt.Errorf("%w: %d bytes are left", errMalformed, r.left())
	}
	return r.err
}

func (r *responseReader) fail(err error) {
	if r.err == nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errMalformed
			if r.limit.N > 0 {
				err = io.ErrUnexpectedEOF
			}
		}
		r.err = fmt.Errorf("read the broker's response: %w", err)
	}
}

func (r *responseReader) bytes(n int) []byte {
	clear(r.scratch[:n])
	if r.err == nil {
		if _, err := io.ReadFull(r.r, r.scratch[:n]); err != nil {
			clear(r.scratch[:n])
			r.fail(err)
		}
	}
	return r.scratch[:n]
}

func (r *responseReader) int8() int8   { return int8(r.bytes(1)[0]) }
func (r *responseReader) int16() int16 { return int16(binary.BigEndian.Uint16(r.bytes(2))) }
func (r *responseReader) int32() int32 { return int32(binary.BigEndian.Uint32(r.bytes(4))) }
func (r *responseReader) int64() int64 { return int64(binary.BigEndian.Uint64(r.bytes(8))) }
func (r *responseReader) id() topicID  { return topicID(r.bytes(16)) }

func (r *responseReader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(r.r)
	if err != nil {
		r.fail(err)
		return 0
	}
	return v
}

// size reads a length that is at most what is left; -1 says that there is
// nothing.
func (r *responseReader) size(wide bool) int {
	var n int64
	switch {
	case r.flexible:
		n = int64(r.uvarint()) - 1
	case wide:
		n = int64(r.int32())
	default:
		n = int64(r.int16())
	}
	if r.err != nil {
		return 0
	}
	if n < -1 || n > r.left() {
		r.fail(fmt.Errorf("%w: something of %d bytes in %d", errMalformed, n, r.left()))
		return 0
	}
	return int(n)
}

// elements reads the length of an array, and runs through it as long as there is
// no fault. Each element takes at least a byte.
func (r *responseReader) elements() iter.Seq[int] {
	n := max(0, r.size(true))
	return func(yield func(int) bool) {
		for i := 0; i < n && r.err == nil && yield(i); i++ {
		}
	}
}

func (r *responseReader) string() string {
	n := max(0, r.size(false))
	if n == 0 {
		return ""
	}
	return string(r.blob(nil, n))
}

// blob reads n bytes, which are known to be there, into buf if they fit.
func (r *responseReader) blob(buf []byte, n int) []byte {
	if r.err != nil {
		return nil
	}
	if cap(buf) < n {
		buf = make([]byte, n+n/8)
	}
	if _, err := io.ReadFull(r.r, buf[:n]); err != nil {
		r.fail(err)
		return nil
	}
	return buf[:n]
}

// records reads the bytes of record batches into buf.
func (r *responseReader) records(buf []byte) []byte {
	n := max(0, r.size(true))
	if n > partitionMost {
		r.fail(fmt.Errorf("%w: %d bytes of one partition", errMalformed, n))
	}
	return r.blob(buf, n)
}

func (r *responseReader) skip(n int) {
	if r.err == nil && n > 0 {
		if _, err := r.r.Discard(n); err != nil {
			r.fail(err)
		}
	}
}

// end passes over the tagged fields at the end of a structure.
func (r *responseReader) end() {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		r.uvarint()
		size := r.uvarint()
		if size > uint64(r.left()) {
			r.fail(errMalformed)
			return
		}
		r.skip(int(size))
	}
}
