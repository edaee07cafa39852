package anomaly

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestKindsJudgeRatiosAndQuantiles generates shares near both ends and skewed
// quantiles with a season, and counts the alarms where nothing happens and
// those in a change that was planted.
func TestKindsJudgeRatiosAndQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 21))
	// A share is of about 400 events, a quantile the 99th of lognormal durations.
	share := func(p float64) float64 {
		n := 0
		for range 400 {
			if rng.Float64() < p {
				n++
			}
		}
		return float64(n) / 400
	}
	season := func(i int) float64 { return 1 + 0.5*math.Sin(2*math.Pi*float64(i%testPeriod)/testPeriod) }
	for _, c := range []struct {
		name  string
		kind  Kind
		value func(i int, changed bool) float64
	}{
		{"share near 0, trebled", KindRatio, func(i int, changed bool) float64 { return share(0.01 * season(i) * (1 + pick(changed, 2))) }},
		{"share near 1, down by 0.03", KindRatio, func(i int, changed bool) float64 { return share(1 - 0.01*season(i) - pick(changed, 0.03)) }},
		{"share about a half, up by 0.12", KindRatio, func(i int, changed bool) float64 { return share(0.4*season(i) + pick(changed, 0.12)) }},
		{"skewed quantile, doubled", KindQuantile, func(i int, changed bool) float64 {
			return 0.05 * season(i) * (1 + pick(changed, 1)) * math.Exp(0.25*rng.NormFloat64())
		}},
		{"heavy quantile, trebled", KindQuantile, func(i int, changed bool) float64 {
			return 2 * season(i) * (1 + pick(changed, 2)) * math.Pow(rng.Float64(), -0.3)
		}},
	} {
		const runs, quiet, changed = 12, 4000, 48
		wrong, points, found := 0, 0, 0
		for range runs {
			// Without a cool-down, or an alarm just before would hide the change.
			d, err := NewSeasonal(SeasonalConfig{Periods: []int{testPeriod}, Kind: c.kind, Cooldown: -1})
			if err != nil {
				t.Fatal(err)
			}
			points += quiet - d.config.Warmup
			seen := false
			for i := range quiet + changed {
				p := Point{Step: int64(i), Value: c.value(i, i >= quiet)}
				e := d.Score(p)
				d.Learn(p)
				switch {
				case e.Anomalous && i < quiet:
					wrong++
				case e.Anomalous:
					seen = true
				}
				if low := c.kind == KindRatio && (e.Lower < 0 || e.Upper > 1); low || e.Lower > e.Expected || e.Upper < e.Expected {
					t.Fatalf("%s, point %d: band %v to %v around %v", c.name, i, e.Lower, e.Upper, e.Expected)
				}
			}
			if seen {
				found++
			}
		}
		rate := 1e4 * float64(wrong) / float64(points)
		fmt.Printf("%s: %.1f alarms in 10,000 points before, found in %d of %d series\n", c.name, rate, found, runs)
		if promise := 1e4 * math.Pow(10, -DefaultThreshold); rate > 2*promise || rate < promise/4 {
			t.Errorf("%s: %.1f alarms in 10,000 points, promised are %.1f", c.name, rate, promise)
		}
		if found < runs*3/4 {
			t.Errorf("%s: found in %d of %d series", c.name, found, runs)
		}
	}
}
