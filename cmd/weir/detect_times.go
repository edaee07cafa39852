package main

import (
	"math"
	"strconv"
	"time"
)

// timeLayouts are the ways to write a time that are understood, the usual ones
// first. Where a day could be a month, it is American. Fractions of a second
// are taken with all of them; without a zone it is UTC.
var timeLayouts = []string{
	time.DateTime,
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05 -0700",
	"2006-01-02T15:04:05-0700",
	"2006-01-02 15:04",
	"2006-01-02T15:04",
	"2006-01-02T15:04Z07:00",
	time.DateOnly,
	"2006/01/02 15:04:05",
	"2006/01/02 15:04",
	"2006/01/02",
	"1/2/2006 15:04:05",
	"1/2/2006 3:04:05 PM",
	"1/2/2006 15:04",
	"1/2/2006 3:04 PM",
	"1/2/2006",
	"2.1.2006 15:04:05",
	"2.1.2006 15:04",
	"2.1.2006",
	"2-Jan-2006 15:04:05",
	"2-Jan-2006",
	"2 Jan 2006 15:04:05",
	"2 Jan 2006",
	"Jan 2, 2006 15:04:05",
	"Jan 2, 2006",
	"02/Jan/2006:15:04:05 -0700",
	time.RFC1123,
	time.RFC1123Z,
	time.UnixDate,
	time.ANSIC,
	"20060102T150405Z0700",
	"20060102 15:04:05",
	"20060102150405",
	"20060102",
}

// parseTimes reads the labels of a series as times, all in one way. The error
// names the line at which the way that went farthest ended.
func parseTimes(s *series) ([]int64, error) {
	times := make([]int64, len(s.label))
	farthest := 0
	for _, layout := range timeLayouts {
		n := parseLayout(times, s.label, layout)
		if n == len(times) {
			return times, nil
		}
		farthest = max(farthest, n)
	}
	n := parseEpoch(times, s.label)
	if n == len(times) {
		return times, nil
	}
	farthest = max(farthest, n)
	return nil, s.mistake(s.line[farthest], "%q is not a time, or not in the way of the lines before", s.label[farthest])
}

// parseLayout reads times of one layout and returns how many from the first on
// it could.
func parseLayout(times []int64, labels []string, layout string) int {
	for i, label := range labels {
		t, err := time.Parse(layout, label)
		if err != nil || t.Year() < 1700 || t.Year() > 2200 {
			return i // beyond what nanoseconds count
		}
		times[i] = t.UnixNano()
	}
	return len(labels)
}

// parseEpoch reads numbers of seconds since 1970, or of thousandths, millionths
// or billionths, as their size tells, and returns how many from the first on it
// could. Small ones only number the rows.
func parseEpoch(times []int64, labels []string) int {
	var unit int64
	for i, label := range labels {
		v, err := strconv.ParseFloat(label, 64)
		if err != nil || !(v >= 0) {
			return i
		}
		if i == 0 {
			switch {
			case v < 1e8:
				return 0
			case v < 1e11:
				unit = int64(time.Second)
			case v < 1e14:
				unit = int64(time.Millisecond)
			case v < 1e17:
				unit = int64(time.Microsecond)
			default:
				unit = 1
			}
		}
		if v >= float64(math.MaxInt64/unit) {
			return i
		}
		if whole, err := strconv.ParseInt(label, 10, 64); err == nil {
			times[i] = whole * unit
			continue
		}
		whole, part := math.Modf(v)
		times[i] = int64(whole)*unit + int64(math.Round(part*float64(unit)))
	}
	return len(labels)
}
