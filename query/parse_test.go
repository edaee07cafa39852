package query

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
)

func TestParseSelect(t *testing.T) {
	for _, test := range []struct {
		text string
		want []Expression
	}{
		{"", nil},
		{"count", []Expression{{Function: Count}}},
		{" count , rate ", []Expression{{Function: Count}, {Function: Rate}}},
		{"count,count", []Expression{{Function: Count}}},
		{"delay.sum,delay.min,delay.max,delay.mean", []Expression{
			{Measure: "delay", Function: Sum}, {Measure: "delay", Function: Min},
			{Measure: "delay", Function: Max}, {Measure: "delay", Function: Mean}}},
		{"delay.p99.9", []Expression{{Measure: "delay", Function: Quantile, Quantile: 0.999}}},
		{"delay.p0,delay.p100", []Expression{{Measure: "delay", Function: Quantile}, {Measure: "delay", Function: Quantile, Quantile: 1}}},
		{"http.request.latency.p50", []Expression{{Measure: "http.request.latency", Function: Quantile, Quantile: 0.5}}},
		{"delay.quantile( 0.95 )", []Expression{{Measure: "delay", Function: Quantile, Quantile: 0.95}}},
		{"delay.rank(-30.5)", []Expression{{Measure: "delay", Function: Rank, Value: -30.5}}},
		{"delay.histogram", []Expression{{Measure: "delay", Function: Histogram}}},
		{"destination.distinct", []Expression{{Measure: "destination", Function: Distinct}}},
		{"destination.top,destination.top(3)", []Expression{{Measure: "destination", Function: Top, N: 10}, {Measure: "destination", Function: Top, N: 3}}},
		{`destination.frequency("O,R)D"),count`, []Expression{{Measure: "destination", Function: Frequency, Item: "O,R)D"}, {Function: Count}}},
		{`destination.frequency('it\'s'), x.frequency(ORD)`, []Expression{{Measure: "destination", Function: Frequency, Item: "it's"}, {Measure: "x", Function: Frequency, Item: "ORD"}}},
		{"delay", []Expression{{Measure: "delay"}}},
		{"delay.p9x", []Expression{{Measure: "delay.p9x"}}},
	} {
		got, err := ParseSelect(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		for i := range got {
			if got[i].String() == "" {
				t.Errorf("%q: expression %d has no text", test.text, i)
			}
			got[i].text = ""
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(Expression{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		question Text
		param    string
		says     string
	}{
		{Text{Select: "count,,rate"}, "select", "empty"},
		{Text{Select: "delay.top(10"}, "select", "not closed"},
		{Text{Select: "delay.top)"}, "select", "closes nothing"},
		{Text{Select: `x.frequency("a)`}, "select", "quote is not closed"},
		{Text{Select: `x.frequency()`}, "select", "one item"},
		{Text{Select: `x.frequency`}, "select", "one item"},
		{Text{Select: "delay.top(0)"}, "select", "between 1 and"},
		{Text{Select: "delay.top(1e9)"}, "select", "between 1 and"},
		{Text{Select: "delay.p101"}, "select", "between p0 and p100"},
		{Text{Select: "delay.quantile(95)"}, "select", "fraction between 0 and 1"},
		{Text{Select: "delay.quantile(nan)"}, "select", "fraction between 0 and 1"},
		{Text{Select: "delay.rank()"}, "select", "takes a number"},
		{Text{Select: "delay.rank(inf)"}, "select", "takes a number"},
		{Text{Select: "delay.sum(3)"}, "select", "no argument"},
		{Text{Select: `delay."sum"`}, "select", "argument stands in parentheses"},
		{Text{By: "a,,b"}, "by", "not the name"},
		{Text{Where: "origin"}, "where", "one of ="},
		{Text{Where: "origin=="}, "where", "a value"},
		{Text{Where: "origin=JFK extra"}, "where", "the end"},
		{Text{Where: "origin=JFK and"}, "where", "the name of a dimension"},
		{Text{Where: "(origin=JFK"}, "where", "a )"},
		{Text{Where: "origin=JFK)"}, "where", "the end"},
		{Text{Where: "origin in JFK"}, "where", "list in parentheses"},
		{Text{Where: "origin in (JFK"}, "where", "a , or )"},
		{Text{Where: "origin not JFK"}, "where", `"in"`},
		{Text{Where: `origin="JFK`}, "where", "not closed"},
		{Text{Where: "origin=~["}, "where", "regular expression"},
		{Text{Where: `origin=~"a)|(b"`}, "where", "regular expression"},
		{Text{Where: "status>big"}, "where", "compares numbers"},
		{Text{Where: strings.Repeat("(", 1000)}, "where", "within one another"},
		{Text{Where: strings.Repeat("not ", 1000)}, "where", "within one another"},
		{Text{Where: strings.Repeat("x", 100_000)}, "where", "at most"},
		{Text{From: "yesterday"}, "from", "is no time"},
		{Text{From: "nowish"}, "from", "now-1h"},
		{Text{To: "978307200000"}, "to", "milliseconds"},
		{Text{To: "0999-01-01"}, "to", "outside the years"},
		{Text{Step: "1 hour"}, "step", "space"},
		{Text{Step: "60"}, "step", "60s"},
		{Text{Step: "-1h"}, "step", "number"},
		{Text{Step: "0s"}, "step", "between"},
		{Text{Window: "1000y"}, "window", ""},
		{Text{Confidence: "1"}, "confidence", "between 0 and 1"},
		{Text{Confidence: "very"}, "confidence", "0.95"},
	} {
		_, err := Parse(test.question)
		var bad *ParamError
		if !errors.As(err, &bad) {
			t.Errorf("%+v: error %v is no ParamError", test.question, err)
			continue
		}
		if bad.Param != test.param || !strings.Contains(bad.Error(), test.says) {
			t.Errorf("%+v: error %q, want one on %s that says %q", test.question, bad, test.param, test.says)
		}
	}
}

func TestParseInstant(t *testing.T) {
	clock := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	newestEnd := time.Date(2001, 1, 31, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2001-01-01":                "2001-01-01T00:00:00Z",
		"2001-01-01T10:00:00Z":      "2001-01-01T10:00:00Z",
		"2001-01-01T10:00:00.5Z":    "2001-01-01T10:00:00.5Z",
		"2001-01-01T10:00:00+02:00": "2001-01-01T08:00:00Z",
		"2001-01-01T10:00:00 02:00": "2001-01-01T08:00:00Z", // + in a URL that was not escaped
		"2001-01-01 10:00":          "2001-01-01T10:00:00Z",
		"978307200":                 "2001-01-01T00:00:00Z",
		"978307200.25":              "2001-01-01T00:00:00.25Z",
		"now":                       "2001-02-03T04:05:06Z",
		"now-1h":                    "2001-02-03T03:05:06Z",
		"now - 1h30m":               "2001-02-03T02:35:06Z",
		"now+10s":                   "2001-02-03T04:05:16Z",
		"-1d":                       "2001-02-02T04:05:06Z",
		"newest":                    "2001-01-31T00:00:00Z",
		"newest-1w":                 "2001-01-24T00:00:00Z",
	} {
		i, err := ParseInstant("from", text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got, err := i.resolve("from", clock, newestEnd.UnixNano())
		if err != nil || formatTime(got) != want {
			t.Errorf("%q: %s, %v; want %s", text, formatTime(got), err, want)
		}
		again, err := ParseInstant("from", i.String())
		if err != nil || again != i {
			t.Errorf("%q: its String %q reads back as %v, %v", text, i, again, err)
		}
	}
}

// stream has one measure of each kind, and a name that two measures share.
func testStream() *weir.Stream {
	return &weir.Stream{
		Name: "flights", Window: time.Hour, Seed: 7, MaxSeries: 1000,
		Time:       weir.TimeField{Lateness: 10 * time.Second},
		Dimensions: []weir.Dimension{{Name: "origin", Field: "origin"}, {Name: "carrier", Field: "carrier"}},
		Measures: []weir.Measure{
			{Name: "delay", Kind: weir.Quantile, Field: "delay", Params: weir.Params{Sketch: weir.TDigest, Compression: 100}},
			{Name: "destination", Kind: weir.Distinct, Field: "destination", Params: weir.Params{Precision: 14}},
			{Name: "destination", Kind: weir.Top, Field: "destination", Params: weir.Params{Slots: 32}},
			{Name: "destination", Kind: weir.Frequency, Field: "destination", Params: weir.Params{Epsilon: 0.001, Delta: 0.01}},
			{Name: "distance", Kind: weir.Sum, Field: "distance"},
			{Name: "taxi.out", Kind: weir.Quantile, Field: "taxi", Params: weir.Params{Sketch: weir.DDSketch, Scale: 5}},
		},
	}
}

func TestWhere(t *testing.T) {
	s := testStream()
	for _, test := range []struct {
		text    string
		matches []string // of the series below
	}{
		{"origin=JFK", []string{"JFK/1"}},
		{"origin!=JFK", []string{"LAX/20", "New York/x", "/300"}},
		{"origin in (JFK, 'New York')", []string{"JFK/1", "New York/x"}},
		{"origin not in (JFK,LAX)", []string{"New York/x", "/300"}},
		{`origin=""`, []string{"/300"}},
		{"origin=~J.*", []string{"JFK/1"}},
		{"origin=~(J|L)[A-Z]{2,3}", []string{"JFK/1", "LAX/20"}},
		{`origin=~"J|L"`, nil}, // the whole value
		{"origin!~.*X", []string{"JFK/1", "New York/x", "/300"}},
		{"carrier>=20", []string{"LAX/20", "/300"}},
		{"carrier<20", []string{"JFK/1"}},
		{"carrier > 1 AND carrier <= 300, origin != LAX", []string{"/300"}},
		{"origin=JFK or origin=LAX and carrier=20", []string{"JFK/1", "LAX/20"}},
		{"(origin=JFK or origin=LAX) and carrier=20", []string{"LAX/20"}},
		{"not origin=JFK and not (carrier=x)", []string{"LAX/20", "/300"}},
		{`"origin"="JFK"`, []string{"JFK/1"}},
		{"", []string{"JFK/1", "LAX/20", "New York/x", "/300"}},
	} {
		w, err := ParseWhere(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if w.String() != test.text {
			t.Errorf("%q: its String is %q", test.text, w)
		}
		match, err := w.bind(s)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		var got []string
		for _, series := range [][]string{{"JFK", "1"}, {"LAX", "20"}, {"New York", "x"}, {"", "300"}} {
			if match == nil || match(series) {
				got = append(got, strings.Join(series, "/"))
			}
		}
		if diff := cmp.Diff(test.matches, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for _, test := range []struct {
		question         Text
		param            string
		says, suggestion string
	}{
		{Text{}, "select", "nothing is selected", ""},
		{Text{Select: "cuont"}, "select", "nothing that answers", "count"},
		{Text{Select: "dealy.p99"}, "select", "nothing that answers", "delay.p99"},
		{Text{Select: "dely"}, "select", "nothing that answers", "delay"},
		{Text{Select: "delay"}, "select", "needs a function, as in delay.histogram", ""},
		{Text{Select: "delay.maen"}, "select", "no function", "delay.mean"},
		{Text{Select: "taxi.out.histo"}, "select", "no function", ""},
		{Text{Select: "destination.p99"}, "select", "does not keep", ""},
		{Text{Select: "distance.p99"}, "select", "sum, min, max and mean", ""},
		{Text{Select: "origin"}, "select", "is a dimension", ""},
		{Text{Select: "origin.distinct"}, "select", "is a dimension", ""},
		{Text{Select: "count", By: "orgin"}, "by", "no dimension", "origin"},
		{Text{Select: "count", By: "delay"}, "by", "is a measure", ""},
		{Text{Select: "count", Where: "origni=JFK"}, "where", "no dimension", "origin"},
		{Text{Select: "count", Where: "carrier=1 and (delay>30)"}, "where", "declare it under dimensions", ""},
		{Text{Select: "count", Step: "90m"}, "step", "nearest that is: 2h", ""},
		{Text{Select: "count", Step: "1s"}, "step", "nearest that is: 1h", ""},
		{Text{Select: "count", Step: "1h", Window: "25m"}, "window", "nearest that is: 1h", ""},
		{Text{Select: "count", Step: "2h", Window: "1h"}, "window", "at least the step", ""},
		{Text{Select: "count", Window: "1h"}, "window", "needs a step", ""},
		{Text{Select: strings.Repeat("a.sum,b.sum,", 1) + manyExpressions(200)}, "select", "at most 100", ""},
	} {
		r, err := Parse(test.question)
		if err != nil {
			t.Errorf("%+v: %v", test.question, err)
			continue
		}
		_, err = newPlan(r, testStream(), defaultLimits)
		var bad *ParamError
		if !errors.As(err, &bad) {
			t.Errorf("%+v: error %v is no ParamError", test.question, err)
			continue
		}
		if bad.Param != test.param || !strings.Contains(bad.Detail, test.says) || bad.Suggestion != test.suggestion {
			t.Errorf("%+v: error %q suggesting %q, want one on %s that says %q and suggests %q",
				test.question, bad, bad.Suggestion, test.param, test.says, test.suggestion)
		}
	}
}

func manyExpressions(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, "m"+strings.Repeat("x", i)+".sum")
	}
	return strings.Join(parts, ",")
}

func TestSpan(t *testing.T) {
	at := func(text string) int64 {
		i, err := ParseInstant("", text)
		if err != nil {
			t.Fatal(err)
		}
		return i.at.UnixNano()
	}
	for _, test := range []struct {
		step, window      time.Duration
		from, to          string
		wantFrom, wantTo  string
		points, buckets   int
		firstLow, firstUp int
	}{
		{0, 0, "2001-01-01T10:20", "2001-01-01T12:20", "2001-01-01T10:00", "2001-01-01T13:00", 1, 1, 0, 1},
		{2 * time.Hour, 2 * time.Hour, "2001-01-01T11:00", "2001-01-01T14:01", "2001-01-01T10:00", "2001-01-01T16:00", 3, 3, 0, 1},
		{time.Hour, 24 * time.Hour, "2001-01-02", "2001-01-03", "2001-01-02", "2001-01-03", 24, 47, 0, 24},
		{2 * time.Hour, 3 * time.Hour, "2001-01-02", "2001-01-03", "2001-01-02", "2001-01-03", 12, 25, 0, 3},
		// Weeks begin on Mondays: 2001-01-01 was one.
		{7 * 24 * time.Hour, 7 * 24 * time.Hour, "2001-01-03", "2001-01-09", "2001-01-01", "2001-01-15", 2, 2, 0, 1},
	} {
		p := &plan{stream: testStream(), step: int64(test.step), window: int64(test.window), limits: defaultLimits}
		s, err := p.spanOf(at(test.from), at(test.to), int64(time.Hour))
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if s.from != at(test.wantFrom) || s.to != at(test.wantTo) || s.points() != test.points || s.buckets() != test.buckets {
			t.Errorf("%+v: %s to %s, %d points, %d buckets", test, formatTime(s.from), formatTime(s.to), s.points(), s.buckets())
		}
		if first, last := s.bucketsOf(0); first != test.firstLow || last != test.firstUp {
			t.Errorf("%+v: the first point has buckets [%d, %d)", test, first, last)
		}
		if _, last := s.bucketsOf(s.points() - 1); last != s.buckets() {
			t.Errorf("%+v: the last point ends with bucket %d of %d", test, last, s.buckets())
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"count,delay.p99.9", `x.frequency("O,R\"D")`, "origin=~J(a|b){2,3} or not x in ('a',b)", "now-1h30m", "-1h", "2001-01-01", "10s", "99%", "a.b.c.top(3)"} {
		f.Add(seed)
	}
	s := testStream()
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse(Text{Select: text})
		checkParamError(t, err)
		if expressions, err := ParseSelect(text); err == nil {
			for _, e := range expressions {
				again, err := ParseExpression(e.String())
				if err != nil || again != e && !math.IsNaN(e.Quantile) {
					t.Fatalf("%+v: its text reads back as %+v, %v", e, again, err)
				}
				if _, err := measureOf(s, e); err != nil {
					checkParamError(t, err)
				}
			}
		}
		w, err := ParseWhere(text)
		checkParamError(t, err)
		if err == nil && w.root != nil {
			canonical := w.root.String()
			again, err := ParseWhere(canonical)
			if err != nil || again.root.String() != canonical {
				t.Fatalf("%q is %s, which reads back as %v, %v", text, canonical, again.root, err)
			}
			if match, err := w.bind(s); err == nil {
				other, err := again.bind(s)
				if err != nil {
					t.Fatal(err)
				}
				for _, dims := range [][]string{{"", ""}, {"JFK", "1"}, {text, "30"}} {
					if match(dims) != other(dims) {
						t.Fatalf("%q and %q do not agree on %q", text, canonical, dims)
					}
				}
			} else {
				checkParamError(t, err)
			}
		}
		i, err := ParseInstant("from", text)
		checkParamError(t, err)
		if err == nil && i.Given() {
			if again, err := ParseInstant("from", i.String()); err != nil || again != i {
				t.Fatalf("%q is %v, which reads back as %v, %v", text, i, again, err)
			}
		}
		for _, q := range []Text{{By: text}, {Step: text}, {Confidence: text}} {
			_, err := Parse(q)
			checkParamError(t, err)
		}
	})
}

func checkParamError(t *testing.T, err error) {
	t.Helper()
	var bad *ParamError
	if err != nil && (!errors.As(err, &bad) || bad.Param == "" || bad.Detail == "") {
		t.Fatalf("error %v names no parameter", err)
	}
}

func TestParseTime(t *testing.T) {
	clock := time.Date(2001, 1, 2, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"-1h":                  clock.Add(-time.Hour),
		"now+90s":              clock.Add(90 * time.Second),
		"2001-01-01":           clock.AddDate(0, 0, -1),
		"2001-01-02T02:00:00Z": clock.Add(2 * time.Hour),
	} {
		if got, err := ParseTime("since", text, clock); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"newest", "newest-1d", "yesterday", "-200y", "now+100y"} {
		var wrong *ParamError
		if got, err := ParseTime("since", text, clock); !errors.As(err, &wrong) || wrong.Param != "since" {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}
