package ingest

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// The scanner walks one JSON object, strictly by RFC 8259, and keeps only the
// fields that the stream names. Two ideas make it fast:
//
//   - Producers write the same keys in the same order. Each object of the plan
//     remembers the bytes that stood between its values last time (`,"user":`),
//     and compares the next ones with them as two masked words; only what
//     differs goes through the general path.
//   - Strings are searched eight bytes at a time for what ends or complicates
//     them: a quote, a backslash, a control character.
//
// Where JSON leaves a choice, it chooses as encoding/json does: the last of
// several equal keys counts, invalid UTF-8 becomes U+FFFD.

// maxDepth bounds the nesting of a line, as encoding/json does (10,000 there).
const maxDepth = 512

type valueKind uint8

const (
	missing valueKind = iota // not there, or null
	text
	number
	boolean
	container // an object or an array, where a value was asked for
)

// value is a field of the current line. Its text is valid until the next line.
type value struct {
	kind valueKind
	text []byte  // of a string, unescaped; of a number or boolean, as written
	num  float64 // of a number; ±Inf where it does not fit
}

// object is what the plan wants of one object: a node of the tree of paths.
type object struct {
	keys []key
	last []token // the keys of the last object seen here, in order
}

// key is a wanted member of an object. A member can be wanted both for itself
// ("a") and for what is inside it ("a.b").
type key struct {
	name  string
	slot  int     // in scanner.values, or -1
	child *object // or nil
	under []int   // every slot in child, to be blanked when the key comes again
}

// token is what stood before a value last time: a comma, white space, the
// quoted key, the colon.
type token struct {
	key    int // index in object.keys, or -1
	size   int
	lo, hi uint64 // the first 16 bytes
	maskLo uint64
	maskHi uint64
	rest   []byte // from byte 16 on
}

const maxTokens = 64 // keys remembered of an object

type scanner struct {
	root   object
	values []value
	buf    []byte // the line
	wide   []byte // the line and up to 16 bytes behind it, so that the last key is found fast too
	arena  []byte // unescaped strings of this line
}

// slot plants a path in the tree of wanted fields.
func (s *scanner) slot(keys []string) int {
	o := &s.root
	var above []*key
	for depth, name := range keys {
		i := o.find([]byte(name))
		if i < 0 {
			o.keys = append(o.keys, key{name: name, slot: -1})
			i = len(o.keys) - 1
		}
		k := &o.keys[i]
		if depth == len(keys)-1 {
			if k.slot < 0 {
				k.slot = len(s.values)
				s.values = append(s.values, value{})
				for _, a := range above {
					a.under = append(a.under, k.slot)
				}
			}
			return k.slot
		}
		above = append(above, k)
		if k.child == nil {
			k.child = &object{}
		}
		o = k.child
	}
	panic("a path has at least one key")
}

// scan reads one line into s.values. It reports whether the line is one JSON
// object and nothing else.
func (s *scanner) scan(line []byte) bool {
	for i := range s.values {
		s.values[i].kind = missing
	}
	s.buf, s.wide, s.arena = line, line[:min(cap(line), len(line)+16)], s.arena[:0]
	i := skipSpace(line, 0)
	if i >= len(line) || line[i] != '{' {
		return false
	}
	i, ok := s.object(&s.root, i+1, 1)
	return ok && skipSpace(line, i) == len(line)
}

// object scans the members of an object from behind its brace. It returns the
// position behind the closing brace.
func (s *scanner) object(o *object, i, depth int) (int, bool) {
	b := s.buf
	if depth > maxDepth {
		return i, false
	}
	for n := 0; ; n++ {
		var k int
		if n < len(o.last) && o.last[n].matches(s.wide, i, len(b)) {
			i += o.last[n].size
			k = o.last[n].key
		} else {
			start := i
			i = skipSpace(b, i)
			if i >= len(b) {
				return i, false
			}
			if b[i] == '}' {
				return i + 1, true
			}
			if n > 0 {
				if b[i] != ',' {
					return i, false
				}
				i = skipSpace(b, i+1)
			}
			name, end, ok := s.string(i)
			if !ok {
				return i, false
			}
			i = skipSpace(b, end)
			if i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = skipSpace(b, i+1)
			k = o.find(name)
			o.remember(n, k, b[start:i])
		}
		var ok bool
		if k < 0 {
			i, ok = s.skip(i, depth)
		} else {
			i, ok = s.member(&o.keys[k], i, depth)
		}
		if !ok {
			return i, false
		}
		if i < len(b) && b[i] == '}' {
			return i + 1, true
		}
	}
}

// member scans a wanted value.
func (s *scanner) member(k *key, i, depth int) (int, bool) {
	b := s.buf
	if i >= len(b) {
		return i, false
	}
	for _, slot := range k.under {
		s.values[slot].kind = missing
	}
	if k.child != nil && b[i] == '{' {
		if k.slot >= 0 {
			s.values[k.slot].kind = container
		}
		return s.object(k.child, i+1, depth+1)
	}
	if k.slot < 0 {
		return s.skip(i, depth)
	}
	v := &s.values[k.slot]
	switch c := b[i]; {
	case c == '"':
		t, end, ok := s.string(i)
		v.kind, v.text = text, t
		return end, ok
	case c == '-' || c-'0' <= 9:
		end, num, ok := scanNumber(b, i)
		v.kind, v.text, v.num = number, b[i:end], num
		return end, ok
	case c == 't' || c == 'f':
		end, ok := literal(b, i)
		v.kind, v.text = boolean, b[i:end]
		return end, ok
	case c == 'n':
		v.kind = missing
		return literal(b, i)
	default:
		v.kind = container
		return s.skip(i, depth)
	}
}

// skip scans a value that nobody asked for.
func (s *scanner) skip(i, depth int) (int, bool) {
	b := s.buf
	if i >= len(b) {
		return i, false
	}
	switch c := b[i]; {
	case c == '"':
		end, _, ok := stringEnd(b, i+1)
		return end, ok
	case c == '-' || c-'0' <= 9:
		end, _, ok := scanNumber(b, i)
		return end, ok
	case c == '{' || c == '[':
		return s.skipContainer(i, depth+1)
	default:
		return literal(b, i)
	}
}

func (s *scanner) skipContainer(i, depth int) (int, bool) {
	b := s.buf
	if depth > maxDepth {
		return i, false
	}
	isObject := b[i] == '{'
	closing := byte(']')
	if isObject {
		closing = '}'
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == closing {
		return i + 1, true
	}
	for {
		var ok bool
		if isObject {
			if i >= len(b) || b[i] != '"' {
				return i, false
			}
			if i, _, ok = stringEnd(b, i+1); !ok {
				return i, false
			}
			i = skipSpace(b, i)
			if i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = skipSpace(b, i+1)
		}
		if i, ok = s.skip(i, depth); !ok {
			return i, false
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return i, false
		}
		switch b[i] {
		case closing:
			return i + 1, true
		case ',':
			i = skipSpace(b, i+1)
		default:
			return i, false
		}
	}
}

// string scans a string from its opening quote and returns its text.
func (s *scanner) string(i int) (t []byte, end int, ok bool) {
	b := s.buf
	if i >= len(b) || b[i] != '"' {
		return nil, i, false
	}
	end, plain, ok := stringEnd(b, i+1)
	if !ok {
		return nil, end, false
	}
	t = b[i+1 : end-1]
	if !plain {
		t = s.unescape(t)
	}
	return t, end, true
}

// stringEnd finds the position behind the closing quote, and whether the text
// is plain ASCII without escapes. Escapes are checked for their form.
func stringEnd(b []byte, i int) (end int, plain, ok bool) {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	plain = true
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			q := w ^ ones*'"'
			e := w ^ ones*'\\'
			// A byte's high bit is set where it is a quote, a backslash, below
			// 0x20, or above 0x7f; borrows can only mark bytes behind a true one.
			stop := ((q - ones) | (e - ones) | (w - ones*0x20) | w) & highs
			if stop != 0 {
				i += bits.TrailingZeros64(stop) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return i, false, false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, plain, true
		case c == '\\':
			plain = false
			if i+1 >= len(b) {
				return i, false, false
			}
			switch b[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if _, ok := hex4(b, i+2); !ok {
					return i, false, false
				}
				i += 6
			default:
				return i, false, false
			}
		case c < 0x20:
			return i, false, false
		case c >= 0x80:
			plain = false
			i++
		default:
			i++
		}
	}
}

// unescape resolves escapes and mends UTF-8; the text has been checked.
func (s *scanner) unescape(t []byte) []byte {
	start := len(s.arena)
	for i := 0; i < len(t); {
		c := t[i]
		if c >= 0x80 {
			r, n := utf8.DecodeRune(t[i:])
			s.arena = utf8.AppendRune(s.arena, r)
			i += n
			continue
		}
		if c != '\\' {
			s.arena = append(s.arena, c)
			i++
			continue
		}
		c = t[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(t, i)
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+1 < len(t) && t[i] == '\\' && t[i+1] == 'u' {
					low, ok = hex4(t, i+2)
				}
				if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
					i += 6
				}
			}
			s.arena = utf8.AppendRune(s.arena, r)
			continue
		}
		s.arena = append(s.arena, c)
	}
	return s.arena[start:len(s.arena):len(s.arena)]
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func literal(b []byte, i int) (int, bool) {
	for _, want := range [...]string{"true", "false", "null"} {
		if i+len(want) <= len(b) && string(b[i:i+len(want)]) == want {
			return i + len(want), true
		}
	}
	return i, false
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

var powersOfTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// scanNumber scans a number and gives its nearest float64, ±Inf on overflow.
// A mantissa below 2^53 with a power of ten up to 22 is exact in one operation
// (Clinger 1990); strconv does the rest.
func scanNumber(b []byte, i int) (end int, f float64, ok bool) {
	start := i
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	var mantissa uint64
	digits, exponent := 0, 0
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		mantissa = mantissa*10 + uint64(b[i]-'0')
		i++
	}
	if digits = i - first; digits == 0 || digits > 1 && b[first] == '0' {
		return i, 0, false
	}
	if i < len(b) && b[i] == '.' {
		i++
		first = i
		for i < len(b) && b[i]-'0' <= 9 {
			mantissa = mantissa*10 + uint64(b[i]-'0')
			i++
		}
		if i == first {
			return i, 0, false
		}
		digits += i - first
		exponent = first - i
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		sign := 1
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			if b[i] == '-' {
				sign = -1
			}
			i++
		}
		first = i
		e := 0
		for i < len(b) && b[i]-'0' <= 9 {
			e = min(e*10+int(b[i]-'0'), 1<<20)
			i++
		}
		if i == first {
			return i, 0, false
		}
		exponent += sign * e
	}
	if digits <= 19 && mantissa < 1<<53 && -22 <= exponent && exponent <= 22 {
		f = float64(mantissa)
		if exponent < 0 {
			f /= powersOfTen[-exponent]
		} else {
			f *= powersOfTen[exponent]
		}
		if negative {
			f = -f
		}
		return i, f, true
	}
	// The only error left is a range error, and then f is ±Inf.
	f, err := strconv.ParseFloat(unsafe.String(&b[start], i-start), 64)
	if err != nil && !math.IsInf(f, 0) {
		return i, 0, false
	}
	return i, f, true
}

func (o *object) find(name []byte) int {
	for i := range o.keys {
		if o.keys[i].name == string(name) {
			return i
		}
	}
	return -1
}

// remember keeps what stood before the n-th value, for the next object here.
func (o *object) remember(n, k int, raw []byte) {
	if n >= maxTokens || len(raw) > 256 || n > len(o.last) {
		return
	}
	if n == len(o.last) {
		o.last = append(o.last, token{})
	}
	var first [16]byte
	head := copy(first[:], raw)
	t := &o.last[n]
	t.key, t.size = k, len(raw)
	t.lo, t.maskLo = binary.LittleEndian.Uint64(first[:]), lowBytes(head)
	t.hi, t.maskHi = binary.LittleEndian.Uint64(first[8:]), lowBytes(head-8)
	t.rest = append(t.rest[:0], raw[head:]...)
}

// lowBytes masks the first n bytes of a little-endian word.
func lowBytes(n int) uint64 {
	if n <= 0 {
		return 0
	}
	return ^uint64(0) >> (64 - 8*min(n, 8))
}

// matches reports whether the token stands at b[i:end]; b may reach beyond end.
func (t *token) matches(b []byte, i, end int) bool {
	if i+16 > len(b) || i+t.size > end {
		return false
	}
	b = b[i:]
	if (binary.LittleEndian.Uint64(b)^t.lo)&t.maskLo|(binary.LittleEndian.Uint64(b[8:])^t.hi)&t.maskHi != 0 {
		return false
	}
	return len(t.rest) == 0 || string(b[16:t.size]) == string(t.rest)
}
