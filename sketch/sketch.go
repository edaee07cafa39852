package sketch

import "fmt"

// Sketch is what all sketches are. Those of equal parameters merge.
type Sketch interface {
	// MergeBinary adds what an encoded sketch of the same kind holds. Errors
	// wrap [ErrCorrupt] or [ErrMismatch].
	MergeBinary(data []byte) error

	// AppendBinary appends the sketch's encoding to dst, and does not change the
	// sketch.
	AppendBinary(dst []byte) []byte

	// UnmarshalBinary makes the sketch what it was when it was encoded. On an
	// error the sketch has not changed.
	UnmarshalBinary(data []byte) error

	// Exact reports whether answers are exact.
	Exact() bool

	// SizeBytes is the memory the sketch holds.
	SizeBytes() int

	// Reset empties the sketch.
	Reset()

	// String describes the sketch in a line.
	String() string
}

// Quantiles is a sketch of the distribution of values: [TDigest] and [DDSketch].
type Quantiles interface {
	Sketch
	Add(x float64)
	AddValues(values []float64) // may reorder them
	Settle()                    // makes the answers that follow fast
	Count() uint64
	Min() float64
	Max() float64
	Quantile(q, confidence float64) Estimate
	Rank(x, confidence float64) Estimate
	Histogram(limit int) Histogram
}

var (
	_ Sketch    = (*HLL)(nil)
	_ Sketch    = (*Top)(nil)
	_ Sketch    = (*Frequency)(nil)
	_ Sketch    = (*Moments)(nil)
	_ Quantiles = (*TDigest)(nil)
	_ Quantiles = (*DDSketch)(nil)
)

// Decode returns the sketch that was encoded, whatever its kind.
func Decode(data []byte) (Sketch, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("decode sketch: %w: no bytes", ErrCorrupt)
	}
	var s Sketch
	switch k := Kind(data[0]); k {
	case KindHLL:
		s = new(HLL)
	case KindTDigest:
		s = new(TDigest)
	case KindDDSketch:
		s = new(DDSketch)
	case KindTop:
		s = new(Top)
	case KindFrequency:
		s = new(Frequency)
	case KindMoments:
		s = new(Moments)
	default:
		return nil, fmt.Errorf("decode sketch: %w: %v", ErrCorrupt, k)
	}
	if err := s.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	return s, nil
}
