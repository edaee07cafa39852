package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Instant is an end of a range: a time, or one relative to the clock or to the
// newest event. The zero Instant is not given, and has a default.
type Instant struct {
	base   base
	at     time.Time     // of absolute
	offset time.Duration // of the others
}

type base uint8

const (
	unset base = iota
	absolute
	now
	newest
)

// At is the instant of that time.
func At(t time.Time) Instant { return Instant{base: absolute, at: t} }

// Given reports whether the instant is other than the zero one.
func (i Instant) Given() bool { return i.base != unset }

func (i Instant) String() string {
	var name string
	switch i.base {
	case unset:
		return ""
	case absolute:
		return i.at.UTC().Format(time.RFC3339Nano)
	case now:
		name = "now"
	case newest:
		name = "newest"
	}
	switch {
	case i.offset < 0:
		return name + "-" + formatDuration(-i.offset)
	case i.offset > 0:
		return name + "+" + formatDuration(i.offset)
	}
	return name
}

const instantForms = "a time as in 2001-01-31T12:00:00Z, a date as in 2001-01-31 (UTC), Unix seconds, " +
	"now, now-1h, -1h (an hour ago), newest (the end of the newest window) or newest-1d"

// The years whose nanoseconds since 1970 an int64 holds, with room to widen a range.
var (
	earliestTime = time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC)
	latestTime   = time.Date(2150, 1, 1, 0, 0, 0, 0, time.UTC)
)

// ParseInstant reads an end of a range. param names it in errors.
func ParseInstant(param, text string) (Instant, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Instant{}, nil
	}
	for name, b := range map[string]base{"now": now, "newest": newest} {
		if rest, ok := strings.CutPrefix(text, name); ok {
			return parseOffset(param, b, strings.TrimSpace(rest))
		}
	}
	if text[0] == '-' || text[0] == '+' {
		if i, err := parseOffset(param, now, text); err == nil {
			return i, nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return absoluteInstant(param, text, t)
		}
	}
	// In HTTP an unescaped + is a space; a zone of +02:00 then reads " 02:00".
	if t, err := time.Parse(time.RFC3339Nano, strings.Replace(text, " ", "+", 1)); err == nil {
		return absoluteInstant(param, text, t)
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		if seconds > latestTime.Unix() || seconds < earliestTime.Unix() {
			return Instant{}, wrong(param, "%q is too large for Unix seconds; are these milliseconds?", text)
		}
		return At(time.Unix(seconds, 0).UTC()), nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(seconds) {
		if seconds > float64(latestTime.Unix()) || seconds < float64(earliestTime.Unix()) {
			return Instant{}, wrong(param, "%q is too large for Unix seconds; are these milliseconds?", text)
		}
		whole, fraction := math.Modf(seconds)
		return At(time.Unix(int64(whole), int64(math.Round(fraction*1e9))).UTC()), nil
	}
	err := wrong(param, "%q is no time; write %s", text, instantForms)
	err.Suggestion = nearest(text, []string{"now", "newest"})
	return Instant{}, err
}

func absoluteInstant(param, text string, t time.Time) (Instant, error) {
	if t.Before(earliestTime) || t.After(latestTime) {
		return Instant{}, wrong(param, "%q lies outside the years %d to %d", text, earliestTime.Year(), latestTime.Year())
	}
	return At(t.UTC()), nil
}

func parseOffset(param string, b base, text string) (Instant, error) {
	if text == "" {
		return Instant{base: b}, nil
	}
	if sign := text[0]; sign == '-' || sign == '+' {
		offset, err := ParseDuration(param, strings.TrimSpace(text[1:]))
		if err != nil {
			return Instant{}, err
		}
		if sign == '-' {
			offset = -offset
		}
		return Instant{base: b, offset: offset}, nil
	}
	return Instant{}, wrong(param, "%q follows now or newest; write %s", text, instantForms)
}

// resolve returns the instant in Unix nanoseconds.
func (i Instant) resolve(param string, clock time.Time, newestEnd int64) (int64, error) {
	var t time.Time
	switch i.base {
	case absolute:
		t = i.at
	case now:
		t = clock.Add(i.offset)
	case newest:
		t = time.Unix(0, newestEnd).Add(i.offset)
	default:
		panic("query: an instant that is not given was resolved")
	}
	if t.Before(earliestTime) || t.After(latestTime) {
		return 0, wrong(param, "%s lies outside the years %d to %d", i, earliestTime.Year(), latestTime.Year())
	}
	return t.UnixNano(), nil
}

var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"ms", time.Millisecond},
	{"m", time.Minute}, {"s", time.Second}, {"us", time.Microsecond}, {"ns", 1},
}

// ParseDuration reads a positive duration such as 10s, 5m, 1h30m, 1d or 1w.
// param names it in errors.
func ParseDuration(param, text string) (time.Duration, error) {
	var total time.Duration
	rest := strings.TrimSpace(text)
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		number, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return 0, notDuration(param, text)
		}
		rest = rest[digits:]
		unit := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))]
		rest = rest[len(unit):]
		size := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == unit {
				size = u.size
			}
		}
		nanos := math.Round(number * float64(size))
		if size == 0 || nanos > float64(math.MaxInt64/2) || float64(total)+nanos > float64(math.MaxInt64/2) {
			return 0, notDuration(param, text)
		}
		total += time.Duration(nanos)
	}
	if total <= 0 {
		return 0, notDuration(param, text)
	}
	return total, nil
}

func notDuration(param, text string) *ParamError {
	return wrong(param, "%q is no duration; write a number and a unit, as in 10s, 5m, 1h, 1d or 1w", text)
}

// formatDuration writes a duration in the units ParseDuration reads: 90m is 1h30m.
func formatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	out := ""
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", 1}} {
		if n := d / u.size; n > 0 {
			out += fmt.Sprintf("%d%s", n, u.name)
			d -= n * u.size
		}
	}
	return out
}
