package anomaly

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// R's decompositions. Where R strays from the published algorithm by a wrong
// order statistic, the index says so: there it is off by hundredths.
func TestSTLReference(t *testing.T) {
	var index struct {
		STL []struct {
			File, Input string
			Rows        int
			Params      struct {
				Period  int
				SWindow json.RawMessage `json:"s.window"`
				TWindow int             `json:"t.window"`
				Robust  bool
			}
			Differs  bool `json:"differs_from_published"`
			Resolved struct {
				Windows, Degrees, Jumps struct{ S, T, L int }
				Inner, Outer            int
			}
		}
	}
	referenceIndex(t, "anomaly_index.json", &index)
	exact, loose := 0, 0
	for _, c := range index.STL {
		_, y := referenceSeries(t, c.Input)
		y = y[:c.Rows]
		stl := STL{Period: c.Params.Period, Robust: c.Params.Robust, Trend: Loess{Window: c.Params.TWindow}}
		if string(c.Params.SWindow) != `"periodic"` {
			if err := json.Unmarshal(c.Params.SWindow, &stl.Seasonal.Window); err != nil {
				t.Fatal(err)
			}
		}

		resolved, err := stl.resolve(len(y))
		if err != nil {
			t.Fatal(err)
		}
		r := c.Resolved
		for _, l := range []struct {
			name                 string
			got                  Loess
			window, degree, jump int
		}{
			{"seasonal", resolved.Seasonal, r.Windows.S, r.Degrees.S, r.Jumps.S},
			{"trend", resolved.Trend, r.Windows.T, r.Degrees.T, r.Jumps.T},
			{"low-pass", resolved.LowPass, r.Windows.L, r.Degrees.L, r.Jumps.L},
		} {
			if want := (Loess{l.window, Constant + Fit(l.degree), l.jump}); l.got != want {
				t.Errorf("%s: %s smoother is %+v, R's is %+v", c.File, l.name, l.got, want)
			}
		}
		if resolved.Inner != r.Inner || resolved.Outer != r.Outer {
			t.Errorf("%s: %d inner and %d outer passes, R makes %d and %d", c.File, resolved.Inner, resolved.Outer, r.Inner, r.Outer)
		}

		d, err := stl.Decompose(y)
		if err != nil {
			t.Fatal(err)
		}
		table := referenceTable(t, c.File)
		worst, where := 0.0, ""
		for column, got := range map[string][]float64{"seasonal": d.Seasonal, "trend": d.Trend, "remainder": d.Remainder, "weight": d.Weight} {
			for i, want := range floats(t, table[column]) {
				// Twelve digits are given.
				off := math.Abs(got[i]-want) / max(1, math.Abs(want))
				if !(off <= worst) {
					worst, where = off, column
				}
			}
		}
		t.Logf("%.2g off in %s at most, R strays: %v: %s", worst, where, c.Differs, c.File)
		switch {
		case !c.Differs && worst <= 1e-8:
			exact++
		case c.Differs && worst <= 0.1:
			loose++
		default:
			t.Errorf("%s: %g off in %s", c.File, worst, where)
		}
	}
	t.Logf("%d of %d decompositions agree: %d to 1e-8, %d where R strays", exact+loose, len(index.STL), exact, loose)
}

// The parts add up, and what goes in without noise comes out again.
func TestSTLParts(t *testing.T) {
	const n, period = 240, 12
	y := make([]float64, n)
	for i := range y {
		y[i] = 100 + 0.5*float64(i) + 10*math.Sin(2*math.Pi*float64(i)/period)
	}
	for _, stl := range []STL{
		{Period: period},
		{Period: period, Robust: true},
		{Period: period, Seasonal: Loess{Window: 7}},
		{Period: period, Seasonal: Loess{Window: 7, Fit: Linear, Jump: 2}, Robust: true},
		{Period: period, Trend: Loess{Window: 21, Fit: Linear, Jump: 1}, Inner: 5, Outer: 3, Robust: true},
	} {
		d, err := stl.Decompose(y)
		if err != nil {
			t.Fatal(err)
		}
		for i := range y {
			if sum := d.Seasonal[i] + d.Trend[i] + d.Remainder[i]; math.Abs(sum-y[i]) > 1e-9 {
				t.Fatalf("%+v: the parts of observation %d add up to %v, not %v", stl, i, sum, y[i])
			}
			if i < 2*period || i >= n-2*period {
				continue
			}
			if trend := 100 + 0.5*float64(i); math.Abs(d.Trend[i]-trend) > 0.1 {
				t.Errorf("%+v: trend %v at %d, want about %v", stl, d.Trend[i], i, trend)
				break
			}
		}
	}
}

// A robust decomposition is not moved by a few wild points.
func TestSTLRobust(t *testing.T) {
	const n, period = 24 * 14, 24
	random := rand.New(rand.NewPCG(1, 2))
	clean := make([]float64, n)
	for i := range clean {
		clean[i] = 10*math.Sin(2*math.Pi*float64(i)/period) + random.NormFloat64()
	}
	wild := append([]float64(nil), clean...)
	for _, i := range []int{50, 51, 130, 200, 290} {
		wild[i] += 500
	}
	off := func(robust bool) float64 {
		stl := STL{Period: period, Robust: robust}
		a, err := stl.Decompose(clean)
		if err != nil {
			t.Fatal(err)
		}
		b, err := stl.Decompose(wild)
		if err != nil {
			t.Fatal(err)
		}
		worst := 0.0
		for i := range clean {
			worst = max(worst, math.Abs(a.Seasonal[i]-b.Seasonal[i]))
		}
		return worst
	}
	if robust, plain := off(true), off(false); robust > 1.5 || plain < 10 {
		t.Errorf("five points of 500 move the robust season by %.3g and the plain one by %.3g", robust, plain)
	}
}

func TestSTLRefuses(t *testing.T) {
	long := make([]float64, 100)
	hole := append([]float64(nil), long...)
	hole[17] = math.NaN()
	wild := append([]float64(nil), long...)
	wild[99] = math.Inf(1)
	huge := append([]float64(nil), long...)
	for i := range huge {
		huge[i] = math.MaxFloat64 * float64(1-i%2*2)
	}
	for _, test := range []struct {
		name    string
		stl     STL
		y       []float64
		periods bool
	}{
		{"nothing", STL{Period: 2}, nil, true},
		{"two periods", STL{Period: 50}, long, true},
		{"no period", STL{}, long, false},
		{"period of one", STL{Period: 1}, long, false},
		{"even window", STL{Period: 4, Seasonal: Loess{Window: 8}}, long, false},
		{"tiny window", STL{Period: 4, Trend: Loess{Window: 1}}, long, false},
		{"negative jump", STL{Period: 4, LowPass: Loess{Jump: -1}}, long, false},
		{"unknown fit", STL{Period: 4, LowPass: Loess{Fit: 7}}, long, false},
		{"negative passes", STL{Period: 4, Inner: -1}, long, false},
		{"hole", STL{Period: 4}, hole, false},
		{"infinity", STL{Period: 4}, wild, false},
		{"overflow", STL{Period: 5, Robust: true}, huge, false},
	} {
		if _, err := test.stl.Decompose(test.y); err == nil || errors.Is(err, ErrPeriods) != test.periods {
			t.Errorf("%s: error %v", test.name, err)
		}
	}
}

// The smallest series, and constant ones.
func TestSTLSmall(t *testing.T) {
	for _, n := range []int{5, 6, 7, 11} {
		for _, robust := range []bool{false, true} {
			y := make([]float64, n)
			for i := range y {
				y[i] = 7
			}
			d, err := STL{Period: 2, Robust: robust}.Decompose(y)
			if err != nil {
				t.Fatal(err)
			}
			for i := range y {
				if math.Abs(d.Seasonal[i]) > 1e-12 || math.Abs(d.Trend[i]-7) > 1e-12 {
					t.Fatalf("a constant 7 has season %v and trend %v", d.Seasonal, d.Trend)
				}
			}
		}
	}
}
