package watch

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// Twenty thousand series in windows of ten seconds, one segment a window: what a
// second of watching costs of a core. The time is of one window, all series
// scored and learned; a window must take less than ten seconds.
//
//	go test ./anomaly/watch -run XXX -bench Watch -benchtime 30x -cpu 1
func BenchmarkWatch(b *testing.B) {
	const series = 20_000
	for _, method := range []string{"seasonal", "breakout", "threshold"} {
		b.Run(fmt.Sprintf("%s/series=%d", method, series), func(b *testing.B) {
			stream := &weir.Stream{Name: "web", Window: 10 * time.Second, MaxSeries: 2 * series,
				Dimensions: []weir.Dimension{{Name: "host", Field: "host"}}}
			text := "{name: d, by: [host], window: 10s, " + map[string]string{"seasonal": "seasonal: {periods: [1h]}", "breakout": "breakout: {}",
				"threshold": "threshold: {above: 1000}"}[method] + "}"
			config, err := weir.Parse("weir.yaml", fmt.Appendf(nil, "streams: {web: {dimensions: [host]}}\ndetectors: [%s]\n", text))
			if err != nil {
				b.Fatal(err)
			}
			d := config.Detectors[0]
			bucket := &storetest.Memory{}
			catalog := store.NewCatalog(bucket, stream, slog.New(slog.DiscardHandler))
			writer := store.NewWriter(catalog, "push:0", "bench")
			if _, err := writer.Takeover(context.Background()); err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			now := begin
			window := func() {
				c := &weir.Cells{Width: int64(10 * time.Second)}
				for i := range series {
					c.Series, c.Starts = append(c.Series, []string{fmt.Sprintf("host-%05d", i)}), append(c.Starts, i)
					c.Window, c.Count = append(c.Window, now.UnixNano()), append(c.Count, 100+int64(10*rng.NormFloat64()))
				}
				c.Starts = append(c.Starts, series)
				at := writer.Position()
				next := now.Add(10 * time.Second)
				meta := store.SegmentMeta{From: at.Next, To: at.Next + series, Log: "log", Watermark: next.UnixNano(), Events: series,
					MinTime: now.UnixNano(), MaxTime: next.UnixNano() - 1}
				now = next
				if _, _, err := writer.Append(context.Background(), store.Draft{Meta: meta, Cells: storetest.One(c)}); err != nil {
					b.Fatal(err)
				}
			}
			ref := incident.Ref{Stream: "web", Detector: "d"}
			watcher, err := New(Options{Detectors: []*weir.DetectorConfig{d}, Catalogs: map[string]query.Catalog{"web": catalog}, Bucket: bucket,
				Log: incident.NewLog(bucket, []incident.Ref{ref}, incident.Options{}), Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
			if err != nil {
				b.Fatal(err)
			}
			r := watcher.streams[0].runners[0]
			for range 5 {
				window()
			}
			if err := r.advance(context.Background(), catalog.Snapshot(), now.UnixNano()); err != nil {
				b.Fatal(err)
			}
			state := 0
			for _, s := range r.machine.series {
				state += s.detector.SizeBytes()
			}
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				window()
				b.StartTimer()
				if err := r.advance(context.Background(), catalog.Snapshot(), now.UnixNano()); err != nil {
					b.Fatal(err)
				}
			}
			if got := r.machine.next; got != now.UnixNano() {
				b.Fatalf("judged up to %v of %v", time.Unix(0, got), now)
			}
			b.ReportMetric(float64(series)*float64(b.N)/b.Elapsed().Seconds(), "scores/s")
			b.ReportMetric(float64(state)/series, "state-B/series")
		})
	}
}
