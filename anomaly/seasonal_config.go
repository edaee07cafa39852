package anomaly

import (
	"fmt"
	"math"
)

// SeasonalConfig is the configuration of a [Seasonal]. The zero value is a good
// one where periods are not known.
type SeasonalConfig struct {
	// Periods of the seasons, in steps, shortest first: a day and a week, say.
	// There can be two. Without any, one is looked for by autocorrelation in the
	// warm-up; [NoSeason] says that there is none.
	Periods []int

	// Kind of the value, which decides on what scale it is judged.
	Kind Kind

	// Warmup is the number of points that are learned before any is flagged; it
	// is also the measure of the detector's memory. The default is two of the
	// shortest period, at least 300 and at most 3,000, or 600 without a period.
	Warmup int

	// Threshold is the score at which a point is anomalous; the default is
	// [DefaultThreshold].
	Threshold float64

	// Cooldown is the number of steps an alarm silences those after it; the
	// default is a fifth of the warm-up, and -1 is none.
	Cooldown int
}

// DefaultThreshold is a score that a series without anomalies reaches about
// once in 500 points.
const DefaultThreshold = 2.7

// NoSeason as the only period says that a series has none.
const NoSeason = 1

const maxPeriod = 1 << 20

// validate completes the configuration.
func (c *SeasonalConfig) validate() error {
	if len(c.Periods) > 2 {
		return fmt.Errorf("seasonal detector: %d periods, at most 2", len(c.Periods))
	}
	for i, p := range c.Periods {
		if p < 1 || p > maxPeriod || (i > 0 && p <= c.Periods[i-1]) {
			return fmt.Errorf("seasonal detector: periods %v: want them rising, from 1 to %d steps", c.Periods, maxPeriod)
		}
	}
	if c.Warmup < 0 || c.Warmup > maxPeriod {
		return fmt.Errorf("seasonal detector: warm-up of %d points: want 0 to %d", c.Warmup, maxPeriod)
	}
	if c.Threshold < 0 || math.IsNaN(c.Threshold) || math.IsInf(c.Threshold, 0) {
		return fmt.Errorf("seasonal detector: threshold %v: want a positive number", c.Threshold)
	}
	if c.Cooldown < -1 {
		return fmt.Errorf("seasonal detector: cool-down of %d steps", c.Cooldown)
	}
	if !c.Kind.valid() {
		return fmt.Errorf("seasonal detector: %v", c.Kind)
	}
	if c.Warmup == 0 {
		c.Warmup = 600
		if len(c.Periods) > 0 && c.Periods[0] > 1 {
			c.Warmup = min(max(2*c.Periods[0], 300), 3000)
		}
	}
	if c.Threshold == 0 {
		c.Threshold = DefaultThreshold
	}
	switch c.Cooldown {
	case 0:
		c.Cooldown = c.Warmup / 5
	case -1:
		c.Cooldown = 0
	}
	return nil
}
