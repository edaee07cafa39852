package sketch

import "math"

// Estimate is a number and the interval that holds the truth with at least the
// confidence that was asked for. All three are equal where the sketch is exact,
// and all three are NaN where it has seen nothing to estimate from.
type Estimate struct {
	Value float64 `json:"value"`
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
}

func exactly(x float64) Estimate { return Estimate{Value: x, Lower: x, Upper: x} }

func unknown() Estimate { return exactly(math.NaN()) }

// clampConfidence brings a confidence into [0, 1-10⁻¹²]: certainty would need
// an infinite interval.
func clampConfidence(confidence float64) float64 {
	if !(confidence > 0) {
		return 0
	}
	return math.Min(confidence, 1-1e-12)
}

// normalQuantile returns z so that a normal variable is within z standard
// deviations of its mean with the given probability.
func normalQuantile(confidence float64) float64 {
	return math.Sqrt2 * math.Erfinv(clampConfidence(confidence))
}

// poissonQuantile returns the smallest k with P(X ≤ k) ≥ confidence.
func poissonQuantile(lambda, confidence float64) float64 {
	confidence = clampConfidence(confidence)
	if lambda > 500 {
		return math.Ceil(lambda + normalQuantile(math.Abs(2*confidence-1))*math.Sqrt(lambda))
	}
	k, term := 0.0, math.Exp(-lambda)
	for sum := term; sum < confidence; sum += term {
		k++
		term *= lambda / k
		if term < 1e-18 && k > lambda {
			break
		}
	}
	return k
}
