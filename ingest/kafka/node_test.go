package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func numbers() *weir.Stream {
	return &weir.Stream{Name: "numbers", Window: 100 * time.Millisecond, MaxSeries: 1000, MaxLine: 1000, Source: weir.Source{Kind: weir.Kafka},
		Time:       weir.TimeField{Field: weir.RecordTime, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "key", Field: weir.RecordKey}, {Name: "kind", Field: "_header.kind"}},
		Measures:   []weir.Measure{{Name: "n", Kind: weir.Sum, Field: "n"}}}
}

// node runs a process of the group over a bucket, until it is stopped.
func (w *world) node(name, topic, group string, s *weir.Stream, bucket store.Bucket) (stop func()) {
	w.t.Helper()
	return w.nodeOf(Config{Topic: topic, Group: group, Node: Node{Name: name}}, s, bucket)
}

// nodeOf is node by a configuration, which it completes.
func (w *world) nodeOf(config Config, s *weir.Stream, bucket store.Bucket) (stop func()) {
	w.t.Helper()
	name := config.Node.Name
	logger := slog.New(slog.NewTextHandler(w.logs, nil)).With("node", name)
	config.Brokers, config.Headers, config.Logger = w.brokers, true, logger
	config.Session, config.Watch = 6*time.Second, 200*time.Millisecond
	source, err := New(config)
	if err != nil {
		w.t.Fatal(err)
	}
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
	return stop
}

// stored sums up what the segments say, by key.
func (w *world) stored(s *weir.Stream, bucket store.Bucket) (counts map[string]int64, sum int64, gaps []store.GapReason) {
	w.t.Helper()
	ctx := w.context()
	snapshot, err := store.NewCatalog(bucket, s, slog.New(slog.DiscardHandler)).Refresh(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	sel := weir.Selection{From: math.MinInt64, To: math.MaxInt64, Measures: []bool{true}}
	counts = make(map[string]int64)
	for _, c := range snapshot.Chains {
		for _, g := range c.Gaps {
			gaps = append(gaps, g.Reason)
		}
		for _, ref := range c.Segments {
			segment, err := store.OpenSegment(ctx, bucket, ref.Name)
			if err != nil {
				w.t.Fatal(err)
			}
			cells, err := segment.Cells(ctx, s, sel)
			if err != nil {
				w.t.Fatal(err)
			}
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

// Nodes come and go at random while numbered events are produced, some of them
// in transactions that are aborted: in the end each that was committed is
// counted once, and the group knows that all was read.
func TestNodesCountEverythingOnce(t *testing.T) {
	w := newWorld(t)
	rng := random(t)
	const partitions = 4
	topic := w.topic(partitions)
	group := "g-" + topic
	s, bucket := numbers(), &storetest.Memory{}
	running := map[string]func(){}
	for i := range 2 {
		name := fmt.Sprint("n", i)
		running[name] = w.node(name, topic, group, s, bucket)
	}
	want := map[string]int64{}
	var wantSum int64
	ends := make([]int64, partitions)
	producer := w.client(kgo.TransactionalID(topic), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	next := 0
	began := time.Now()
	producing := 8 * time.Second
	if testing.Short() {
		producing = 2 * time.Second
	}
	for round := 0; time.Since(began) < producing; round++ {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		commit := kgo.TransactionEndTry(rng.IntN(4) > 0)
		var records []*kgo.Record
		touched := map[int32]bool{}
		for range rng.IntN(300) {
			next++
			key, kind := fmt.Sprint("k", next%5), fmt.Sprint("h", next%2)
			r := &kgo.Record{Topic: topic, Partition: int32(rng.IntN(partitions)), Key: []byte(key),
				Headers: []kgo.RecordHeader{{Key: "kind", Value: []byte(kind)}}, Value: fmt.Appendf(nil, "{\"n\":\n%d}", next)}
			records = append(records, r)
			touched[r.Partition] = true
			ends[r.Partition]++
			if commit {
				want[key+"/"+kind]++
				wantSum += int64(next)
			}
		}
		if err := producer.ProduceSync(w.context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := producer.EndTransaction(w.context(), commit); err != nil {
			t.Fatal(err)
		}
		for p := range touched {
			ends[p]++ // the marker
		}
		if rng.IntN(8) > 0 {
			continue
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
			running[name] = w.node(name, topic, group, s, bucket)
		}
	}
	w.eventually("all is counted, and committed", func() bool {
		time.Sleep(200 * time.Millisecond)
		for p, end := range ends {
			if w.committed(group, topic, p) != end {
				return false
			}
		}
		return true
	})
	for _, stop := range running {
		stop()
	}
	got, sum, gaps := w.stored(s, bucket)
	if fmt.Sprint(got) != fmt.Sprint(want) || sum != wantSum || gaps != nil {
		t.Errorf("counted %v, sum %d, gaps %v\nwant    %v, sum %d", got, sum, gaps, want, wantSum)
	}
}

// Who takes a partition over tells the group how far segments speak: the one who
// stored the last of them may not have come to do so.
func TestNewOwnerTellsWhatIsStored(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	s, bucket := numbers(), &storetest.Memory{}
	w.produce(w.admin, topic, 0, `{"n": 1}`, `{"n": 2}`, `{"n": 3}`)
	for _, group := range []string{"g1-" + topic, "g2-" + topic} { // to the second group, nothing was ever told
		stop := w.node("of "+group, topic, group, s, bucket)
		w.eventually("all is committed", func() bool { return w.committed(group, topic, 0) == 3 })
		stop()
	}
}

// Retention and a topic made anew are gaps in the chain, and nothing else is
// lost.
func TestNodeRecordsGaps(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	group := "g-" + topic
	s, bucket := numbers(), &storetest.Memory{}
	produce := func(c *kgo.Client, n int) {
		t.Helper()
		for range n {
			w.produce(c, topic, 0, `{"n": 1}`)
		}
	}
	counted := func(n int64) {
		t.Helper()
		w.eventually(fmt.Sprint(n, " are counted"), func() bool { counts, _, _ := w.stored(s, bucket); return counts["/"] == n })
	}
	produce(w.admin, 5)
	w.dropBefore(topic, 0, 2)
	stop := w.node("a", topic, group, s, bucket)
	counted(3)
	stop()
	produce(w.admin, 5)
	w.dropBefore(topic, 0, 9)
	w.node("b", topic, group, s, bucket)
	counted(4)
	w.delete(topic)
	w.create(topic, 1)
	produce(w.client(), 2)
	counted(6)
	if _, _, gaps := w.stored(s, bucket); fmt.Sprint(gaps) != fmt.Sprint([]store.GapReason{store.GapStart, store.GapRetention, store.GapNewLog}) {
		t.Errorf("gaps %v", gaps)
	}
}
