package sketch

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// A large HLL is its registers, 6 bits each, four to three bytes, so that a
// register never straddles the four bytes loaded for it:
//
//	byte   3k        3k+1      3k+2
//	       ........  ........  ........
//	bit    0    5 6       1112      1718     23
//	       reg 4k reg 4k+1  reg 4k+2  reg 4k+3
//
// Merging takes them eight at a time, 48 bits in a machine word.

// packedPad makes the last register loadable by four bytes, and the last
// eight by eight.
const packedPad = 2

func packedBytes(p uint8) int { return 3 << p / 4 }

func newPacked(p uint8) []byte { return make([]byte, packedBytes(p)+packedPad) }

// raise lifts a register to rank if it is lower.
func (s *HLL) raise(index uint32, rank uint8) { raisePacked(s.packed, index, rank) }

func raisePacked(packed []byte, index uint32, rank uint8) {
	b := packed[index>>2*3:]
	w := binary.LittleEndian.Uint32(b)
	shift := index & 3 * 6
	if old := w >> shift & 63; old < uint32(rank) {
		binary.LittleEndian.PutUint32(b, w+(uint32(rank)-old)<<shift)
	}
}

func (s *HLL) raiseTokens(tokens []uint32) {
	packed, p := s.packed, s.p
	for _, t := range tokens {
		index, rank := register(t, p)
		raisePacked(packed, index, rank)
	}
}

func packedAt(packed []byte, index int) uint8 {
	return uint8(binary.LittleEndian.Uint32(packed[index>>2*3:]) >> (index & 3 * 6) & 63)
}

const (
	lanes48  = 1<<48 - 1
	laneTop  = 0x820820820820 // highest bit of each 6-bit lane
	laneRest = lanes48 &^ laneTop
)

// max6 returns the larger of each of eight 6-bit lanes.
func max6(x, y uint64) uint64 {
	low := (x | laneTop) - y&laneRest // top bit of a lane: the lower five of x ≥ those of y
	ge := (x&^y | ^(x^y)&low) & laneTop
	mask := ge<<1 - ge>>5 // lanes of x ≥ y, all ones
	return y ^ (x^y)&mask
}

// maxPacked lifts every register of dst to that of src, where src is the bytes
// of as many registers, with or without padding.
func maxPacked(dst, src []byte) {
	n := len(dst) - packedPad
	i := 0
	for ; i+24 <= n && i+24 <= len(src); i += 24 {
		d, s := dst[i:i+24:i+24], src[i:i+24:i+24]
		d0, d1, d2 := binary.LittleEndian.Uint64(d), binary.LittleEndian.Uint64(d[8:]), binary.LittleEndian.Uint64(d[16:])
		s0, s1, s2 := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:]), binary.LittleEndian.Uint64(s[16:])
		a := max6(d0&lanes48, s0&lanes48)
		b := max6((d0>>48|d1<<16)&lanes48, (s0>>48|s1<<16)&lanes48)
		c := max6((d1>>32|d2<<32)&lanes48, (s1>>32|s2<<32)&lanes48)
		e := max6(d2>>16, s2>>16)
		binary.LittleEndian.PutUint64(d, a|b<<48)
		binary.LittleEndian.PutUint64(d[8:], b>>16|c<<32)
		binary.LittleEndian.PutUint64(d[16:], c>>32|e<<16)
	}
	for ; i < n; i += 3 { // only p = 4 has fewer than 32 registers
		for lane := range 4 {
			shift := 6 * lane
			v := uint32(src[i]) | uint32(src[i+1])<<8 | uint32(src[i+2])<<16
			raisePacked(dst, uint32(i/3*4+lane), uint8(v>>shift&63))
		}
	}
}

// foldPacked lifts the registers of dst, at precision p, to those of src, at
// the higher precision q: 2^(q-p) registers become one. The bits that chose
// among them now precede the run of zeros.
func foldPacked(dst []byte, p uint8, src []byte, q uint8) {
	drop := q - p
	for i := range 1 << q {
		rank := packedAt(src, i)
		if rank == 0 {
			continue
		}
		index := uint32(i) >> drop
		if rest := uint32(i) << (32 - drop); rest != 0 {
			rank = uint8(bits.LeadingZeros32(rest)) + 1
		} else {
			rank += drop
		}
		raisePacked(dst, index, rank)
	}
}

// estimateRegisters is the improved raw estimator of Ertl (2017), section 4:
// it needs no more than how many registers have each value, and corrects for
// registers never hit and for runs cut off by the end of the hash. It also
// returns how many registers were hit.
func estimateRegisters(packed []byte, p uint8) (value float64, filled int) {
	var counts [64]uint32
	countRegisters(packed[:packedBytes(p)], &counts)
	m := float64(uint64(1) << p)
	q := 64 - int(p)
	z := m * tau(1-float64(counts[q+1])/m)
	for k := q; k >= 1; k-- {
		z = (z + float64(counts[k])) / 2
	}
	z += m * sigma(float64(counts[0])/m)
	return m * m / (2 * math.Ln2) / z, 1<<p - int(counts[0])
}

// countRegisters counts the registers of each value. Two tables take turns, so
// that equal neighbours do not wait for each other's store.
func countRegisters(packed []byte, counts *[64]uint32) {
	var odd [64]uint32
	i := 0
	for ; i+8 <= len(packed); i += 6 {
		w := binary.LittleEndian.Uint64(packed[i:])
		counts[w&63]++
		odd[w>>6&63]++
		counts[w>>12&63]++
		odd[w>>18&63]++
		counts[w>>24&63]++
		odd[w>>30&63]++
		counts[w>>36&63]++
		odd[w>>42&63]++
	}
	for ; i < len(packed); i += 3 {
		w := uint32(packed[i]) | uint32(packed[i+1])<<8 | uint32(packed[i+2])<<16
		for lane := range 4 {
			counts[w>>(6*lane)&63]++
		}
	}
	for v, n := range odd {
		counts[v] += n
	}
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	for y, z := 1.0, x; ; y += y {
		x *= x
		was := z
		z += x * y
		if z == was {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	for y, z := 1.0, 1-x; ; {
		x = math.Sqrt(x)
		was := z
		y /= 2
		z -= (1 - x) * (1 - x) * y
		if z == was {
			return z / 3
		}
	}
}
