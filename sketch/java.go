package sketch

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// JavaTDigest is a digest in the encodings of the reference implementation,
// tdunning/t-digest for Java. It answers as the reference does after reading the
// same bytes, and writes them back byte for byte. [JavaTDigest.TDigest] makes one
// of ours of it, whose answers come with intervals.
//
// All numbers are big-endian. MergingDigest:
//
//	verbose   int32 1 | min f64 | max f64 | compression f64 | n int32 | n × (weight f64, mean f64)
//	small     int32 2 | min f64 | max f64 | compression f32 | capacity int16 | buffer int16
//	                  | n int16 | n × (weight f32, mean f32)
//
// AVLTreeDigest uses the same codes:
//
//	verbose   int32 1 | min f64 | max f64 | compression f64 | n int32 | n × mean f64 | n × weight int32
//	small     int32 2 | min f64 | max f64 | compression f64 | n int32
//	                  | n × f32: mean less the mean before | n × weight uvarint
//
// so that only the length tells which class wrote the bytes. In small encodings
// a mean may lie outside [min, max] by a rounding, and weights over 2^24 have lost
// their last digits.
type JavaTDigest struct {
	AVL         bool // of AVLTreeDigest, else of MergingDigest
	Min, Max    float64
	Compression float64
	Centroids   []JavaCentroid // means ascend

	// The sizes of the reference's own arrays, in a small encoding of
	// MergingDigest. They mean nothing to anyone else, but are part of the bytes.
	Capacity, Buffer uint16
}

// JavaCentroid is a mean and how many values it stands for.
type JavaCentroid struct{ Mean, Weight float64 }

const (
	javaVerbose = 1
	javaSmall   = 2
)

// isJava reports whether data begins like an encoding of the reference.
func isJava(data []byte) bool {
	return len(data) >= 4 && data[0] == 0 && data[1] == 0 && data[2] == 0 && (data[3] == javaVerbose || data[3] == javaSmall)
}

// DecodeJava reads an encoding of the Java reference.
func DecodeJava(data []byte) (*JavaTDigest, error) {
	if !isJava(data) || len(data) < 30 {
		return nil, corruptJava("%d bytes that begin with % x", len(data), data[:min(len(data), 4)])
	}
	d := &JavaTDigest{Min: beFloat64(data[4:]), Max: beFloat64(data[12:])}
	var err error
	switch {
	case data[3] == javaVerbose && len(data) >= 32:
		err = d.readVerbose(data)
	case data[3] == javaSmall && len(data) == 30+8*int(binary.BigEndian.Uint16(data[28:])):
		d.readSmall(data)
	case data[3] == javaSmall && len(data) >= 32:
		err = d.readSmallAVL(data)
	default:
		err = corruptJava("%d bytes fit no encoding", len(data))
	}
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func corruptJava(format string, args ...any) error {
	return fmt.Errorf("decode Java t-digest: %w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

func beFloat64(b []byte) float64 { return math.Float64frombits(binary.BigEndian.Uint64(b)) }
func beFloat32(b []byte) float64 { return float64(math.Float32frombits(binary.BigEndian.Uint32(b))) }

func (d *JavaTDigest) readVerbose(data []byte) error {
	d.Compression = beFloat64(data[20:])
	n, body := int(int32(binary.BigEndian.Uint32(data[28:]))), data[32:]
	switch {
	case n >= 0 && len(body) == 16*n:
		d.Centroids = make([]JavaCentroid, n)
		for i := range d.Centroids {
			d.Centroids[i] = JavaCentroid{Weight: beFloat64(body[16*i:]), Mean: beFloat64(body[16*i+8:])}
		}
	case n >= 0 && len(body) == 12*n:
		d.AVL = true
		d.Centroids = make([]JavaCentroid, n)
		for i := range d.Centroids {
			weight := int32(binary.BigEndian.Uint32(body[8*n+4*i:]))
			d.Centroids[i] = JavaCentroid{Mean: beFloat64(body[8*i:]), Weight: float64(weight)}
		}
	default:
		return corruptJava("%d bytes of %d centroids", len(body), n)
	}
	return nil
}

func (d *JavaTDigest) readSmall(data []byte) {
	d.Compression = beFloat32(data[20:])
	d.Capacity, d.Buffer = binary.BigEndian.Uint16(data[24:]), binary.BigEndian.Uint16(data[26:])
	body := data[30:]
	d.Centroids = make([]JavaCentroid, len(body)/8)
	for i := range d.Centroids {
		d.Centroids[i] = JavaCentroid{Weight: beFloat32(body[8*i:]), Mean: beFloat32(body[8*i+4:])}
	}
}

func (d *JavaTDigest) readSmallAVL(data []byte) error {
	d.AVL = true
	d.Compression = beFloat64(data[20:])
	n := int(int32(binary.BigEndian.Uint32(data[28:])))
	r := reader{b: data[32:]}
	if n < 0 || n > len(r.b)/5 {
		return corruptJava("%d bytes of %d centroids", len(r.b), n)
	}
	gaps := r.bytes(4 * uint64(n))
	d.Centroids = make([]JavaCentroid, n)
	mean := 0.0
	for i := range d.Centroids {
		mean += beFloat32(gaps[4*i:])
		d.Centroids[i] = JavaCentroid{Mean: mean, Weight: float64(r.uvarint())}
	}
	if !r.done() {
		return corruptJava("%d bytes after the last weight", len(r.b))
	}
	return nil
}

func (d *JavaTDigest) check() error {
	finite := func(x float64) bool { return math.Abs(x) <= math.MaxFloat64 }
	if !(d.Compression > 0) || !finite(d.Compression) {
		return corruptJava("compression %g", d.Compression)
	}
	if len(d.Centroids) > 0 && (!(d.Min <= d.Max) || !finite(d.Min) || !finite(d.Max)) {
		return corruptJava("values from %g to %g", d.Min, d.Max)
	}
	last, total := math.Inf(-1), 0.0
	for i, c := range d.Centroids {
		if !(c.Mean >= last) || !finite(c.Mean) || !(c.Weight >= 1) || c.Weight != math.Trunc(c.Weight) {
			return corruptJava("centroid %d of mean %g after %g, weight %g", i, c.Mean, last, c.Weight)
		}
		last = c.Mean
		total += c.Weight
	}
	if total > maxWeight {
		return corruptJava("weights sum to %g", total)
	}
	return nil
}

// AppendVerbose appends the verbose encoding.
func (d *JavaTDigest) AppendVerbose(dst []byte) []byte {
	dst = slices.Grow(dst, 32+16*len(d.Centroids))
	dst = d.appendHead(dst, javaVerbose)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(d.Compression))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(d.Centroids)))
	for _, c := range d.Centroids {
		if !d.AVL {
			dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(c.Weight))
		}
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(c.Mean))
	}
	if d.AVL {
		for _, c := range d.Centroids {
			dst = binary.BigEndian.AppendUint32(dst, uint32(int32(c.Weight)))
		}
	}
	return dst
}

// AppendSmall appends the small encoding, in which means and weights are
// rounded to 24 bits. It fails when there are too many centroids for it.
func (d *JavaTDigest) AppendSmall(dst []byte) ([]byte, error) {
	dst = slices.Grow(dst, 32+9*len(d.Centroids))
	if d.AVL {
		return d.appendSmallAVL(dst), nil
	}
	if len(d.Centroids) > math.MaxInt16 {
		return dst, fmt.Errorf("encode Java t-digest: %d centroids, the small encoding counts to %d", len(d.Centroids), math.MaxInt16)
	}
	dst = d.appendHead(dst, javaSmall)
	dst = appendBEFloat32(dst, d.Compression)
	dst = binary.BigEndian.AppendUint16(dst, d.Capacity)
	dst = binary.BigEndian.AppendUint16(dst, d.Buffer)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(d.Centroids)))
	for _, c := range d.Centroids {
		dst = appendBEFloat32(dst, c.Weight)
		dst = appendBEFloat32(dst, c.Mean)
	}
	return dst, nil
}

func (d *JavaTDigest) appendSmallAVL(dst []byte) []byte {
	dst = d.appendHead(dst, javaSmall)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(d.Compression))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(d.Centroids)))
	last := 0.0
	for _, c := range d.Centroids {
		dst = appendBEFloat32(dst, c.Mean-last)
		last = c.Mean
	}
	for _, c := range d.Centroids {
		dst = binary.AppendUvarint(dst, uint64(c.Weight))
	}
	return dst
}

func (d *JavaTDigest) appendHead(dst []byte, code byte) []byte {
	dst = append(dst, 0, 0, 0, code)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(d.Min))
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(d.Max))
}

func appendBEFloat32(dst []byte, x float64) []byte {
	return binary.BigEndian.AppendUint32(dst, math.Float32bits(float32(x)))
}

// Count returns how many values the digest stands for.
func (d *JavaTDigest) Count() float64 {
	sum := 0.0
	for _, c := range d.Centroids {
		sum += c.Weight
	}
	return sum
}

// TDigest returns the digest as one of ours.
func (d *JavaTDigest) TDigest() *TDigest {
	t := NewTDigest(d.Compression)
	if len(d.Centroids) == 0 {
		return t
	}
	t.min, t.max = d.Min+0, d.Max+0
	for _, c := range d.Centroids {
		m := centroid{min(max(c.Mean, t.min), t.max) + 0, c.Weight}
		if c.Weight > 1 {
			m = mixed(m.mean, c.Weight)
		}
		t.cs = append(t.cs, m)
		t.weight += c.Weight
		t.inexact = t.inexact || c.Weight > 1
	}
	t.resolved = t.inexact
	if !t.inexact {
		t.sortCentroids()
	}
	t.sorted = int32(len(t.cs))
	return t
}

// Java returns the digest, shrunk to its compression, in the form of the
// reference's MergingDigest with its default array sizes.
func (t *TDigest) Java() *JavaTDigest {
	c := *t
	c.cs, c.buf, c.spare = slices.Clone(t.cs), slices.Clone(t.buf), nil
	c.Shrink()
	d := &JavaTDigest{Min: c.min, Max: c.max, Compression: c.compression}
	// The reference makes its array twice the compression and 10 longer when it
	// merges in two steps, as it does by default, and its buffer five times that.
	capacity := 2*c.compression + 10
	d.Capacity = uint16(min(capacity, math.MaxInt16))
	d.Buffer = uint16(min(5*capacity, math.MaxInt16))
	for _, m := range c.cs {
		d.Centroids = append(d.Centroids, JavaCentroid{m.mean, m.weight()})
	}
	return d
}
