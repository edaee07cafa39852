//go:build !nopulsar

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest/pulsar/pulsartest"
	"github.com/weir-stream/weir/query"
)

// A stream whose source is a topic of Pulsar is answered like any other, across
// restarts, by what the messages say beside their JSON too.
func TestServePulsar(t *testing.T) {
	url := os.Getenv(pulsartest.URLVariable)
	if url == "" {
		t.Skipf("%s does not name a broker; make test-pulsar starts one", pulsartest.URLVariable)
	}
	topic := fmt.Sprintf("serve-%x", time.Now().UnixNano())
	admin := pulsartest.Admin(os.Getenv(pulsartest.AdminVariable))
	if err := admin.Create(t.Context(), topic, 3); err != nil {
		t.Fatal(err)
	}
	c, err := weir.Parse(filepath.Join(t.TempDir(), "weir.yaml"), fmt.Appendf(nil, `
listen: 127.0.0.1:0
streams:
  orders:
    source: {pulsar: {url: "%s", topic: %s}}
    time: {field: _timestamp}
    dimensions: [{customer: _key}, {region: _header.region}]
    measures: {price: {sum: price}}
`, url, topic))
	if err != nil {
		t.Fatal(err)
	}
	client, err := pulsargo.NewClient(pulsargo.ClientOptions{URL: url, Logger: log.DefaultNopLogger(), MetricsRegisterer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	producer, err := client.CreateProducer(pulsargo.ProducerOptions{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for life := range 2 {
		r := startServer(t, c)
		for i := range 30 {
			m := &pulsargo.ProducerMessage{Key: fmt.Sprint("c", i%2), Payload: []byte(`{"price": 2}`), EventTime: at,
				Properties: map[string]string{"region": "eu"}}
			if _, err := producer.Send(t.Context(), m); err != nil {
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
