package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Names of what is stored:
//
//	<stream>/segment/<partition>/<from>     the cells of [from, to), or a gap
//	<stream>/manifest/<n>                   what compaction made of all chains
//	<stream>/block/<n>-<id>-<k>             merged cells, built for manifest n
//
// Numbers have 19 digits, so that their order is the order of their names. A
// stream or partition may have any name (a file's partition is its path), so
// it is escaped into one component of a name, or into several where it is
// longer than what file systems take; all but the last then end in '~'.

const (
	numberDigits   = 19
	componentBytes = 200 // below the 255 of common file systems
	continued      = '~'
)

func number(n int64) string { return fmt.Sprintf("%0*d", numberDigits, n) }

func segmentFolder(stream, partition string) string {
	return segmentsFolder(stream) + escape(partition) + "/"
}

func segmentsFolder(stream string) string   { return escape(stream) + "/segment/" }
func manifestFolder(stream string) string   { return escape(stream) + "/manifest/" }
func manifestName(s string, n int64) string { return manifestFolder(s) + number(n) }

// SegmentName returns the name of the partition's segment that begins at from.
func SegmentName(stream, partition string, from int64) string {
	return segmentFolder(stream, partition) + number(from)
}

// ParseSegmentName is the inverse of [SegmentName].
func ParseSegmentName(name string) (stream, partition string, from int64, err error) {
	folder, last, ok := cutLast(name)
	if !ok {
		return "", "", 0, fmt.Errorf("%q is not the name of a segment", name)
	}
	head, tail, ok := strings.Cut(folder, "/segment/")
	if !ok {
		return "", "", 0, fmt.Errorf("%q is not the name of a segment", name)
	}
	if stream, err = unescape(head); err != nil {
		return "", "", 0, fmt.Errorf("%q is not the name of a segment: stream: %w", name, err)
	}
	if partition, err = unescape(tail); err != nil {
		return "", "", 0, fmt.Errorf("%q is not the name of a segment: partition: %w", name, err)
	}
	if from, err = parseNumber(last); err != nil {
		return "", "", 0, fmt.Errorf("%q is not the name of a segment: %w", name, err)
	}
	return stream, partition, from, nil
}

// lastNumber reads the number that ends a name.
func lastNumber(name string) (int64, error) {
	_, last, _ := cutLast(name)
	return parseNumber(last)
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || len(s) != numberDigits || n < 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not a number of %d digits", s, numberDigits)
	}
	return n, nil
}

func cutLast(name string) (folder, last string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// escape makes one or several components of a name from any string. A leading
// dot is escaped too: such components are a Directory's own.
func escape(s string) string {
	if s == "" {
		return "%"
	}
	var b strings.Builder
	inComponent := 0
	for i := range len(s) {
		if inComponent >= componentBytes {
			b.WriteByte(continued)
			b.WriteByte('/')
			inComponent = 0
		}
		c := s[i]
		if plain(c) && (c != '.' || inComponent > 0) {
			b.WriteByte(c)
			inComponent++
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
		inComponent += 3
	}
	return b.String()
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

func unescape(s string) (string, error) {
	if s == "%" {
		return "", nil
	}
	escaped := strings.ReplaceAll(s, string(continued)+"/", "")
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		switch {
		case plain(c):
			b.WriteByte(c)
		case c == '%' && i+2 < len(escaped):
			n, err := strconv.ParseUint(escaped[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf("%q has a bad escape at byte %d", s, i)
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			return "", fmt.Errorf("%q has %q, which is never written, at byte %d", s, c, i)
		}
	}
	if escape(b.String()) != s {
		return "", fmt.Errorf("%q is not how %q is written", s, b.String())
	}
	return b.String(), nil
}

// listEscaped yields the strings whose escaped forms are the folders in folder.
// What does not parse is not ours and is passed over.
func listEscaped(ctx context.Context, bucket Bucket, folder string) ([]string, error) {
	var found []string
	var walk func(under string) error
	walk = func(under string) error {
		for name, err := range bucket.List(ctx, under, "") {
			if err != nil {
				return fmt.Errorf("list %s: %w", under, err)
			}
			component, isFolder := strings.CutSuffix(name, "/")
			if !isFolder {
				continue
			}
			if strings.HasSuffix(component, string(continued)) {
				if err := walk(name); err != nil {
					return err
				}
				continue
			}
			if s, err := unescape(strings.TrimPrefix(component, folder)); err == nil {
				found = append(found, s)
			}
		}
		return nil
	}
	return found, walk(folder)
}

// Streams returns the names of the streams that the bucket holds.
func Streams(ctx context.Context, bucket Bucket) ([]string, error) {
	return listEscaped(ctx, bucket, "")
}
