package anomaly

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// detectors of all kinds, and of configurations that take other ways.
func everyDetector(t testing.TB) map[string]func() Detector {
	must := func(d Detector, err error) Detector {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return map[string]func() Detector{
		"seasonal": func() Detector {
			return must(NewSeasonal(SeasonalConfig{Periods: []int{24}, Warmup: 200}))
		},
		"seasonal, day and week": func() Detector {
			return must(NewSeasonal(SeasonalConfig{Periods: []int{24, 168}, Warmup: 400}))
		},
		"seasonal, period unknown": func() Detector { return must(NewSeasonal(SeasonalConfig{Warmup: 200})) },
		"seasonal, no season": func() Detector {
			return must(NewSeasonal(SeasonalConfig{Periods: []int{NoSeason}, Warmup: 200, Cooldown: -1}))
		},
		"breakout":           func() Detector { return must(NewBreakout(BreakoutConfig{})) },
		"breakout, a season": func() Detector { return must(NewBreakout(BreakoutConfig{Periods: []int{24}, Warmup: 100})) },
		"threshold":          func() Detector { return must(NewThreshold(ThresholdConfig{Lower: 80, Upper: 130, For: 2, Margin: 3})) },
		"rate": func() Detector {
			return must(NewRateOfChange(RateConfig{Over: 3, Rise: 0.4, Fall: 0.4, Relative: true}))
		},
	}
}

// eventful is a series with a season, outliers, a shift, missing points, a
// change of daylight saving and holidays.
func eventful(rng *rand.Rand, n int) []Point {
	points := make([]Point, 0, n)
	step := int64(0)
	for i := range n {
		p := Point{Step: step, Value: 100 + 15*math.Sin(2*math.Pi*float64(step%24)/24) + 3*rng.NormFloat64()}
		if i > n/2 {
			p.Value += 20
			p.Shift = 1
		}
		switch u := rng.Float64(); {
		case u < 0.01:
			p.Value += 60
		case u < 0.02:
			p.Value = math.NaN()
		case u < 0.03:
			step += rng.Int64N(30)
		}
		p.Holiday = step/24%30 == 7
		points = append(points, p)
		step++
	}
	return points
}

func explanations(d Detector, points []Point) []Explanation {
	all := make([]Explanation, 0, len(points))
	for _, p := range points {
		all = append(all, d.Score(p))
		d.Learn(p)
	}
	return all
}

// same compares explanations, NaN being equal to itself.
func same(a, b Explanation) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func TestStateDecodedMidwayChangesNothing(t *testing.T) {
	points := eventful(rand.New(rand.NewPCG(seed(t), 3)), 1500)
	for name, blank := range everyDetector(t) {
		want := explanations(blank(), points)
		for _, cut := range []int{0, 1, 57, 199, 200, 750, 900} {
			first, second := blank(), blank()
			explanations(first, points[:cut])
			state := first.AppendBinary([]byte("before"))[len("before"):]
			if err := second.UnmarshalBinary(state); err != nil {
				t.Fatalf("%s, after %d points: %v", name, cut, err)
			}
			if again := second.AppendBinary(nil); !bytes.Equal(state, again) {
				t.Errorf("%s, after %d points: encodes differently once decoded", name, cut)
			}
			for i, got := range explanations(second, points[cut:]) {
				if !same(got, want[cut+i]) {
					t.Fatalf("%s, decoded after %d points: point %d is %+v, want %+v", name, cut, cut+i, got, want[cut+i])
				}
			}
		}
	}
}

func TestScoreChangesNothing(t *testing.T) {
	points := eventful(rand.New(rand.NewPCG(seed(t), 4)), 800)
	for name, blank := range everyDetector(t) {
		want := explanations(blank(), points)
		d := blank()
		for i, p := range points {
			d.Score(Point{Step: p.Step, Value: 1e6})
			got := d.Score(p)
			if again := d.Score(p); !same(got, again) || !same(got, want[i]) {
				t.Fatalf("%s, point %d: scored %+v, again %+v, want %+v", name, i, got, again, want[i])
			}
			d.Score(Point{Step: p.Step + 5, Value: -3})
			d.Learn(p)
		}
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 5))
	points := eventful(rng, 600)
	kinds := everyDetector(t)
	for name, blank := range kinds {
		d := blank()
		explanations(d, points)
		state := d.AppendBinary(nil)
		for range 200 {
			bad := bytes.Clone(state)
			switch rng.IntN(3) {
			case 0:
				bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
			case 1:
				bad = bad[:rng.IntN(len(bad))]
			case 2:
				bad = append(bad, 0)
			}
			if err := d.UnmarshalBinary(bad); !errors.Is(err, ErrState) {
				t.Fatalf("%s: damaged state gives %v", name, err)
			}
		}
		if !bytes.Equal(d.AppendBinary(nil), state) {
			t.Errorf("%s: a refused state changed the detector", name)
		}
		for other, blank := range kinds {
			if other != name && blank().UnmarshalBinary(state) == nil {
				t.Errorf("%s takes a state of %s", other, name)
			}
		}
	}
}

// TestHostileStateIsRefused changes fields under a valid checksum: whatever is
// accepted must still score and learn.
func TestHostileStateIsRefused(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 6))
	points := eventful(rng, 600)
	for name, blank := range everyDetector(t) {
		d := blank()
		explanations(d, points)
		state := d.AppendBinary(nil)
		for range 300 {
			bad := bytes.Clone(state[:len(state)-4])
			for range 1 + rng.IntN(4) {
				if len(bad) > 10 {
					bad[10+rng.IntN(len(bad)-10)] = byte(rng.Uint32())
				}
			}
			h := blank()
			if err := h.UnmarshalBinary(sealed(bad)); err == nil {
				explanations(h, points[:50])
			} else if !errors.Is(err, ErrState) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// TestUnitAndZeroDoNotMatter scales and shifts a series: what is flagged and how
// strongly stays, up to the rounding of the numbers.
func TestUnitAndZeroDoNotMatter(t *testing.T) {
	points := eventful(rand.New(rand.NewPCG(seed(t), 7)), 1500)
	for _, name := range []string{"seasonal", "seasonal, day and week", "seasonal, period unknown", "seasonal, no season", "breakout", "breakout, a season"} {
		blank := everyDetector(t)[name]
		want := explanations(blank(), points)
		for _, c := range []struct{ scale, zero float64 }{{1024, 0}, {1.0 / 64, 0}, {1, 4096}, {-1, 0}, {1e-3, 1}} {
			other := make([]Point, len(points))
			for i, p := range points {
				other[i] = p
				other[i].Value = p.Value*c.scale + c.zero
			}
			for i, got := range explanations(blank(), other) {
				if got.Anomalous != want[i].Anomalous || math.Abs(got.Score-want[i].Score) > 1e-3 {
					t.Errorf("%s × %v + %v, point %d: score %v, %v; want %v, %v", name, c.scale, c.zero, i,
						got.Score, got.Anomalous, want[i].Score, want[i].Anomalous)
					break
				}
			}
		}
	}
}

func TestStrangeSeries(t *testing.T) {
	series := map[string]func(i int) float64{
		"constant":       func(int) float64 { return 7 },
		"zero":           func(int) float64 { return 0 },
		"not a number":   func(int) float64 { return math.NaN() },
		"infinite":       func(i int) float64 { return math.Inf(i%2*2 - 1) },
		"huge":           func(i int) float64 { return math.MaxFloat64 * float64(i%3-1) },
		"tiny":           func(i int) float64 { return math.SmallestNonzeroFloat64 * float64(i%3) },
		"half infinite":  func(i int) float64 { return pick(i%2 == 0, 3) / pick(i%5 != 0, 1) },
		"constant, jump": func(i int) float64 { return pick(i > 500, 1) },
		"exponential":    func(i int) float64 { return math.Exp(float64(i)) },
	}
	for name, blank := range everyDetector(t) {
		for kind, value := range series {
			d := blank()
			alarms := 0
			for i := range 1000 {
				p := Point{Step: int64(i), Value: value(i)}
				e := d.Score(p)
				if math.IsNaN(e.Score) || math.IsInf(e.Score, 0) || math.IsNaN(e.Size) {
					t.Fatalf("%s on %s, point %d: %+v", name, kind, i, e)
				}
				if e.Anomalous {
					alarms++
				}
				d.Learn(p)
			}
			if err := blank().UnmarshalBinary(d.AppendBinary(nil)); err != nil {
				t.Errorf("%s on %s: own state: %v", name, kind, err)
			}
			switch {
			case name == "threshold" || name == "rate":
			case (kind == "constant" || kind == "zero" || kind == "not a number" || kind == "infinite") && alarms > 0:
				t.Errorf("%s on %s: %d alarms", name, kind, alarms)
			case kind == "constant, jump" && alarms == 0:
				t.Errorf("%s on %s: no alarm", name, kind)
			}
		}
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	refused := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	for _, c := range []SeasonalConfig{
		{Periods: []int{0}}, {Periods: []int{7, 7}}, {Periods: []int{168, 24}}, {Periods: []int{2, 3, 4}},
		{Warmup: -1}, {Threshold: math.NaN()}, {Threshold: -1}, {Cooldown: -2}, {Kind: 99},
	} {
		_, err := NewSeasonal(c)
		refused(fmt.Sprintf("%+v", c), err)
	}
	for _, c := range []BreakoutConfig{{MinSize: -1}, {MinSize: 10_000}, {Threshold: math.Inf(1)}, {Periods: []int{-3}}} {
		_, err := NewBreakout(c)
		refused(fmt.Sprintf("%+v", c), err)
	}
	for _, c := range []ThresholdConfig{
		{Lower: 2, Upper: 1}, {Lower: math.NaN()}, {Lower: math.Inf(-1), Upper: math.Inf(1)}, {Upper: 1, Margin: 1}, {Upper: 1, For: -1},
	} {
		_, err := NewThreshold(c)
		refused(fmt.Sprintf("%+v", c), err)
	}
	for _, c := range []RateConfig{{}, {Rise: -1}, {Rise: math.NaN()}, {Rise: 1, Over: maxOver + 1}} {
		_, err := NewRateOfChange(c)
		refused(fmt.Sprintf("%+v", c), err)
	}
}
