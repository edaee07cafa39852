package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const everything = `count,rate,delay.sum,delay.min,delay.max,delay.mean,delay.p1,delay.p50,delay.p99,delay.quantile(0.9),delay.rank(10),
	delay.histogram,taxi.out.p50,taxi.out.p99,taxi.out.sum,distance.sum,distance.mean,
	destination.distinct,destination.top(5),destination.frequency("D1"),destination.frequency("never")`

// TestRandomAnswers scatters random events over segments and live pieces and
// holds random questions against answers computed from the events.
func TestRandomAnswers(t *testing.T) {
	r := seed(t)
	var hits, bounds int
	for round := range 6 {
		w := newWorld(t, testStream())
		events := randomEvents(r, 200+r.IntN(6000))
		w.scatter(t, r, events)
		e := w.engine(Options{})
		for range 12 {
			q := randomQuestion(r)
			request, err := Parse(q)
			if err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
			a, err := e.Query(context.Background(), request)
			if err != nil {
				t.Fatalf("round %d: %+v: %v", round, q, err)
			}
			j := judge{t: t, question: fmt.Sprintf("%+v", q), events: events, answer: a}
			j.judge(request, w)
			hits, bounds = hits+j.hits, bounds+j.bounds
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("%d of %d bounds hold the truth (%.2f %%)", hits, bounds, 100*float64(hits)/float64(bounds))
	if float64(hits) < 0.95*float64(bounds) {
		t.Errorf("only %d of %d bounds hold the truth", hits, bounds)
	}
}

func randomQuestion(r *rand.Rand) Text {
	q := Text{Stream: "flights", Select: everything}
	q.By = []string{"", "origin", "carrier", "carrier,origin"}[r.IntN(4)]
	q.Where = []string{"", "origin=JFK", "origin!=JFK and carrier>=10", `origin in (LAX,"New York","O\"D") or carrier=0`, "origin=nowhere"}[r.IntN(5)]
	q.Step = []string{"", "1h", "6h", "1d"}[r.IntN(4)]
	if q.Step == "6h" || q.Step == "1h" {
		q.Window = []string{"", "9h", "1d"}[r.IntN(3)]
		if q.Window == "" {
			q.Window = q.Step
		}
	}
	at := func() string {
		return time.Unix(0, dayOne+r.Int64N(int64(5*24*time.Hour))).UTC().Format(time.RFC3339)
	}
	if r.IntN(2) == 0 {
		q.From = at()
	}
	if r.IntN(2) == 0 {
		q.To = at()
	}
	if q.From != "" && q.To != "" && q.From >= q.To {
		q.From, q.To = q.To, q.From+".5"
		q.To = strings.Replace(q.To, "Z.5", ".5Z", 1)
	}
	return q
}

// judge compares one answer with the events.
type judge struct {
	t            *testing.T
	question     string
	events       []event
	answer       *Answer
	hits, bounds int
}

func (j *judge) judge(r Request, w *world) {
	match, err := r.Where.bind(w.stream)
	if err != nil {
		j.t.Fatal(err)
	}
	window := j.answer.Window
	if r.Step == 0 {
		window = j.answer.To.Sub(j.answer.From)
	}
	groups := make(map[string][]event)
	if len(r.By) == 0 {
		groups[""] = nil
	}
	read := j.answer.From.UnixNano()
	if r.Step != 0 {
		read -= int64(window - r.Step)
	}
	for _, e := range j.events {
		if match != nil && !match(e.dims) || e.time < read || e.time >= j.answer.To.UnixNano() {
			continue
		}
		key := groupKey(r.By, e.dims)
		groups[key] = append(groups[key], e)
	}
	if len(groups) != len(j.answer.Series) {
		j.t.Errorf("%s: %d series, want %d", j.question, len(j.answer.Series), len(groups))
		return
	}
	for i := range j.answer.Series {
		s := &j.answer.Series[i]
		in, ok := groups[strings.Join(s.By, "\x00")]
		if !ok {
			j.t.Errorf("%s: series %q has no events", j.question, s.By)
			continue
		}
		for point, t := range s.T {
			end := t + int64(r.Step)
			if r.Step == 0 {
				end = j.answer.To.UnixNano()
			}
			var of []event
			for _, e := range in {
				if e.time >= end-int64(window) && e.time < end {
					of = append(of, e)
				}
			}
			for k := range s.Columns {
				j.value(&s.Columns[k], r.Select[k], point, of, window)
			}
		}
	}
}

func groupKey(by, dims []string) string {
	var values []string
	for _, name := range by {
		values = append(values, dims[map[string]int{"origin": 0, "carrier": 1}[name]])
	}
	return strings.Join(values, "\x00")
}

func (j *judge) value(c *Column, e Expression, point int, events []event, window time.Duration) {
	values := valuesOf(e.Measure, events)
	slices.Sort(values)
	counts := countsOf(events)
	sum := 0.0
	for _, x := range values {
		sum += x
	}
	none := len(values) == 0
	switch e.Function {
	case Count:
		j.exact(c, point, float64(len(events)))
	case Rate:
		j.exact(c, point, float64(len(events))/window.Seconds())
	case Sum:
		j.exact(c, point, sum)
	case Min, Max, Mean, Quantile, Rank:
		if none {
			j.exact(c, point, math.NaN())
			return
		}
		switch e.Function {
		case Min:
			j.exact(c, point, values[0])
		case Max:
			j.exact(c, point, values[len(values)-1])
		case Mean:
			j.exact(c, point, sum/float64(len(values)))
		case Quantile:
			// Between the order statistics, linearly.
			whole, part := math.Modf(e.Quantile * float64(len(values)-1))
			i := int(whole)
			j.estimate(c, point, values[i]+part*(values[min(i+1, len(values)-1)]-values[i]))
		case Rank:
			below, _ := slices.BinarySearchFunc(values, e.Value, func(x, at float64) int {
				if x <= at {
					return -1
				}
				return 1
			})
			j.estimate(c, point, float64(below)/float64(len(values)))
		}
	case Histogram:
		total := 0.0
		for _, bin := range c.Bins[point] {
			if !(bin.Lower <= bin.Upper) || math.IsInf(bin.Lower, 0) || math.IsInf(bin.Upper, 0) {
				j.t.Errorf("%s: %s has the bin %+v", j.question, e, bin)
			}
			total += float64(bin.Count)
		}
		if math.Abs(total-float64(len(values))) > 1e-6*total {
			j.t.Errorf("%s: %s counts %v, want %d", j.question, e, total, len(values))
		}
	case Distinct:
		j.estimate(c, point, float64(len(counts)))
	case Top:
		got := c.Items[point]
		if len(got) != min(e.N, len(counts)) {
			j.t.Errorf("%s: %s has %d items of %d", j.question, e, len(got), len(counts))
		}
		for i, item := range got {
			// Every cell was exact, and a merged top has room for all of them.
			if truth := counts[item.Item]; item.Count != truth || item.Lower != truth || item.Upper != truth || i > 0 && got[i-1].Count < truth {
				j.t.Errorf("%s: %s has %+v at %d, want %d", j.question, e, item, i, truth)
			}
		}
	case Frequency:
		j.estimate(c, point, float64(counts[e.Item]))
	}
}

func (j *judge) exact(c *Column, point int, want float64) {
	if c.Lower != nil && !(c.Lower[point] == c.Upper[point]) && !math.IsNaN(want) {
		j.t.Errorf("%s: %s is exact but has bounds", j.question, c.Name)
	}
	if diff := cmp.Diff(want, c.Value[point], cmpopts.EquateApprox(1e-12, 0), cmpopts.EquateNaNs()); diff != "" {
		j.t.Errorf("%s: %s at point %d (-want +got):\n%s", j.question, c.Name, point, diff)
	}
}

func (j *judge) estimate(c *Column, point int, truth float64) {
	e := c.At(point)
	if !(e.Lower <= e.Value && e.Value <= e.Upper) {
		j.t.Errorf("%s: %s at point %d is %+v, whose bounds don't hold it", j.question, c.Name, point, e)
	}
	const rounding = 1e-9
	j.bounds++
	if e.Lower <= truth+rounding*math.Abs(truth) && truth <= e.Upper+rounding*math.Abs(truth) {
		j.hits++
	}
}

// TestProcessors: the same answer on one processor and many, and while the
// bytes held are condensed often.
func TestProcessors(t *testing.T) {
	r := seed(t)
	w := newWorld(t, testStream())
	w.scatter(t, r, randomEvents(r, 5000))
	request, err := Parse(Text{Stream: "flights", Select: everything, By: "origin", Step: "6h"})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(processors int) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		a, err := w.engine(Options{}).Query(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := a.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if diff := cmp.Diff(ask(1), ask(8)); diff != "" {
		t.Errorf("one processor and many (-one +many):\n%s", diff)
	}
}
