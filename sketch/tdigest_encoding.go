package sketch

import (
	"encoding/binary"
	"slices"
)

// The encoding of a t-digest:
//
//	'T' | version, form | compression uvarint | payload | checksum
//
//	form 1, exact   values as values.go draws them: at most 128 different ones
//	form 2, gaps    n uvarint | min float64 | max float64
//	                | n × float32: mean less the mean before, the first less min
//	                | n × uvarint: weight
//	form 3, wide    n, min, max | n × float64: mean | n × uvarint: weight, doubled,
//	                and 1 more if the centroid stands for values that differ
//	form 4, grid    n, min, max | decimals byte | first mean as zigzag varint of
//	                k = mean · 10^(decimals+3), others as uvarint of k less the k before
//	                | weights as in form 3
//	forms 5 to 7    as 2 to 4, of a digest that others were merged into
//
// All little-endian. A float32 keeps 24 bits of the gap to the mean before, as
// it was decoded, so errors do not add up. That would move values that recur,
// such as whole milliseconds, which then are no longer themselves: form 4 holds
// those exactly, and other means to a thousandth of their last decimal. Form 3 is
// for what fits neither.
const (
	formDigestExact = 1
	formDigestGaps  = 2
	formDigestWide  = 3
	formDigestGrid  = 4
	formOfMerged    = 3 // added to the form

	gridDecimals = 3
)

// AppendBinary appends the digest's encoding to dst. More than 128 different
// values are compressed to the digest's δ; the digest itself does not change.
func (t *TDigest) AppendBinary(dst []byte) []byte {
	start := len(dst)
	t = t.settled()
	cs := t.cs
	if !t.inexact && len(cs) <= exactValues {
		var values [exactValues]float64
		var weights [exactValues]uint64
		for i, c := range cs {
			values[i], weights[i] = c.mean, uint64(c.weight())
		}
		return t.appendExact(dst, start, values[:len(cs)], weights[:len(cs)])
	}
	if !t.resolved {
		cs = compress(slices.Clone(cs), t.weight, t.compression)
	}
	return t.appendCentroids(dst, cs)
}

func (t *TDigest) appendExact(dst []byte, start int, values []float64, weights []uint64) []byte {
	dst = slices.Grow(dst, 8*len(values)+24)
	dst = appendDigestHeader(dst, formDigestExact, t.compression)
	dst = appendValues(dst, values, weights)
	return seal(dst, start)
}

// AppendTDigest appends the encoding of the digest to which exactly these
// values were added, in this order, without making one when they are few. It
// reorders the values. They must be finite.
func AppendTDigest(dst []byte, compression float64, values []float64) []byte {
	if len(values) > exactValues {
		t := NewTDigest(compression)
		t.AddValues(values)
		return t.AppendBinary(dst)
	}
	for i := range values {
		values[i] += 0
	}
	sortFloats(values)
	var weights [exactValues]uint64
	n, repeats := distinct(values, weights[:])
	var w []uint64
	if repeats {
		w = weights[:n]
	}
	start := len(dst)
	dst = slices.Grow(dst, 8*n+24)
	dst = appendDigestHeader(dst, formDigestExact, wholeCompression(compression))
	dst = appendValues(dst, values[:n], w)
	return seal(dst, start)
}

func appendDigestHeader(dst []byte, form byte, compression float64) []byte {
	dst = append(dst, byte(KindTDigest), encodingVersion<<4|form)
	return binary.AppendUvarint(dst, uint64(compression))
}

// openDigest reads what precedes the payload.
func openDigest(data []byte) (form byte, compression float64, r reader, err error) {
	form, body, err := open(KindTDigest, data)
	if err != nil {
		return 0, 0, reader{}, err
	}
	r = reader{b: body}
	c := r.uvarint()
	if r.failed || c < MinCompression || c > MaxCompression {
		return 0, 0, r, corrupt(KindTDigest, "compression %d", c)
	}
	if form < formDigestExact || form > formDigestGrid+formOfMerged {
		return 0, 0, r, corrupt(KindTDigest, "form %d is not known", form)
	}
	return form, float64(c), r, nil
}

// MergeBinary adds what an encoded digest holds, straight from its bytes: its
// centroids join those that wait. On an error the digest has not changed.
func (t *TDigest) MergeBinary(data []byte) error {
	form, compression, r, err := openDigest(data)
	if err != nil {
		return err
	}
	return t.mergePayload(form, compression, &r)
}

func (t *TDigest) mergePayload(form byte, compression float64, r *reader) error {
	if len(t.cs)+exactValues > t.limit() {
		t.reserve(exactValues)
	}
	if form != formDigestExact {
		return t.mergeCentroids(form, compression, r)
	}
	old := len(t.cs)
	cs, count, err := readValues(KindTDigest, r, t.cs, exactValues)
	if err == nil && !r.done() {
		err = corrupt(KindTDigest, "%d bytes after the last value", len(r.b))
	}
	t.cs = cs[:old]
	if err != nil || count == 0 {
		return err
	}
	t.cs = cs
	if old == 0 {
		t.sorted = int32(len(cs))
	}
	t.merged(&TDigest{min: cs[old].mean, max: cs[len(cs)-1].mean}, float64(count))
	return nil
}

// UnmarshalBinary makes the digest what it was when it was encoded.
func (t *TDigest) UnmarshalBinary(data []byte) error {
	form, compression, r, err := openDigest(data)
	if err != nil {
		return err
	}
	d := NewTDigest(compression)
	if err := d.mergePayload(form, compression, &r); err != nil {
		return err
	}
	d.sortCentroids()
	*t = *d
	return nil
}
