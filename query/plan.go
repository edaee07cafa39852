package query

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// plan is a question resolved against a stream's definition: names are
// positions, and what cannot be answered has been refused.
type plan struct {
	request Request
	stream  *weir.Stream
	columns []column // parallel to request.Select
	by      []int    // indices of dimensions
	match   func(dims []string) bool
	wanted  []bool // measures to read, parallel to stream.Measures
	limits  Limits
	step    int64 // nanoseconds; 0: one answer
	window  int64 // nanoseconds; step ≤ window
}

// column is one expression and the measure that answers it.
type column struct {
	Expression
	measure int // index into stream.Measures, -1 for count and rate
}

// maxSelect bounds the columns of an answer.
const maxSelect = 100

// Answerable reports, as a [*ParamError], why the stream cannot answer the
// expression.
func Answerable(s *weir.Stream, e Expression) error {
	_, err := measureOf(s, e)
	return err
}

func newPlan(r Request, s *weir.Stream, limits Limits) (*plan, error) {
	p := &plan{request: r, stream: s, wanted: make([]bool, len(s.Measures)), limits: r.Limits.within(limits)}
	if len(r.Select) == 0 {
		return nil, wrong("select", "nothing is selected; ask for count, or for a measure of stream %q: %s", s.Name, menu(s))
	}
	if len(r.Select) > maxSelect {
		return nil, wrong("select", "%d expressions; at most %d are answered at once", len(r.Select), maxSelect)
	}
	for _, e := range r.Select {
		measure, err := measureOf(s, e)
		if err != nil {
			return nil, err
		}
		if measure >= 0 {
			p.wanted[measure] = true
		}
		p.columns = append(p.columns, column{Expression: e, measure: measure})
	}
	for _, name := range r.By {
		at, err := dimensionIndex(s, "by", name)
		if err != nil {
			return nil, err
		}
		p.by = append(p.by, at)
	}
	var err error
	if p.match, err = r.Where.bind(s); err != nil {
		return nil, err
	}
	if p.request.Confidence == 0 {
		p.request.Confidence = DefaultConfidence
	}
	if !validConfidence(p.request.Confidence) {
		return nil, wrong("confidence", "%v does not lie between 0 and 1", p.request.Confidence)
	}
	return p, p.setSteps()
}

func (p *plan) setSteps() error {
	step, window := p.request.Step, p.request.Window
	if step < 0 || step > maxDuration || window < 0 || window > maxDuration {
		return wrong("step", "step and window lie between 1ns and %s", weir.FormatDuration(maxDuration))
	}
	if step == 0 {
		if window != 0 {
			return wrong("window", "a sliding window needs a step; without one, from and to are the window")
		}
		return nil
	}
	if window == 0 {
		window = step
	}
	if err := multipleOf("step", step, p.stream.Window, p.stream.Name); err != nil {
		return err
	}
	if err := multipleOf("window", window, p.stream.Window, p.stream.Name); err != nil {
		return err
	}
	if window < step {
		return wrong("window", "%s is shorter than the step of %s, which would leave events out; make it at least the step",
			weir.FormatDuration(window), weir.FormatDuration(step))
	}
	p.step, p.window = int64(step), int64(window)
	return nil
}

// multipleOf checks that a step or window is made of whole windows of the stream.
func multipleOf(param string, d, base time.Duration, stream string) error {
	if d > 0 && d%base == 0 {
		return nil
	}
	valid := max(1, (d+base/2)/base) * base
	return wrong(param, "%s is no multiple of %s, the window of stream %q; the nearest that is: %s",
		weir.FormatDuration(d), weir.FormatDuration(base), stream, weir.FormatDuration(valid))
}

// measureOf finds the measure that answers an expression, -1 for count and
// rate, or says what was probably meant.
func measureOf(s *weir.Stream, e Expression) (int, error) {
	if e.Measure == "" && (e.Function == Count || e.Function == Rate) {
		return -1, nil
	}
	for _, kind := range functionKinds[e.Function] {
		if i := s.Measure(e.Measure, kind); i >= 0 {
			return i, nil
		}
	}
	return 0, unanswerable(s, e)
}

// unanswerable explains why no measure of the stream answers the expression.
func unanswerable(s *weir.Stream, e Expression) *ParamError {
	names := measureNames(s)
	// Without a function that we know, the measure's name was read as all of
	// the text; the name may be its beginning.
	name, function := e.Measure, string(e.Function)
	if function == "" {
		for _, n := range names {
			if len(name) > len(n)+1 && name[:len(n)+1] == n+"." {
				name, function = n, name[len(n)+1:]
				break
			}
		}
	}
	if functions := functionsOf(s, name); len(functions) > 0 {
		switch {
		case function == "":
			return wrong("select", "%q is a measure of stream %q and needs a function, as in %s.%s; it answers %s",
				name, s.Name, name, functions[len(functions)-1], list(functions))
		case e.Function != "":
			return wrong("select", "stream %q does not keep what %q asks of %q; it answers %s", s.Name, e.text, name, list(functions))
		}
		err := wrong("select", "%q is no function of %q, which answers %s", function, name, list(functions))
		if n := nearest(function, functions); n != "" {
			err.Suggestion = name + "." + n
		}
		return err
	}
	for _, d := range s.Dimensions {
		if d.Name == name {
			return wrong("select", "%q is a dimension of stream %q; name it under by or where, and select a measure: %s", name, s.Name, menu(s))
		}
	}
	err := wrong("select", "stream %q has nothing that answers %q; it answers %s", s.Name, e.text, menu(s))
	if e.Function != "" {
		if n := nearest(name, names); n != "" {
			err.Suggestion = n + e.text[len(name):]
		}
	} else {
		err.Suggestion = nearest(e.text, append(selectable(s), names...))
	}
	return err
}

func measureNames(s *weir.Stream) (names []string) {
	for _, m := range s.Measures {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// functionsOf lists what the measures of that name answer.
func functionsOf(s *weir.Stream, name string) (functions []string) {
	for _, m := range s.Measures {
		if m.Name == name {
			functions = append(functions, usage[m.Kind]...)
		}
	}
	return functions
}

// selectable lists all that can be selected of a stream.
func selectable(s *weir.Stream) []string {
	all := []string{string(Count), string(Rate)}
	for _, name := range measureNames(s) {
		for _, function := range functionsOf(s, name) {
			all = append(all, name+"."+function)
		}
	}
	return all
}

// menu is selectable in prose.
func menu(s *weir.Stream) string {
	var b strings.Builder
	b.WriteString("count and rate")
	for _, name := range measureNames(s) {
		b.WriteString("; of " + name + ": " + list(functionsOf(s, name)))
	}
	return b.String()
}

// span is the range of an answer, cut into buckets. A point is a window of
// buckets that ends with its step; without sliding, a point is a bucket.
//
//	read               from                               to
//	├────────┬─────────┼─────────┬─────────┬─────────┬────┤
//	  bucket   bucket    bucket
//	           └── window of the first point ┘
type span struct {
	from, to int64 // of the points
	read     int64 // start of the first point's window: cells of [read, to) count
	kept     int64 // but those of windows before this one were dropped by retention
	bucket   int64
	step     int64 // = to - from where the question has no step
	window   int64

	perStep, perWindow int // buckets
}

func (s span) points() int  { return int((s.to - s.from) / s.step) }
func (s span) buckets() int { return int((s.to - s.read) / s.bucket) }

// bucketsOf returns the buckets [first, last) of a point.
func (s *span) bucketsOf(point int) (first, last int) {
	// The first point's window ends with bucket perWindow.
	first = point * s.perStep
	return first, first + s.perWindow
}

// spanOf widens [from, to) to whole windows of the given width, or to whole
// steps, and cuts it.
func (p *plan) spanOf(from, to, width int64) (span, error) {
	step := p.step
	if step == 0 {
		from = weir.WindowStart(from, width)
		to = max(ceil(to, width, 0), from+width)
		return span{from: from, to: to, read: from, bucket: to - from, step: to - from, window: to - from, perStep: 1, perWindow: 1}, nil
	}
	origin := stepOrigin(step, int64(p.stream.Window))
	from = weir.WindowStart(from-origin, step) + origin
	to = max(ceil(to, step, origin), from+step)
	s := span{from: from, to: to, read: from - (p.window - step), bucket: gcd(step, p.window), step: step, window: p.window}
	s.perStep, s.perWindow = int(step/s.bucket), int(p.window/s.bucket)
	if points := (to - from) / step; points > int64(p.limits.Points) || (to-s.read)/s.bucket > int64(p.limits.Points) {
		return span{}, exceeded(ErrTooManyPoints, "%d steps of %s between %s and %s; the limit is %d: ask for a longer step or a shorter range",
			points, weir.FormatDuration(time.Duration(step)), formatTime(from), formatTime(to), p.limits.Points)
	}
	return s, nil
}

// stepOrigin is where the grid of steps begins: 1970 began on a Thursday, and
// weeks begin on Mondays, if the stream's windows let them.
func stepOrigin(step, base int64) int64 {
	const week, monday = int64(7 * 24 * time.Hour), int64(4 * 24 * time.Hour)
	if step%week == 0 && monday%base == 0 {
		return monday
	}
	return 0
}

func ceil(t, width, origin int64) int64 {
	start := weir.WindowStart(t-origin, width) + origin
	if start < t {
		start += width
	}
	return start
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func formatTime(nanos int64) string {
	if nanos == math.MinInt64 || nanos == math.MaxInt64 {
		panic(fmt.Sprintf("query: an open end %d was to be shown", nanos))
	}
	return time.Unix(0, nanos).UTC().Format(time.RFC3339Nano)
}
