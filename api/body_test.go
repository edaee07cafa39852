package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// lawful checks what holds of lines however they came about: each is one line,
// none is blank or padded.
func lawful(t *testing.T, lines []byte, n int) [][]byte {
	t.Helper()
	if n == 0 {
		if len(lines) != 0 {
			t.Fatalf("no lines, but %q", lines)
		}
		return nil
	}
	if !bytes.HasSuffix(lines, []byte("\n")) {
		t.Fatalf("the last line of %q has no end", lines)
	}
	split := bytes.Split(lines[:len(lines)-1], []byte("\n"))
	if len(split) != n {
		t.Fatalf("%d lines announced, %d given: %q", n, len(split), lines)
	}
	for _, line := range split {
		if from, to := trim(line, 0, len(line)); from != 0 || to != len(line) || to == 0 {
			t.Fatalf("line %q is blank or padded", line)
		}
	}
	return split
}

// FuzzArray holds the splitter of arrays against encoding/json: an array that
// is valid JSON is split into its elements; one that is not is refused, or at
// least one of its lines is no JSON either.
func FuzzArray(f *testing.F) {
	for _, seed := range []string{
		`[]`, ` [ ] `, `[1]`, `[{"a":1},{"b":[1,2,{}]}]`, "[\n{\n\"a\": \"x]\\\"},\"\n}\r\n,\ttrue]\n", `["\\","\"",",","]"]`,
		`[`, `]`, `[1,]`, `[,]`, `[1}]`, `[{]`, `[{]}]`, `["a]`, "[\"a\nb\"]", `[1]2`, `[1 2]`, "[1\n2]", `[[],[[]]]`, `["\u005d"]`, "[\"\\\n\"]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, n, err := linesOfArray(slices.Clone(body))
		var elements []json.RawMessage
		isArray := json.Unmarshal(body, &elements) == nil && elements != nil
		if err != nil {
			if isArray {
				t.Fatalf("%q is an array: %v", body, err)
			}
			return
		}
		split := lawful(t, lines, n)
		if !isArray {
			for _, line := range split {
				if !json.Valid(line) {
					return
				}
			}
			t.Fatalf("%q is no array, but became the JSON lines %q", body, split)
		}
		if len(split) != len(elements) {
			t.Fatalf("%q has %d elements, split into %q", body, len(elements), split)
		}
		for i, line := range split {
			if !bytes.Equal(compact(t, line), compact(t, elements[i])) {
				t.Fatalf("element %d of %q became %q", i, body, line)
			}
		}
	})
}

// FuzzObject does the same for a body that is one object.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{}`, "{\n\"a\": {\"b\":\"}\"}}\n", `{"a":[}`, `{"a":1}{}`, `{`, `{"a`, `{]`, "{\"a\n\":1}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if from, _ := trim(body, 0, len(body)); from == len(body) || body[from] != '{' {
			return // goes another way
		}
		line, n, err := lineOfObject(slices.Clone(body))
		if err != nil {
			if json.Valid(body) {
				t.Fatalf("%q is an object: %v", body, err)
			}
			return
		}
		split := lawful(t, line, n)
		if json.Valid(body) != json.Valid(split[0]) || json.Valid(body) && !bytes.Equal(compact(t, body), compact(t, split[0])) {
			t.Fatalf("%q became %q", body, split[0])
		}
	})
}

// FuzzNDJSON holds the lines against what is left of each line when the white
// space around it is gone.
func FuzzNDJSON(f *testing.F) {
	for _, seed := range []string{"", "\n", "{}\n{}", " a \r\n\n\t b", "a\rb\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want []string
		for line := range strings.SplitSeq(string(body), "\n") {
			if line = strings.Trim(line, " \t\r"); line != "" {
				want = append(want, line)
			}
		}
		lines, n := linesOfNDJSON(slices.Clip(slices.Clone(body)))
		var got []string
		for _, line := range lawful(t, lines, n) {
			got = append(got, string(line))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q became %q, want %q", body, got, want)
		}
	})
}

func compact(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return b.Bytes()
}

// TestArraysAtRandom splits valid arrays of every shape, indented at random.
func TestArraysAtRandom(t *testing.T) {
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		events := make([]any, r.IntN(6))
		for i := range events {
			events[i] = randomValue(r, 3)
		}
		text, err := json.Marshal(events)
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, text, "\r"[:r.IntN(2)], []string{"", " ", "\t", "\n"}[r.IntN(4)]); err != nil {
			t.Fatal(err)
		}
		lines, n, err := linesOfArray(pretty.Bytes())
		if err != nil || n != len(events) {
			t.Fatalf("%s: %d lines, %v", text, n, err)
		}
		for i, line := range lawful(t, lines, n) {
			want, err := json.Marshal(events[i])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(compact(t, line), want) {
				t.Fatalf("element %d of %s became %s", i, text, line)
			}
		}
	}
}

func randomValue(r *rand.Rand, depth int) any {
	switch n := r.IntN(7); {
	case n == 0 && depth > 0:
		object := map[string]any{}
		for range r.IntN(4) {
			object[randomText(r)] = randomValue(r, depth-1)
		}
		return object
	case n == 1 && depth > 0:
		array := make([]any, r.IntN(4))
		for i := range array {
			array[i] = randomValue(r, depth-1)
		}
		return array
	case n == 2:
		return nil
	case n == 3:
		return r.IntN(2) == 0
	case n == 4:
		return r.NormFloat64()
	}
	return randomText(r)
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(8) {
		b.WriteString([]string{`"`, `\`, "{", "}", "[", "]", ",", "\n", "x", "é", "\x00"}[r.IntN(11)])
	}
	return b.String()
}

func TestOneObjectIsTold(t *testing.T) {
	for body, want := range map[string]error{
		"{}":         nil,
		"{} ":        nil,
		"{}\n{}":     errOneValue,
		"{\"a\":1}x": errOneValue,
	} {
		if _, _, err := lineOfObject([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", body, err, want)
		}
	}
}

// Run: go test -bench Lines -run '^$' ./api
func BenchmarkLines(b *testing.B) {
	var ndjson, array bytes.Buffer
	array.WriteByte('[')
	for i := range 10_000 {
		event := fmt.Sprintf(`{"time":"2001-01-01T00:00:00.%03dZ","service":"checkout","region":"eu-west-1","user":"u%07d","path":"/api/v1/carts/%d","latency_ms":%d.25}`, i%1000, i*7919, i, i%500)
		ndjson.WriteString(event + "\n")
		if i > 0 {
			array.WriteByte(',')
		}
		array.WriteString(event)
	}
	array.WriteByte(']')
	for _, bench := range []struct {
		name string
		body []byte
		form form
	}{{"ndjson", ndjson.Bytes(), ndjsonForm}, {"array", array.Bytes(), jsonForm}} {
		b.Run(bench.name, func(b *testing.B) {
			body := make([]byte, len(bench.body))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				copy(body, bench.body) // in place: each time anew
				if _, n, err := bench.form.lines(body); n != 10_000 || err != nil {
					b.Fatalf("%d lines, %v", n, err)
				}
			}
			b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
