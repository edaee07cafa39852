package sketch

import (
	"encoding/binary"
	"math"
	"slices"
)

// The encoding of a DDSketch, canonical: equal values have equal bytes.
//
//	'D' | version, form | scale + 4 byte | payload | checksum
//
//	form 1, exact     values as values.go draws them: at most 64 in all
//	form 2, buckets   min float64 | max float64 | zeros uvarint
//	                  | negative buckets | positive buckets
//
//	buckets           n uvarint: non-empty ones. If any: first index zigzag varint, then each
//	                      count<<1 uvarint            and the next bucket follows, or
//	                      count<<1|1 uvarint, gap uvarint   empty ones in between
const (
	formDDExact   = 1
	formDDBuckets = 2
)

// AppendBinary appends the sketch's encoding to dst.
func (d *DDSketch) AppendBinary(dst []byte) []byte {
	if !d.bucketed {
		return appendExactDD(dst, d.scale, d.sortedValues())
	}
	start := len(dst)
	dst = slices.Grow(dst, 64)
	dst = append(dst, byte(KindDDSketch), encodingVersion<<4|formDDBuckets, byte(d.scale-MinScale))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(d.min))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(d.max))
	dst = binary.AppendUvarint(dst, d.zero)
	dst = d.negative.appendTo(dst)
	dst = d.positive.appendTo(dst)
	return seal(dst, start)
}

// AppendDDSketch appends the encoding of the sketch to which exactly these
// values were added, without making one when they are few. It reorders the
// values. They must be finite.
func AppendDDSketch(dst []byte, scale int, values []float64) []byte {
	if len(values) > ddExact {
		d := NewDDSketch(scale)
		d.AddValues(values)
		return d.AppendBinary(dst)
	}
	for i := range values {
		values[i] += 0
	}
	sortFloats(values)
	return appendExactDD(dst, int8(scale), values)
}

// appendExactDD encodes ascending values, which it may move.
func appendExactDD(dst []byte, scale int8, values []float64) []byte {
	var weights [ddExact]uint64
	n, repeats := distinct(values, weights[:])
	var w []uint64
	if repeats {
		w = weights[:n]
	}
	start := len(dst)
	dst = slices.Grow(dst, 8*n+24)
	dst = append(dst, byte(KindDDSketch), encodingVersion<<4|formDDExact, byte(scale-MinScale))
	dst = appendValues(dst, values[:n], w)
	return seal(dst, start)
}

func (b *buckets) appendTo(dst []byte) []byte {
	occupied := 0
	for _, n := range b.counts {
		if n != 0 {
			occupied++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(occupied))
	if occupied == 0 {
		return dst
	}
	dst = binary.AppendVarint(dst, int64(b.low))
	for i := 0; i < len(b.counts); {
		next := i + 1
		for next < len(b.counts) && b.counts[next] == 0 {
			next++
		}
		gap := next - i - 1
		if gap == 0 || next == len(b.counts) {
			dst = binary.AppendUvarint(dst, b.counts[i]<<1)
		} else {
			dst = binary.AppendUvarint(dst, b.counts[i]<<1|1)
			dst = binary.AppendUvarint(dst, uint64(gap))
		}
		i = next
	}
	return dst
}

// readBuckets checks encoded buckets in one pass, without room for them, and
// reports the range of indices and the sum. A second pass adds them.
func readBuckets(r *reader, scale int8, each func(index int, n uint64)) (lo, hi int, total uint64, ok bool) {
	n := r.count(1)
	if n == 0 {
		return 0, -1, 0, !r.failed
	}
	extreme := int64(1100) << MaxScale >> uint(MaxScale-scale)
	index := r.varint()
	if index < -extreme || index > extreme {
		return 0, 0, 0, false
	}
	lo = int(index)
	for i := range n {
		v := r.uvarint()
		count := v >> 1
		if r.failed || count == 0 || count > maxWeight || index > extreme {
			return 0, 0, 0, false
		}
		total += count
		hi = int(index)
		if each != nil {
			each(hi, count)
		}
		index++
		if v&1 == 1 {
			gap := r.uvarint()
			if gap == 0 || gap > uint64(2*extreme) || i == n-1 {
				return 0, 0, 0, false
			}
			index += int64(gap)
		}
	}
	return lo, hi, total, !r.failed && total <= maxWeight
}

// openDD reads what precedes the payload.
func openDD(data []byte) (form byte, scale int8, r reader, err error) {
	form, body, err := open(KindDDSketch, data)
	if err != nil {
		return 0, 0, r, err
	}
	r = reader{b: body}
	s := r.byte()
	if r.failed || s > MaxScale-MinScale {
		return 0, 0, r, corrupt(KindDDSketch, "scale %d", int(s)+MinScale)
	}
	if form != formDDExact && form != formDDBuckets {
		return 0, 0, r, corrupt(KindDDSketch, "form %d is not known", form)
	}
	return form, int8(s) + MinScale, r, nil
}

// MergeBinary adds what an encoded sketch holds, straight from its bytes. On an
// error the sketch has not changed.
func (d *DDSketch) MergeBinary(data []byte) error {
	form, scale, r, err := openDD(data)
	if err != nil {
		return err
	}
	if form == formDDExact {
		return d.mergeExact(scale, &r)
	}
	lo, hi := math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
	zero := r.uvarint()
	again := r
	negLo, negHi, neg, ok := readBuckets(&r, scale, nil)
	posLo, posHi, pos, ok2 := readBuckets(&r, scale, nil)
	count := zero + neg + pos
	if !ok || !ok2 || !r.done() || zero > maxWeight || count == 0 || count > maxWeight {
		return corrupt(KindDDSketch, "buckets of %d values", count)
	}
	if negHi-negLo+1+posHi-posLo+1 > ddMaxBuckets {
		return corrupt(KindDDSketch, "more than %d buckets", ddMaxBuckets)
	}
	if !(lo <= hi) || math.Abs(lo) > math.MaxFloat64 || math.Abs(hi) > math.MaxFloat64 {
		return corrupt(KindDDSketch, "values from %g to %g", lo, hi)
	}
	d.coarsen(scale)
	if !d.bucketed {
		d.toBuckets()
	}
	d.readAdd(&d.negative, &again, scale, negLo, negHi)
	d.readAdd(&d.positive, &again, scale, posLo, posHi)
	d.zero += zero
	d.merged(count, lo, hi)
	return nil
}

// readAdd adds buckets that readBuckets found sound to b.
func (d *DDSketch) readAdd(b *buckets, r *reader, scale int8, lo, hi int) {
	if hi < lo {
		r.uvarint() // none
		return
	}
	d.fit(b, lo, hi, scale)
	by := uint(scale - d.scale)
	b.widen(shiftUp(lo, by), shiftUp(hi, by))
	readBuckets(r, scale, func(i int, n uint64) { b.counts[shiftUp(i, by)-b.low] += n })
}

func (d *DDSketch) mergeExact(scale int8, r *reader) error {
	var stack [ddExact]centroid
	values, count, err := readValues(KindDDSketch, r, stack[:0], ddExact)
	if err != nil {
		return err
	}
	if count > ddExact || !r.done() {
		return corrupt(KindDDSketch, "%d values where at most %d are exact, %d bytes after", count, ddExact, len(r.b))
	}
	d.coarsen(scale)
	for _, v := range values {
		for range int(v.weight()) {
			d.Add(v.mean)
		}
	}
	return nil
}

// UnmarshalBinary makes the sketch what it was when it was encoded.
func (d *DDSketch) UnmarshalBinary(data []byte) error {
	_, scale, _, err := openDD(data)
	if err != nil {
		return err
	}
	fresh := NewDDSketch(int(scale))
	if err := fresh.MergeBinary(data); err != nil {
		return err
	}
	*d = *fresh
	return nil
}
