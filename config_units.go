package weir

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// unit is a suffix and what it multiplies by. Some are only read, never
// written: 14d reads better than 2w.
type unit struct {
	name     string
	factor   int64
	readOnly bool
}

// Largest first, so that a value is written in the largest unit that divides it.
var (
	durationUnits = []unit{
		{"y", int64(365 * 24 * time.Hour), false},
		{"w", int64(7 * 24 * time.Hour), true},
		{"d", int64(24 * time.Hour), false},
		{"h", int64(time.Hour), false},
		{"m", int64(time.Minute), false},
		{"s", int64(time.Second), false},
		{"ms", int64(time.Millisecond), false},
		{"us", int64(time.Microsecond), false},
		{"µs", int64(time.Microsecond), true},
		{"ns", 1, false},
	}
	sizeUnits = []unit{
		{"TiB", 1 << 40, false}, {"GiB", 1 << 30, false}, {"MiB", 1 << 20, false}, {"KiB", 1 << 10, false},
		{"TB", 1e12, true}, {"GB", 1e9, true}, {"MB", 1e6, true}, {"kB", 1e3, true}, {"B", 1, false},
	}
)

// ParseDuration reads a duration with units up to years: 250ms, 10s, 1h30m, 7d.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text) }

func parseDuration(text string) (time.Duration, error) {
	n, err := parseUnits(text, durationUnits, "10s, 5m or 7d", "s")
	return time.Duration(n), err
}

func parseSize(text string) (Size, error) {
	n, err := parseUnits(text, sizeUnits, "512KiB or 64MiB", "B")
	return Size(n), err
}

// parseUnits reads a sum of numbers that each carry a unit.
func parseUnits(text string, units []unit, examples, usual string) (int64, error) {
	if joined := strings.ReplaceAll(text, " ", ""); joined != text {
		return 0, fmt.Errorf("%q has a space in it; did you mean %q?", text, joined)
	}
	var total float64
	rest := text
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789.")) // length of the number
		number, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number with a unit, such as %s", text, examples)
		}
		rest = rest[digits:]
		letters := strings.IndexAny(rest, "0123456789.")
		if letters < 0 {
			letters = len(rest)
		}
		name := rest[:letters]
		rest = rest[letters:]
		if name == "" {
			switch {
			case text == "0":
				return 0, nil
			case digits == len(text):
				return 0, fmt.Errorf("%q has no unit; did you mean %q?", text, text+usual)
			}
			return 0, fmt.Errorf("%q ends in a number without a unit", text)
		}
		factor := int64(0)
		names := make([]string, 0, len(units))
		for _, u := range units {
			if u.name == name {
				factor = u.factor
			}
			names = append(names, u.name)
		}
		if factor == 0 {
			return 0, fmt.Errorf("%q has the unknown unit %q%s", text, name, suggestUnit(name, names))
		}
		total += number * float64(factor)
	}
	switch {
	case text == "":
		return 0, errors.New("empty; it wants a number with a unit, such as " + examples)
	case total >= math.MaxInt64:
		return 0, fmt.Errorf("%q is too large", text)
	case total != math.Trunc(total):
		return 0, fmt.Errorf("%q is finer than the smallest unit", text)
	}
	return int64(total), nil
}

// suggestUnit looks for the unit in another spelling: MB or mb for MB, sec for s.
func suggestUnit(name string, names []string) string {
	for _, known := range names {
		if strings.EqualFold(name, known) {
			return fmt.Sprintf("; did you mean %q?", known)
		}
	}
	for _, known := range names {
		if name[0] == known[0] && len(name) > len(known) {
			return fmt.Sprintf("; did you mean %q?", known)
		}
	}
	return "; units are " + strings.Join(names, ", ")
}

// FormatDuration writes a duration as a configuration would: 90s, 7d, 2y.
func FormatDuration(d time.Duration) string { return formatUnits(int64(d), durationUnits, "s") }

func (s Size) String() string { return formatUnits(int64(s), sizeUnits, "B") }

func formatUnits(n int64, units []unit, zero string) string {
	if n == 0 {
		return "0" + zero
	}
	for _, u := range units {
		if !u.readOnly && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + zero
}
