package query

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
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
		return name + "-" + weir.FormatDuration(-i.offset)
	case i.offset > 0:
		return name + "+" + weir.FormatDuration(i.offset)
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

// ParseTime reads a point in time where no stream is asked, so that newest means
// nothing. Nothing is the zero time.
func ParseTime(param, text string, clock time.Time) (time.Time, error) {
	i, err := ParseInstant(param, text)
	switch {
	case err != nil:
		return time.Time{}, err
	case !i.Given():
		return time.Time{}, nil
	case i.base == newest:
		return time.Time{}, wrong(param, "%q asks for the newest window, and there is none here; write a time, a date, now or -1h", text)
	}
	t, err := i.resolve(param, clock, 0)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, t).UTC(), nil
}

// maxDuration keeps a range that is widened by a step or window within an int64.
const maxDuration = 50 * 365 * 24 * time.Hour

// ParseDuration reads a positive duration such as 10s, 5m, 1h30m, 1d or 1w.
// param names it in errors.
func ParseDuration(param, text string) (time.Duration, error) {
	d, err := weir.ParseDuration(strings.TrimSpace(text))
	switch {
	case err != nil:
		return 0, wrong(param, "%v", err)
	case d <= 0 || d > maxDuration:
		return 0, wrong(param, "%q does not lie between 1ns and %s", text, weir.FormatDuration(maxDuration))
	}
	return d, nil
}
