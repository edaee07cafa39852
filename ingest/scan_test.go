package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// testScanner wants these paths, in this order.
func testScanner(paths ...string) *scanner {
	s := &scanner{}
	for _, p := range paths {
		s.slot(strings.Split(p, "."))
	}
	return s
}

var scannedPaths = []string{"a", "b.c", "b", "time", "a long key of more than sixteen bytes", "d.e.f"}

// scanOracle is what the scanner promises, by encoding/json.
func scanOracle(line []byte) (map[string]any, bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var v any
	if !json.Valid(line) || d.Decode(&v) != nil {
		return nil, false
	}
	o, ok := v.(map[string]any)
	return o, ok
}

func lookUp(o map[string]any, path string) any {
	var v any = o
	for _, k := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// agree compares a scanned value with what encoding/json found.
func agree(v *value, want any) error {
	switch want := want.(type) {
	case nil:
		if v.kind != missing {
			return fmt.Errorf("kind %d, want missing", v.kind)
		}
	case string:
		if v.kind != text || string(v.text) != want {
			return fmt.Errorf("kind %d %q, want the string %q", v.kind, v.text, want)
		}
	case bool:
		if v.kind != boolean || string(v.text) != strconv.FormatBool(want) {
			return fmt.Errorf("kind %d %q, want %v", v.kind, v.text, want)
		}
	case json.Number:
		f, _ := strconv.ParseFloat(want.String(), 64)
		if v.kind != number || string(v.text) != want.String() || math.Float64bits(v.num) != math.Float64bits(f) {
			return fmt.Errorf("kind %d %q = %v, want the number %s = %v", v.kind, v.text, v.num, want, f)
		}
	default:
		if v.kind != container {
			return fmt.Errorf("kind %d, want a container", v.kind)
		}
	}
	return nil
}

// depth is the deepest nesting of a line, strings left aside.
func depth(line []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

func checkScan(t *testing.T, s *scanner, line []byte) {
	t.Helper()
	o, want := scanOracle(line)
	if want && depth(line) > maxDepth {
		want = false
	}
	if got := s.scan(line); got != want {
		t.Fatalf("scan(%q) = %v, encoding/json says %v", line, got, want)
	} else if !got {
		return
	}
	for i, p := range scannedPaths {
		if duplicated(line, p) {
			continue // encoding/json merges the objects of equal keys, we take the last
		}
		if err := agree(&s.values[i], lookUp(o, p)); err != nil {
			t.Fatalf("scan(%q): %s: %v", line, p, err)
		}
	}
}

// duplicated reports whether a key of a nested path might occur twice.
func duplicated(line []byte, path string) bool {
	if !strings.Contains(path, ".") {
		return false
	}
	return bytes.Contains(line, []byte("\\")) || bytes.Count(line, []byte(`"`+path[:1]+`"`)) > 1
}

var scanCases = []string{
	`{}`, ` { } `, `[]`, `"a"`, `1`, ``, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a":1}}`, `{"a":1} x`,
	`{"a":1}`, `{"a":-0}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e5}`, `{"a":1E+05}`, `{"a":1e}`, `{"a":+1}`, `{"a":-}`,
	`{"a":1e400}`, `{"a":-1e400}`, `{"a":1e-400}`, `{"a":12345678901234567890}`, `{"a":0.1234567890123456789012345}`,
	`{"a":9007199254740993}`, `{"a":123456789012345678e-18}`, `{"a":1.7976931348623157e308}`, `{"a":5e-324}`, `{"a":00000000000000000000001}`,
	`{"a":"x"}`, `{"a":"\u00e9\n\t\"\\\/"}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83d"}`, `{"a":"\ud83dx"}`, `{"a":"\ude00\ud83d\u0041"}`,
	`{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`, `{"a":"é"}`, "{\"a\":\"\xff\xfe\"}", "{\"a\":\"\x01\"}", "{\"a\":\"tab\there\"}", "{\"a\":\"0123456\xc3\xa9789\"}",
	`{"a":true,"b":false}`, `{"a":tru}`, `{"a":null}`, `{"a":nul}`, `{"a":nullx}`,
	`{"a":[1,2,{"x":"]}"}],"time":3}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":{"b":1,}}`, `{"a":{"b" 1}}`, `{"a":[1 2]}`, `{"a":{1:2}}`,
	`{"b":{"c":5,"x":[{}]},"time":"now"}`, `{"b":{"c":{"d":1}}}`, `{"b":7}`, `{"b":null}`, `{"d":{"e":{"f":"deep"}}}`, `{"d":{"e":4}}`,
	`{"a":1,"a":"two"}`, `{"a":1,"a":null}`, `{"\u0061":1}`, `{"a long key of more than sixteen bytes":1,"a":2}`,
	`{"a long key of more than sixteen bytez":1,"a":2}`, "{\"a\"\t:\r\n1 , \"time\" : 2 }", `{"a":1 "time":2}`, `{"a":1,,"time":2}`,
}

func TestScan(t *testing.T) {
	s := testScanner(scannedPaths...)
	// Twice: the second time the keys are predicted, rightly or wrongly.
	for range 2 {
		for _, line := range scanCases {
			checkScan(t, s, []byte(line))
			checkScan(t, s, []byte(line))
		}
	}
	for _, n := range []int{maxDepth - 1, maxDepth, maxDepth + 1} {
		checkScan(t, s, []byte(`{"x":`+strings.Repeat("[", n-1)+strings.Repeat("]", n-1)+`}`))
	}
}

// A line is cut out of a block: what stands behind it must not matter, nor
// what the lines before it looked like.
func TestScanWithinABlock(t *testing.T) {
	s := testScanner(scannedPaths...)
	block := []byte(`{"a":1,"time":2}` + "\n" + `{"a":3,"time":4,"b":{"c":1}}` + "\n" + `{"a":1,"time":`)
	for end := range block {
		for start := range min(end, 18) {
			checkScan(t, s, block[start:end])
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, line := range scanCases {
		f.Add([]byte(line), []byte(`{"a":1,"time":2}`))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := testScanner(scannedPaths...)
		for _, line := range [][]byte{first, second, first, second} {
			checkScan(t, s, line)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	line := []byte(`{"time":"2026-01-01T00:00:00.007Z","service":"svc-000","region":"eu-west-1","user":"u0000042","path":"/v1/items/00017","latency":12.47}` + "\n{\"next\":\"line\"}")
	line = line[:bytes.IndexByte(line, '\n')]
	s := testScanner("time", "service", "region", "user", "path", "latency")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if !s.scan(line) {
			b.Fatal("not JSON")
		}
	}
}
