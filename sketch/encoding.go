package sketch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Every encoding of this package has one envelope:
//
//	byte 0      kind, a letter
//	byte 1      version of the kind's format (high four bits), form (low four)
//	...         parameters and payload, as the kind's file draws them
//	last four   checksum: low half of xxh3 of all bytes before, little-endian
//
// Version history: 1, the first.
//
// A letter first, so that a hex dump can be read, and so that no encoding of
// ours begins like one of the Java t-digest (0) or of axiomhq/hyperloglog (1, 2).
const (
	encodingVersion = 1
	checksumBytes   = 4
	envelopeBytes   = 2 + checksumBytes
)

// Kind is the kind of an encoded sketch: the first byte of its encoding.
type Kind byte

// The kinds.
const (
	KindHLL       Kind = 'H'
	KindTDigest   Kind = 'T'
	KindDDSketch  Kind = 'D'
	KindTop       Kind = 'K'
	KindFrequency Kind = 'F'
	KindMoments   Kind = 'M'
	KindTheta     Kind = 'U'
	KindReservoir Kind = 'R'
)

func (k Kind) String() string {
	switch k {
	case KindHLL:
		return "hyperloglog"
	case KindTDigest:
		return "t-digest"
	case KindDDSketch:
		return "ddsketch"
	case KindTop:
		return "top"
	case KindFrequency:
		return "frequency"
	case KindMoments:
		return "moments"
	case KindTheta:
		return "theta"
	case KindReservoir:
		return "reservoir"
	}
	return fmt.Sprintf("unknown kind 0x%02x", byte(k))
}

var (
	// ErrCorrupt is wrapped by every error of bytes that are no sound encoding.
	ErrCorrupt = errors.New("corrupt sketch")

	// ErrMismatch is wrapped when two sketches are sound but do not merge:
	// different kinds, parameters, hash functions or seeds.
	ErrMismatch = errors.New("sketches do not merge")
)

func corrupt(k Kind, format string, args ...any) error {
	return fmt.Errorf("decode %v: %w: %s", k, ErrCorrupt, fmt.Sprintf(format, args...))
}

func mismatch(k Kind, format string, args ...any) error {
	return fmt.Errorf("merge %v: %w: %s", k, ErrMismatch, fmt.Sprintf(format, args...))
}

// seal appends the checksum of all that was appended since start.
func seal(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(xxh3.Hash(dst[start:])))
}

// open checks the envelope and returns the form and what lies between.
func open(k Kind, data []byte) (form byte, body []byte, err error) {
	if len(data) < envelopeBytes {
		return 0, nil, corrupt(k, "%d bytes are too few", len(data))
	}
	if Kind(data[0]) != k {
		return 0, nil, mismatch(k, "these bytes hold a %v", Kind(data[0]))
	}
	if v := data[1] >> 4; v != encodingVersion {
		return 0, nil, corrupt(k, "version %d is not known", v)
	}
	end := len(data) - checksumBytes
	if want, is := binary.LittleEndian.Uint32(data[end:]), uint32(xxh3.Hash(data[:end])); want != is {
		return 0, nil, corrupt(k, "checksum %08x of bytes that sum to %08x", want, is)
	}
	return data[1] & 15, data[2:end], nil
}

// reader takes numbers off the front of a payload. After the first failure it
// returns zeros and stays failed, so callers check once, before they allocate.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.failed = true
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) uint64() uint64 {
	if len(r.b) < 8 {
		r.failed = true
		r.b = nil
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed = true
		r.b = nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

// count reads the number of things that follow, each of at least size bytes: a
// count that the input cannot hold fails before anyone allocates for it.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.failed = true
		r.b = nil
		return 0
	}
	return int(n)
}

// done reports whether all was read and nothing was missing.
func (r *reader) done() bool { return !r.failed && len(r.b) == 0 }
