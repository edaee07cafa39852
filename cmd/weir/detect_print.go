package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// detectOutput is where findings go, and what they were found in.
type detectOutput struct {
	to     io.Writer
	series *series
	width  int
	colour bool
}

// anomalies are the unusual values of a series.
type anomalies struct {
	rows     []int     // counted from 0, in the order of the method
	expected []float64 // at each of them

	period       int // rows of a season; 0 if there is none
	showExpected bool

	// What was expected of every row and the band around it, NaN where nothing
	// was; nil if the method does not tell.
	forecast, lower, upper []float64
}

// breakouts are the changes of a series' level.
type breakouts struct {
	loc  []int    // the number of rows before each
	stat *float64 // how large the only one is
	p    *float64 // how often chance looks like it
}

// A form of their own keeps the keys in order and empty lists lists.
func (a *anomalies) writeJSON(out *detectOutput) error {
	answer := struct {
		Index     []int     `json:"index"`
		Timestamp *[]string `json:"timestamp,omitempty"`
		Value     []float64 `json:"value"`
		Expected  []float64 `json:"expected"`
	}{Index: []int{}, Value: []float64{}, Expected: []float64{}}
	timestamps := []string{}
	for i, row := range a.rows {
		answer.Index = append(answer.Index, row+1)
		answer.Value = append(answer.Value, out.series.value[row])
		answer.Expected = append(answer.Expected, a.expected[i])
		timestamps = append(timestamps, out.series.labelOf(row))
	}
	if out.series.label != nil {
		answer.Timestamp = &timestamps
	}
	return json.NewEncoder(out.to).Encode(answer)
}

func (b *breakouts) writeJSON(out *detectOutput) error {
	return json.NewEncoder(out.to).Encode(struct {
		Loc  []int    `json:"loc"`
		Stat *float64 `json:"stat,omitempty"`
		P    *float64 `json:"pvalue,omitempty"`
	}{append([]int{}, b.loc...), b.stat, b.p})
}

// writeTable draws the series, and lists the anomalies below.
func (a *anomalies) writeTable(out *detectOutput) error {
	w := bufio.NewWriter(out.to)
	s := out.series
	fmt.Fprint(w, s.describe())
	if a.period > 0 {
		fmt.Fprintf(w, ", a season of %s", plural(a.period, "row"))
	}
	noun := " anomalies"
	if len(a.rows) == 1 {
		noun = " anomaly"
	}
	fmt.Fprintf(w, "\n%s%s\n\n", grouped(int64(len(a.rows))), noun)
	drawSeries(w, out, a.rows)
	if len(a.rows) == 0 {
		return w.Flush()
	}
	t := textTable{right: []bool{true, false, true, true, true, true}}
	heading := []string{"row", "timestamp", "value"}
	if a.showExpected {
		heading = append(heading, "expected")
		if a.lower != nil {
			heading = append(heading, "lower", "upper")
		}
	}
	t.add(heading...)
	for i, row := range a.rows {
		cells := []string{grouped(int64(row + 1)), s.labelOf(row), shortNumber(s.value[row])}
		if a.showExpected {
			cells = append(cells, shortNumber(a.expected[i]))
			if a.lower != nil {
				cells = append(cells, shortNumber(a.lower[row]), shortNumber(a.upper[row]))
			}
		}
		t.add(cells...)
	}
	if s.label == nil {
		t.drop(1)
	}
	fmt.Fprintln(w)
	t.write(w)
	return w.Flush()
}

// writeTable draws the series, and lists its levels below.
func (b *breakouts) writeTable(out *detectOutput) error {
	w := bufio.NewWriter(out.to)
	s := out.series
	found := b.within(len(s.value))
	fmt.Fprintf(w, "%s\n%s", s.describe(), plural(len(found), "breakout"))
	if b.stat != nil && *b.stat >= 0 {
		fmt.Fprintf(w, ", statistic %s", shortNumber(*b.stat))
	}
	if b.p != nil {
		fmt.Fprintf(w, ", p-value %s", shortNumber(*b.p))
	}
	if len(b.loc) > len(found) {
		fmt.Fprint(w, ": the series is shorter than two segments")
	}
	fmt.Fprint(w, "\n\n")
	drawSeries(w, out, found)
	t := textTable{right: []bool{true, true, false, true}}
	t.add("from row", "to row", "from", "median")
	for from, to := range b.segments(len(s.value)) {
		t.add(grouped(int64(from+1)), grouped(int64(to)), s.labelOf(from), shortNumber(medianBetween(s.value[from:to])))
	}
	if s.label == nil {
		t.drop(2)
	}
	fmt.Fprintln(w)
	t.write(w)
	return w.Flush()
}

// within are the breakouts inside of the n rows.
func (b *breakouts) within(n int) []int {
	return slices.DeleteFunc(slices.Clone(b.loc), func(at int) bool { return at <= 0 || at >= n })
}

// segments are the parts of n rows between the breakouts.
func (b *breakouts) segments(n int) func(yield func(from, to int) bool) {
	return func(yield func(from, to int) bool) {
		from := 0
		for _, to := range append(b.within(n), n) {
			if !yield(from, to) {
				return
			}
			from = to
		}
	}
}

func medianBetween(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// describe says what the series is.
func (s *series) describe() string {
	text := fmt.Sprintf("%s: %s", s.name(), plural(len(s.value), "row"))
	if s.time != nil {
		text += fmt.Sprintf(", %s to %s", s.label[0], s.label[len(s.label)-1])
	}
	return text
}

// shortNumber writes a number for people.
func shortNumber(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case math.Abs(v) >= 1e-4 && math.Abs(v) < 1e15:
		digits := max(0, 5-int(math.Floor(math.Log10(math.Abs(v)))))
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// textTable is written in columns.
type textTable struct {
	rows  [][]string
	right []bool // columns that are flush right
}

func (t *textTable) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *textTable) drop(column int) {
	t.right = slices.Delete(t.right, column, column+1)
	for i, row := range t.rows {
		t.rows[i] = slices.Delete(row, column, column+1)
	}
}

func (t *textTable) write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line.WriteString("  ")
			}
			if t.right[i] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
