package query

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLimits(t *testing.T) {
	r := seed(t)
	w := newWorld(t, testStream())
	w.scatter(t, r, randomEvents(r, 3000))
	for _, test := range []struct {
		name    string
		limits  Limits
		q       Text
		want    error
		counter func(Counters) int64
	}{
		{"cells", Limits{Cells: 100}, Text{}, ErrTooManyCells, func(c Counters) int64 { return c.TooManyCells }},
		{"series", Limits{Series: 3}, Text{By: "origin"}, ErrTooManySeries, func(c Counters) int64 { return c.TooManySeries }},
		{"points", Limits{Points: 50}, Text{Step: "1h"}, ErrTooManyPoints, func(c Counters) int64 { return c.TooManyPoints }},
		{"points over all series", Limits{Points: 150}, Text{Step: "1h", By: "origin"}, ErrTooManyPoints, func(c Counters) int64 { return c.TooManyPoints }},
		{"points of a sliding window", Limits{Points: 150}, Text{Step: "1h", Window: "10d"}, ErrTooManyPoints, func(c Counters) int64 { return c.TooManyPoints }},
		{"bytes", Limits{Bytes: 1000}, Text{Select: "delay.p99", Step: "1h"}, ErrTooMuchMemory, func(c Counters) int64 { return c.TooMuchMemory }},
		{"time", Limits{Time: 1}, Text{Select: everything}, ErrTooLong, func(c Counters) int64 { return c.TooLong }},
		{"a parameter", Limits{}, Text{Select: "nothing"}, nil, func(c Counters) int64 { return c.BadParams }},
		{"none", Limits{}, Text{Step: "1h", By: "origin"}, nil, func(c Counters) int64 { return c.Questions }},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.q.Stream = "flights"
			if test.q.Select == "" {
				test.q.Select = "count"
			}
			request, err := Parse(test.q)
			if err != nil {
				t.Fatal(err)
			}
			e := w.engine(Options{Limits: test.limits})
			_, err = e.Query(context.Background(), request)
			var limit *LimitError
			if test.want != nil && (!errors.Is(err, test.want) || !errors.As(err, &limit) || limit.Detail == "") {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if n := test.counter(e.Counters()); n != 1 {
				t.Errorf("counted %d, want 1: %+v", n, e.Counters())
			}
			request.Limits = test.limits
			if _, err := w.engine(Options{}).Query(context.Background(), request); test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("limits of the request: error %v, want %v", err, test.want)
			}
		})
	}
	if l := (Limits{Cells: 1000, Series: 1}).within(Limits{Cells: 100, Series: 10, Points: 5}); l.Cells != 100 || l.Series != 1 || l.Points != 5 {
		t.Errorf("a request widened its limits: %+v", l)
	}
}

// TestCondense holds so little that sketches are merged while reading, and
// compares with holding all.
func TestCondense(t *testing.T) {
	r := seed(t)
	w := newWorld(t, testStream())
	events := randomEvents(r, 6000)
	w.scatter(t, r, events)
	request, err := Parse(Text{Stream: "flights", Select: everything, Step: "1d"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.engine(Options{Limits: Limits{Bytes: 200_000}}).Query(context.Background(), request)
	if err != nil {
		t.Fatal(err)
	}
	j := judge{t: t, question: "condensed", events: events, answer: a}
	j.judge(request, w)
	if float64(j.hits) < 0.95*float64(j.bounds) {
		t.Errorf("%d of %d bounds hold the truth", j.hits, j.bounds)
	}
}

func TestUnknownStream(t *testing.T) {
	w := newWorld(t, testStream())
	_, err := w.engine(Options{}).Query(context.Background(), Request{Stream: "flihgts"})
	var bad *ParamError
	if !errors.As(err, &bad) || bad.Param != "stream" || bad.Suggestion != "flights" || !errors.Is(err, weir.ErrUnknownStream) {
		t.Errorf("error %v", err)
	}
}

func TestCancelled(t *testing.T) {
	r := seed(t)
	w := newWorld(t, testStream())
	w.scatter(t, r, randomEvents(r, 500))
	request, err := Parse(Text{Stream: "flights", Select: everything})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.live.asked = cancel
	e := w.engine(Options{})
	if _, err := e.Query(ctx, request); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	if c := e.Counters(); c.Failed != 1 || c.TooLong != 0 {
		t.Errorf("counters %+v", c)
	}
}

func TestInfo(t *testing.T) {
	events := hourly(10)
	w := newWorld(t, testStream())
	m := w.meta("p", 0, events[:6])
	m.Rejected = map[string]int64{"not_json": 2}
	w.put(t, m, events[:6])
	w.live.add(w.stream, "p", 6, events[6:])
	info, err := w.engine(Options{}).Info(context.Background(), "flights")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(0, dayOne).UTC()
	if info.Events != 10 || info.Rejected["not_json"] != 2 || info.Segments != 1 || info.Partitions["p"] != 10 ||
		!info.Oldest.Equal(start) || !info.Newest.Equal(start.Add(10*time.Hour)) || !info.Watermark.Equal(start.Add(9*time.Hour-10*time.Second)) {
		t.Errorf("%+v", info)
	}
	for _, text := range info.Select {
		e, err := ParseExpression(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if _, err := measureOf(w.stream, e); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
