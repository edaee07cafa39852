package sketch

import (
	"fmt"
	"math"
	"slices"
)

// TDigest answers quantiles and ranks: Dunning's merging t-digest.
//
// Idea: values are grouped in order into centroids (mean, weight), small ones
// at the ends and larger ones in the middle, so that extreme quantiles are
// sharp. A centroid's weight is capped by the smaller of the limits of the
// scale functions k1 and k2: k2 alone keeps its tails but leaves the middle so
// coarse that a median is ten times worse.
//
//	Paper      Dunning, Ertl, "Computing extremely accurate quantiles using
//	           t-digests" (2019)
//	Guarantee  none in the worst case (Cormode et al., "Theory meets practice at
//	           the median", 2021); in practice a rank error far below q(1-q)/δ. At
//	           δ = 100 about 0.1 % of rank in the middle and 0.01 % at p99.9.
//	           Between two modes it interpolates across the gap, where no value
//	           is: the interval says so, the value does not.
//	Bytes      about 110 centroids at δ = 100: 2 to 3 KiB in memory, 0.7 KB encoded.
//	           While at most 128 different values were seen: those.
//	Merge law  exact while at most 128 different values were seen. Beyond, merging
//	           is approximate and its order matters to the last digits: merge in a
//	           fixed order, and never compare bytes.
//	Otherwise  [DDSketch] for a bound on the relative error and an exact merge.
//
// A digest has three parts. Added values wait in a buffer; merged centroids wait
// behind the sorted ones; both are taken in when there are many of them:
//
//	cs    [ sorted centroids ........ | merged, unsorted ]
//	                            sorted^
//	buf   [ values, unsorted ]
//
// Merging many digests therefore costs one sort and one compression for
// thousands of centroids, at five times the resolution, so that merging hundreds
// of thousands of tiny digests does not wear the answer down. Only encoding
// returns to δ.
//
// A TDigest is safe for concurrent reads. It never changes on reading; reading
// one with waiting parts sorts a copy each time, so call [TDigest.Settle] before
// asking much.
type TDigest struct {
	compression float64
	weight      float64 // of cs
	min, max    float64 // of cs
	cs          []centroid
	buf         []float64
	coarse      float64 // weight that was merged at the resolution of δ
	sorted      int32
	inexact     bool       // some centroid stands for different values
	recurring   bool       // some centroid of a weight over 1 is one value
	resolved    bool       // cs is what one compression to δ left, as encoding wants it
	finer       bool       // compressed as a digest of merged ones
	spare       []centroid // to sort into; swaps with cs
}

// centroid is a mean and how many values it stands for, negative if they
// differ from each other. Values that recur, as whole milliseconds do, are so
// told from a mean.
type centroid struct{ mean, signed float64 }

func mixed(mean, weight float64) centroid { return centroid{mean, -weight} }

func (c centroid) weight() float64 { return math.Abs(c.signed) }
func (c centroid) mixed() bool     { return c.signed < 0 }

// Bounds and the usual compression.
const (
	MinCompression     = 10
	MaxCompression     = 10_000
	DefaultCompression = 100
)

const (
	bufferValues  = 128 // values that wait at most
	exactValues   = 128 // different values an encoding holds exactly
	firstBuffer   = 8
	waitCentroids = 4096 // centroids that a digest of merged ones holds at most
	mergedFiner   = 5    // factor on δ of a digest of merged ones
)

// NewTDigest returns an empty digest. Compression, δ, is rounded to a whole
// number between 10 and 10,000.
func NewTDigest(compression float64) *TDigest {
	return &TDigest{compression: wholeCompression(compression), min: math.Inf(1), max: math.Inf(-1)}
}

func wholeCompression(c float64) float64 {
	if !(c >= MinCompression) { // NaN too
		return MinCompression
	}
	return math.Min(math.Round(c), MaxCompression)
}

// Compression returns δ.
func (t *TDigest) Compression() float64 { return t.compression }

// Add adds a value. Values that are not finite have no rank and are ignored;
// reject and count them where they enter.
func (t *TDigest) Add(x float64) {
	if len(t.buf) == cap(t.buf) {
		t.makeRoom()
	}
	if !(math.Abs(x) <= math.MaxFloat64) {
		return
	}
	t.buf = append(t.buf, x+0) // which makes -0 the same value as 0
}

// makeRoom grows the buffer up to its limit and then empties it.
func (t *TDigest) makeRoom() {
	if len(t.buf) < bufferValues {
		grown := make([]float64, len(t.buf), min(max(firstBuffer, 2*len(t.buf)), bufferValues))
		copy(grown, t.buf)
		t.buf = grown
		return
	}
	t.takeBuffer()
}

// AddValues adds values, and may reorder them.
func (t *TDigest) AddValues(values []float64) {
	for _, x := range values {
		t.Add(x)
	}
}

// Merge adds what the other digest holds, which does not change. A lower
// compression of the other's becomes the digest's.
func (t *TDigest) Merge(o *TDigest) error {
	t.reserve(len(o.cs) + len(o.buf))
	t.cs = append(t.cs, o.cs...)
	t.merged(o, o.weight)
	t.append(o.buf)
	return nil
}

// merged accounts for centroids of another digest, of that weight, that were
// appended to the unsorted part.
func (t *TDigest) merged(o *TDigest, weight float64) {
	t.mixed()
	if o.inexact {
		t.compression = min(t.compression, o.compression)
		if o.coarse == 0 && !o.finer && t.weight > 0 {
			t.coarse += weight
		}
	}
	if t.weight == 0 {
		t.resolved = o.resolved && t.compression == o.compression
	}
	t.inexact = t.inexact || o.inexact
	t.finer = t.finer || o.finer
	t.recurring = t.recurring || o.recurring
	t.coarse += o.coarse
	t.weight += weight
	t.min = min(t.min, o.min)
	t.max = max(t.max, o.max)
}

// mixed notes that others join the centroids of one compression: they may lie
// anywhere between the values that each of those stands for.
func (t *TDigest) mixed() {
	t.resolved = false
	if t.inexact && !t.finer && t.coarse == 0 {
		t.coarse = t.weight
	}
}

// append adds values to the unsorted part.
func (t *TDigest) append(values []float64) {
	if len(values) == 0 {
		return
	}
	t.mixed()
	t.cs = slices.Grow(t.cs, len(values))
	lo, hi := t.min, t.max
	for _, x := range values {
		t.cs = append(t.cs, centroid{x, 1})
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	t.min, t.max = lo, hi
	t.weight += float64(len(values))
}

// limit is the number of centroids a digest of merged ones holds at most.
func (t *TDigest) limit() int { return max(waitCentroids, 16*int(t.compression)) }

// reserve makes room for n more centroids, compressing if they would be too many.
func (t *TDigest) reserve(n int) {
	if len(t.cs)+n <= t.limit() {
		return
	}
	t.sortCentroids()
	if len(t.cs)+n > t.limit()/2 {
		t.compressMerged()
	}
}

// compressMerged brings a digest of merged ones to its finer resolution.
func (t *TDigest) compressMerged() {
	t.sortCentroids()
	t.cs = compress(t.cs, t.weight, mergedFiner*t.compression)
	t.sorted = int32(len(t.cs))
	t.inexact, t.finer, t.resolved = true, true, false
}

// Settle takes in what waits, so that the answers that follow are fast.
func (t *TDigest) Settle() {
	if t.inexact && len(t.buf) > 0 {
		t.takeBuffer()
	}
	t.append(t.buf)
	t.buf = t.buf[:0]
	if t.inexact && int(t.sorted) < len(t.cs) {
		// Values and small centroids lie among larger ones, which stand for values
		// on both sides of them. Joining shares them out.
		t.compressMerged()
	}
	t.sortCentroids()
	t.reserve(0)
}

// Shrink settles the digest and brings it to the resolution of its compression,
// as encoding does.
func (t *TDigest) Shrink() {
	t.Settle()
	if !t.resolved && (len(t.cs) > exactValues || t.inexact) {
		if t.finer || t.coarse > 0 {
			t.finer, t.coarse = false, t.weight
		}
		t.cs = slices.Clip(compress(t.cs, t.weight, t.compression))
		t.sorted = int32(len(t.cs))
		t.inexact, t.resolved = true, true
	}
	t.buf, t.spare = nil, nil
}

// Count returns how many values were added.
func (t *TDigest) Count() uint64 { return uint64(t.count()) }

func (t *TDigest) count() float64 { return t.weight + float64(len(t.buf)) }

// Min returns the smallest value, NaN if there is none.
func (t *TDigest) Min() float64 {
	if t.count() == 0 {
		return math.NaN()
	}
	lo := t.min
	for _, x := range t.buf {
		lo = min(lo, x)
	}
	return lo
}

// Max returns the largest value, NaN if there is none.
func (t *TDigest) Max() float64 {
	if t.count() == 0 {
		return math.NaN()
	}
	hi := t.max
	for _, x := range t.buf {
		hi = max(hi, x)
	}
	return hi
}

// Exact reports whether the digest still holds every value.
func (t *TDigest) Exact() bool { return !t.inexact }

// SizeBytes is the memory the digest holds.
func (t *TDigest) SizeBytes() int { return 120 + 16*(cap(t.cs)+cap(t.spare)) + 8*cap(t.buf) }

// Reset empties the digest, and keeps its memory for reuse.
func (t *TDigest) Reset() {
	*t = TDigest{
		compression: t.compression, min: math.Inf(1), max: math.Inf(-1),
		cs: t.cs[:0], buf: t.buf[:0], spare: t.spare,
	}
}

func (t *TDigest) String() string {
	how := "exact"
	if t.inexact {
		how = "approximate"
	}
	return fmt.Sprintf("t-digest δ=%g, %d values from %g to %g, %d centroids, %s",
		t.compression, t.Count(), t.Min(), t.Max(), len(t.cs)+len(t.buf), how)
}
