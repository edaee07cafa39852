package weir

import (
	"encoding/json"
	"math"
	"testing"
)

// An ID is read as it is written, and nothing else is one.
func FuzzParseIncidentID(f *testing.F) {
	for _, id := range []string{"traffic.0", "traffic.17", "traffic.017", "traffic", ".1", "traffic.-1", "traffic.+1", "a.b.1", "traffic.9223372036854775808"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		detector, n, err := ParseIncidentID(id)
		if err == nil && (n < 0 || IncidentID(detector, n) != id) {
			t.Errorf("%q is read as %q and %d", id, detector, n)
		}
	})
}

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{1.5: "1.5", 0: "0", -1e300: "-1e+300", math.Inf(1): "null", math.Inf(-1): "null", math.NaN(): "null"} {
		data, err := json.Marshal(Number(x))
		if err != nil || string(data) != want {
			t.Errorf("%v is written %s, %v", x, data, err)
		}
		var again Number
		if err := json.Unmarshal(data, &again); err != nil || want != "null" && float64(again) != x || want == "null" && !math.IsNaN(float64(again)) {
			t.Errorf("%s is read as %v, %v", data, again, err)
		}
	}
	var n Number
	if err := json.Unmarshal([]byte(`"1"`), &n); err == nil {
		t.Error("a string is no number")
	}
}
