package query

import (
	"errors"
	"strconv"
	"strings"
)

// splitList cuts a text at its commas, except within parentheses and quotes,
// and trims the parts. A blank text has no parts.
func splitList(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var parts []string
	begin, depth := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return nil, errors.New("a ) closes nothing")
			}
		case '"', '\'':
			length := quotedLength(text[i:])
			if length == 0 {
				return nil, errors.New("a quote is not closed")
			}
			i += length - 1
		case ',':
			if depth == 0 {
				parts = append(parts, strings.TrimSpace(text[begin:i]))
				begin = i + 1
			}
		}
	}
	if depth > 0 {
		return nil, errors.New("a ( is not closed")
	}
	return append(parts, strings.TrimSpace(text[begin:])), nil
}

// quotedLength returns the bytes of the quoted string that text begins with,
// both quotes included, or 0 if it is not closed.
func quotedLength(text string) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case quote:
			return i + 1
		}
	}
	return 0
}

// unquote reads a value: a string in double or single quotes, in which a
// backslash makes the next byte plain and \n, \t, \u00e9 and the like are Go's,
// or a bare text, which stands for itself.
func unquote(text string) (string, error) {
	if text == "" || (text[0] != '"' && text[0] != '\'') {
		return text, nil
	}
	quote := text[0]
	if quotedLength(text) != len(text) {
		return "", errors.New("a quote is not closed, or something follows it")
	}
	body := text[1 : len(text)-1]
	if !strings.Contains(body, `\`) {
		return body, nil
	}
	var out strings.Builder
	for body != "" {
		if body[0] != '\\' {
			out.WriteByte(body[0])
			body = body[1:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(body, quote)
		switch {
		case err != nil: // not an escape of Go's, as \d in a regular expression
			out.WriteByte('\\')
			body = body[1:]
		case multibyte:
			out.WriteRune(r)
			body = tail
		default:
			out.WriteByte(byte(r))
			body = tail
		}
	}
	return out.String(), nil
}

// quote writes a value so that unquote reads it back.
func quote(value string) string { return strconv.Quote(value) }
