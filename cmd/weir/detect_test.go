package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// referenceAnswers returns the folder of the R packages' answers, which lies in
// a folder above the repository.
func referenceAnswers(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		folder := filepath.Join(dir, "shared", "reference", "anomaly")
		if _, err := os.Stat(folder); err == nil {
			return folder
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("the reference answers, shared/reference/anomaly, are in no folder above this one: nothing to compare with")
		}
		dir = parent
	}
}

func readIndex(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// The command line answers as the packages do, case by case.
func TestDetectSeasonalReference(t *testing.T) {
	folder := referenceAnswers(t)
	var index struct {
		Cases []struct {
			ID, Function, Input string
			Params              map[string]any
			Expected            *struct {
				Index     []int
				Timestamp []string
				Value     []float64
			}
			Fragile bool
		}
	}
	readIndex(t, filepath.Join(folder, "anomaly_index.json"), &index)
	agree, asked := 0, 0
	for _, c := range index.Cases {
		if c.Fragile {
			continue
		}
		asked++
		args := []string{"detect", "seasonal", filepath.Join(folder, c.Input), "--method", "esd", "-o", "json"}
		add := func(flag, param, absent string) {
			if v, ok := c.Params[param]; ok {
				args = append(args, flag, fmt.Sprint(v))
			} else if absent != "" {
				args = append(args, flag, absent)
			}
		}
		add("--max-anoms", "max_anoms", "0.1")
		add("--direction", "direction", "pos")
		add("--alpha", "alpha", "")
		add("--threshold", "threshold", "")
		add("--piecewise-weeks", "piecewise_median_period_weeks", "")
		add("--longterm-period", "longterm_period", "")
		add("--period", "period", "")
		if c.Params["longterm"] == true {
			args = append(args, "--longterm")
		}
		if c.Params["e_value"] == true {
			args = append(args, "--expected")
		}
		switch last := c.Params["only_last"].(type) {
		case string:
			args = append(args, "--only-last", last)
		case bool:
			args = append(args, "--only-last", "period")
		}
		var stdout, stderr bytes.Buffer
		code := run(args, strings.NewReader(""), &stdout, &stderr)
		if c.Expected == nil {
			if code != exitFailed || !strings.Contains(stderr.String(), filepath.Base(c.Input)+":") {
				t.Errorf("%s: exit %d, %s", c.ID, code, stderr.String())
				continue
			}
			agree++
			continue
		}
		var got struct {
			Index     []int
			Timestamp []string
			Value     []float64
			Expected  []float64
		}
		if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
			t.Errorf("%s: %v: %s%s", c.ID, err, stdout.String(), stderr.String())
			continue
		}
		if !slices.Equal(got.Index, c.Expected.Index) || !slices.Equal(got.Value, c.Expected.Value) ||
			c.Expected.Timestamp != nil && !slices.Equal(got.Timestamp, c.Expected.Timestamp) || len(got.Expected) != len(got.Index) {
			t.Errorf("%s: %s", c.ID, stdout.String())
			continue
		}
		agree++
	}
	t.Logf("%d of %d cases agree", agree, asked)
}

func TestDetectBreakoutReference(t *testing.T) {
	folder := referenceAnswers(t)
	var index struct {
		Cases []struct {
			ID, Input string
			Params    map[string]any
			Expected  *struct {
				Loc  []int
				Stat float64
			}
		}
	}
	readIndex(t, filepath.Join(folder, "breakout_index.json"), &index)
	agree, asked := 0, 0
	for _, c := range index.Cases {
		if c.Params["exact"] == false {
			continue // the approximate form is left out
		}
		asked++
		args := []string{"detect", "breakout", filepath.Join(folder, c.Input), "-o", "json"}
		for _, flag := range []struct{ name, param string }{
			{"--method", "method"}, {"--min-size", "min.size"}, {"--beta", "beta"},
			{"--percent", "percent"}, {"--degree", "degree"}, {"--permutations", "nperm"},
		} {
			if v, ok := c.Params[flag.param]; ok {
				args = append(args, flag.name, fmt.Sprint(v))
			}
		}
		var stdout, stderr bytes.Buffer
		code := run(args, strings.NewReader(""), &stdout, &stderr)
		if c.Expected == nil {
			if code == exitOK {
				t.Errorf("%s: %s", c.ID, stdout.String())
				continue
			}
			agree++
			continue
		}
		var got struct {
			Loc  []int
			Stat float64
		}
		if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
			t.Errorf("%s: %v: %s%s", c.ID, err, stdout.String(), stderr.String())
			continue
		}
		if !slices.Equal(got.Loc, c.Expected.Loc) || math.Abs(got.Stat-c.Expected.Stat) > 1e-9*math.Abs(got.Stat) {
			t.Errorf("%s: %s, want %v", c.ID, stdout.String(), *c.Expected)
			continue
		}
		agree++
	}
	t.Logf("%d of %d cases agree", agree, asked)
}

// Times are understood as people and programs write them.
func TestParseTimes(t *testing.T) {
	want := []time.Time{
		time.Date(2024, 3, 31, 22, 0, 0, 0, time.UTC),
		time.Date(2024, 3, 31, 23, 0, 0, 0, time.UTC),
		time.Date(2024, 4, 13, 0, 0, 0, 0, time.UTC),
	}
	for _, layout := range append(slices.Clone(timeLayouts), "2006-01-02 15:04:05.000", "2006-01-02T15:04:05.999999999Z07:00") {
		if !strings.Contains(layout, "15") && !strings.Contains(layout, "3:04") {
			continue // days alone are below
		}
		s := &series{path: "s.csv"}
		for i, at := range want {
			s.label = append(s.label, at.Format(layout))
			s.line = append(s.line, i+2)
		}
		got, err := parseTimes(s)
		if err != nil {
			t.Errorf("%v: %v", s.label, err)
			continue
		}
		for i, at := range want {
			if got[i] != at.UnixNano() {
				t.Errorf("%q is %v, want %v", s.label[i], time.Unix(0, got[i]).UTC(), at)
			}
		}
	}
	for _, test := range []struct {
		labels string
		want   string // the last of them, or the error
	}{
		{"2024-02-28 2024-02-29", "2024-02-29T00:00:00Z"},
		{"2/28/2024 2/29/2024", "2024-02-29T00:00:00Z"},
		{"28.2.2024 29.2.2024", "2024-02-29T00:00:00Z"},
		{"20240228 20240229", "2024-02-29T00:00:00Z"},
		{"1709164800 1709168400", "2024-02-29T01:00:00Z"},
		{"1709164800.5 1709168400.25", "2024-02-29T01:00:00.25Z"},
		{"1709164800000 1709168400000", "2024-02-29T01:00:00Z"},
		{"1709164800000000 1709168400000000", "2024-02-29T01:00:00Z"},
		{"1709164800000000000 1709168400000000001", "2024-02-29T01:00:00.000000001Z"},
		{"2024-02-28T00:00:00+02:00 2024-02-29T00:00:00+01:00", "2024-02-28T23:00:00Z"},
		{"1 2 3", `s.csv:2: "1" is not a time, or not in the way of the lines before`},
		{"2024-02-28 2024-02-30", `s.csv:3: "2024-02-30" is not a time, or not in the way of the lines before`},
		{"2024-02-28 soon", `s.csv:3: "soon" is not a time, or not in the way of the lines before`},
		{"0001-01-01 0001-01-02", `s.csv:2: "0001-01-01" is not a time, or not in the way of the lines before`},
	} {
		s := &series{path: "s.csv", label: strings.Fields(test.labels)}
		for i := range s.label {
			s.line = append(s.line, i+2)
		}
		got, err := parseTimes(s)
		if err != nil {
			if err.Error() != test.want {
				t.Errorf("%s: %v, want %s", test.labels, err, test.want)
			}
			continue
		}
		if last := time.Unix(0, got[len(got)-1]).UTC().Format(time.RFC3339Nano); last != test.want {
			t.Errorf("%s: the last is %s, want %s", test.labels, last, test.want)
		}
	}
}

// Files are read as they come; what is wrong in one is named with its line.
func TestReadSeries(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		name, text string
		want       []float64
		labels     int
		mistake    string
	}{
		{name: "header", text: "timestamp,count\n1,5\n2,6\n", want: []float64{5, 6}, labels: 2},
		{name: "no header", text: "1,5\n2,6", want: []float64{5, 6}, labels: 2},
		{name: "quoted", text: "\"timestamp\",\"count\"\r\n\"1\",\"5\"\r\n\"2\",\"6.5\"\r\n", want: []float64{5, 6.5}, labels: 2},
		{name: "one column", text: "count\n5\n6\n", want: []float64{5, 6}},
		{name: "one column, no header", text: "5\n-6e3\n", want: []float64{5, -6000}},
		{name: "byte order mark", text: "\ufeffcount\n5\n", want: []float64{5}},
		{name: "semicolons", text: "t;v\n1;5\n", want: []float64{5}, labels: 1},
		{name: "tabs", text: "t\tv\n1\t5\n", want: []float64{5}, labels: 1},
		{name: "spaces", text: "t, v\n1, 5 \n", want: []float64{5}, labels: 1},
		{name: "missing", text: "t,v\n1,\n2,NA\n3,NaN\n4,null\n5,6\n", want: []float64{nan, nan, nan, nan, 6}, labels: 5},
		{name: "empty lines in one column", text: "count\n5\n\n6\n\n", want: []float64{5, nan, 6}},
		{name: "empty lines in two", text: "t,v\n1,5\n\n2,6\n\n", want: []float64{5, 6}, labels: 2},
		{name: "nothing", text: "", mistake: "f.csv:1: there are no values"},
		{name: "header alone", text: "t,v\n", mistake: "f.csv:1: there are no values"},
		{name: "three columns", text: "a,b,c\n1,2,3\n", mistake: "f.csv:1: 3 columns; a series has one, of values, or two, of timestamps and values"},
		{name: "word", text: "t,v\n1,5\n2,six\n", mistake: `f.csv:3: "six" is not a number`},
		{name: "two words", text: "five\nsix\n", mistake: `f.csv:2: "six" is not a number`},
		{name: "infinity", text: "5\n6\nInf\n", mistake: `f.csv:3: "Inf" is not a finite number`},
		{name: "too large", text: "5\n1e999\n", mistake: `f.csv:2: "1e999" is not a finite number`},
		{name: "a column short", text: "t,v\n1,5\n2\n", mistake: "f.csv:3: 1 column, where the lines before have 2"},
		{name: "a column more", text: "5\n6\n7,8\n", mistake: "f.csv:3: 2 columns, where the lines before have 1"},
		{name: "open quote", text: "t,v\n1,5\n\"2,6\n", mistake: `f.csv:3: extraneous or missing " in quoted-field`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f.csv")
			if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := readSeries(path, nil)
			if test.mistake != "" {
				if err == nil || !strings.HasSuffix(err.Error(), test.mistake) {
					t.Fatalf("error %v, want %s", err, test.mistake)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			same := slices.EqualFunc(s.value, test.want, func(a, b float64) bool { return a == b || a != a && b != b })
			if !same || len(s.label) != test.labels || len(s.line) != len(s.value) {
				t.Errorf("%v with labels %q, want %v", s.value, s.label, test.want)
			}
		})
	}
}

// A drawing has a place for every row, and copes with any series.
func TestDrawSeries(t *testing.T) {
	nan := math.NaN()
	for _, values := range [][]float64{
		{1},
		{5, 5, 5},
		{nan, nan},
		{nan, 1, nan, 2, nan},
		{-1e308, 1e308, 0},
		slices.Repeat([]float64{1, 2, 3}, 5000),
	} {
		for _, width := range []int{1, 30, 200} {
			var drawn bytes.Buffer
			out := &detectOutput{series: &series{value: values}, width: width}
			drawSeries(&drawn, out, []int{0, len(values) - 1})
			if math.IsNaN(values[0]) && len(values) == 2 {
				if drawn.Len() > 0 {
					t.Errorf("%s is drawn of nothing", drawn.String())
				}
				continue
			}
			if lines := strings.Count(drawn.String(), "\n"); lines != drawingHeight+2 {
				t.Errorf("%d lines are drawn of %d values:\n%s", lines, len(values), drawn.String())
			}
		}
	}
}
