package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestConstantBeginningTeachesNoScatter begins series with equal values: what
// comes then must become the norm all the same.
func TestConstantBeginningTeachesNoScatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 31))
	d, err := NewSeasonal(SeasonalConfig{Periods: []int{testPeriod}})
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range 30 * testPeriod {
		p := Point{Step: int64(i), Value: 20}
		if i >= 50 {
			p.Value = generatedMean(2, i) + rng.NormFloat64()
		}
		e := d.Score(p)
		if i > 20*testPeriod && (e.Anomalous || math.Abs(e.Expected-generatedMean(2, i)) > 10) {
			wrong++
		}
		d.Learn(p)
	}
	if wrong > 20 {
		t.Errorf("%d of %d points are flagged or expected far off", wrong, 10*testPeriod)
	}
}

// TestLevelJumpsToWhereTheSeriesStays shifts a series for good: its score tells
// at once, and it is expected before long, its season unharmed.
func TestLevelJumpsToWhereTheSeriesStays(t *testing.T) {
	for _, shift := range []float64{-150, 150} {
		rng := rand.New(rand.NewPCG(seed(t), 32))
		d, err := NewSeasonal(SeasonalConfig{Periods: []int{testPeriod}})
		if err != nil {
			t.Fatal(err)
		}
		const at = 20 * testPeriod
		first, off := -1, 0
		for i := range 24 * testPeriod {
			p := Point{Step: int64(i), Value: generatedMean(0, i) + 5*rng.NormFloat64() + pick(i >= at, shift)}
			e := d.Score(p)
			d.Learn(p)
			if i >= at && first < 0 && e.Score >= DefaultThreshold {
				first = i - at
			}
			if i >= at+2*testPeriod && math.Abs(e.Expected-generatedMean(0, i)-shift) > 20 {
				off++
			}
		}
		if first < 0 || first > 2 {
			t.Errorf("shift of %v: first strange after %d points", shift, first)
		}
		if off > testPeriod/4 {
			t.Errorf("shift of %v: %d of %d points, two seasons later, are expected 4 scatters off", shift, off, 2*testPeriod)
		}
	}
}

// TestMissingPointsAreNone leaves points out, one by one and a whole day: the
// phases stay where they are, and nothing is flagged for it.
func TestMissingPointsAreNone(t *testing.T) {
	for _, asNaN := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(seed(t), 33))
		d, err := NewSeasonal(SeasonalConfig{Periods: []int{testPeriod}})
		if err != nil {
			t.Fatal(err)
		}
		alarms, off, judged := 0, 0, 0
		for i := range 60 * testPeriod {
			p := Point{Step: int64(i), Value: generatedMean(1, i) + 5*rng.NormFloat64()}
			if rng.Float64() < 0.2 || i/testPeriod == 30 {
				if !asNaN {
					continue
				}
				p.Value = math.NaN()
			}
			e := d.Score(p)
			d.Learn(p)
			if i < 20*testPeriod || p.missing() {
				continue
			}
			judged++
			if e.Anomalous {
				alarms++
			}
			if math.Abs(e.Expected-generatedMean(1, i)) > 15 {
				off++
			}
		}
		if alarms > judged/250 || off > judged/20 {
			t.Errorf("missing as NaN %v: of %d points, %d flagged, %d expected three scatters off", asNaN, judged, alarms, off)
		}
	}
}
