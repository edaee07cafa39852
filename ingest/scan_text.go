package ingest

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

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
