package query

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// WriteTable writes the answer to be read by people, in lines of about width
// characters:
//
//   - one point: a line for each value;
//   - a point for each of many series: a row for each series;
//   - many points of one series: a row for each point, and a sparkline for each
//     column;
//   - many points of many series: a sparkline for each series and column.
//
// An estimate that is not exact is followed by [lower, upper].
func (a *Answer) WriteTable(w io.Writer, width int) error {
	out := bufio.NewWriter(w)
	a.writeHeading(out)
	switch {
	case len(a.Series) == 0:
		fmt.Fprintln(out, "no events match")
	case len(a.Series) == 1 && len(a.Series[0].T) == 1:
		a.writeOnePoint(out)
	case len(a.Series[0].T) == 1:
		a.writeRows(out, width)
	case len(a.Series) == 1:
		a.writeRows(out, width)
		fmt.Fprintln(out)
		a.writeSparklines(out, width)
	default:
		a.writeSparklines(out, width)
	}
	if a.inexact() {
		fmt.Fprintf(out, "\n[lower, upper] holds the true value with %s %% confidence\n", number(100*a.Confidence))
	}
	for i, note := range a.Notes {
		if i == 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "note: %s\n", note)
	}
	return out.Flush()
}

func (a *Answer) writeHeading(w io.Writer) {
	layout := timeLayout([]int64{a.From.UnixNano(), a.To.UnixNano()})
	fmt.Fprintf(w, "%s, %s to %s UTC", a.Stream, a.From.UTC().Format(layout), a.To.UTC().Format(layout))
	if a.Step > 0 {
		fmt.Fprintf(w, ", every %s", weir.FormatDuration(a.Step))
	}
	if a.Window > a.Step {
		fmt.Fprintf(w, " over %s", weir.FormatDuration(a.Window))
	}
	if !a.Complete {
		fmt.Fprint(w, ", may be incomplete")
		if len(a.Notes) > 0 {
			fmt.Fprint(w, " (see the notes)")
		}
	}
	fmt.Fprint(w, "\n\n")
}

func (a *Answer) writeOnePoint(w io.Writer) {
	s := &a.Series[0]
	var lines [][]string
	for i, name := range a.By {
		lines = append(lines, []string{name, printable(s.By[i])})
	}
	for i := range s.Columns {
		c := &s.Columns[i]
		label := c.Name
		switch {
		case c.Items != nil:
			for _, item := range c.Items[0] {
				lines = append(lines, []string{label, printable(item.Item), itemText(item)})
				label = ""
			}
		case c.Bins != nil:
			bins, largest := joined(c.Bins[0], maxBars), 0.0
			for _, bin := range bins {
				largest = max(largest, float64(bin.Count))
			}
			for _, bin := range bins {
				bar := strings.Repeat("█", int(math.Ceil(30*float64(bin.Count)/largest)))
				lines = append(lines, []string{label, fmt.Sprintf("%s to %s", number(bin.Lower), number(bin.Upper)), number(float64(bin.Count)), bar})
				label = ""
			}
		default:
			lines = append(lines, []string{label, estimateText(c.At(0))})
			label = ""
		}
		if label != "" { // an empty list
			lines = append(lines, []string{label, "none"})
		}
	}
	writeAligned(w, lines, nil)
}

// maxBars bounds the lines of a histogram, so that its shape is seen at once.
// JSON and CSV have all of its bins.
const maxBars = 24

// joined returns at most n bins, each made of as many neighbours.
func joined(bins []sketch.Bin, n int) []sketch.Bin {
	each := max(1, (len(bins)+n-1)/n)
	coarse := make([]sketch.Bin, 0, n)
	for part := range slices.Chunk(bins, each) {
		bin := sketch.Bin{Lower: part[0].Lower, Upper: part[len(part)-1].Upper}
		for _, b := range part {
			bin.Count += b.Count
		}
		coarse = append(coarse, bin)
	}
	return coarse
}

// writeRows writes a row for each series, or for each point of the only series.
func (a *Answer) writeRows(w io.Writer, width int) {
	first := &a.Series[0]
	header := slices.Clone(a.By)
	layout := ""
	if len(first.T) > 1 {
		layout = timeLayout(first.T)
		header = append(header, "time (UTC)")
	}
	right := make([]bool, len(header))
	for i := range first.Columns {
		c := &first.Columns[i]
		header, right = append(header, c.Name), append(right, c.Value != nil)
		if c.Lower != nil {
			header, right = append(header, ""), append(right, false)
		}
	}
	lines := [][]string{header}
	for i := range a.Series {
		s := &a.Series[i]
		for point, t := range s.T {
			var line []string
			for _, value := range s.By {
				line = append(line, printable(value))
			}
			if layout != "" {
				line = append(line, time.Unix(0, t).UTC().Format(layout))
			}
			for j := range s.Columns {
				if c := &s.Columns[j]; c.Lower != nil {
					line = append(line, number(c.Value[point]), boundsText(c.At(point)))
				} else {
					line = append(line, c.cellText(point, width/2))
				}
			}
			lines = append(lines, line)
		}
	}
	writeAligned(w, lines, right)
}

// writeSparklines writes a line for each series and scalar column: its course,
// and its least, greatest and last value.
func (a *Answer) writeSparklines(w io.Writer, width int) {
	room := max(10, width-48)
	header := slices.Clone(a.By)
	many := len(a.Series[0].Columns) > 1 || len(a.By) == 0
	if many {
		header = append(header, "")
	}
	lines := [][]string{append(header, "", "least", "greatest", "last")}
	for i := range a.Series {
		s := &a.Series[i]
		for j := range s.Columns {
			c := &s.Columns[j]
			if c.Value == nil {
				continue
			}
			var line []string
			for _, value := range s.By {
				line = append(line, printable(value))
			}
			if many {
				line = append(line, c.Name)
			}
			least, greatest := extremes(c.Value)
			last := c.Value[len(c.Value)-1]
			lines = append(lines, append(line, sparkline(c.Value, room), number(least), number(greatest), number(last)))
		}
	}
	if len(lines) == 1 {
		fmt.Fprintln(w, "lists have no course to draw; -o json or -o csv shows them")
		return
	}
	if len(a.Series) > 1 && !many {
		lines[0][len(header)] = a.Series[0].Columns[0].Name
	}
	right := make([]bool, len(lines[0]))
	for i := len(right) - 3; i < len(right); i++ {
		right[i] = true
	}
	writeAligned(w, lines, right)
}

// writeAligned writes lines whose fields line up, those of right columns at
// their ends.
func writeAligned(w io.Writer, lines [][]string, right []bool) {
	var widths []int
	for _, line := range lines {
		for i, field := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(field))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.Reset()
		for i, field := range line {
			if widths[i] == 0 {
				continue
			}
			if i > 0 {
				b.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(field))
			if i < len(right) && right[i] {
				b.WriteString(pad + field)
			} else {
				b.WriteString(field + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values from zero (or the least, if negative or all far from
// zero) to the greatest, at most room characters wide: each draws the greatest
// of its share. Where no value is, there is a space.
func sparkline(values []float64, room int) string {
	least, greatest := extremes(values)
	if least > 0 && least < greatest/2 {
		least = 0
	}
	columns := min(room, len(values))
	line := make([]rune, columns)
	for i := range line {
		_, x := extremes(values[i*len(values)/columns : (i+1)*len(values)/columns])
		switch {
		case math.IsNaN(x):
			line[i] = ' '
		case greatest == least && greatest > 0:
			line[i] = sparks[len(sparks)/2]
		case greatest == least:
			line[i] = sparks[0]
		default:
			line[i] = sparks[int((x-least)/(greatest-least)*float64(len(sparks)-1)+0.5)]
		}
	}
	return string(line)
}

// extremes returns the least and greatest value, NaN if there is none.
func extremes(values []float64) (least, greatest float64) {
	least, greatest = math.NaN(), math.NaN()
	for _, x := range values {
		if math.IsNaN(x) {
			continue
		}
		if !(x >= least) {
			least = x
		}
		if !(x <= greatest) {
			greatest = x
		}
	}
	return least, greatest
}

func (a *Answer) inexact() bool {
	for i := range a.Series {
		for j := range a.Series[i].Columns {
			c := &a.Series[i].Columns[j]
			for point := range c.Lower {
				if c.Lower[point] < c.Upper[point] {
					return true
				}
			}
			for _, items := range c.Items {
				for _, item := range items {
					if item.Lower < item.Upper {
						return true
					}
				}
			}
		}
	}
	return false
}

func (c *Column) cellText(point, room int) string {
	switch {
	case c.Items != nil:
		text := ""
		for i, item := range c.Items[point] {
			more := printable(item.Item) + " " + number(float64(item.Count))
			if i > 0 {
				more = ", " + more
			}
			if utf8.RuneCountInString(text+more) > room {
				return text + ", …"
			}
			text += more
		}
		return text
	case c.Bins != nil:
		counts := make([]float64, len(c.Bins[point]))
		for i, bin := range c.Bins[point] {
			counts[i] = float64(bin.Count)
		}
		return sparkline(counts, max(10, room/2))
	}
	return number(c.Value[point])
}

func estimateText(e sketch.Estimate) string {
	return strings.TrimRight(number(e.Value)+" "+boundsText(e), " ")
}

// boundsText is blank where the value is exact, or none.
func boundsText(e sketch.Estimate) string {
	if !(e.Lower < e.Upper) {
		return ""
	}
	return fmt.Sprintf("[%s, %s]", number(e.Lower), number(e.Upper))
}

func itemText(item sketch.TopItem) string {
	return estimateText(sketch.Estimate{Value: float64(item.Count), Lower: float64(item.Lower), Upper: float64(item.Upper)})
}

// number writes x for people: whole numbers in full with commas, others to five
// digits.
func number(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	if math.IsInf(x, 0) || math.Abs(x) >= 1e15 || x != 0 && math.Abs(x) < 1e-4 {
		return strconv.FormatFloat(x, 'g', 5, 64)
	}
	text := strconv.FormatFloat(x, 'f', -1, 64)
	if whole, fraction, ok := strings.Cut(text, "."); ok {
		digits := max(0, 5-len(strings.TrimPrefix(strings.TrimPrefix(whole, "-"), "0")))
		if len(fraction) > digits {
			text = strconv.FormatFloat(x, 'f', digits, 64)
		}
	}
	whole, fraction, _ := strings.Cut(text, ".")
	fraction = strings.TrimRight(fraction, "0")
	sign := ""
	if whole[0] == '-' {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	return sign + whole
}

// timeLayout is the shortest layout that tells all times apart.
func timeLayout(times []int64) string {
	layout := "2006-01-02"
	for _, t := range times {
		switch {
		case t%int64(time.Second) != 0:
			return "2006-01-02 15:04:05.999999999"
		case t%int64(time.Minute) != 0:
			layout = "2006-01-02 15:04:05"
		case t%int64(24*time.Hour) != 0 && len(layout) < len("2006-01-02 15:04"):
			layout = "2006-01-02 15:04"
		}
	}
	return layout
}

// printable makes a value safe to print in a line: what a stream was sent may
// hold escape sequences.
func printable(value string) string {
	if value == "" {
		return `""`
	}
	for _, r := range value {
		if !strconv.IsPrint(r) {
			return strconv.Quote(value)
		}
	}
	return value
}
