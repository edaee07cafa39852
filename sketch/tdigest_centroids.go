package sketch

import (
	"encoding/binary"
	"math"
	"slices"
)

// appendCentroids encodes centroids of δ in form 2, 3 or 4.
func (t *TDigest) appendCentroids(dst []byte, cs []centroid) []byte {
	start := len(dst)
	dst = slices.Grow(dst, 8*len(cs)+40)
	recurring := slices.ContainsFunc(cs, func(c centroid) bool { return c.signed > 1 })
	form, decimals := byte(formDigestWide), 0
	if recurring {
		var fits bool
		if decimals, fits = gridFits(cs, t.min, t.max); fits {
			form = formDigestGrid
		}
	} else if gapsFit(cs, t.min) {
		form = formDigestGaps
	}
	merged := byte(0)
	if t.coarse > 0 || t.finer {
		merged = formOfMerged
	}
	dst = appendDigestHeader(dst, form+merged, t.compression)
	dst = binary.AppendUvarint(dst, uint64(len(cs)))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(t.min))
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(t.max))
	switch form {
	case formDigestGaps:
		dst = appendGaps(dst, cs, t.min, t.max)
	case formDigestGrid:
		dst = appendGrid(dst, cs, decimals)
	default:
		for _, c := range cs {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.mean))
		}
	}
	for _, c := range cs {
		w := uint64(c.weight())
		if form != formDigestGaps {
			w <<= 1
			if c.mixed() {
				w++
			}
		}
		dst = binary.AppendUvarint(dst, w)
	}
	return seal(dst, start)
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

func appendGaps(dst []byte, cs []centroid, lo, hi float64) []byte {
	last := lo
	for _, c := range cs {
		var gap float32
		gap, last = nextGap(last, c.mean, hi)
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(gap))
	}
	return dst
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

// gridFits returns the decimals of the values that recur or are alone, and
// whether all means can be held on their grid.
func gridFits(cs []centroid, lo, hi float64) (d int, fits bool) {
	var stack [2 * exactValues]float64
	values := stack[:0]
	for _, c := range cs {
		if !c.mixed() {
			values = append(values, c.mean)
		}
	}
	if d = decimals(values); d == rawValues {
		return 0, false
	}
	scale, last := gridScale(d), lo
	for _, c := range cs {
		k := math.RoundToEven(c.mean * scale)
		mean := k / scale
		if math.Abs(k) >= 1<<51 || !(mean >= last) || mean > hi || !c.mixed() && mean != c.mean {
			return 0, false
		}
		last = mean
	}
	return d, true
}

func gridScale(decimals int) float64 { return powersOfTen[decimals] * powersOfTen[gridDecimals] }

func appendGrid(dst []byte, cs []centroid, decimals int) []byte {
	dst = append(dst, byte(decimals))
	scale, last := gridScale(decimals), int64(0)
	for i, c := range cs {
		k := int64(math.RoundToEven(c.mean * scale))
		if i == 0 {
			dst = binary.AppendVarint(dst, k)
		} else {
			dst = binary.AppendUvarint(dst, uint64(k-last))
		}
		last = k
	}
	return dst
}

// mergeCentroids appends the centroids of forms 2 to 7.
func (t *TDigest) mergeCentroids(form byte, compression float64, r *reader) error {
	o := TDigest{compression: compression, inexact: true, resolved: true}
	merged := form > formDigestGrid
	if merged {
		form -= formOfMerged
	}
	n := r.count(2)
	o.min, o.max = math.Float64frombits(r.uint64()), math.Float64frombits(r.uint64())
	if r.failed || n == 0 || !(o.min <= o.max) || math.Abs(o.min) > math.MaxFloat64 || math.Abs(o.max) > math.MaxFloat64 {
		return corrupt(KindTDigest, "%d centroids from %g to %g", n, o.min, o.max)
	}
	if len(t.cs)+n > t.limit() {
		t.reserve(n)
	}
	old := len(t.cs)
	t.cs = slices.Grow(t.cs, n)
	cs := t.cs[old : old+n]
	if !readMeans(cs, form, r, o.min, o.max) {
		return corrupt(KindTDigest, "means do not ascend from %g to %g", o.min, o.max)
	}
	total, ok := readWeights(cs, form != formDigestGaps, r)
	if !ok || len(r.b) != 0 {
		return corrupt(KindTDigest, "weights of %d, %d bytes after them", total, len(r.b))
	}
	o.recurring = form != formDigestGaps
	if merged {
		o.coarse = float64(total)
	}
	t.cs = t.cs[:old+n]
	if old == 0 {
		t.sorted = int32(n)
	}
	t.merged(&o, float64(total))
	return nil
}

// readMeans reads means, which must ascend within [lo, hi].
func readMeans(cs []centroid, form byte, r *reader, lo, hi float64) bool {
	last := lo
	switch form {
	case formDigestGaps:
		b := r.bytes(4 * uint64(len(cs)))
		for i := 0; i < len(cs) && len(b) >= 4; i++ {
			gap := math.Float32frombits(binary.LittleEndian.Uint32(b))
			b = b[4:]
			if !(gap >= 0) {
				return false
			}
			last += float64(gap)
			cs[i].mean = last
		}
	case formDigestGrid:
		d := r.byte()
		if d > maxDecimals {
			return false
		}
		scale, k := gridScale(int(d)), r.varint()
		for i := range cs {
			if i > 0 {
				k += int64(r.uvarint() & (1<<52 - 1))
			}
			mean := float64(k) / scale
			if r.failed || !(mean >= last) || k <= -1<<51 || k >= 1<<51 {
				return false
			}
			cs[i].mean, last = mean, mean
		}
	default:
		for i := range cs {
			mean := math.Float64frombits(r.uint64())
			if r.failed || !(mean >= last) {
				return false
			}
			cs[i].mean, last = mean, mean
		}
	}
	return !r.failed && last <= hi
}

// readWeights reads weights, doubled and with a bit for mixed ones or plain,
// and returns their sum.
func readWeights(cs []centroid, doubled bool, r *reader) (total uint64, ok bool) {
	b := r.b
	for i := range cs {
		var w uint64
		if len(b) >= 2 && b[0] < 0x80 {
			w, b = uint64(b[0]), b[1:]
		} else if len(b) >= 2 && b[1] < 0x80 {
			w, b = uint64(b[0]&0x7f)|uint64(b[1])<<7, b[2:]
		} else {
			long, used := binary.Uvarint(b)
			if used <= 0 {
				return total, false
			}
			w, b = long, b[used:]
		}
		one := w == 1
		if doubled {
			one = w&1 == 0
			w >>= 1
		}
		if w == 0 || w > maxWeight || w == 1 && !one {
			return total, false
		}
		total += w
		cs[i].signed = -float64(w)
		if one {
			cs[i].signed = float64(w)
		}
	}
	r.b = b
	return total, total <= maxWeight
}
