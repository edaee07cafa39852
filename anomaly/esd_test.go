package anomaly

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
)

// How the reference names the parameters.
var (
	referenceTails  = map[string]Tails{"": UpperTail, "both": BothTails, "pos": UpperTail, "neg": LowerTail}
	referenceFloors = map[string]Floor{"": NoFloor, "None": NoFloor, "med_max": MedianOfPeaks, "p95": P95OfPeaks, "p99": P99OfPeaks}
)

// esdCase is a case of the reference.
type esdCase struct {
	ID, Function, Input string
	Params              struct {
		MaxAnoms  float64 `json:"max_anoms"`
		Direction string
		Alpha     float64
		OnlyLast  json.RawMessage `json:"only_last"`
		Threshold string
		Expected  bool `json:"e_value"`
		LongTerm  bool
		Weeks     int `json:"piecewise_median_period_weeks"`
		Rows      int `json:"longterm_period"`
		Period    int
	}
	Answer struct {
		Index    []int
		Value    []float64
		Expected []float64 `json:"expected_value"`
	} `json:"expected"`
	Refusal string `json:"expected_error"`
	Fragile bool
}

// detect runs the case.
func (c esdCase) detect(t testing.TB) (*ESDResult, error) {
	times, y := referenceSeries(t, c.Input)
	s := SeasonalESD{
		Tails:     referenceTails[c.Params.Direction],
		Alpha:     c.Params.Alpha,
		MaxShare:  c.Params.MaxAnoms,
		Floor:     referenceFloors[c.Params.Threshold],
		Period:    c.Params.Period,
		PieceRows: c.Params.Rows,
	}
	s.Last = map[string]Last{"": LastAll, `"day"`: LastDay, `"hr"`: LastHour, "true": LastPeriod}[string(c.Params.OnlyLast)]
	if c.Function == "AnomalyDetectionVec" {
		return s.Detect(y)
	}
	if c.Params.LongTerm {
		if s.PieceWeeks = c.Params.Weeks; s.PieceWeeks == 0 {
			s.PieceWeeks = 2
		}
	}
	return s.DetectTimes(times, y)
}

// The answers of the package, refusals among them.
func TestSeasonalESDReference(t *testing.T) {
	var index struct{ Cases []esdCase }
	referenceIndex(t, "anomaly_index.json", &index)
	agree, refused, fragile := 0, 0, 0
	for _, c := range index.Cases {
		got, err := c.detect(t)
		if c.Refusal != "" {
			if !errors.Is(err, ErrPeriods) {
				t.Errorf("%s: error %v, want %q", c.ID, err, c.Refusal)
				continue
			}
			refused++
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.ID, err)
			continue
		}
		same := true
		var indexes []int
		var values, expected []float64
		for _, a := range got.Anomalies {
			indexes = append(indexes, a.Index+1)
			values = append(values, a.Value)
			expected = append(expected, a.Expected)
		}
		if c.Fragile {
			fragile++
			t.Logf("%s hangs on the last bits: %v here, %v there, same: %v", c.ID, indexes, c.Answer.Index, slices.Equal(indexes, c.Answer.Index))
			continue
		}
		if !slices.Equal(indexes, c.Answer.Index) {
			same = false
			t.Errorf("%s: found %v, want %v", c.ID, indexes, c.Answer.Index)
		} else if !slices.Equal(values, c.Answer.Value) {
			same = false
			t.Errorf("%s: values %v, want %v", c.ID, values, c.Answer.Value)
		}
		if same && c.Params.Expected {
			same = c.compareExpected(t, indexes, expected)
		}
		if same {
			agree++
		}
	}
	t.Logf("%d of %d cases agree, %d of them refusals; %d is fragile and left out", agree+refused, len(index.Cases)-fragile, refused, fragile)
}

// compareExpected compares with whole numbers, which the reference gives in
// order of time whatever the order of the indexes.
func (c esdCase) compareExpected(t *testing.T, indexes []int, expected []float64) bool {
	order := make([]int, len(indexes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return indexes[a] - indexes[b] })
	same := true
	for i, k := range order {
		got, want := math.Trunc(expected[k]), c.Answer.Expected[i]
		if got == want {
			continue
		}
		// Where R's stl strays by hundredths, a whole number can be the next.
		if edge := max(got, want); math.Abs(expected[k]-edge) > 0.05 {
			same = false
			t.Errorf("%s: %v expected at %d, want %v", c.ID, expected[k], indexes[k], want)
		} else {
			t.Logf("%s: %v expected at %d, %v there: R strays", c.ID, expected[k], indexes[k], want)
		}
	}
	return same
}
