package anomaly

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
)

// outlying is normal noise of which a fiftieth is off by up to 30 deviations.
func outlying(rng *rand.Rand) float64 {
	x := rng.NormFloat64()
	if rng.Float64() < 0.02 {
		x += 60*rng.Float64() - 30
	}
	return x
}

func newBreakout(t testing.TB, c BreakoutConfig) *Breakout {
	d, err := NewBreakout(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// breakoutRuns is how many series a figure is taken from; WEIR_FULL takes more.
func breakoutRuns() int {
	if os.Getenv("WEIR_FULL") != "" {
		return 1000
	}
	return 60
}

// TestShiftsAreFoundSoonAndInPlace compares the place told with the best there
// is: the likeliest one of a reader who knows the level before and after, and
// that there is one shift, and sees all that comes later.
func TestShiftsAreFoundSoonAndInPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 11))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "%d series each, 2 %% outliers, seed %d\nshift\tmedian delay\tmedian error of place\tbest possible\tfound\n", breakoutRuns(), seed(t))
	for _, c := range []struct {
		size         float64
		delay, place int // best possible and so many more
	}{{0.5, 95, 6}, {1, 27, 2}, {2, 8, 2}, {4, 6, 2}} {
		var delays, places, possible []int
		for range breakoutRuns() {
			d := newBreakout(t, BreakoutConfig{})
			const at = 2500
			told := false
			var after, highest float64
			likeliest := 0
			for i := range at + 1000 {
				x := outlying(rng)
				if i >= at {
					x += c.size
				}
				if after -= min(max(x-c.size/2, -2), 2); after > highest {
					highest, likeliest = after, i+1
				}
				p := Point{Step: int64(i), Value: x}
				e := d.Score(p)
				d.Learn(p)
				if e.Anomalous && i >= at && !told {
					told = true
					delays, places = append(delays, i-at), append(places, max(int(e.Began)-at, at-int(e.Began)))
					if e.Direction != Up && c.size > 2 {
						t.Errorf("a shift of %v is told to go %v", c.size, e.Direction)
					}
				}
			}
			possible = append(possible, max(likeliest-at, at-likeliest))
		}
		if len(delays) < breakoutRuns()*9/10 {
			t.Errorf("shift of %v: found in %d of %d series", c.size, len(delays), breakoutRuns())
			continue
		}
		slices.Sort(delays)
		slices.Sort(places)
		slices.Sort(possible)
		delay, place, best := delays[len(delays)/2], places[len(places)/2], possible[len(possible)/2]
		fmt.Fprintf(w, "%.1f\t%d\t%d\t%d\t%d\n", c.size, delay, place, best, len(delays))
		if delay > c.delay || place > best+c.place {
			t.Errorf("shift of %v: median delay %d, error of place %d; want %d, %d", c.size, delay, place, c.delay, best+c.place)
		}
	}
}

func TestBreakoutsThatAreNone(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 12))
	alarmed := 0
	for range breakoutRuns() {
		d := newBreakout(t, BreakoutConfig{})
		for i := range 5000 + d.config.Warmup {
			p := Point{Step: int64(i), Value: outlying(rng)}
			e := d.Score(p)
			d.Learn(p)
			if e.Anomalous {
				alarmed++
				break
			}
		}
	}
	share := float64(alarmed) / float64(breakoutRuns())
	fmt.Printf("breakouts in 5,000 points without any: in %.1f %% of %d series\n", 100*share, breakoutRuns())
	limit := 0.2
	if os.Getenv("WEIR_FULL") != "" {
		limit = 0.12
	}
	if share > limit {
		t.Errorf("false breakouts in %.0f %% of the series of 5,000 points", 100*share)
	}
}

// TestCorrelationIsNoBreakout counts the series of 5,000 points in which
// correlated noise is taken for a change, with outliers and without.
func TestCorrelationIsNoBreakout(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 15))
	for _, c := range []struct{ correlation, outliers, limit float64 }{
		{0.5, 0, 0.25}, {0.5, 0.02, 0.25}, {0.8, 0, 0.25}, {0.8, 0.02, 0.4}, {0.9, 0, 0.3}, {0.9, 0.02, 0.45},
	} {
		alarmed := 0
		for range breakoutRuns() {
			d, state := newBreakout(t, BreakoutConfig{}), 0.0
			for i := range 5000 + d.config.Warmup {
				state = c.correlation*state + math.Sqrt(1-c.correlation*c.correlation)*rng.NormFloat64()
				p := Point{Step: int64(i), Value: state}
				if rng.Float64() < c.outliers {
					p.Value += 60*rng.Float64() - 30
				}
				e := d.Score(p)
				d.Learn(p)
				if e.Anomalous {
					alarmed++
					break
				}
			}
		}
		share := float64(alarmed) / float64(breakoutRuns())
		fmt.Printf("correlation %.1f, %.0f %% outliers: false breakouts in %.1f %% of %d series\n", c.correlation, 100*c.outliers, 100*share, breakoutRuns())
		if share > c.limit {
			t.Errorf("correlation %v, outliers %v: false breakouts in %.0f %% of the series, want %.0f %% at most", c.correlation, c.outliers, 100*share, 100*c.limit)
		}
	}
}

func TestRampsAndScatterAreToldFromShifts(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 13))
	const at = 1000
	for _, c := range []struct {
		name   string
		reason Reason
		value  func(i int) float64
	}{
		{"shift of 3", ReasonShift, func(i int) float64 { return rng.NormFloat64() + pick(i >= at, 3) }},
		{"ramp of 1 in 20", ReasonRamp, func(i int) float64 { return rng.NormFloat64() + pick(i >= at, float64(i-at)/20) }},
		{"scatter trebled", ReasonVariance, func(i int) float64 { return rng.NormFloat64() * (1 + pick(i >= at, 2)) }},
		{"scatter a third", ReasonVariance, func(i int) float64 { return rng.NormFloat64() * (1 - pick(i >= at, 2.0/3)) }},
	} {
		told := make(map[Reason]int) // by the first three alarms
		for range breakoutRuns() {
			d, spoke := newBreakout(t, BreakoutConfig{}), 0
			for i := range at + 200 {
				p := Point{Step: int64(i), Value: c.value(i)}
				e := d.Score(p)
				d.Learn(p)
				if e.Anomalous && i >= at {
					told[e.Reason]++
					if spoke++; spoke == 3 {
						break
					}
				}
			}
		}
		fmt.Printf("%s: %v\n", c.name, told)
		if told[c.reason] < breakoutRuns()*6/10 {
			t.Errorf("%s is told as %v, of %d", c.name, told, breakoutRuns())
		}
	}
}

func TestSeasonIsNoBreakout(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 14))
	d := newBreakout(t, BreakoutConfig{Periods: []int{testPeriod}, Warmup: 4 * testPeriod})
	wrong, at, began := 0, 60*testPeriod, int64(0)
	for i := range 62 * testPeriod {
		p := Point{Step: int64(i), Value: generatedMean(0, i) + 3*rng.NormFloat64() + pick(i >= at, 12)}
		e := d.Score(p)
		d.Learn(p)
		switch {
		case e.Anomalous && i < at:
			wrong++
		case e.Anomalous && began == 0:
			began = e.Began
		}
	}
	// The season settles for some periods after the warm-up.
	if wrong > 3 || began < int64(at-3) || began > int64(at+3) {
		t.Errorf("%d false breakouts; the one at %d is told to begin at %d", wrong, at, began)
	}
}
