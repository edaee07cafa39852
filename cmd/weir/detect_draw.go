package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Lines of a drawing, without marks and labels.
const drawingHeight = 12

// Escape codes for terminals.
const (
	redText   = "\x1b[31m"
	plainText = "\x1b[0m"
)

// drawSeries draws the series in lines of Braille, and a mark under the columns
// in which the rows are.
//
//	250 ┤⠀⠀⠀⠀⠀⡆⠀
//	    │⣀⡠⠔⠒⠒⡇⠉
//	 40 ┤⠁⠀⠀⠀⠀⠀⠀
//	          ▲
func drawSeries(w io.Writer, out *detectOutput, marked []int) {
	values := out.series.value
	least, most := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			least, most = min(least, v), max(most, v)
		}
	}
	if least > most {
		return // all are missing
	}
	top, bottom := shortNumber(most), shortNumber(least)
	margin := max(utf8.RuneCountInString(top), utf8.RuneCountInString(bottom))
	columns := max(10, out.width-margin-3)
	picture := newBraille(columns, drawingHeight)
	columns = picture.plot(values, least, most)

	for line := range drawingHeight {
		label, axis := "", "│"
		switch line {
		case 0:
			label, axis = top, "┤"
		case drawingHeight - 1:
			label, axis = bottom, "┤"
		}
		fmt.Fprintf(w, "%*s %s%s\n", margin, label, axis, strings.TrimRight(picture.line(line), "\u2800"))
	}
	marks := make([]bool, columns)
	for _, row := range marked {
		marks[row*columns/len(values)] = true
	}
	var under strings.Builder
	for _, mark := range marks {
		if mark {
			under.WriteString("▲")
		} else {
			under.WriteByte(' ')
		}
	}
	if text := strings.TrimRight(under.String(), " "); text != "" {
		if out.colour {
			text = redText + text + plainText
		}
		fmt.Fprintf(w, "%*s  %s\n", margin, "", text)
	}
	first, last := out.series.labelOf(0), out.series.labelOf(len(values)-1)
	gap := max(1, columns-utf8.RuneCountInString(first)-utf8.RuneCountInString(last))
	fmt.Fprintf(w, "%*s  %s%s%s\n", margin, "", first, strings.Repeat(" ", gap), last)
}

// braille is a picture of dots, two by four a character.
type braille struct {
	columns, lines int
	cells          []byte
}

func newBraille(columns, lines int) *braille {
	return &braille{columns: columns, lines: lines, cells: make([]byte, columns*lines)}
}

// plot draws the values from left to right and returns how many columns of
// characters that took: fewer than there are when there are few values.
func (b *braille) plot(values []float64, least, most float64) int {
	n := len(values)
	b.columns = min(b.columns, max(10, n))
	width, height := 2*b.columns, 4*b.lines
	y := func(v float64) int {
		if most == least {
			return height / 2
		}
		// Halves first, for the difference may be more than a float holds.
		share := (most/2 - v/2) / (most/2 - least/2)
		return int(math.Round(share * float64(height-1)))
	}
	previous := -1
	for x := range width {
		from := x * n / width
		to := max(from+1, (x+1)*n/width)
		high, low := height, -1 // the dots this column reaches between
		end := -1
		for _, v := range values[from:to] {
			if math.IsNaN(v) {
				end = -1
				continue
			}
			end = y(v)
			high, low = min(high, end), max(low, end)
		}
		if low < 0 {
			previous = -1
			continue
		}
		if previous >= 0 { // a line from the column before
			high, low = min(high, previous+1), max(low, previous-1)
		}
		for dot := max(0, min(high, low)); dot <= min(max(high, low), height-1); dot++ {
			b.set(x, dot)
		}
		previous = end
	}
	return b.columns
}

// set sets a dot.
func (b *braille) set(x, y int) {
	dots := [4][2]byte{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}
	b.cells[y/4*b.columns+x/2] |= dots[y%4][x%2]
}

// line returns a line of characters.
func (b *braille) line(i int) string {
	var text strings.Builder
	for _, cell := range b.cells[i*b.columns : (i+1)*b.columns] {
		text.WriteRune(rune(0x2800) + rune(cell))
	}
	return text.String()
}
