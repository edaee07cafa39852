package pulsar

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func numbers() *weir.Stream {
	return &weir.Stream{Name: "numbers", Window: 100 * time.Millisecond, MaxSeries: 1000, MaxLine: 1000, Source: weir.Source{Kind: weir.Pulsar},
		Time:       weir.TimeField{Field: weir.RecordTime, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "key", Field: weir.RecordKey}, {Name: "kind", Field: "_header.kind"}},
		Measures:   []weir.Measure{{Name: "n", Kind: weir.Sum, Field: "n"}}}
}

// node runs a process of the subscription over a bucket, until it is stopped.
func (w *world) node(name, topic string, s *weir.Stream, bucket store.Bucket) (source *Source, stop func()) {
	w.t.Helper()
	logger := w.logger().With("node", name)
	source, err := New(Config{URL: w.url, Topic: topic, Subscription: "s", Node: name, Headers: true,
		Watch: 200 * time.Millisecond, Logger: logger})
	w.must(err)
	n := ingest.New(ingest.Options{Name: name, Streams: []*weir.Stream{s}, Memory: 64 << 20, Interval: 50 * time.Millisecond, Logger: logger,
		Catalogs: map[string]*store.Catalog{s.Name: store.NewCatalog(bucket, s, logger)},
		Sources:  map[string]ingest.Source{s.Name: source}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("node %s: %v", name, err)
		}
	})
	w.t.Cleanup(stop)
	return source, stop
}

// stored sums up what the segments say, by key.
func (w *world) stored(s *weir.Stream, bucket store.Bucket) (counts map[string]int64, sum int64, gaps []store.GapReason) {
	w.t.Helper()
	ctx := w.context()
	snapshot, err := store.NewCatalog(bucket, s, slog.New(slog.DiscardHandler)).Refresh(ctx)
	w.must(err)
	sel := weir.Selection{From: math.MinInt64, To: math.MaxInt64, Measures: []bool{true}}
	counts = make(map[string]int64)
	for _, c := range snapshot.Chains {
		for _, g := range c.Gaps {
			gaps = append(gaps, g.Reason)
		}
		for _, ref := range c.Segments {
			segment, err := store.OpenSegment(ctx, bucket, ref.Name)
			w.must(err)
			cells, err := segment.Cells(ctx, s, sel)
			w.must(err)
			for i, dims := range cells.Series {
				for row := cells.Starts[i]; row < cells.Starts[i+1]; row++ {
					counts[dims[0]+"/"+dims[1]] += cells.Count[row]
					sum += int64(cells.Measures[0].Sum[row])
				}
			}
		}
	}
	return counts, sum, gaps
}

// ends gives where the chains end.
func (w *world) ends(s *weir.Stream, bucket store.Bucket) map[string]int64 {
	w.t.Helper()
	snapshot, err := store.NewCatalog(bucket, s, slog.New(slog.DiscardHandler)).Refresh(w.context())
	w.must(err)
	ends := make(map[string]int64)
	for _, c := range snapshot.Chains {
		ends[c.Partition] = c.End
	}
	return ends
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Nodes come and go at random while numbered events are produced; topics are
// unloaded, as when brokers share their load anew, which ends readers and ledgers;
// a partition is added. In the end each event is counted once, and the
// subscription knows.
func TestNodesCountEverythingOnce(t *testing.T) {
	w := newWorld(t)
	rng := random(t)
	partitions := 4
	topic := w.topic(partitions)
	s, bucket := numbers(), &storetest.Memory{}
	running := map[string]func(){}
	for i := range 2 {
		name := fmt.Sprint("n", i)
		_, running[name] = w.node(name, topic, s, bucket)
	}
	want := map[string]int64{}
	var wantSum int64
	producer := w.producer(topic, func(o *pulsargo.ProducerOptions) {
		o.CompressionType = pulsargo.LZ4
		o.PartitionsAutoDiscoveryInterval = 100 * time.Millisecond
	})
	next, unloads, sent := 0, 0, make(map[string]int64)
	began := time.Now()
	producing := 12 * time.Second
	if testing.Short() {
		producing = 3 * time.Second
	}
	for round := 0; time.Since(began) < producing; round++ {
		for range rng.IntN(300) {
			next++
			key, kind := fmt.Sprint("k", next%5), fmt.Sprint("h", next%2)
			partition := fmt.Sprint(rng.IntN(partitions))
			m := &pulsargo.ProducerMessage{Key: key, OrderingKey: partition,
				Properties: map[string]string{"kind": kind}, Payload: fmt.Appendf(nil, `{"n": %d}`, next)}
			producer.SendAsync(w.context(), m, func(_ pulsargo.MessageID, _ *pulsargo.ProducerMessage, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			want[key+"/"+kind]++
			sent[Partition(topic+partitionSuffix+partition)]++
			wantSum += int64(next)
		}
		w.must(producer.FlushWithCtx(w.context()))
		if rng.IntN(8) > 0 {
			continue
		}
		switch rng.IntN(3) {
		case 0:
			unloads++
			w.must(w.admin.Unload(w.context(), fmt.Sprintf("%s-partition-%d", topic, rng.IntN(partitions))))
			continue
		case 1:
			if partitions == 4 {
				partitions++
				w.must(w.admin.Grow(w.context(), topic, partitions))
				time.Sleep(300 * time.Millisecond) // for the producer to notice
			}
		}
		for name, stop := range running {
			if len(running) > 1 && rng.IntN(2) == 0 {
				stop()
				delete(running, name)
				break
			}
		}
		if len(running) < 3 {
			name := fmt.Sprint("m", round)
			_, running[name] = w.node(name, topic, s, bucket)
		}
	}
	t.Logf("%d events, %d partitions, %d unloads", next, partitions, unloads)
	if !w.soon(func() bool {
		counts, _, _ := w.stored(s, bucket)
		return total(counts) >= total(want)
	}) {
		t.Errorf("not all is counted: of partitions %v, %v\n%s", sent, w.ends(s, bucket), w.logs)
	}
	for _, stop := range running {
		stop()
	}
	got, sum, gaps := w.stored(s, bucket)
	if fmt.Sprint(got) != fmt.Sprint(want) || sum != wantSum || gaps != nil {
		t.Errorf("counted %v, sum %d, gaps %v\nwant    %v, sum %d", got, sum, gaps, want, wantSum)
	}
}
