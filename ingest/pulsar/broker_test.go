package pulsar

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"

	"github.com/weir-stream/weir/ingest/pulsar/pulsartest"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// numbered are n events.
func numbered(n int) []string {
	var out []string
	for range n {
		out = append(out, `{"n": 1}`)
	}
	return out
}

// What was dropped before it was read and a topic that was made anew are gaps,
// and nothing else is lost.
func TestNodeRecordsGaps(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(0)
	s, bucket := numbers(), &storetest.Memory{}
	counted := func(n int64) {
		t.Helper()
		w.eventually(fmt.Sprint(n, " are counted"), func() bool {
			counts, _, _ := w.stored(s, bucket)
			return total(counts) == n
		})
	}
	producer := w.producer(topic, nil)
	w.send(producer, numbered(5)...)
	_, stop := w.node("a", topic, s, bucket)
	counted(5)
	stop()
	w.send(producer, numbered(5)...)
	w.must(w.admin.Unload(w.context(), topic)) // which ends the ledger
	w.must(w.admin.Truncate(w.context(), topic))
	w.send(producer, numbered(4)...)
	w.node("b", topic, s, bucket)
	counted(9)
	producer.Close()
	w.must(w.admin.Delete(w.context(), topic))
	w.send(w.producer(topic, nil), numbered(2)...)
	counted(11)
	if _, _, gaps := w.stored(s, bucket); !slices.Equal(gaps, []store.GapReason{store.GapRetention, store.GapRetention}) {
		t.Errorf("gaps %v\n%s", gaps, w.logs)
	}
}

// What segments speak for is acknowledged, all but the entry of the last message:
// so a broker that drops what was acknowledged loses nothing, and there is no gap
// though nobody reads for a while.
func TestProgressIsAcknowledged(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(0)
	s, bucket := numbers(), &storetest.Memory{}
	producer := w.producer(topic, func(o *pulsargo.ProducerOptions) { o.DisableBatching = true })
	for life := range 3 {
		w.send(producer, numbered(50)...)
		source, stop := w.node(fmt.Sprint("n", life), topic, s, bucket)
		w.eventually("the backlog is one message", func() bool {
			n, err := w.admin.Backlog(w.context(), topic, "s")
			return err == nil && n == 1
		})
		w.eventually("the lag is none", func() bool {
			lag := source.Lag()[Partition(topic)]
			age, known := lag.Age(time.Now())
			return lag.End == int64(50*(life+1)) && known && age == 0
		})
		stop()
		w.must(w.admin.Unload(w.context(), topic))
	}
	if counts, _, gaps := w.stored(s, bucket); total(counts) != 150 || gaps != nil {
		t.Errorf("counted %v, gaps %v", counts, gaps)
	}
}

// Batches, single messages, all codecs, and several ledgers: all is counted, in
// one numbering, except for what came in chunks.
func TestFormsOfMessages(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(0)
	s, bucket := numbers(), &storetest.Memory{}
	source, stop := w.node("n", topic, s, bucket)
	n := int64(0)
	for _, form := range []func(*pulsargo.ProducerOptions){
		func(o *pulsargo.ProducerOptions) { o.DisableBatching = true },
		func(o *pulsargo.ProducerOptions) { o.CompressionType = pulsargo.LZ4 },
		func(o *pulsargo.ProducerOptions) { o.CompressionType = pulsargo.ZLib },
		func(o *pulsargo.ProducerOptions) { o.CompressionType = pulsargo.ZSTD },
		func(o *pulsargo.ProducerOptions) { o.CompressionType = pulsargo.SNAPPY; o.DisableBatching = true },
	} {
		w.send(w.producer(topic, form), numbered(150)...) // more than a ledger takes
		n += 150
	}
	chunks := w.producer(topic, func(o *pulsargo.ProducerOptions) {
		o.DisableBatching, o.EnableChunking, o.ChunkMaxMessageSize = true, true, 1000
	})
	w.send(chunks, `{"n": 1, "long": "`+strings.Repeat("x", 5000)+`"}`)
	w.send(w.producer(topic, nil), numbered(10)...)
	n += 10
	w.eventually("all is counted", func() bool {
		counts, _, _ := w.stored(s, bucket)
		return total(counts) >= n
	})
	source.mu.Lock()
	l := source.logs[fullName(topic)]
	source.mu.Unlock()
	if chunked, looked := l.chunked.Load(), l.looked.Load(); chunked == 0 || looked == 0 {
		t.Errorf("%d messages in chunks, %d looks back", chunked, looked)
	}
	stop()
	if counts, sum, gaps := w.stored(s, bucket); total(counts) != n || sum != n || gaps != nil {
		t.Errorf("counted %v, sum %d, gaps %v, want %d\n%s", counts, sum, gaps, n, w.logs)
	}
}

// Nodes share the partitions evenly, take over from one that leaves, and find
// partitions that are added.
func TestNodesShareTheTopic(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(4)
	s, bucket := numbers(), &storetest.Memory{}
	a, _ := w.node("a", topic, s, bucket)
	has := func(source *Source, n int) func() bool { return func() bool { return len(source.held()) == n } }
	w.eventually("a has all", has(a, 4))
	b, stop := w.node("b", topic, s, bucket)
	w.eventually("a and b share", func() bool {
		all := slices.Sorted(slices.Values(append(a.held(), b.held()...)))
		return len(a.held()) == 2 && len(slices.Compact(all)) == 4 && len(all) == 4
	})
	w.must(w.admin.Grow(w.context(), topic, 6))
	w.eventually("they share more", func() bool { return has(a, 3)() && has(b, 3)() })
	stop()
	w.eventually("a has all again", has(a, 6))
}

// A real broker is stopped, and killed, while a node reads what is produced to
// it: it comes back, and every event that it had acknowledged is counted once.
func TestBrokerRestarts(t *testing.T) {
	version := os.Getenv(pulsartest.VersionVariable)
	if version == "" {
		t.Skipf("%s does not name a version of a broker to start and kill; make test-pulsar does", pulsartest.VersionVariable)
	}
	broker, err := pulsartest.Start(t.Context(), version, t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := broker.Stop(); err != nil {
			t.Error(err)
		}
	}()
	w := connectTo(t, broker.URL, broker.Admin)
	topic := w.topic(2)
	s, bucket := numbers(), &storetest.Memory{}
	_, stop := w.node("n", topic, s, bucket)
	next, sum := 0, int64(0)
	produce := func(n int) {
		t.Helper()
		producer := w.producer(topic, nil)
		defer producer.Close()
		for range n {
			next++
			sum += int64(next)
			m := &pulsargo.ProducerMessage{OrderingKey: fmt.Sprint(next % 2), Payload: fmt.Appendf(nil, `{"n": %d}`, next)}
			producer.SendAsync(w.context(), m, func(_ pulsargo.MessageID, _ *pulsargo.ProducerMessage, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		w.must(producer.FlushWithCtx(w.context()))
	}
	counted := func() {
		t.Helper()
		w.eventually(fmt.Sprint(next, " are counted"), func() bool {
			counts, _, _ := w.stored(s, bucket)
			return total(counts) >= int64(next)
		})
	}
	produce(1000)
	counted()
	for _, end := range []func() error{broker.Process.Stop, broker.Kill} {
		produce(500) // perhaps read, perhaps not
		w.must(end())
		time.Sleep(time.Second)
		w.must(broker.Process.Start(context.Background()))
		produce(500)
		began := time.Now()
		counted()
		t.Logf("all was counted %v after the broker was back", time.Since(began).Round(time.Millisecond))
	}
	stop()
	counts, got, gaps := w.stored(s, bucket)
	if total(counts) != int64(next) || got != sum || gaps != nil {
		t.Errorf("counted %d with sum %d and gaps %v, want %d with %d\n%s", total(counts), got, gaps, next, sum, w.logs)
	}
}
