package ingest

import (
	"math"
	"strconv"
	"unsafe"
)

var powersOfTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// scanNumber scans a number and gives its nearest float64, ±Inf on overflow.
// A mantissa below 2^53 with a power of ten up to 22 is exact in one operation
// (Clinger 1990); strconv does the rest.
func scanNumber(b []byte, i int) (end int, f float64, ok bool) {
	start := i
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	var mantissa uint64
	digits, exponent := 0, 0
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		mantissa = mantissa*10 + uint64(b[i]-'0')
		i++
	}
	if digits = i - first; digits == 0 || digits > 1 && b[first] == '0' {
		return i, 0, false
	}
	if i < len(b) && b[i] == '.' {
		i++
		first = i
		for i < len(b) && b[i]-'0' <= 9 {
			mantissa = mantissa*10 + uint64(b[i]-'0')
			i++
		}
		if i == first {
			return i, 0, false
		}
		digits += i - first
		exponent = first - i
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		sign := 1
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			if b[i] == '-' {
				sign = -1
			}
			i++
		}
		first = i
		e := 0
		for i < len(b) && b[i]-'0' <= 9 {
			e = min(e*10+int(b[i]-'0'), 1<<20)
			i++
		}
		if i == first {
			return i, 0, false
		}
		exponent += sign * e
	}
	if digits <= 19 && mantissa < 1<<53 && -22 <= exponent && exponent <= 22 {
		f = float64(mantissa)
		if exponent < 0 {
			f /= powersOfTen[-exponent]
		} else {
			f *= powersOfTen[exponent]
		}
		if negative {
			f = -f
		}
		return i, f, true
	}
	// The only error left is a range error, and then f is ±Inf.
	f, err := strconv.ParseFloat(unsafe.String(&b[start], i-start), 64)
	if err != nil && !math.IsInf(f, 0) {
		return i, 0, false
	}
	return i, f, true
}
