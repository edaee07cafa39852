package anomaly

import (
	"errors"
	"fmt"
	"math"
)

// Detector judges the values of one series as they come, one a step, in bounded
// memory. [Seasonal], [Breakout], [Threshold] and [RateOfChange] are detectors.
//
// A detector has no clock: all it knows of time is a point's step. Two
// detectors of one configuration that have learned the same points are equal,
// bit for bit, whether or not they were encoded and decoded on the way.
type Detector interface {
	// Score judges a point by what was learned before it, and changes nothing.
	Score(Point) Explanation

	// Learn takes the point in. What Score flags is learned with little weight
	// or none, so that an anomaly does not become the norm at once.
	Learn(Point)

	// AppendBinary appends the encoded state to dst.
	AppendBinary(dst []byte) []byte

	// UnmarshalBinary makes the state what it was when it was encoded by a
	// detector of the same configuration. An error wraps [ErrState], and leaves
	// the state as it was.
	UnmarshalBinary(data []byte) error

	// SizeBytes is the memory the detector holds.
	SizeBytes() int
}

// ErrState is wrapped by the errors of decoding a detector's state: the bytes
// are damaged, or of another version, or of another configuration. State is a
// cache; what cannot be read is rebuilt from the stored points.
var ErrState = errors.New("not a state of this detector")

// Point is the value of one step of a series.
type Point struct {
	// Step numbers the point: the start of its window divided by the window's
	// width, say. Steps left out are missing points. A step that does not follow
	// the last one is taken as another value of the last one's step.
	Step int64

	// Value is what was measured. NaN says that nothing was, and so do infinities
	// and numbers beyond 1e150, whose squares are none.
	Value float64

	// Shift is how many steps local time is ahead of Step, so that a season is
	// found at (Step + Shift) modulo its period. It changes when daylight saving
	// begins or ends.
	Shift int64

	// Holiday says that the day need not look like its day of the week. It is
	// compared with the most similar day of the week there is, and does not teach
	// the seasons.
	Holiday bool
}

// missing reports whether nothing was measured.
func (p Point) missing() bool { return !(math.Abs(p.Value) <= 1e150) }

// Explanation is what a detector says of one point.
type Explanation struct {
	// Value is the point's, Expected what was forecast of it, and Lower and Upper
	// the band in which it would not have been flagged by itself. All are NaN
	// while the detector learns.
	Value, Expected, Lower, Upper float64

	// Score is the surprise: minus the decimal logarithm of the chance of a point
	// at least as strange in a series without anomalies. 3 is one in a thousand.
	Score float64

	// Anomalous says that the score reaches the detector's threshold, and that
	// it is not silenced by the cool-down.
	Anomalous bool

	Direction Direction

	// Reason names what was strange.
	Reason Reason

	// Began is the step at which a change began, and Size how large it is, in
	// the units of the value. Of [ReasonShift], [ReasonRamp] and
	// [ReasonVariance], where the detector tells.
	Began int64
	Size  float64
}

// Direction is the side on which a value lies of what was expected.
type Direction int8

// The directions.
const (
	Down Direction = iota - 1
	Level
	Up
)

func (d Direction) String() string {
	switch d {
	case Down:
		return "down"
	case Level:
		return "level"
	case Up:
		return "up"
	}
	return fmt.Sprintf("direction %d", int8(d))
}

// direction is the side of expected on which value lies.
func direction(value, expected float64) Direction {
	switch {
	case value > expected:
		return Up
	case value < expected:
		return Down
	}
	return Level
}

// Reason names what was strange about a point.
type Reason int8

// The reasons.
const (
	ReasonNone     Reason = iota
	ReasonSpike           // the value itself is far from what was expected
	ReasonLevel           // the last values lie together away from the usual level
	ReasonShift           // the level has changed
	ReasonRamp            // the level is changing steadily
	ReasonVariance        // the values scatter more, or less, than they did
	ReasonLimit           // a fixed limit was crossed
	ReasonRate            // the value changed too fast
)

func (r Reason) String() string {
	names := [...]string{"none", "spike", "level", "shift", "ramp", "variance", "limit", "rate"}
	if int(r) < len(names) && r >= 0 {
		return names[r]
	}
	return fmt.Sprintf("reason %d", int8(r))
}
