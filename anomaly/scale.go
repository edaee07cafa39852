package anomaly

import (
	"fmt"
	"math"
)

// Kind is what a value is, which decides the scale it is judged on: one on
// which its scatter does not depend on its size.
type Kind int8

// The kinds.
const (
	// KindValue is any number. It is taken as it is, and scores do not depend on
	// its unit or zero.
	KindValue Kind = iota

	// KindCount is a number of events. A count's variance is its mean, so 3
	// beside 1 is nothing and 3,000 beside 1,000 is much; Anscombe's square root
	// makes the variance about one from a mean of 4 on.
	KindCount

	// KindRate is a number that varies in proportion to its size: events a
	// second, bytes, money. It is taken as the inverse hyperbolic sine, which is
	// a logarithm away from zero and a line near it.
	KindRate

	// KindRatio is a share from 0 to 1. The arcsine of its root has about the
	// same scatter near the ends as in the middle.
	KindRatio

	// KindQuantile is a quantile of durations or sizes, positive and skewed. It
	// is taken as its logarithm, as a latency that doubles is the same news from
	// 10 ms as from 1 s.
	KindQuantile
)

var kindNames = [...]string{"value", "count", "rate", "ratio", "quantile"}

func (k Kind) String() string {
	if k.valid() {
		return kindNames[k]
	}
	return fmt.Sprintf("unknown kind %d", int8(k))
}

func (k Kind) valid() bool { return k >= 0 && int(k) < len(kindNames) }

// ParseKind is the kind of a name.
func ParseKind(name string) (Kind, error) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("kind %q: want one of %v", name, kindNames)
}

// smallest is what a quantile at or below zero counts as.
const smallest = 1e-9

// stabilise brings a value to the scale of its kind.
func (k Kind) stabilise(x float64) float64 {
	switch k {
	case KindCount:
		return 2 * math.Sqrt(max(x, 0)+3.0/8)
	case KindRate:
		return math.Asinh(x)
	case KindRatio:
		return math.Asin(math.Sqrt(min(max(x, 0), 1)))
	case KindQuantile:
		return math.Log(max(x, smallest))
	}
	return x
}

// restore brings a value back from the scale of its kind.
func (k Kind) restore(y float64) float64 {
	switch k {
	case KindCount:
		y = max(y, 0) / 2
		return max(y*y-3.0/8, 0)
	case KindRate:
		return math.Sinh(y)
	case KindRatio:
		s := math.Sin(min(max(y, 0), math.Pi/2))
		return s * s
	case KindQuantile:
		return math.Exp(y)
	}
	return y
}
