package query

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-stream/weir/sketch"
)

var update = flag.Bool("update", false, "write the files under testdata anew")

// answers are one of each shape that a table has.
func answers() map[string]*Answer {
	start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	hours := func(n int) (t []int64) {
		for i := range n {
			t = append(t, start.Add(time.Duration(i)*time.Hour).UnixNano())
		}
		return t
	}
	nan := math.NaN()
	onePoint := &Answer{
		Stream: "flights", From: start, To: start.AddDate(0, 3, 0), Confidence: 0.95, Watermark: start.AddDate(0, 3, 0), Complete: true,
		Offsets: map[string]int64{"0": 512}, Rejected: map[string]int64{},
		Series: []Series{{T: hours(1), Columns: []Column{
			{Name: "count", Value: []float64{1483653}},
			{Name: "delay.mean", Value: []float64{-7.123456}},
			{Name: "delay.p99", Value: []float64{129.4}, Lower: []float64{127}, Upper: []float64{131.25}},
			{Name: "destination.distinct", Value: []float64{228}, Lower: []float64{228}, Upper: []float64{228}},
			{Name: "delay.p50", Value: []float64{nan}, Lower: []float64{nan}, Upper: []float64{nan}},
			{Name: "destination.top(2)", Items: [][]sketch.TopItem{{{Item: "ORD", Count: 80808, Lower: 80808, Upper: 80808}, {Item: "a\x1b[31m", Count: 77718, Lower: 77000, Upper: 77718}}}},
			{Name: "empty.top(2)", Items: [][]sketch.TopItem{nil}},
			{Name: "delay.histogram", Bins: [][]sketch.Bin{{{Lower: -8, Upper: -4, Count: 1}, {Lower: 0, Upper: 0, Count: 20}, {Lower: 4, Upper: 8, Count: 7}}}},
		}}},
	}
	rows := &Answer{
		Stream: "flights", From: start, To: start.Add(90 * time.Minute), Confidence: 0.9, By: []string{"origin", "carrier"},
		Notes: []string{"the range was widened"},
		Series: []Series{
			{By: []string{"", "AA"}, T: hours(1), Columns: []Column{
				{Name: "count", Value: []float64{3}}, {Name: "d.top(2)", Items: [][]sketch.TopItem{{{Item: "ORD", Count: 2, Lower: 2, Upper: 2}, {Item: "LAX", Count: 1, Lower: 1, Upper: 1}}}}}},
			{By: []string{"Zürich, \"ZRH\"", "LX"}, T: hours(1), Columns: []Column{
				{Name: "count", Value: []float64{12345}}, {Name: "d.top(2)", Items: [][]sketch.TopItem{{}}}}},
		},
	}
	steps := &Answer{
		Stream: "flights", From: start, To: start.Add(6 * time.Hour), Step: time.Hour, Window: 2 * time.Hour, Confidence: 0.95, Complete: true,
		Watermark: start.Add(7 * time.Hour),
		Series: []Series{{T: hours(6), Columns: []Column{
			{Name: "count", Value: []float64{84, 33, 0, 12, 40, 168}},
			{Name: "delay.p99", Value: []float64{129.4, 93, nan, 10, 20, 40}, Lower: []float64{127, 91, nan, 10, 20, 40}, Upper: []float64{131, 97, nan, 10, 20, 40}},
		}}},
	}
	many := &Answer{
		Stream: "flights", From: start, To: start.Add(6 * time.Hour), Step: time.Hour, Window: time.Hour, Confidence: 0.95, Complete: true,
		By: []string{"origin"},
		Series: []Series{
			{By: []string{"JFK"}, T: hours(6), Columns: []Column{{Name: "count", Value: []float64{84, 33, 0, 12, 40, 168}}}},
			{By: []string{"LAX"}, T: hours(6), Columns: []Column{{Name: "count", Value: []float64{1, 1, 1, 1, 1, 1}}}},
		},
	}
	none := &Answer{Stream: "flights", From: start, To: start.AddDate(0, 0, 1), By: []string{"origin"}, Notes: []string{"the stream has no events yet"}}
	return map[string]*Answer{"one_point": onePoint, "rows": rows, "steps": steps, "many": many, "none": none}
}

// TestWriters compares with what people have looked at, under testdata.
func TestWriters(t *testing.T) {
	for name, a := range answers() {
		for suffix, write := range map[string]func(*bytes.Buffer) error{
			"json": func(b *bytes.Buffer) error { return a.WriteJSON(b) },
			"csv":  func(b *bytes.Buffer) error { return a.WriteCSV(b) },
			"txt":  func(b *bytes.Buffer) error { return a.WriteTable(b, 100) },
		} {
			t.Run(name+"."+suffix, func(t *testing.T) {
				var got bytes.Buffer
				if err := write(&got); err != nil {
					t.Fatal(err)
				}
				if suffix == "json" {
					if !json.Valid(got.Bytes()) {
						t.Fatalf("not JSON: %s", got.Bytes())
					}
					got.WriteByte('\n')
				}
				path := filepath.Join("testdata", name+"."+suffix)
				if *update {
					if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got.String()); diff != "" {
					t.Errorf("go test -update writes it anew (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestReadAnswer reads back what was written, so that a client's table is the
// server's.
func TestReadAnswer(t *testing.T) {
	for name, a := range answers() {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		got := new(Answer)
		if err := json.Unmarshal(text, got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if name == "none" {
			got.By = a.By // without a series, JSON has no names
		}
		diff := cmp.Diff(a, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty())
		if diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
	}
	for _, bad := range []string{
		`{`, `{"series": [{"by": 3}]}`, `{"step": "soon"}`,
		`{"series": [{"by": {}, "t": ["2001-01-01T00:00:00Z"], "values": {"count": {"value": []}}}]}`,
		`{"series": [{"by": {}, "t": ["2001-01-01T00:00:00Z"], "values": {"x.p1": {"value": [1], "lower": [1]}}}]}`,
		`{"series": [{"by": {}, "t": [], "values": {}}, {"by": {"a": "b"}, "t": [], "values": {}}]}`,
		`{"series": [{"by": {}, "t": ["2001-01-01T00:00:00Z"], "values": {"count": {"value": ["x"]}}}]}`,
		`{"series": [{"by": {}, "t": ["2001-01-01T00:00:00Z"], "values": {"x.top": {"value": [[3]]}}}]}`,
	} {
		if err := json.Unmarshal([]byte(bad), new(Answer)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// TestWriteJSONInParts writes an answer larger than the buffer, and to a writer
// that fails.
func TestWriteJSONInParts(t *testing.T) {
	a := answers()["steps"]
	for range 14 {
		a.Series = append(a.Series, a.Series...)
		if len(a.Series) > 2000 {
			break
		}
	}
	var got bytes.Buffer
	if err := a.WriteJSON(&got); err != nil {
		t.Fatal(err)
	}
	whole, err := a.MarshalJSON()
	if err != nil || !bytes.Equal(whole, got.Bytes()) || !json.Valid(whole) {
		t.Errorf("written in parts %d bytes, whole %d", got.Len(), len(whole))
	}
	if err := a.WriteJSON(failing{}); err == nil {
		t.Error("the writer's error was lost")
	}
	if err := a.WriteCSV(failing{}); err == nil {
		t.Error("the writer's error was lost")
	}
	if err := a.WriteTable(failing{}, 80); err == nil {
		t.Error("the writer's error was lost")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestNumber(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 1: "1", -1234567: "-1,234,567", 129.4: "129.4", 12.3456789: "12.346", 1234.5678: "1,234.6",
		0.95: "0.95", 0.000012345: "1.2345e-05", 1e15: "1e+15", 123456.789: "123,457", -0.5: "-0.5", 99.99999: "100",
	} {
		if got := number(x); got != want {
			t.Errorf("%v is written %q, want %q", x, got, want)
		}
	}
}

// A table shows the shape of a histogram, in lines that fit a screen.
func TestJoinedBins(t *testing.T) {
	for n := range 200 {
		bins := make([]sketch.Bin, n)
		for i := range bins {
			bins[i] = sketch.Bin{Lower: float64(i), Upper: float64(i + 1), Count: uint64(i + 1)}
		}
		coarse := joined(bins, maxBars)
		if len(coarse) > maxBars || n <= maxBars && len(coarse) != n {
			t.Errorf("%d bins became %d", n, len(coarse))
		}
		end, sum := 0.0, 0
		for _, b := range coarse {
			if b.Lower != end {
				t.Errorf("of %d bins: one begins at %v, the one before ends at %v", n, b.Lower, end)
			}
			end, sum = b.Upper, sum+int(b.Count)
		}
		if end != float64(n) || sum != n*(n+1)/2 {
			t.Errorf("%d bins end at %v and hold %d", n, end, sum)
		}
	}
	a := &Answer{From: time.Unix(0, 0), To: time.Unix(1, 0), Series: []Series{{T: []int64{0}, Columns: []Column{{Name: "ms.histogram", Bins: [][]sketch.Bin{make([]sketch.Bin, 300)}}}}}}
	for i := range a.Series[0].Columns[0].Bins[0] {
		a.Series[0].Columns[0].Bins[0][i].Count = 1
	}
	var out bytes.Buffer
	if err := a.WriteTable(&out, 100); err != nil || bytes.Count(out.Bytes(), []byte("\n")) > maxBars+4 {
		t.Errorf("%v:\n%s", err, &out)
	}
}
