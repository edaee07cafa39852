package store_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// requests is the workload of the performance page: two dimensions; count,
// quantile, distinct and top.
func requests() *weir.Stream {
	return &weir.Stream{
		Name:       "requests",
		Window:     10e9,
		Dimensions: []weir.Dimension{{Name: "service"}, {Name: "region"}},
		Measures: []weir.Measure{
			{Name: "latency", Kind: weir.Quantile, Params: weir.Params{Sketch: "tdigest", Compression: 100}},
			{Name: "user", Kind: weir.Distinct, Params: weir.Params{Precision: 14}},
			{Name: "path", Kind: weir.Top, Params: weir.Params{Slots: 64}},
		},
	}
}

// What a cell costs to write and to read.
//
//	go test ./store -run '^$' -bench Segment -cpu 1
func BenchmarkSegmentEncode(b *testing.B) {
	stream := requests()
	cells := storetest.Cells(rand.New(rand.NewPCG(1, 2)), stream, storetest.Workload{Series: 1000, Windows: 20, Events: 15, Start: 1e18})
	meta := metaOf(stream, "0", 0, 1)
	bytes := 0
	for b.Loop() {
		bytes = len(encode(b, stream, meta, cells))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*cells.Rows()), "ns/cell")
	b.ReportMetric(float64(bytes)/float64(cells.Rows()), "B/cell")
}

func BenchmarkSegmentRead(b *testing.B) {
	stream := requests()
	cells := storetest.Cells(rand.New(rand.NewPCG(1, 2)), stream, storetest.Workload{Series: 100, Windows: 1440, Events: 15, Start: 1e18})
	meta := metaOf(stream, "0", 0, 1)
	data := encode(b, stream, meta, cells)
	directory, err := store.OpenDirectory(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	name := store.SegmentName(stream.Name, "0", 0)
	if err := directory.Put(context.Background(), name, data); err != nil {
		b.Fatal(err)
	}
	segment, err := store.OpenSegment(context.Background(), directory, name)
	if err != nil {
		b.Fatal(err)
	}
	one := everything(stream)
	one.Match = func(dims []string) bool { return dims[0] == cells.Series[50][0] && dims[1] == cells.Series[50][1] }
	one.From, one.To = 1e18, 1e18+100*10e9
	for _, c := range []struct {
		name string
		sel  weir.Selection
	}{
		{"count", selecting(stream)},
		{"sums and digest", selecting(stream, 0)},
		{"distinct", selecting(stream, 1)},
		{"top", selecting(stream, 2)},
		{"all", everything(stream)},
		{"one series, 100 windows", one},
	} {
		b.Run(c.name, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				got, err := segment.Cells(context.Background(), stream, c.sel)
				if err != nil {
					b.Fatal(err)
				}
				rows = got.Rows()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/cell")
		})
	}
	small := storetest.Cells(rand.New(rand.NewPCG(1, 2)), stream, storetest.Workload{Series: 500, Windows: 2, Events: 15, Start: 1e18})
	flush := store.SegmentName(stream.Name, "0", 1)
	if err := directory.Put(context.Background(), flush, encode(b, stream, metaOf(stream, "0", 1, 2), small)); err != nil {
		b.Fatal(err)
	}
	b.Run("open a flush of 1000 cells", func(b *testing.B) {
		for b.Loop() {
			if _, err := store.OpenSegment(context.Background(), directory, flush); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("open 15 row groups", func(b *testing.B) {
		for b.Loop() {
			if _, err := store.OpenSegment(context.Background(), directory, name); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func selecting(stream *weir.Stream, measures ...int) weir.Selection {
	sel := everything(stream)
	clear(sel.Measures)
	for _, m := range measures {
		sel.Measures[m] = true
	}
	return sel
}
