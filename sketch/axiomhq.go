package sketch

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	metro "github.com/dgryski/go-metro"
)

// The binary form of axiomhq/hyperloglog, which fixes the hash to MetroHash64
// with seed 1337. All numbers are big-endian.
//
//	byte 0   version: 2, or 1
//	byte 1   p
//	byte 2   in version 1 what every dense register is biased by, in 2 zero
//	byte 3   1 sparse, 0 dense
//
//	dense 2  uint32 2^p | 2^p × register byte
//	dense 1  4 bytes that mean nothing | 2^p/2 bytes of two registers of 4 bits
//	sparse   uint32 n | n × uint32 key | compressed list of further keys:
//	         uint32 n | uint32 last key | uint32 bytes | varints of deltas
//
// A sparse key is the first 25 bits of a hash, shifted by one; or, where the 25-p
// bits after the register are all zero, those 25 bits, the run of zeros after them
// in six bits, and a 1.
const (
	axiomhqIndexBits = 25
	axiomhqSeed      = 1337
)

// HashAxiomhq hashes an item as axiomhq/hyperloglog does.
func HashAxiomhq(item []byte) uint64 { return metro.Hash64(item, axiomhqSeed) }

// NewAxiomhqHLL returns an empty sketch for hashes made by [HashAxiomhq]. Only
// such sketches can be exchanged with axiomhq/hyperloglog.
func NewAxiomhqHLL(p int) *HLL { return newHLL(p, Metro64, axiomhqSeed) }

// AppendAxiomhq appends the sketch as axiomhq/hyperloglog's dense form, version 2.
// It fails for sketches of another hash.
func (s *HLL) AppendAxiomhq(dst []byte) ([]byte, error) {
	if s.hash != Metro64 || s.seed != axiomhqSeed {
		return dst, fmt.Errorf("encode for axiomhq/hyperloglog: %w: its hash is %v seed %d, not %v seed %d",
			ErrMismatch, Metro64, axiomhqSeed, s.hash, s.seed)
	}
	packed := s.packed
	if packed == nil {
		packed = newPacked(s.p)
		for _, v := range s.table {
			if v != 0 {
				index, rank := register(v-1, s.p)
				raisePacked(packed, index, rank)
			}
		}
	}
	dst = append(dst, 2, s.p, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, 1<<s.p)
	for i := range 1 << s.p {
		dst = append(dst, packedAt(packed, i))
	}
	return dst, nil
}

func isAxiomhq(data []byte) bool {
	return len(data) >= 8 && (data[0] == 1 || data[0] == 2) && data[1] >= MinPrecision && data[1] <= MaxPrecision && data[3] <= 1
}

// DecodeAxiomhq reads a sketch of axiomhq/hyperloglog. It holds registers from
// then on: tokens have one bit more than is left of the hashes.
func DecodeAxiomhq(data []byte) (*HLL, error) {
	if !isAxiomhq(data) {
		return nil, corruptAxiomhq("%d bytes that begin with % x", len(data), data[:min(len(data), 4)])
	}
	s := NewAxiomhqHLL(int(data[1]))
	s.packed = newPacked(s.p)
	highest := 64 - s.p + 1
	raise := func(index uint32, rank uint8) bool {
		if rank <= highest {
			raisePacked(s.packed, index, rank)
		}
		return rank <= highest
	}
	body, m := data[8:], uint32(1)<<s.p
	switch {
	case data[3] == 1:
		if err := readAxiomhqSparse(data[4:], s.p, raise); err != nil {
			return nil, err
		}
	case data[0] == 2:
		if binary.BigEndian.Uint32(data[4:]) != m || len(body) != int(m) {
			return nil, corruptAxiomhq("%d registers at p=%d", len(body), s.p)
		}
		for i, rank := range body {
			if !raise(uint32(i), rank) {
				return nil, corruptAxiomhq("register %d is %d", i, rank)
			}
		}
	default:
		if len(body) != int(m/2) {
			return nil, corruptAxiomhq("%d bytes of registers at p=%d", len(body), s.p)
		}
		for i, two := range body {
			if bias := int(data[2]); bias+15 > 255 || !raise(uint32(2*i), two>>4+data[2]) || !raise(uint32(2*i+1), two&15+data[2]) {
				return nil, corruptAxiomhq("registers %d and %d are %02x above %d", 2*i, 2*i+1, two, bias)
			}
		}
	}
	return s, nil
}

func corruptAxiomhq(format string, args ...any) error {
	return fmt.Errorf("decode axiomhq/hyperloglog: %w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func readAxiomhqSparse(b []byte, p uint8, raise func(uint32, uint8) bool) error {
	n := uint64(binary.BigEndian.Uint32(b))
	b = b[4:]
	if 4*n+12 > uint64(len(b)) {
		return corruptAxiomhq("%d keys in %d bytes", n, len(b))
	}
	for range n {
		if key := binary.BigEndian.Uint32(b); !raise(axiomhqRegister(key, p)) {
			return corruptAxiomhq("key %08x", key)
		}
		b = b[4:]
	}
	n, last := uint64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
	size := binary.BigEndian.Uint32(b[8:])
	r := reader{b: b[12:]}
	if uint64(size) != uint64(len(r.b)) || n > uint64(len(r.b)) {
		return corruptAxiomhq("%d listed keys in %d bytes of %d", n, len(r.b), size)
	}
	key := uint64(0)
	for range n {
		key += r.uvarint()
		if r.failed || key > 1<<32-1 || !raise(axiomhqRegister(uint32(key), p)) {
			return corruptAxiomhq("listed key %08x", key)
		}
	}
	if !r.done() || n > 0 && uint32(key) != last {
		return corruptAxiomhq("listed keys end with %08x, not %08x, and %d bytes follow", key, last, len(r.b))
	}
	return nil
}

// axiomhqRegister returns the register of a sparse key, and its run of zeros plus 1.
func axiomhqRegister(key uint32, p uint8) (index uint32, rank uint8) {
	if key&1 == 1 {
		return key >> (32 - p), uint8(key>>1&63) + axiomhqIndexBits - p
	}
	key <<= 32 - axiomhqIndexBits - 1 // the 25 bits to the top
	index = key >> (32 - p)
	return index, uint8(bits.LeadingZeros32(key<<p)) + 1
}
