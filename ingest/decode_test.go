package ingest

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir"
)

func testStream() *weir.Stream {
	return &weir.Stream{
		Name: "web", Window: 10 * time.Second, MaxSeries: 1000, MaxLine: 4096,
		Time:       weir.TimeField{Field: "time", Format: weir.RFC3339, Lateness: time.Second, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "service", Field: "service"}, {Name: "country", Field: "geo.country"}},
		Measures: []weir.Measure{
			{Name: "bytes", Kind: weir.Sum, Field: "bytes"},
			{Name: "latency", Kind: weir.Quantile, Field: "latency", Params: weir.Params{Sketch: weir.TDigest, Compression: 100}},
			{Name: "path", Kind: weir.Top, Field: "path", Params: weir.Params{Slots: 64}},
			{Name: "path", Kind: weir.Frequency, Field: "path", Params: weir.Params{Epsilon: 0.01, Delta: 0.01}},
			{Name: "status", Kind: weir.Frequency, Field: "status", Params: weir.Params{Epsilon: 0.01, Delta: 0.01}},
			{Name: "user", Kind: weir.Distinct, Field: "user", Params: weir.Params{Precision: 14}},
		},
	}
}

func TestReadTime(t *testing.T) {
	r := clockReader{format: weir.RFC3339}
	for _, good := range []string{
		"2001-01-01T00:01:00Z", "2001-01-01T00:01:00z", "2001-01-01t23:59:59Z", "2024-02-29T12:00:00.5Z",
		"2024-02-29T12:00:00.123456789+02:00", "1969-12-31T23:59:59.999999999Z", "1900-01-01T00:00:00-11:30",
		"2261-12-31T23:59:59Z", "1678-01-01T00:00:00Z",
	} {
		want, err := time.Parse(time.RFC3339Nano, strings.ToUpper(good))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := r.read(&value{kind: text, text: []byte(good)})
		if !ok || got != want.UnixNano() {
			t.Errorf("%s: %d %v, want %d", good, got, ok, want.UnixNano())
		}
	}
	for _, bad := range []string{
		"", "2001-01-01", "2001-01-01 00:01:00", "2001-01-01T00:01:00", "2001-13-01T00:00:00Z", "2001-02-29T00:00:00Z",
		"2001-01-00T00:00:00Z", "2001-01-01T24:00:00Z", "2001-01-01T00:60:00Z", "2001-01-01T00:00:61Z", "2001-01-01T00:00:00.Z",
		"2001-01-01T00:00:00+1:00", "2001-01-01T00:00:00+25:00", "20x1-01-01T00:00:00Z", "2001-01-01T00:00:00.5", "1600-01-01T00:00:00Z",
		"2300-01-01T00:00:00Z", "2001-01-01T00:00:00ZZ",
	} {
		if got, ok := r.read(&value{kind: text, text: []byte(bad)}); ok {
			t.Errorf("%s was read as %v", bad, time.Unix(0, got).UTC())
		}
	}
	// Digits beyond nanoseconds are dropped; a leap second is the next minute's first moment.
	if got, ok := r.read(&value{kind: text, text: []byte("2016-12-31T23:59:60.1234567899Z")}); !ok ||
		got != time.Date(2017, 1, 1, 0, 0, 0, 123456789, time.UTC).UnixNano() {
		t.Errorf("leap second: %d %v", got, ok)
	}
	for _, c := range []struct {
		format weir.TimeFormat
		line   string
		want   int64
		ok     bool
	}{
		{weir.UnixSeconds, `1700000000`, 1700000000e9, true},
		{weir.UnixSeconds, `"1700000000"`, 1700000000e9, true},
		{weir.UnixSeconds, `1700000000.25`, 1700000000250000000, true},
		{weir.UnixSeconds, `-1.5`, -1500000000, true},
		{weir.UnixSeconds, `1.7e9`, 1700000000e9, true},
		{weir.UnixMillis, `1700000000123`, 1700000000123e6, true},
		{weir.UnixMillis, `-1`, -1e6, true},
		{weir.UnixMicros, `1700000000123456`, 1700000000123456e3, true},
		{weir.UnixNanos, `1700000000123456789`, 1700000000123456789, true},
		{weir.UnixNanos, `9223372036854775807`, 0, false},
		{weir.UnixSeconds, `1e30`, 0, false},
		{weir.UnixSeconds, `"x"`, 0, false},
		{weir.UnixSeconds, `""`, 0, false},
		{weir.UnixSeconds, `true`, 0, false},
		{weir.RFC3339, `1700000000`, 0, false},
	} {
		s := testScanner("t")
		if !s.scan([]byte(`{"t":` + c.line + `}`)) {
			t.Fatalf("%s is not JSON", c.line)
		}
		r := clockReader{format: c.format}
		if got, ok := r.read(&s.values[0]); ok != c.ok || ok && got != c.want {
			t.Errorf("%s %s: %d %v, want %d %v", c.format, c.line, got, ok, c.want, c.ok)
		}
	}
}

func TestDecode(t *testing.T) {
	d, _, _ := newDecoder(testStream())
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	latest := now.Add(time.Hour).UnixNano()
	good := `"time":"2026-01-01T00:00:00Z"`
	for line, want := range map[string]Reason{
		`{` + good + `}`:                               accepted,
		`{"time":"2026-01-01T01:00:00Z"}`:              accepted,
		`{"time":"2026-01-01T01:00:00.000000001Z"}`:    TooFarAhead,
		`{"time":null}`:                                NoTime,
		`{}`:                                           NoTime,
		`{"time":17}`:                                  BadTime,
		`{"time":"yesterday"}`:                         BadTime,
		`{"time":{"x":1}}`:                             BadTime,
		`not json`:                                     NotJSON,
		`[1]`:                                          NotJSON,
		`{` + good + `,"latency":1e999}`:               NonFinite,
		`{` + good + `,"latency":"NaN"}`:               NonFinite,
		`{` + good + `,"latency":"-Infinity"}`:         NonFinite,
		`{` + good + `,"latency":"1e999"}`:             NonFinite,
		`{` + good + `,"latency":"fast"}`:              NotANumber,
		`{` + good + `,"latency":[1]}`:                 NotANumber,
		`{` + good + `,"latency":"12.5","bytes":true}`: accepted,
		`{` + good + `,"latency":"","bytes":null}`:     accepted,
		`{` + good + `,"other":"` + strings.Repeat("x", 4096) + `"}`:   TooLong,
		`{` + good + `,"service":"` + strings.Repeat("x", 1025) + `"}`: ValueTooLong,
		`{` + good + `,"path":"` + strings.Repeat("x", 1025) + `"}`:    accepted,
	} {
		if got := d.decode([]byte(line), latest); got != want {
			t.Errorf("%.80s: %v, want %v", line, got, want)
		}
	}
	if got := d.decode([]byte(`{"time":"2026-01-01T00:00:07Z","geo":{"country":"CH","city":"Basel"},"service":12.50,`+
		`"latency":"12.5","bytes":true,"user":false,"path":"/\u00e9","status":404}`), latest); got != accepted {
		t.Fatal(got)
	}
	e := &d.event
	if e.time != now.Add(7*time.Second).UnixNano() || string(e.dims[0]) != "12.50" || string(e.dims[1]) != "CH" {
		t.Errorf("time and dimensions: %+v", e)
	}
	if e.numbers[0] != 1 || e.numbers[1] != 12.5 {
		t.Errorf("numbers: %v", e.numbers)
	}
	if string(e.items[0].text) != "/é" || string(e.items[1].text) != "404" || string(e.items[2].text) != "false" {
		t.Errorf("items: %q %q %q", e.items[0].text, e.items[1].text, e.items[2].text)
	}
	if d.decode([]byte(`{`+good+`,"user":{}}`), latest); e.items[2].ok || !math.IsNaN(e.numbers[0]) || len(e.dims[0]) != 0 {
		t.Errorf("what is missing or nested counts as missing: %+v", e)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:07Z","geo":{"country":"CH"},"service":"a","latency":1.5,"user":"u","path":"/"}`), "unix")
	f.Add([]byte(`{"time":17.5,"latency":"1e5"}`), "rfc3339")
	f.Fuzz(func(t *testing.T, line []byte, format string) {
		s := testStream()
		s.Time.Format = weir.TimeFormat(format)
		d, _, _ := newDecoder(s)
		first := d.decode(line, math.MaxInt64)
		if again := d.decode(line, math.MaxInt64); again != first {
			t.Fatalf("%q: %v at first, %v when the keys are known", line, first, again)
		}
		if first != accepted {
			return
		}
		for _, n := range d.event.numbers {
			if math.IsInf(n, 0) {
				t.Fatalf("%q: accepted %v", line, n)
			}
		}
		for _, v := range d.event.dims {
			if len(v) > MaxValue {
				t.Fatalf("%q: accepted a dimension of %d bytes", line, len(v))
			}
		}
	})
}
