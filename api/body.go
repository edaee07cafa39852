package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// An array of events becomes lines in the bytes it came in: an element is not
// encoded again, it is moved to the left over the brackets, commas and white
// space that stood around it, and what line breaks it has between its tokens
// become spaces. Only the top level is read. Whether an element is an event is
// for the decoder to say, which rejects the one and never its neighbours.
//
//	in:   [ {"a":1,⏎ "b":[2]} , tru ]
//	out:  {"a":1,  "b":[2]}⏎tru⏎

// errOneValue says that a body of one JSON value went on after it.
var errOneValue = errors.New("there is more after the first JSON value; one event a line is application/x-ndjson")

// linesOfNDJSON drops blank lines and the white space around the others, in
// place. It returns the lines, each ended by \n, and their number.
func linesOfNDJSON(b []byte) ([]byte, int) {
	w, n := 0, 0
	for r := 0; r < len(b); {
		end := bytes.IndexByte(b[r:], '\n')
		if end < 0 {
			end = len(b) - r
		}
		from, to := trim(b, r, r+end)
		r += end + 1
		if from == to {
			continue
		}
		b = moveLine(b, w, from, to)
		w += to - from + 1
		n++
	}
	return b[:w], n
}

// linesOfArray turns a JSON array into lines, in place, as linesOfNDJSON.
func linesOfArray(b []byte) ([]byte, int, error) {
	r, _ := trim(b, 0, len(b))
	if r == len(b) || b[r] != '[' {
		return nil, 0, fmt.Errorf("byte %d: expected [", r)
	}
	r++
	w, n := 0, 0
	for {
		end, err := element(b, r)
		if err != nil {
			return nil, 0, err
		}
		if end == len(b) {
			return nil, 0, fmt.Errorf("the array that ends at byte %d is not closed", len(b))
		}
		last := b[end] == ']'
		from, to := trim(b, r, end)
		switch {
		case from < to:
			b = moveLine(b, w, from, to)
			w += to - from + 1
			n++
		case last && n == 0:
			// An empty array.
		default:
			return nil, 0, fmt.Errorf("byte %d: expected an element before %q", end, b[end])
		}
		r = end + 1
		if last {
			break
		}
	}
	if from, to := trim(b, r, len(b)); from < to {
		return nil, 0, fmt.Errorf("byte %d: there is more after the array", from)
	}
	return b[:w], n, nil
}

// lineOfObject turns a body that is one JSON object into one line, in place.
func lineOfObject(b []byte) ([]byte, int, error) {
	from, to := trim(b, 0, len(b))
	end, err := firstValue(b, from)
	switch {
	case err != nil:
		return nil, 0, err
	case end < to:
		return nil, 0, fmt.Errorf("byte %d: %w", end, errOneValue)
	}
	return moveLine(b, 0, from, to)[:to-from+1], 1, nil
}

// isOneObject reports whether a body without a content type is one JSON object
// that was written over several lines, rather than lines of objects.
func isOneObject(b []byte) bool {
	from, to := trim(b, 0, len(b))
	line := bytes.IndexByte(b[from:to], '\n')
	if line < 0 || json.Valid(b[from:from+line]) {
		return false
	}
	return json.Valid(b[from:to])
}

// moveLine copies b[from:to] to b[at:] and ends it with \n. at <= from; only a
// last line that had no end of its own can need a byte more than there is.
func moveLine(b []byte, at, from, to int) []byte {
	if at != from {
		copy(b[at:], b[from:to])
	}
	at += to - from
	if at == len(b) {
		return append(b, '\n')
	}
	b[at] = '\n'
	return b
}

// element returns the index of the comma or bracket that ends the array's
// element at b[r:], or len(b) where neither comes.
func element(b []byte, r int) (int, error) {
	depth := 0
	for ; r < len(b); r++ {
		switch b[r] {
		case '"':
			end, err := stringEnd(b, r)
			if err != nil {
				return 0, err
			}
			r = end
		case '\n', '\r':
			b[r] = ' '
		case '{', '[':
			depth++
		case '}', ']':
			if depth > 0 {
				depth--
				continue
			}
			if b[r] == ']' {
				return r, nil
			}
			return 0, fmt.Errorf("byte %d: unexpected }", r)
		case ',':
			if depth == 0 {
				return r, nil
			}
		}
	}
	if depth > 0 {
		return 0, fmt.Errorf("an element is not closed when the body ends at byte %d", len(b))
	}
	return r, nil
}

// firstValue returns the index after the object at b[r:].
func firstValue(b []byte, r int) (int, error) {
	depth := 0
	for ; r < len(b); r++ {
		switch b[r] {
		case '"':
			end, err := stringEnd(b, r)
			if err != nil {
				return 0, err
			}
			r = end
		case '\n', '\r':
			b[r] = ' '
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth <= 0 {
				return r + 1, nil
			}
		}
	}
	return 0, fmt.Errorf("the object is not closed when the body ends at byte %d", len(b))
}

// stringEnd returns the index of the quote that ends the string at b[r:]. A line
// break inside a string is a mistake that would cut the line in two.
func stringEnd(b []byte, r int) (int, error) {
	start := r
	for r++; r < len(b); r++ {
		switch b[r] {
		case '"':
			return r, nil
		case '\\':
			// What is escaped ends no string. A line break can't be escaped.
			if r+1 < len(b) && b[r+1] != '\n' && b[r+1] != '\r' {
				r++
			}
		case '\n', '\r':
			return 0, fmt.Errorf("byte %d: a line break inside a string is written \\n", r)
		}
	}
	return 0, fmt.Errorf("the string at byte %d is not closed", start)
}

// trim narrows b[from:to] by the white space of JSON at its ends.
func trim(b []byte, from, to int) (int, int) {
	for from < to && isSpace(b[from]) {
		from++
	}
	for from < to && isSpace(b[to-1]) {
		to--
	}
	return from, to
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
