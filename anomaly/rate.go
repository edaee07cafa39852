package anomaly

import (
	"fmt"
	"math"
	"unsafe"
)

// maxOver bounds the steps a [RateOfChange] looks back.
const maxOver = 1024

// RateOfChange flags values that have risen or fallen too much since a number
// of steps before, absolutely or as a share of the earlier value. Where that
// step is missing, the latest before it counts, however old.
type RateOfChange struct {
	config RateConfig
	hash   uint64
	values []float64 // of the last config.Over+1 points
	steps  []int64
	n      int64 // points learned
}

// RateConfig is the configuration of a [RateOfChange].
type RateConfig struct {
	// Over is the number of steps a change is taken over; the default is 1, the
	// most 1,024.
	Over int

	// Rise and Fall are the changes that are too much; 0 is no limit.
	Rise, Fall float64

	// Relative takes Rise and Fall as shares of the earlier value: 0.5 is half
	// more, or half less. From zero, any change is too much.
	Relative bool
}

// NewRateOfChange returns a detector.
func NewRateOfChange(config RateConfig) (*RateOfChange, error) {
	config.Over = max(config.Over, 0)
	switch {
	case config.Over > maxOver:
		return nil, fmt.Errorf("rate of change: over %d steps: want 1 to %d", config.Over, maxOver)
	case !(config.Rise >= 0) || !(config.Fall >= 0) || math.IsInf(config.Rise, 1) || math.IsInf(config.Fall, 1):
		return nil, fmt.Errorf("rate of change: rise %v, fall %v: want positive numbers", config.Rise, config.Fall)
	case config.Rise == 0 && config.Fall == 0:
		return nil, fmt.Errorf("rate of change: neither rise nor fall is limited")
	}
	config.Over = max(config.Over, 1)
	return blankRate(config), nil
}

func blankRate(config RateConfig) *RateOfChange {
	return &RateOfChange{
		config: config,
		hash:   fingerprint(config),
		values: make([]float64, config.Over+1),
		steps:  make([]int64, config.Over+1),
	}
}

// before is the value a point is compared with.
func (d *RateOfChange) before(step int64) (float64, bool) {
	size := int64(len(d.values))
	for i := d.n - 1; i >= max(d.n-size, 0); i-- {
		if d.steps[i%size] <= step-int64(d.config.Over) {
			return d.values[i%size], true
		}
	}
	return 0, false
}

// Score implements [Detector]. The score is the change over the one allowed.
func (d *RateOfChange) Score(p Point) Explanation {
	e := Explanation{Value: p.Value, Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN()}
	if p.missing() {
		return e
	}
	old, ok := d.before(p.Step)
	if !ok {
		return e
	}
	unit := 1.0
	if d.config.Relative {
		unit = math.Abs(old)
	}
	e.Expected, e.Lower, e.Upper = old, math.Inf(-1), math.Inf(1)
	if d.config.Rise > 0 {
		e.Upper = old + d.config.Rise*unit
	}
	if d.config.Fall > 0 {
		e.Lower = old - d.config.Fall*unit
	}
	e.Direction, e.Size = direction(p.Value, old), p.Value-old
	limit := d.config.Rise
	if e.Direction == Down {
		limit = d.config.Fall
	}
	if limit > 0 && e.Direction != Level {
		e.Score = min(math.Abs(e.Size)/max(limit*unit, math.SmallestNonzeroFloat64), math.MaxFloat64)
	}
	if p.Value > e.Upper || p.Value < e.Lower {
		e.Anomalous, e.Reason = true, ReasonRate
	}
	return e
}

// Learn implements [Detector].
func (d *RateOfChange) Learn(p Point) {
	if p.missing() {
		return
	}
	i := d.n % int64(len(d.values))
	d.values[i], d.steps[i] = p.Value, p.Step
	d.n++
}

// AppendBinary implements [Detector].
func (d *RateOfChange) AppendBinary(dst []byte) []byte {
	return appendState(dst, kindRate, d.hash, d.fields)
}

// UnmarshalBinary implements [Detector].
func (d *RateOfChange) UnmarshalBinary(data []byte) error {
	n := blankRate(d.config)
	if err := readState(data, kindRate, d.hash, n.fields); err != nil {
		return err
	}
	*d = *n
	return nil
}

func (d *RateOfChange) fields(c *codec) {
	c.i64(&d.n)
	if c.reading && d.n < 0 {
		c.bad, d.n = true, 0
	}
	for i := range d.values[:min(d.n, int64(len(d.values)))] {
		c.f64(&d.values[i])
		c.i64(&d.steps[i])
	}
}

// SizeBytes implements [Detector].
func (d *RateOfChange) SizeBytes() int { return int(unsafe.Sizeof(*d)) + 16*len(d.values) }

func (d *RateOfChange) String() string {
	return fmt.Sprintf("rate of change over %d steps, at most %v up and %v down", d.config.Over, d.config.Rise, d.config.Fall)
}

var _ Detector = (*RateOfChange)(nil)
