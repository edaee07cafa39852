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
	_ Sketch    = (*Theta)(nil)
	_ Sketch    = (*Reservoir)(nil)
	_ Quantiles = (*TDigest)(nil)
	_ Quantiles = (*DDSketch)(nil)
)

// Decode returns the sketch that was encoded, whatever its kind. It reads the
// encodings of the Java t-digest and of axiomhq/hyperloglog too.
func Decode(data []byte) (Sketch, error) {
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("decode sketch: %w: no bytes", ErrCorrupt)
	case isJava(data):
		d, err := DecodeJava(data)
		if err != nil {
			return nil, err
		}
		return d.TDigest(), nil
	case isAxiomhq(data):
		return asSketch(DecodeAxiomhq(data))
	}
	s := blank(Kind(data[0]))
	if s == nil {
		return nil, fmt.Errorf("decode sketch: %w: %v", ErrCorrupt, Kind(data[0]))
	}
	if err := s.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	return s, nil
}

func asSketch(s *HLL, err error) (Sketch, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// blank returns a sketch of the kind to decode into, nil if there is none.
func blank(k Kind) Sketch {
	switch k {
	case KindHLL:
		return new(HLL)
	case KindTDigest:
		return new(TDigest)
	case KindDDSketch:
		return new(DDSketch)
	case KindTop:
		return new(Top)
	case KindFrequency:
		return new(Frequency)
	case KindMoments:
		return new(Moments)
	case KindTheta:
		return new(Theta)
	case KindReservoir:
		return new(Reservoir)
	}
	return nil
}

// Description is what can be told of an encoded sketch.
type Description struct {
	Kind        string `json:"kind"`
	Encoding    string `json:"encoding"` // "weir 1" and its form, "java verbose", ...
	Bytes       int    `json:"bytes"`
	MemoryBytes int    `json:"memory_bytes"`
	Exact       bool   `json:"exact"`
	Text        string `json:"text"` // parameters and contents in a line
}

// Info describes an encoded sketch, of this program or of those that [Decode] reads.
func Info(data []byte) (Description, error) {
	s, err := Decode(data)
	if err != nil {
		return Description{}, err
	}
	d := Description{Bytes: len(data), MemoryBytes: s.SizeBytes(), Exact: s.Exact(), Text: s.String()}
	switch {
	case isJava(data):
		d.Kind, d.Encoding = KindTDigest.String(), "java verbose"
		if data[3] == javaSmall {
			d.Encoding = "java small"
		}
	case isAxiomhq(data):
		d.Kind, d.Encoding = KindHLL.String(), "axiomhq dense"
		if data[3] == 1 {
			d.Encoding = "axiomhq sparse"
		}
	default:
		d.Kind, d.Encoding = Kind(data[0]).String(), fmt.Sprintf("weir %d form %d", data[1]>>4, data[1]&15)
	}
	return d, nil
}
