package anomaly

import (
	"math"
	"testing"
)

func TestThresholdNeedsPointsOnEndAndAMarginToComeBack(t *testing.T) {
	d, err := NewThreshold(ThresholdConfig{Lower: math.Inf(-1), Upper: 10, For: 2, Margin: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		value     float64
		anomalous bool
	}{{5, false}, {11, false}, {9, false}, {11, false}, {12, true}, {9, true}, {8, false}, {9, false}, {math.NaN(), false}, {11, false}, {10.5, true}} {
		p := Point{Step: int64(i), Value: c.value}
		if e := d.Score(p); e.Anomalous != c.anomalous {
			t.Errorf("point %d, %v: anomalous %v, want %v", i, c.value, e.Anomalous, c.anomalous)
		}
		d.Learn(p)
	}
}

func TestRateOfChangeLooksBackOverMissingSteps(t *testing.T) {
	d, err := NewRateOfChange(RateConfig{Over: 2, Rise: 0.5, Fall: 0.3, Relative: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		step      int64
		value     float64
		anomalous bool
		direction Direction
	}{
		{0, 100, false, Level}, {1, 140, false, Level}, {2, 151, true, Up}, {3, 98, false, Down},
		{4, 97, true, Down}, {9, 97, false, Level}, {10, 200, true, Up},
	} {
		p := Point{Step: c.step, Value: c.value}
		if e := d.Score(p); e.Anomalous != c.anomalous || e.Direction != c.direction {
			t.Errorf("point %d: %v %v, want %v %v", i, e.Anomalous, e.Direction, c.anomalous, c.direction)
		}
		d.Learn(p)
	}
}

func TestKindsRestoreWhatTheyStabilise(t *testing.T) {
	for kind, values := range map[Kind][]float64{
		KindValue:    {-3, 0, 1e9},
		KindCount:    {0, 1, 17, 1e6},
		KindRate:     {-2, 0, 0.5, 1e7},
		KindRatio:    {0, 0.01, 0.5, 1},
		KindQuantile: {1e-6, 0.2, 3600},
	} {
		for _, v := range values {
			if got := kind.restore(kind.stabilise(v)); math.Abs(got-v) > 1e-9*(1+math.Abs(v)) {
				t.Errorf("%v: %v comes back as %v", kind, v, got)
			}
		}
		if parsed, err := ParseKind(kind.String()); err != nil || parsed != kind {
			t.Errorf("%v parses as %v, %v", kind, parsed, err)
		}
	}
	if _, err := ParseKind("ratoi"); err == nil {
		t.Error("a kind that is none parses")
	}
}

func TestPeriodIsFound(t *testing.T) {
	for _, period := range []int{7, 24, 96} {
		d, err := NewSeasonal(SeasonalConfig{Warmup: 6 * period})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 8 * period {
			x := math.Sin(2*math.Pi*float64(i)/float64(period)) + 0.3*math.Sin(float64(i*i)) + 0.01*float64(i)
			d.Learn(Point{Step: int64(i), Value: x})
		}
		if d.Period() != period {
			t.Errorf("period %d is found as %d", period, d.Period())
		}
	}
}

// TestShiftOfLocalTime moves a daily shape by an hour, as daylight saving does:
// told of it, the detector finds nothing in it.
func TestShiftOfLocalTime(t *testing.T) {
	for _, told := range []bool{true, false} {
		d, err := NewSeasonal(SeasonalConfig{Periods: []int{96}})
		if err != nil {
			t.Fatal(err)
		}
		highest := 0.0
		for i := range 96 * 21 {
			p := Point{Step: int64(i)}
			local := i
			if i >= 96*20 {
				local += 4
				if told {
					p.Shift = 4
				}
			}
			p.Value = 100*math.Exp(-math.Pow(float64(local%96)-40, 2)/200) + math.Sin(float64(i*i))
			if e := d.Score(p); i >= 96*20 {
				highest = max(highest, e.Score)
			}
			d.Learn(p)
		}
		if told != (highest < DefaultThreshold) {
			t.Errorf("told of the shift: %v, highest score after it: %.2f", told, highest)
		}
	}
}

// TestHolidayLooksLikeASunday gives a working day the shape of a Sunday.
func TestHolidayLooksLikeASunday(t *testing.T) {
	for _, told := range []bool{true, false} {
		d, err := NewSeasonal(SeasonalConfig{Periods: []int{24, 168}, Warmup: 600})
		if err != nil {
			t.Fatal(err)
		}
		highest := 0.0
		for i := range 168*8 + 48 {
			day := i / 24 % 7
			holiday := i >= 168*8+24
			p := Point{Step: int64(i), Holiday: holiday && told}
			p.Value = 50 + 3*math.Sin(float64(i*i))
			if day < 5 && !holiday {
				p.Value += 60 * math.Sin(math.Pi*float64(i%24)/24)
			}
			if e := d.Score(p); holiday {
				highest = max(highest, e.Score)
			}
			d.Learn(p)
		}
		if told != (highest < DefaultThreshold) {
			t.Errorf("told of the holiday: %v, highest score on it: %.2f", told, highest)
		}
	}
}
