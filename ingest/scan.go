package ingest

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
	instant   // a log's own time, in Unix milliseconds whatever the stream's notation is
)

// value is a field of the current line. Its text is valid until the next line.
type value struct {
	kind valueKind
	text []byte  // of a string, unescaped; of a number or boolean, as written
	num  float64 // of a number; ±Inf where it does not fit
}

type scanner struct {
	root   object
	values []value
	buf    []byte // the line
	wide   []byte // the line and up to 16 bytes behind it, so that the last key is found fast too
	arena  []byte // unescaped strings of this line
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
