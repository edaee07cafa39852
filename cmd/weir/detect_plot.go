package main

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The size of a plot, and what of it is for the legend and the border.
const (
	plotWidth, plotHeight = 32 * vg.Centimeter, 12 * vg.Centimeter
	legendWidth           = 3.5 * vg.Centimeter
	border                = 3 * vg.Millimeter
)

// plotForm is the form of a plot's file: png, svg, or what else its name ends
// in.
func plotForm(path string) string {
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
}

// writePlot draws the series, what was expected and the band around it, and a
// dot on each anomaly.
func (a *anomalies) writePlot(out *detectOutput, path string) error {
	p := newSeriesPlot(out.series, fmt.Sprintf("%s: %s", out.series.name(), countOf(len(a.rows), "anomaly", "anomalies")))
	p.band("usual", a.lower, a.upper)
	p.line("expected", a.forecast, 0, 1, expectedAmber)
	p.line("value", out.series.value, 0, 0.5, seriesBlue)
	dots := make(plotter.XYs, len(a.rows))
	for i, row := range a.rows {
		dots[i] = plotter.XY{X: p.x(row), Y: out.series.value[row]}
	}
	p.dots("anomaly", dots)
	return p.save(path)
}

// writePlot draws the series, its levels, and a line at each breakout.
func (b *breakouts) writePlot(out *detectOutput, path string) error {
	s := out.series
	found := b.within(len(s.value))
	p := newSeriesPlot(s, fmt.Sprintf("%s: %s", s.name(), countOf(len(found), "breakout", "breakouts")))
	p.line("value", s.value, 0, 0.5, seriesBlue)
	for from, to := range b.segments(len(s.value)) {
		level := make([]float64, to-from)
		median := medianBetween(s.value[from:to])
		for i := range level {
			level[i] = median
		}
		p.line("median", level, from, 1.2, expectedAmber)
	}
	for _, at := range found {
		p.upright("breakout", p.x(at))
	}
	return p.save(path)
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(int64(n)) + " " + many
}

// The colours of a plot.
var (
	seriesBlue    = color.RGBA{0x35, 0x5c, 0x8a, 0xff}
	expectedAmber = color.RGBA{0xd9, 0x8e, 0x04, 0xff}
	bandAmber     = color.NRGBA{0xf2, 0xb1, 0x34, 0x48}
	markRed       = color.RGBA{0xc6, 0x1a, 0x27, 0xff}
	gridGrey      = color.Gray{0xe4}
)

// seriesPlot is a plot of a series over time, or over its rows.
type seriesPlot struct {
	*plot.Plot
	series      *series
	legend      plot.Legend     // beside the plot, not in it
	least, most float64         // the values' range, a little widened
	inLegend    map[string]bool // what is there already
	err         error           // the first that happened
}

func newSeriesPlot(s *series, title string) *seriesPlot {
	p := &seriesPlot{Plot: plot.New(), series: s, least: math.Inf(1), most: math.Inf(-1), inLegend: map[string]bool{}}
	for _, v := range s.value {
		if !math.IsNaN(v) {
			p.least, p.most = min(p.least, v), max(p.most, v)
		}
	}
	margin := 0.05 * (p.most - p.least)
	if !(margin > 0) {
		margin = 1
	}
	p.least, p.most = p.least-margin, p.most+margin
	if last := len(s.value) - 1; last > 0 {
		p.X.Min, p.X.Max = p.x(0), p.x(last)
	}
	p.Y.Min, p.Y.Max = p.least, p.most
	p.Title.Text = title
	p.Title.Padding = 3 * vg.Millimeter
	p.legend = plot.NewLegend()
	p.legend.Top, p.legend.Left = true, true
	p.legend.Padding = 1 * vg.Millimeter
	p.legend.ThumbnailWidth = 8 * vg.Millimeter
	for _, style := range []*font.Font{
		&p.Title.TextStyle.Font, &p.legend.TextStyle.Font,
		&p.X.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font,
	} {
		style.Variant = "Sans"
	}
	p.X.Tick.Marker = numberTicks{}
	p.Y.Tick.Marker = numberTicks{}
	p.X.Label.Text = "row"
	if s.time != nil {
		p.X.Label.Text = "UTC"
		p.X.Tick.Marker = timeTicks{}
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridGrey, gridGrey
	p.Add(grid)
	return p
}

// x is where a row lies: its time in seconds, or its number.
func (p *seriesPlot) x(row int) float64 {
	if p.series.time != nil {
		return float64(p.series.time[row]) / 1e9
	}
	return float64(row + 1)
}

// keep notes the first error, and says whether there was none.
func (p *seriesPlot) keep(what string, err error) bool {
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("plot the %s: %w", what, err)
	}
	return err == nil
}

// name puts something in the legend, once.
func (p *seriesPlot) name(name string, thumbnail plot.Thumbnailer) {
	if !p.inLegend[name] {
		p.inLegend[name] = true
		p.legend.Add(name, thumbnail)
	}
}

// line draws values from a row on, with gaps where they are missing.
func (p *seriesPlot) line(name string, values []float64, from int, width vg.Length, c color.Color) {
	for _, part := range unbroken(values) {
		points := make(plotter.XYs, 0, part[1]-part[0])
		for i := part[0]; i < part[1]; i++ {
			points = append(points, plotter.XY{X: p.x(from + i), Y: values[i]})
		}
		line, err := plotter.NewLine(points)
		if !p.keep(name, err) {
			return
		}
		line.Color, line.Width = c, width*vg.Millimeter/2
		p.Add(line)
		p.name(name, line)
	}
}

// band fills what lies between two lines, as far as it can be seen.
func (p *seriesPlot) band(name string, lower, upper []float64) {
	for _, part := range unbroken(lower) {
		outline := make(plotter.XYs, 0, 2*(part[1]-part[0]))
		for i := part[0]; i < part[1]; i++ {
			outline = append(outline, plotter.XY{X: p.x(i), Y: min(max(lower[i], p.least), p.most)})
		}
		for i := part[1] - 1; i >= part[0]; i-- {
			outline = append(outline, plotter.XY{X: p.x(i), Y: min(max(upper[i], p.least), p.most)})
		}
		band, err := plotter.NewPolygon(outline)
		if !p.keep(name, err) {
			return
		}
		band.Color, band.LineStyle.Width = bandAmber, 0
		p.Add(band)
		p.name(name, band)
	}
}

func (p *seriesPlot) dots(name string, at plotter.XYs) {
	if len(at) == 0 {
		return
	}
	dots, err := plotter.NewScatter(at)
	if !p.keep(name, err) {
		return
	}
	dots.GlyphStyle = draw.GlyphStyle{Color: markRed, Radius: 1 * vg.Millimeter, Shape: draw.CircleGlyph{}}
	p.Add(dots)
	p.name(name, dots)
}

// upright draws a line from bottom to top.
func (p *seriesPlot) upright(name string, x float64) {
	line, err := plotter.NewLine(plotter.XYs{{X: x, Y: p.least}, {X: x, Y: p.most}})
	if !p.keep(name, err) {
		return
	}
	line.Color, line.Width = markRed, 0.5*vg.Millimeter
	line.Dashes = []vg.Length{2 * vg.Millimeter, 1 * vg.Millimeter}
	p.Add(line)
	p.name(name, line)
}

// save writes the plot in the form that the file's name ends in.
func (p *seriesPlot) save(path string) error {
	if p.err != nil {
		return p.err
	}
	picture, err := draw.NewFormattedCanvas(plotWidth, plotHeight, plotForm(path))
	if err != nil {
		return fmt.Errorf("plot as %s: %w", plotForm(path), err)
	}
	page := draw.New(picture)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	page = draw.Crop(page, border, -border, border, -border)
	p.Draw(draw.Crop(page, 0, -legendWidth, 0, 0))
	p.legend.Draw(draw.Crop(page, page.Size().X-legendWidth+border, 0, 0, -1*vg.Centimeter))
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	if _, err := picture.WriteTo(file); err != nil {
		file.Close()
		return fmt.Errorf("plot: write %s: %w", path, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("plot: write %s: %w", path, err)
	}
	return nil
}

// unbroken returns the parts of values without a missing one: from, and to
// without to.
func unbroken(values []float64) [][2]int {
	var parts [][2]int
	from := 0
	for i := range len(values) + 1 {
		if i < len(values) && !math.IsNaN(values[i]) {
			continue
		}
		if i > from {
			parts = append(parts, [2]int{from, i})
		}
		from = i + 1
	}
	return parts
}

// numberTicks are plot's own, with thousands apart.
type numberTicks struct{}

func (numberTicks) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i, t := range ticks {
		if t.Label != "" && t.Value == math.Trunc(t.Value) && math.Abs(t.Value) < 1e12 {
			ticks[i].Label = grouped(int64(t.Value))
		}
	}
	return ticks
}

// timeTicks stand at whole units of time, as many as there is room for.
type timeTicks struct{}

func (timeTicks) Ticks(least, most float64) []plot.Tick {
	const roomFor = 15
	span := time.Duration((most - least) * float64(time.Second))
	const day = 24 * time.Hour
	steps := []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		day, 2 * day, 7 * day, 14 * day, 28 * day, 91 * day, 182 * day, 365 * day, 3650 * day}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if span/s <= roomFor {
			step = s
			break
		}
	}
	layout := time.DateOnly
	switch {
	case step < time.Minute:
		layout = time.TimeOnly
	case step < day && span <= day:
		layout = "15:04"
	case step < day:
		layout = "01-02 15:04"
	}
	var ticks []plot.Tick
	seconds := step.Seconds()
	for at := math.Ceil(least/seconds) * seconds; at <= most && len(ticks) <= 2*roomFor; at += seconds {
		ticks = append(ticks, plot.Tick{Value: at, Label: time.Unix(int64(at), 0).UTC().Format(layout)})
	}
	return ticks
}
