package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

// A stream whose source is a topic is answered like any other, across restarts,
// by what the records say beside their JSON too.
func TestServeKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c, err := weir.Parse(filepath.Join(t.TempDir(), "weir.yaml"), fmt.Appendf(nil, `
listen: 127.0.0.1:0
streams:
  orders:
    source: {kafka: {brokers: ["%s"], topic: orders}}
    time: {field: _timestamp}
    dimensions: [{customer: _key}, {region: _header.region}]
    measures: {price: {sum: price}}
`, strings.Join(cluster.ListenAddrs(), `", "`)))
	if err != nil {
		t.Fatal(err)
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for life := range 2 {
		r := startServer(t, c)
		for i := range 30 {
			record := &kgo.Record{Key: fmt.Append(nil, "c", i%2), Value: []byte(`{"price": 2}`), Timestamp: at,
				Headers: []kgo.RecordHeader{{Key: "region", Value: []byte("eu")}}}
			if err := producer.ProduceSync(t.Context(), record).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		want := fmt.Sprintf("[%d %d]", 30*(life+1), 30*(life+1))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for got := ""; got != want; time.Sleep(20 * time.Millisecond) {
			a, err := r.query(ctx, query.Text{Stream: "orders", Select: "price.sum", By: "customer", Where: "region=eu"})
			if err != nil {
				t.Fatalf("%v; the last answer was %s, want %s", err, got, want)
			}
			var sums []float64
			for _, s := range a.Series {
				sums = append(sums, s.Columns[0].Value[0])
			}
			got = fmt.Sprint(sums)
		}
		r.end()
	}
}
