package sketch

import (
	"encoding/binary"
	"math"
	"slices"
)

// The encoding of a t-digest:
//
//	'T' | version, form | compression uvarint | payload | checksum
//
//	form 1, exact       values as values.go draws them: at most 128 different ones
//	form 2, centroids   n uvarint | min float64 | max float64
//	                    | n × float32: mean less the mean before, the first less min
//	                    | n × uvarint: weight
//	form 3, wide        as form 2 with n × float64: mean
//	forms 4 and 5       as 2 and 3, of a digest that others were merged into
//	forms 6 to 9        as 2 to 5, where some centroid of a weight over 1 is one
//	                    value: weights are 2 × weight, and 1 more if it is not
//
// All little-endian. A float32 keeps 24 bits of the gap to the mean before, as
// it was decoded, so errors do not add up. Form 3 is for gaps beyond float32.
const (
	formDigestExact = 1
	formDigestGaps  = 2
	formDigestWide  = 3
	formOfMerged    = 2 // added to the form
	formRecurring   = 4 // added to the form
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

func (t *TDigest) appendCentroids(dst []byte, cs []centroid) []byte {
	start, lo, hi := len(dst), t.min, t.max
	dst = slices.Grow(dst, 7*len(cs)+40)
	form := byte(formDigestGaps)
	if !gapsFit(cs, lo) {
		form = formDigestWide
	}
	wide := form == formDigestWide
	if t.coarse > 0 || t.finer {
		form += formOfMerged
	}
	recurring := slices.ContainsFunc(cs, func(c centroid) bool { return c.signed > 1 })
	if recurring {
		form += formRecurring
	}
	dst = appendDigestHeader(dst, form, t.compression)
	dst = binary.AppendUvarint(dst, uint64(len(cs)))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(lo))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(hi))
	last := lo
	for _, c := range cs {
		if wide {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.mean))
			continue
		}
		var gap float32
		gap, last = nextGap(last, c.mean, hi)
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(gap))
	}
	for _, c := range cs {
		w := uint64(c.weight())
		if recurring {
			w <<= 1
			if c.mixed() {
				w++
			}
		}
		dst = binary.AppendUvarint(dst, w)
	}
	return seal(dst, start)
}

// nextGap returns the gap from last to mean as it is stored, and the mean that
// will be read back: at least last, at most hi.
func nextGap(last, mean, hi float64) (float32, float64) {
	gap := float32(mean - last)
	if !(gap > 0) {
		return 0, last
	}
	for last+float64(gap) > hi {
		gap = math.Nextafter32(gap, 0)
	}
	// Beside a large last the low bits of the gap are lost. Store what is left of
	// it, so that encoding again gives the same bytes.
	next := last + float64(gap)
	return float32(next - last), next
}

// gapsFit reports whether every gap is 0 or a normal float32.
func gapsFit(cs []centroid, lo float64) bool {
	last := lo
	for _, c := range cs {
		if gap := c.mean - last; gap > math.MaxFloat32/2 || gap > 0 && gap < 0x1p-126 {
			return false
		}
		last = c.mean
	}
	return true
}

// digestHeader reads what precedes the payload.
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
	if form < formDigestExact || form > formDigestWide+formOfMerged+formRecurring {
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

func (t *TDigest) mergeCentroids(form byte, compression float64, r *reader) error {
	recurring := form > formDigestWide+formOfMerged
	if recurring {
		form -= formRecurring
	}
	size, ofMerged := 4, form > formDigestWide
	if form == formDigestWide || form == formDigestWide+formOfMerged {
		size = 8
	}
	n := r.count(size + 1)
	lo, hi := math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
	means := r.bytes(uint64(size * n))
	if r.failed || n == 0 || !(lo <= hi) || math.Abs(lo) > math.MaxFloat64 || math.Abs(hi) > math.MaxFloat64 {
		return corrupt(KindTDigest, "%d centroids from %g to %g", n, lo, hi)
	}
	if len(t.cs)+n > t.limit() {
		t.reserve(n)
	}
	t.cs = slices.Grow(t.cs, n)
	old := len(t.cs)
	cs := t.cs[old : old+n]
	if !readMeans(cs, means, lo, hi) {
		return corrupt(KindTDigest, "means do not ascend from %g to %g", lo, hi)
	}
	total, b := uint64(0), r.b
	for i := range cs {
		var w uint64
		if len(b) >= 2 && b[0] < 0x80 {
			w, b = uint64(b[0]), b[1:]
		} else if len(b) >= 2 && b[1] < 0x80 {
			w, b = uint64(b[0]&0x7f)|uint64(b[1])<<7, b[2:]
		} else {
			long, used := binary.Uvarint(b)
			if used <= 0 {
				return corrupt(KindTDigest, "weights are cut off")
			}
			w, b = long, b[used:]
		}
		single := w == 1
		if recurring {
			single = w&1 == 0
			w >>= 1
		}
		if w == 0 || w > maxWeight || w == 1 && !single {
			return corrupt(KindTDigest, "weight %d of centroid %d", w, i)
		}
		cs[i].signed = -float64(w)
		if single {
			cs[i].signed = float64(w)
		}
		total += w
	}
	if len(b) != 0 || total > maxWeight {
		return corrupt(KindTDigest, "%d bytes after weights of %d", len(b), total)
	}
	t.cs = t.cs[:old+n]
	if old == 0 {
		t.sorted = int32(n)
	}
	o := TDigest{compression: compression, min: lo, max: hi, inexact: true, resolved: true, recurring: recurring}
	if ofMerged {
		o.coarse = float64(total)
	}
	t.merged(&o, float64(total))
	return nil
}

// readMeans reads the means of forms 2 and 3, which must ascend within [lo, hi].
func readMeans(cs []centroid, b []byte, lo, hi float64) bool {
	last := lo
	if len(b) == 8*len(cs) {
		for i := range cs {
			mean := math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
			if !(mean >= last) {
				return false
			}
			cs[i].mean, last = mean, mean
		}
		return last <= hi
	}
	for i := range cs {
		gap := math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if !(gap >= 0) {
			return false
		}
		last += float64(gap)
		cs[i].mean = last
	}
	return last <= hi
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
