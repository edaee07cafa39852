package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// A day of minutes over 100 series, 15 events a cell, in 24 segments: 144,000
// cells. "merge" has the cells in memory, "store" reads them from files that
// the system caches.
//
//	go test ./query -run XXX -bench Query -benchtime 5x -cpu 1
var benchWorld = sync.OnceValue(func() *world {
	s := &weir.Stream{
		Name: "web", Window: time.Minute, Seed: 7, MaxSeries: 1000,
		Dimensions: []weir.Dimension{{Name: "service", Field: "service"}},
		Measures: []weir.Measure{
			{Name: "bytes", Kind: weir.Sum, Field: "bytes"},
			{Name: "latency", Kind: weir.Quantile, Field: "latency", Params: weir.Params{Sketch: weir.TDigest, Compression: 100}},
			{Name: "path", Kind: weir.Top, Field: "path", Params: weir.Params{Slots: 128}},
			{Name: "user", Kind: weir.Distinct, Field: "user", Params: weir.Params{Precision: 14}},
		},
	}
	r := rand.New(rand.NewPCG(1, 1))
	w := &world{stream: s, live: &fakeLive{stream: s}, now: time.Unix(0, dayOne).Add(48 * time.Hour)}
	memory := &memoryCatalog{stream: s, snapshot: &store.Snapshot{Taken: w.now}, cells: make(map[string]*weir.Cells)}
	chain := store.Chain{Partition: "p", Log: "log"}
	for hour := range 24 {
		var events []event
		for series := range 100 {
			for minute := range 60 {
				for range 15 {
					events = append(events, event{
						time: dayOne + int64(hour*60+minute)*int64(time.Minute), dims: []string{fmt.Sprintf("service-%02d", series)},
						delay: math.Exp(r.NormFloat64()*1.5) * 10, distance: float64(r.IntN(100_000)),
						destination: fmt.Sprintf("/path/%d", int(math.Exp(r.ExpFloat64()*1.5))),
					})
				}
			}
		}
		cells := cellsOf(benchNames(s), events, nil)
		m := w.meta("p", chain.End, events)
		ref := &store.SegmentRef{Name: store.SegmentName(s.Name, "p", m.From), Meta: m}
		chain.Segments, chain.End, chain.Watermark = append(chain.Segments, ref), m.To, m.Watermark
		memory.cells[ref.Name] = cells
	}
	memory.snapshot.Chains = []store.Chain{chain}
	w.memory = memory
	return w
})

// benchNames is the stream with measures named as the model's fields are.
func benchNames(s *weir.Stream) *weir.Stream {
	named := *s
	named.Measures = nil
	for _, m := range s.Measures {
		m.Name = map[string]string{"bytes": "distance", "latency": "delay"}[m.Name]
		named.Measures = append(named.Measures, m)
	}
	return &named
}

// memoryCatalog has its cells in memory.
type memoryCatalog struct {
	stream   *weir.Stream
	snapshot *store.Snapshot
	cells    map[string]*weir.Cells
}

func (c *memoryCatalog) Stream() *weir.Stream      { return c.stream }
func (c *memoryCatalog) Snapshot() *store.Snapshot { return c.snapshot }
func (c *memoryCatalog) Refresh(context.Context) (*store.Snapshot, error) {
	return c.snapshot, nil
}
func (c *memoryCatalog) Cells(_ context.Context, ref *store.SegmentRef, _ weir.Selection) (*weir.Cells, error) {
	return c.cells[ref.Name], nil
}

func BenchmarkQuery(b *testing.B) {
	w := benchWorld()
	stored := newWorld(b, w.stream)
	for _, ref := range w.memory.snapshot.Chains[0].Segments {
		data, err := store.EncodeSegment(w.stream, ref.Meta, func(yield func(*weir.Cells) bool) { yield(w.memory.cells[ref.Name]) })
		if err != nil {
			b.Fatal(err)
		}
		if err := stored.bucket.Put(context.Background(), ref.Name, data); err != nil {
			b.Fatal(err)
		}
	}
	stored.refresh(b)
	for _, q := range []struct{ name, sel, by, step string }{
		{"count-sum by minute", "count,bytes.sum", "", "1m"},
		{"count-sum by minute and series", "count,bytes.sum", "service", "1m"},
		{"p99 by minute", "latency.p99", "", "1m"},
		{"p99 by minute and series", "latency.p99", "service", "1m"},
		{"p99 of the day by series", "latency.p99", "service", ""},
		{"distinct by minute", "user.distinct", "", "1m"},
		{"all by hour", "count,bytes.sum,latency.p50,latency.p99,user.distinct,path.top(10)", "", "1h"},
	} {
		request, err := Parse(Text{Stream: "web", Select: q.sel, By: q.by, Step: q.step})
		if err != nil {
			b.Fatal(err)
		}
		for _, from := range []struct {
			name    string
			catalog Catalog
		}{{"merge", w.memory}, {"store", stored.catalog}} {
			b.Run(q.name+"/"+from.name, func(b *testing.B) {
				e := New([]Catalog{from.catalog}, w.live, Options{})
				b.ReportAllocs()
				for b.Loop() {
					if _, err := e.Query(context.Background(), request); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
				b.ReportMetric(float64(e.Counters().Cells)/b.Elapsed().Seconds(), "cells/s")
			})
		}
	}
}
