package sketch

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// The encoding of an HLL, canonical: equal sets have equal bytes.
//
//	'H' | version, form | p (5 bits), hash id (3 bits) | seed uvarint | payload | checksum
//
//	form 1, at most 32 tokens   n uvarint | n × uint32 little-endian, ascending
//	form 2, more                n uvarint | n × token, ascending, as what it adds
//	form 3, registers           ¾ 2^p bytes, as in memory
//
// What a token adds to the one before: uvarint of (index - previous index)<<2 |
// min(zeros, 3), and where that minimum is 3, one more byte: zeros - 3. Zeros
// are the token's last six bits less one. Half of all tokens have none, and
// only an eighth needs the byte.
//
// Four fixed bytes are as small as the varints of up to about 32 tokens, and
// faster to read: most cells of a segment are of this form.
const (
	formHLLFixed  = 1
	formHLLDeltas = 2
	formHLLDense  = 3

	fixedTokens = 32
)

func appendHLLHeader(dst []byte, form byte, p uint8, hash HashID, seed uint64) []byte {
	dst = append(dst, byte(KindHLL), encodingVersion<<4|form, p<<3|byte(hash))
	return binary.AppendUvarint(dst, seed)
}

// AppendBinary appends the sketch's encoding to dst.
func (s *HLL) AppendBinary(dst []byte) []byte {
	if s.packed == nil {
		var stack [stackSort]uint32
		tokens := s.appendTokens(stack[:0])
		sortTokens(tokens)
		return appendTokenForm(dst, s.p, s.hash, s.seed, tokens)
	}
	start := len(dst)
	dst = slices.Grow(dst, len(s.packed)+16)
	dst = appendHLLHeader(dst, formHLLDense, s.p, s.hash, s.seed)
	dst = append(dst, s.packed[:packedBytes(s.p)]...)
	return seal(dst, start)
}

// AppendHLL appends the encoding of the sketch to which exactly these tokens
// were added, without making one when they are few. It reorders the tokens,
// which may repeat.
func AppendHLL(dst []byte, p int, seed uint64, tokens []uint32) []byte {
	if len(tokens) > tokenLimit(uint8(p)) {
		s := NewHLL(p, seed)
		s.AddTokens(tokens)
		return s.AppendBinary(dst)
	}
	sortTokens(tokens)
	return appendTokenForm(dst, uint8(p), XXH3, seed, slices.Compact(tokens))
}

// appendTokenForm encodes tokens that ascend strictly.
func appendTokenForm(dst []byte, p uint8, hash HashID, seed uint64, tokens []uint32) []byte {
	start := len(dst)
	dst = slices.Grow(dst, 4*len(tokens)+24)
	if len(tokens) <= fixedTokens {
		dst = appendHLLHeader(dst, formHLLFixed, p, hash, seed)
		dst = append(dst, byte(len(tokens)))
		for _, t := range tokens {
			dst = binary.LittleEndian.AppendUint32(dst, t)
		}
		return seal(dst, start)
	}
	dst = appendHLLHeader(dst, formHLLDeltas, p, hash, seed)
	dst = binary.AppendUvarint(dst, uint64(len(tokens)))
	last := uint32(0)
	for _, t := range tokens {
		index, zeros := t>>6, t&tokenZeroMask-1
		dst = binary.AppendUvarint(dst, uint64(index-last)<<2|uint64(min(zeros, 3)))
		if zeros >= 3 {
			dst = append(dst, byte(zeros-3))
		}
		last = index
	}
	return seal(dst, start)
}

// hllPayload is an opened encoding: parameters checked, contents not yet.
type hllPayload struct {
	form byte
	p    uint8
	hash HashID
	seed uint64
	n    int // tokens
	body []byte
}

func openHLL(data []byte) (hllPayload, error) {
	form, body, err := open(KindHLL, data)
	if err != nil {
		return hllPayload{}, err
	}
	r := reader{b: body}
	parameters := r.byte()
	e := hllPayload{form: form, p: parameters >> 3, hash: HashID(parameters & 7), seed: r.uvarint()}
	if r.failed || e.p < MinPrecision || e.p > MaxPrecision || e.hash < XXH3 || e.hash > External {
		return e, corrupt(KindHLL, "precision %d, hash id %d", e.p, e.hash)
	}
	switch form {
	case formHLLFixed, formHLLDeltas:
		e.n = r.count(1)
		if r.failed || e.n > tokenLimit(e.p) || (e.n <= fixedTokens) != (form == formHLLFixed) {
			return e, corrupt(KindHLL, "%d tokens in form %d at p=%d", e.n, form, e.p)
		}
		if form == formHLLFixed && len(r.b) != 4*e.n {
			return e, corrupt(KindHLL, "%d tokens in %d bytes", e.n, len(r.b))
		}
	case formHLLDense:
		if len(r.b) != packedBytes(e.p) {
			return e, corrupt(KindHLL, "%d bytes of registers at p=%d", len(r.b), e.p)
		}
	default:
		return e, corrupt(KindHLL, "form %d is not known", form)
	}
	e.body = r.b
	return e, nil
}

// tokenChunk is how many tokens are read at a time.
const tokenChunk = 128

// tokenReader reads the tokens of forms 1 and 2 and checks them.
type tokenReader struct {
	b     []byte
	left  int
	fixed bool
	last  uint32
}

func (e *hllPayload) tokens() tokenReader {
	return tokenReader{b: e.body, left: e.n, fixed: e.form == formHLLFixed}
}

// read fills chunk with the next tokens and returns those; none at the end.
func (r *tokenReader) read(chunk *[tokenChunk]uint32) ([]uint32, error) {
	n := min(r.left, len(chunk))
	r.left -= n
	tokens, sound := chunk[:n], false
	if r.fixed {
		sound = r.words(tokens)
	} else {
		sound = r.deltas(tokens)
	}
	if !sound {
		return nil, corrupt(KindHLL, "tokens after %08x", r.last)
	}
	if n == 0 && len(r.b) != 0 {
		return nil, corrupt(KindHLL, "%d bytes after the last token", len(r.b))
	}
	return tokens, nil
}

func (r *tokenReader) words(tokens []uint32) bool {
	sound, b, last := true, r.b, r.last
	for i := range tokens {
		if len(b) < 4 {
			return false
		}
		t := binary.LittleEndian.Uint32(b)
		b = b[4:]
		sound = sound && validToken(t) && t > last
		tokens[i], last = t, t
	}
	r.b, r.last = b, last
	return sound
}

func (r *tokenReader) deltas(tokens []uint32) bool {
	sound, b, last := true, r.b, r.last
	for i := range tokens {
		var d uint32
		if len(b) >= 8 { // a delta has 28 bits: at most four bytes, taken in one load
			w := binary.LittleEndian.Uint32(b)
			size := bits.TrailingZeros32(^w&0x80808080)/8 + 1
			if size > 4 {
				return false
			}
			w &= 1<<(8*size) - 1
			d = w&0x7f | w>>1&0x3f80 | w>>2&0x1fc000 | w>>3&0xfe00000
			b = b[size:]
		} else {
			long, size := binary.Uvarint(b)
			if size <= 0 || long >= 1<<(tokenIndexBits+2) {
				return false
			}
			d, b = uint32(long), b[size:]
		}
		zeros := d & 3
		if zeros == 3 {
			if len(b) == 0 {
				return false
			}
			zeros += uint32(b[0])
			b = b[1:]
		}
		index := last>>6 + d>>2
		t := index<<6 | zeros + 1
		sound = sound && index < 1<<tokenIndexBits && zeros <= 64-tokenIndexBits && t > last
		tokens[i], last = t, t
	}
	r.b, r.last = b, last
	return sound
}

// soundRegisters reports whether no register exceeds the longest run there is.
func soundRegisters(body []byte, p uint8) bool {
	var counts [64]uint32
	countRegisters(body, &counts)
	for _, n := range counts[64-p+2:] {
		if n != 0 {
			return false
		}
	}
	return true
}

// MergeBinary counts what an encoded sketch counted, straight from its bytes.
// On an error the sketch may already have counted some of it.
func (s *HLL) MergeBinary(data []byte) error {
	e, err := openHLL(data)
	if err != nil {
		return err
	}
	if e.hash != s.hash || e.seed != s.seed {
		return mismatch(KindHLL, "hash %v seed %d into hash %v seed %d", e.hash, e.seed, s.hash, s.seed)
	}
	if e.p < s.p {
		s.fold(e.p)
	}
	if e.form != formHLLDense {
		return s.addEncoded(e.tokens())
	}
	s.densify()
	if e.p == s.p {
		maxPacked(s.packed, e.body)
		return nil
	}
	padded := append(slices.Clone(e.body), 0, 0)
	foldPacked(s.packed, s.p, padded, e.p)
	return nil
}

func (s *HLL) addEncoded(r tokenReader) error {
	var chunk [tokenChunk]uint32
	for {
		tokens, err := r.read(&chunk)
		if err != nil || len(tokens) == 0 {
			return err
		}
		s.AddTokens(tokens)
	}
}

// UnmarshalBinary makes the sketch what it was when it was encoded.
func (s *HLL) UnmarshalBinary(data []byte) error {
	e, err := openHLL(data)
	if err != nil {
		return err
	}
	d := newHLL(int(e.p), e.hash, e.seed)
	if e.form == formHLLDense {
		if !soundRegisters(e.body, e.p) {
			return corrupt(KindHLL, "a register above %d", 64-e.p+1)
		}
		d.packed = newPacked(e.p)
		copy(d.packed, e.body)
	} else {
		d.grow(e.n)
		if err := d.addEncoded(e.tokens()); err != nil {
			return err
		}
	}
	*s = *d
	return nil
}
