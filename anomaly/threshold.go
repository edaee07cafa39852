package anomaly

import (
	"fmt"
	"math"
	"unsafe"
)

// Threshold flags values outside fixed limits, once they have been outside for
// a number of points on end. To come back, a value has to pass the limit by a
// margin, so that one that hovers about it does not flap.
type Threshold struct {
	config  ThresholdConfig
	hash    uint64
	outside int // points on end outside the limits, up to config.For
	side    Direction
}

// ThresholdConfig is the configuration of a [Threshold].
type ThresholdConfig struct {
	// Lower and Upper are the limits, which themselves are within. An infinity is
	// no limit.
	Lower, Upper float64

	// For is the number of points on end that have to be outside; the default is
	// 1.
	For int

	// Margin is how far inside the limits a value has to be to be back.
	Margin float64
}

// NewThreshold returns a detector.
func NewThreshold(config ThresholdConfig) (*Threshold, error) {
	switch {
	case math.IsNaN(config.Lower) || math.IsNaN(config.Upper) || config.Lower > config.Upper:
		return nil, fmt.Errorf("threshold detector: limits %v and %v: want the lower one first", config.Lower, config.Upper)
	case math.IsInf(config.Lower, -1) && math.IsInf(config.Upper, 1):
		return nil, fmt.Errorf("threshold detector: no limit")
	case config.For < 0:
		return nil, fmt.Errorf("threshold detector: for %d points", config.For)
	case !(config.Margin >= 0) || config.Margin > (config.Upper-config.Lower)/2:
		return nil, fmt.Errorf("threshold detector: margin %v: want 0 to half of the way between the limits", config.Margin)
	}
	config.For = max(config.For, 1)
	return &Threshold{config: config, hash: fingerprint(config)}, nil
}

// crossed is the side of the limits a value is on, and for how many points on
// end it has been.
func (d *Threshold) crossed(p Point) (Direction, int) {
	lower, upper := d.config.Lower, d.config.Upper
	switch {
	case d.outside >= d.config.For && d.side == Up:
		upper -= d.config.Margin
	case d.outside >= d.config.For && d.side == Down:
		lower += d.config.Margin
	}
	side := Level
	switch {
	case p.Value > upper:
		side = Up
	case p.Value < lower:
		side = Down
	}
	switch side {
	case Level:
		return Level, 0
	case d.side:
		return side, min(d.outside+1, d.config.For)
	}
	return side, 1
}

// Score implements [Detector]. There is no chance in a fixed limit: the score of
// an anomalous point is its distance from the limit, in margins or in the limit's
// own size.
func (d *Threshold) Score(p Point) Explanation {
	e := Explanation{Value: p.Value, Expected: math.NaN(), Lower: d.config.Lower, Upper: d.config.Upper}
	if p.missing() {
		return e
	}
	side, outside := d.crossed(p)
	e.Direction = side
	if outside < d.config.For {
		return e
	}
	limit := d.config.Upper
	if side == Down {
		limit = d.config.Lower
	}
	e.Anomalous, e.Reason, e.Size = true, ReasonLimit, p.Value-limit
	unit := d.config.Margin
	if unit == 0 {
		unit = max(math.Abs(limit), math.SmallestNonzeroFloat64)
	}
	e.Score = min(math.Abs(e.Size)/unit, math.MaxFloat64)
	return e
}

// Learn implements [Detector].
func (d *Threshold) Learn(p Point) {
	if !p.missing() {
		d.side, d.outside = d.crossed(p)
	}
}

// AppendBinary implements [Detector].
func (d *Threshold) AppendBinary(dst []byte) []byte {
	return appendState(dst, kindThreshold, d.hash, d.fields)
}

// UnmarshalBinary implements [Detector].
func (d *Threshold) UnmarshalBinary(data []byte) error {
	n := &Threshold{config: d.config, hash: d.hash}
	if err := readState(data, kindThreshold, d.hash, n.fields); err != nil {
		return err
	}
	*d = *n
	return nil
}

func (d *Threshold) fields(c *codec) {
	side := int(d.side)
	c.within(&d.outside, 0, d.config.For)
	c.within(&side, int(Down), int(Up))
	d.side = Direction(side)
}

// SizeBytes implements [Detector].
func (d *Threshold) SizeBytes() int { return int(unsafe.Sizeof(*d)) }

func (d *Threshold) String() string {
	return fmt.Sprintf("threshold detector, limits %v and %v, %d points %v", d.config.Lower, d.config.Upper, d.outside, d.side)
}

var _ Detector = (*Threshold)(nil)
