package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// series is what detect reads: the values of a file, in its order.
type series struct {
	path  string
	label []string  // the first of two columns as it was written; nil with one
	time  []int64   // what the labels say, in nanoseconds since 1970; nil if nothing
	value []float64 // NaN where it is missing
	line  []int     // of each value in the file

	notTimes error // why there is no time, for those who need it
}

// maxSeriesBytes bounds the file that is read whole.
const maxSeriesBytes = 1 << 30

// readSeries reads a CSV file of values, or of labels and values; "-" is
// standard input.
func readSeries(path string, stdin io.Reader) (*series, error) {
	s := &series{path: path}
	in := stdin
	if path == "-" {
		s.path = "standard input"
	} else {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSeriesBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	if len(data) > maxSeriesBytes {
		return nil, fmt.Errorf("%s: more than 1 GiB, which no method here takes", s.path)
	}
	if err := s.parse(data); err != nil {
		return nil, err
	}
	if s.label != nil {
		s.time, s.notTimes = parseTimes(s)
	}
	return s, nil
}

func (s *series) parse(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	reader := csv.NewReader(bufio.NewReader(bytes.NewReader(data)))
	reader.Comma = separator(data)
	reader.FieldsPerRecord = -1
	reader.TrimLeadingSpace = true
	reader.ReuseRecord = true
	columns, lastLine := 0, 0
	for {
		record, err := reader.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			var wrong *csv.ParseError
			if errors.As(err, &wrong) {
				return s.mistake(wrong.Line, "%v", wrong.Err)
			}
			return fmt.Errorf("read %s: %w", s.path, err)
		}
		line, _ := reader.FieldPos(0)
		field := record[len(record)-1]
		v, number := parseValue(field)
		if columns == 0 {
			if columns = len(record); columns > 2 {
				return s.mistake(line, "%d columns; a series has one, of values, or two, of timestamps and values", columns)
			}
			if !number {
				lastLine = line
				continue // a header
			}
		}
		switch {
		case len(record) != columns:
			return s.mistake(line, "%s, where the lines before have %d", plural(len(record), "column"), columns)
		case !number:
			return s.mistake(line, "%q is not a number", field)
		case math.IsInf(v, 0):
			return s.mistake(line, "%q is not a finite number", field)
		}
		// Of a single column an empty line is a missing value.
		for columns == 1 && len(s.value) > 0 && line > lastLine+1 {
			lastLine++
			s.value = append(s.value, math.NaN())
			s.line = append(s.line, lastLine)
		}
		lastLine = line
		s.value = append(s.value, v)
		s.line = append(s.line, line)
		if columns == 2 {
			s.label = append(s.label, strings.TrimSpace(record[0]))
		}
	}
	if len(s.value) == 0 {
		return s.mistake(max(1, lastLine), "there are no values")
	}
	return nil
}

// separator is what stands between the columns: a comma, unless the first line
// has none and another usual sign.
func separator(data []byte) rune {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	for _, sign := range ",;\t" {
		if bytes.ContainsRune(first, sign) {
			return sign
		}
	}
	return ','
}

// parseValue reads a number, or one of the signs of a missing one.
func parseValue(field string) (float64, bool) {
	field = strings.TrimSpace(field)
	switch strings.ToLower(field) {
	case "", "na", "n/a", "nan", "null", "none":
		return math.NaN(), true
	}
	v, err := strconv.ParseFloat(field, 64)
	if errors.Is(err, strconv.ErrRange) {
		return v, true // an infinity, or next to nothing
	}
	return v, err == nil
}

// mistake says what is wrong in which line.
func (s *series) mistake(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", s.path, line, fmt.Sprintf(format, args...))
}

// name is the file without its folders.
func (s *series) name() string {
	if s.path == "standard input" {
		return s.path
	}
	return filepath.Base(s.path)
}

// labelOf names a row for people: by its timestamp, or by its number.
func (s *series) labelOf(row int) string {
	if s.label == nil {
		return strconv.Itoa(row + 1)
	}
	return s.label[row]
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(int64(n)) + " " + noun + "s"
}
