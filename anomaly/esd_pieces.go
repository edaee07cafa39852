package anomaly

import (
	"fmt"
	"math"
	"slices"
)

// The units of timestamps, in nanoseconds.
const (
	second int64 = 1e9
	minute       = 60 * second
	hour         = 60 * minute
	day          = 24 * hour
)

// span is a part of a series: the observations from, up to but without to.
type span struct{ from, to int }

// seasonOf tells from the last two timestamps how far observations are apart
// and how many make a season: a week of days, or a day of hours or minutes. It
// is the reference's way, so every step from a minute to an hour counts as a
// minute.
func seasonOf(times []int64) (step int64, period int, err error) {
	if len(times) < 2 {
		return 0, 0, fmt.Errorf("%d timestamps do not tell a period: %w", len(times), ErrPeriods)
	}
	gap := times[len(times)-1] - times[len(times)-2]
	switch {
	case gap >= day:
		return day, 7, nil
	case gap >= hour:
		return hour, 24, nil
	case gap >= minute:
		return minute, 24 * 60, nil
	case gap >= second:
		return 0, 0, &ObservationError{len(times) - 1, "is only seconds after the one before, for which no period is defined; sum by minutes or give a period"}
	}
	return 0, 0, &ObservationError{len(times) - 1, "is less than a second after the one before, which tells no period"}
}

// rowPieces cuts n observations into pieces of so many rows, or into one if
// rows is 0. A short last piece is moved forward to its full length.
func rowPieces(n, rows int) []span {
	if rows == 0 {
		return []span{{0, n}}
	}
	var pieces []span
	for from := 0; from < n; from += rows {
		if from+rows > n {
			pieces = append(pieces, span{max(0, n-rows), n})
			break
		}
		pieces = append(pieces, span{from, from + rows})
	}
	return pieces
}

// weekPieces cuts observations into pieces of so many weeks, or into one if
// weeks is 0. Pieces begin where they would if no observation were missing; a
// piece for which too few days are left is moved forward. The reference gives
// pieces of daily observations one day more.
func weekPieces(times []int64, weeks, period int, step int64) []span {
	n := len(times)
	if weeks == 0 {
		return []span{{0, n}}
	}
	rows, length := period*7*weeks, int64(7*weeks)*day
	if step == day {
		rows, length = period*weeks+1, length+day
	}
	last := times[n-1]
	var pieces []span
	for row := 0; row < n; row += rows {
		begin := times[row]
		if last-begin >= length {
			from, _ := slices.BinarySearch(times, begin)
			to, _ := slices.BinarySearch(times, begin+length)
			pieces = append(pieces, span{from, to})
			continue
		}
		from, _ := slices.BinarySearch(times, last-length+1)
		pieces = append(pieces, span{from, n})
	}
	return pieces
}

// peaksByRows are the highest values of every so many observations; NaN where
// all are missing.
func peaksByRows(y []float64, rows int) []float64 {
	var peaks []float64
	for i, v := range y {
		if i%rows == 0 {
			peaks = append(peaks, math.NaN())
		}
		if peak := &peaks[len(peaks)-1]; !(*peak >= v) && v == v {
			*peak = v
		}
	}
	return peaks
}

// peaksByDay are the highest values of each day in UTC.
func peaksByDay(times []int64, y []float64) []float64 {
	var peaks []float64
	today := int64(math.MinInt64)
	for i, v := range y {
		date := times[i] / day
		if times[i]%day < 0 {
			date--
		}
		if date != today {
			today = date
			peaks = append(peaks, math.NaN())
		}
		if peak := &peaks[len(peaks)-1]; !(*peak >= v) && v == v {
			*peak = v
		}
	}
	return peaks
}

// height is what a value must reach when these are the peaks.
func (f Floor) height(peaks []float64) float64 {
	peaks = slices.DeleteFunc(peaks, math.IsNaN)
	if f == NoFloor || len(peaks) == 0 {
		return math.Inf(-1)
	}
	slices.Sort(peaks)
	share := 0.5
	switch f {
	case P95OfPeaks:
		share = 0.95
	case P99OfPeaks:
		share = 0.99
	}
	// Between two peaks, in proportion.
	place := share * float64(len(peaks)-1)
	i := int(place)
	if i+1 == len(peaks) {
		return peaks[i]
	}
	return peaks[i] + (place-float64(i))*(peaks[i+1]-peaks[i])
}
