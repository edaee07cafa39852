package sketch

import (
	"fmt"
	"math"
	"math/bits"
)

// HLL counts different items: HyperLogLog.
//
// Idea: among n random hashes the longest run of leading zeros is about log2 n
// bits. 2^p registers, chosen by the first p bits of the hash, each keep the
// longest run of theirs; together they estimate n.
//
//	Papers     Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007); Ertl, "New
//	           cardinality estimation algorithms for HyperLogLog sketches" (2017),
//	           whose improved estimator is used: unbiased at every n, no tables.
//	Guarantee  standard error 1.04/√(2^p), 0.81 % at p = 14, at any n. Up to
//	           2^p/4 items tokens are kept instead: almost always the exact count.
//	Bytes      n ≤ 2^p/4: 5 to 11 n in memory and 3 to 4 n encoded;
//	           then ¾ 2^p, 12 KiB at p = 14, in memory and encoded.
//	Merge law  exact: merging equals concatenation, bit for bit, in any order and
//	           with repeats. Different p merge at the lower p.
//	Otherwise  [Theta] for intersections and differences, at 8 bytes a value kept.
//
// A token is a hash reduced to 32 bits, from which the register and the run of
// zeros can be told for every p up to 18: its first 26 bits, and the number of
// zeros that follow them.
//
//	bits 31…6   first 26 bits of the hash
//	bits  5…0   leading zeros of the other 38 bits, plus 1: 1 … 39
//
// An HLL is safe for concurrent reads. It never changes on reading.
type HLL struct {
	seed   uint64
	hash   HashID
	p      uint8
	n      uint32   // tokens in the table
	table  []uint32 // of tokens plus one, open addressing, 0 is free; nil when dense
	packed []byte   // registers, 6 bits each, 4 in 3 bytes; nil while the table lasts
}

// The range of p, and the usual one.
const (
	MinPrecision     = 4
	MaxPrecision     = 18
	DefaultPrecision = 14
)

const (
	tokenIndexBits = 26
	tokenZeroMask  = 63
)

// NewHLL returns an empty sketch of 2^p registers for hashes made by [Hash]
// with the seed. It panics unless 4 ≤ p ≤ 18.
func NewHLL(p int, seed uint64) *HLL { return newHLL(p, XXH3, seed) }

func newHLL(p int, hash HashID, seed uint64) *HLL {
	if p < MinPrecision || p > MaxPrecision {
		panic(fmt.Sprintf("sketch: HLL precision %d is not within %d and %d", p, MinPrecision, MaxPrecision))
	}
	return &HLL{p: uint8(p), hash: hash, seed: seed}
}

// Token reduces a hash to the 32 bits that an [HLL] keeps of it. No token is
// 0xFFFFFFFF.
func Token(hash uint64) uint32 {
	zeros := bits.LeadingZeros64(hash<<tokenIndexBits | 1<<(tokenIndexBits-1))
	return uint32(hash>>(64-tokenIndexBits))<<6 | uint32(zeros+1)
}

// validToken reports whether some hash reduces to t.
func validToken(t uint32) bool {
	zeros := t & tokenZeroMask
	return zeros >= 1 && zeros <= 64-tokenIndexBits+1
}

// register returns the register of a token at precision p, and its run of zeros plus 1.
func register(t uint32, p uint8) (index uint32, rank uint8) {
	index = t >> (32 - p)
	if rest := t &^ tokenZeroMask << p; rest != 0 {
		return index, uint8(bits.LeadingZeros32(rest)) + 1
	}
	return index, tokenIndexBits - p + uint8(t&tokenZeroMask)
}

// tokenLimit is the number of tokens above which registers take less room. It
// depends on nothing but p, so that the form is a function of the set counted.
func tokenLimit(p uint8) int { return max(16, 1<<p/4) }

// Precision returns p.
func (s *HLL) Precision() int { return int(s.p) }

// Seed returns the seed of the hashes.
func (s *HLL) Seed() uint64 { return s.seed }

// HashID returns the function of the hashes.
func (s *HLL) HashID() HashID { return s.hash }

// AddHash counts the item of this hash.
func (s *HLL) AddHash(h uint64) {
	if s.packed == nil {
		s.addToken(Token(h))
		return
	}
	p := s.p & 31
	s.raise(uint32(h>>(64-p)), uint8(bits.LeadingZeros64(h<<p|1<<(p-1)))+1)
}

// AddTokens counts the items of these tokens, as [Token] made them.
func (s *HLL) AddTokens(tokens []uint32) {
	for i, t := range tokens {
		if s.packed != nil {
			s.raiseTokens(tokens[i:])
			return
		}
		s.addToken(t)
	}
}

// Merge counts what the other sketch counted.
func (s *HLL) Merge(o *HLL) error {
	if s.hash != o.hash || s.seed != o.seed {
		return mismatch(KindHLL, "hash %v seed %d into hash %v seed %d", o.hash, o.seed, s.hash, s.seed)
	}
	if o.p < s.p {
		s.fold(o.p)
	}
	switch {
	case o.packed == nil:
		for _, t := range o.table {
			if t != 0 {
				s.add32(t - 1)
			}
		}
	case o.p == s.p:
		s.densify()
		maxPacked(s.packed, o.packed)
	default:
		s.densify()
		foldPacked(s.packed, s.p, o.packed, o.p)
	}
	return nil
}

// Fold lowers the precision to p, to make the sketch smaller or to compare it
// with coarser ones. It does nothing when p is not lower.
func (s *HLL) Fold(p int) { s.fold(uint8(min(max(p, MinPrecision), MaxPrecision))) }

func (s *HLL) fold(p uint8) {
	if p >= s.p {
		return
	}
	if s.packed != nil {
		wide := s.packed
		s.packed = newPacked(p)
		foldPacked(s.packed, p, wide, s.p)
		s.p = p
		return
	}
	s.p = p
	if int(s.n) > tokenLimit(p) {
		s.densify()
	}
}

// Estimate returns the number of different items.
//
// Among n tokens n²/6·2^26 pairs are expected to coincide; their number is
// taken to be Poisson. Registers have a standard error of 1.04/√(2^p).
func (s *HLL) Estimate(confidence float64) Estimate {
	if s.packed == nil {
		return estimateTokens(int(s.n), confidence)
	}
	value, filled := estimateRegisters(s.packed, s.p)
	return registersInterval(value, filled, s.p, confidence)
}

// Exact reports whether every item still has its own token, but for a chance
// below 1 in 1000 that two share one.
func (s *HLL) Exact() bool { return s.packed == nil && exactTokens(int(s.n)) }

// Up to this many tokens the chance that any two of the items behind them
// coincide, n²/(6·2^26), is below 1/1000.
func exactTokens(n int) bool { return n <= 600 }

func estimateTokens(n int, confidence float64) Estimate {
	c := float64(n)
	shared := c * c / (6 << tokenIndexBits)
	return Estimate{Value: math.Round(c + shared), Lower: c, Upper: c + poissonQuantile(shared, confidence)}
}

func registersInterval(value float64, filled int, p uint8, confidence float64) Estimate {
	// The estimate is nearly lognormal: with few registers its error is skewed,
	// and a symmetric interval would miss on one side. The standard error is 1.04;
	// the rest makes up for tails that are not quite normal.
	m := float64(uint64(1) << p)
	width := normalQuantile(confidence) * 1.06 * (1 + 1/m) / math.Sqrt(m)
	return Estimate{
		Value: value,
		Lower: math.Max(value*math.Exp(-width), float64(filled)),
		Upper: value * math.Exp(width),
	}
}

// SizeBytes is the memory the sketch holds.
func (s *HLL) SizeBytes() int { return 64 + 4*cap(s.table) + cap(s.packed) }

// Reset empties the sketch, and keeps a small table for reuse.
func (s *HLL) Reset() {
	s.packed = nil
	s.n = 0
	if len(s.table) > 256 {
		s.table = nil
	}
	clear(s.table)
}

func (s *HLL) String() string {
	e := s.Estimate(0.95)
	return fmt.Sprintf("HLL p=%d, %v seed %d: %.0f (%.0f to %.0f)", s.p, s.hash, s.seed, e.Value, e.Lower, e.Upper)
}
