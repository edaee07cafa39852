package sketch

import (
	"encoding/binary"
	"math"
)

// Exact values, encoded: what a t-digest and a DDSketch are while they are
// small. Values ascend strictly; each has a weight, how often it occurred.
//
//	n uvarint | decimals byte | first | ...
//
//	decimals 0…6: every value is k/10^decimals with a whole k below 2^53, as most
//	measured values are once they were printed. First, then deltas:
//	    first    zigzag varint of its k
//	    others   uvarint of k less the k before, never 0
//	    a weight over 1 follows its value as a 0 and uvarint of weight-1
//	decimals 255: n × float64, little-endian, and, if a 1 precedes them and not a
//	0, n uvarints of weights.
const (
	maxDecimals = 6
	rawValues   = 255
)

var powersOfTen = [maxDecimals + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6}

// decimals returns the fewest decimals that print every value, or rawValues.
func decimals(values []float64) int {
	d := 0
	for _, v := range values {
		for {
			k := math.RoundToEven(v * powersOfTen[d])
			if k/powersOfTen[d] == v && math.Abs(k) < 1<<53 {
				break
			}
			if d == maxDecimals {
				return rawValues
			}
			d++
		}
	}
	// More decimals than the first values needed may take these past 2^53.
	if len(values) > 0 {
		extreme := math.Max(math.Abs(values[0]), math.Abs(values[len(values)-1]))
		if extreme*powersOfTen[d] >= 1<<53 {
			return rawValues
		}
	}
	return d
}

// appendValues encodes ascending distinct values. A nil weights means 1 each.
func appendValues(dst []byte, values []float64, weights []uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	if len(values) == 0 {
		return dst
	}
	d := decimals(values)
	dst = append(dst, byte(d))
	if d == rawValues {
		return appendRawValues(dst, values, weights)
	}
	scale, last := powersOfTen[d], int64(0)
	for i, v := range values {
		k := int64(math.RoundToEven(v * scale))
		if i == 0 {
			dst = binary.AppendVarint(dst, k)
		} else {
			dst = binary.AppendUvarint(dst, uint64(k-last))
		}
		last = k
		if weights != nil && weights[i] > 1 {
			dst = append(dst, 0)
			dst = binary.AppendUvarint(dst, weights[i]-1)
		}
	}
	return dst
}

func appendRawValues(dst []byte, values []float64, weights []uint64) []byte {
	weighted := byte(0)
	for _, w := range weights {
		if w > 1 {
			weighted = 1
		}
	}
	dst = append(dst, weighted)
	for _, v := range values {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	if weighted == 1 {
		for _, w := range weights {
			dst = binary.AppendUvarint(dst, w)
		}
	}
	return dst
}

// readValues reads what appendValues wrote onto the end of dst, checks that it
// ascends, and returns the sum of the weights. At most limit values are read.
func readValues(k Kind, r *reader, dst []centroid, limit int) ([]centroid, uint64, error) {
	n := r.count(1)
	if r.failed || n > limit {
		return dst, 0, corrupt(k, "%d values where at most %d fit", n, limit)
	}
	if n == 0 {
		return dst, 0, nil
	}
	d := r.byte()
	if d == rawValues {
		return readRawValues(k, r, dst, n)
	}
	if d > maxDecimals {
		return dst, 0, corrupt(k, "%d decimals", d)
	}
	scale := powersOfTen[d]
	key := r.varint()
	b := r.b
	total := uint64(0)
	for i := 0; ; i++ {
		if key <= -1<<53 || key >= 1<<53 {
			return dst, 0, corrupt(k, "value %d/%g is beyond 2^53", key, scale)
		}
		weight := uint64(1)
		if len(b) > 0 && b[0] == 0 {
			more, used := binary.Uvarint(b[1:])
			if used <= 0 || more == 0 || more >= maxWeight {
				return dst, 0, corrupt(k, "weight %d of value %d", more, i)
			}
			weight += more
			b = b[1+used:]
		}
		total += weight
		dst = append(dst, centroid{float64(key) / scale, float64(weight)})
		if i == n-1 {
			break
		}
		if len(b) > 0 && b[0] < 0x80 {
			key += int64(b[0])
			b = b[1:]
			continue
		}
		delta, used := binary.Uvarint(b)
		if used <= 0 || delta > 1<<54 {
			return dst, 0, corrupt(k, "value %d of %d is cut off", i+1, n)
		}
		key += int64(delta)
		b = b[used:]
	}
	r.b = b
	if r.failed || total > maxWeight {
		return dst, 0, corrupt(k, "weights sum to %d", total)
	}
	return dst, total, nil
}

func readRawValues(k Kind, r *reader, dst []centroid, n int) ([]centroid, uint64, error) {
	weighted := r.byte()
	b := r.bytes(8 * uint64(n))
	if r.failed || weighted > 1 {
		return dst, 0, corrupt(k, "%d raw values are cut off", n)
	}
	first := len(dst)
	last := math.Inf(-1)
	for ; len(b) >= 8; b = b[8:] {
		v := math.Float64frombits(binary.LittleEndian.Uint64(b))
		if !(v > last) || v > math.MaxFloat64 {
			return dst, 0, corrupt(k, "value %g after %g", v, last)
		}
		dst = append(dst, centroid{v, 1})
		last = v
	}
	if weighted == 0 {
		return dst, uint64(n), nil
	}
	total := uint64(0)
	for i := range n {
		w := r.uvarint()
		if w == 0 || w > maxWeight {
			return dst, 0, corrupt(k, "weight %d of value %d", w, i)
		}
		dst[first+i].signed = float64(w)
		total += w
	}
	if r.failed || total > maxWeight {
		return dst, 0, corrupt(k, "weights sum to %d", total)
	}
	return dst, total, nil
}

// maxWeight is the largest count a float64 adds to without loss.
const maxWeight = 1 << 53

// distinct moves the different values of an ascending list to its front and
// returns how many there are; weights, of the same length, receives how often
// each occurred. Weights are only written when some value repeats.
func distinct(values []float64, weights []uint64) (n int, repeats bool) {
	for i := 1; i < len(values); i++ {
		if values[i] == values[i-1] {
			return distinctFrom(values, weights, i), true
		}
	}
	return len(values), false
}

func distinctFrom(values []float64, weights []uint64, first int) int {
	for i := range first {
		weights[i] = 1
	}
	n := first - 1
	for _, v := range values[first:] {
		if v == values[n] {
			weights[n]++
			continue
		}
		n++
		values[n], weights[n] = v, 1
	}
	return n + 1
}
