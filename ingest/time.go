package ingest

import (
	"math"
	"time"

	"github.com/weir-stream/weir"
)

// clockReader reads event times in one notation. It remembers the last date,
// since consecutive events share it.
type clockReader struct {
	format weir.TimeFormat
	date   [10]byte
	days   int64 // nanoseconds at the start of date
	known  bool
}

// read gives Unix nanoseconds. A number may also be written as a string.
func (r *clockReader) read(v *value) (int64, bool) {
	switch v.kind {
	case text:
		if r.format == weir.RFC3339 {
			return r.rfc3339(v.text)
		}
		end, f, ok := scanNumber(v.text, 0)
		if !ok || end != len(v.text) {
			return 0, false
		}
		return r.unix(v.text, f)
	case number:
		if r.format == weir.RFC3339 {
			return 0, false
		}
		return r.unix(v.text, v.num)
	case instant:
		return int64(v.num) * int64(time.Millisecond), v.num < 9.2e12
	}
	return 0, false
}

// rfc3339 reads 2001-01-01T00:01:00[.fraction](Z|±hh:mm).
func (r *clockReader) rfc3339(t []byte) (int64, bool) {
	if len(t) < 20 || t[4] != '-' || t[7] != '-' || t[10]|0x20 != 't' || t[13] != ':' || t[16] != ':' {
		return 0, false
	}
	if !r.known || string(r.date[:]) != string(t[:10]) {
		year, ok1 := decimal(t[0:4])
		month, ok2 := decimal(t[5:7])
		day, ok3 := decimal(t[8:10])
		if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 {
			return 0, false
		}
		d := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		if d.Day() != day || year < 1678 || year > 2261 { // what int64 nanoseconds hold
			return 0, false
		}
		copy(r.date[:], t)
		r.days, r.known = d.UnixNano(), true
	}
	hour, ok1 := decimal(t[11:13])
	minute, ok2 := decimal(t[14:16])
	second, ok3 := decimal(t[17:19])
	// A leap second is the first moment of the next minute.
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	ns := r.days + int64(hour*3600+minute*60+second)*int64(time.Second)
	i := 19
	if t[i] == '.' {
		i++
		unit := int64(time.Second)
		first := i
		for ; i < len(t) && t[i]-'0' <= 9; i++ {
			unit /= 10
			ns += int64(t[i]-'0') * unit // digits beyond the ninth add nothing
		}
		if i == first || i >= len(t) {
			return 0, false
		}
	}
	switch rest := t[i:]; {
	case len(rest) == 1 && rest[0]|0x20 == 'z':
		return ns, true
	case len(rest) == 6 && rest[3] == ':' && (rest[0] == '+' || rest[0] == '-'):
		hour, ok1 := decimal(rest[1:3])
		minute, ok2 := decimal(rest[4:6])
		if !ok1 || !ok2 || hour > 23 || minute > 59 {
			return 0, false
		}
		offset := int64(hour*3600+minute*60) * int64(time.Second)
		if rest[0] == '+' {
			offset = -offset
		}
		return ns + offset, true
	}
	return 0, false
}

// unix reads a count of seconds, or of parts of them, since the epoch. Integers
// are read exactly; a fraction is as exact as a float64.
func (r *clockReader) unix(t []byte, f float64) (int64, bool) {
	unit := int64(time.Second)
	switch r.format {
	case weir.UnixMillis:
		unit = int64(time.Millisecond)
	case weir.UnixMicros:
		unit = int64(time.Microsecond)
	case weir.UnixNanos:
		unit = 1
	}
	if math.Abs(f)*float64(unit) >= 9.2e18 { // some months from what int64 holds; also ±Inf
		return 0, false
	}
	digits, negative := t, t[0] == '-'
	if negative {
		digits = t[1:]
	}
	n := int64(0)
	for _, c := range digits {
		if c-'0' > 9 {
			whole := math.Floor(f)
			return int64(whole)*unit + int64((f-whole)*float64(unit)), true
		}
		n = n*10 + int64(c-'0') // within int64, since f is
	}
	if negative {
		n = -n
	}
	return n * unit, true
}

func decimal(t []byte) (int, bool) {
	n := 0
	for _, c := range t {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
