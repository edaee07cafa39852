package kafka

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
	"github.com/weir-stream/weir/store/storetest"
)

// A real broker is stopped, and killed, while a node reads what is produced to
// it: it comes back, and every event that it had acknowledged is counted once.
func TestBrokerRestarts(t *testing.T) {
	version := os.Getenv("KAFKA_VERSION")
	if version == "" {
		t.Skip("KAFKA_VERSION does not name a version of a broker to start and kill; make test-kafka does")
	}
	broker, err := kafkatest.Start(t.Context(), version, t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := broker.Stop(); err != nil {
			t.Error(err)
		}
	}()
	w := &world{t: t, brokers: []string{broker.Addr}, logs: &logBuffer{}}
	w.admin = w.client()
	topic := w.topic(2)
	group := "g-" + topic
	s, bucket := numbers(), &storetest.Memory{}
	stop := w.node("n", topic, group, s, bucket)
	next, sum := 0, int64(0)
	produce := func(n int) {
		t.Helper()
		var records []*kgo.Record
		for range n {
			next++
			sum += int64(next)
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(next % 2), Value: fmt.Appendf(nil, `{"n":%d}`, next)})
		}
		if err := w.admin.ProduceSync(w.context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	counted := func() {
		t.Helper()
		w.eventually(fmt.Sprint(next, " are counted"), func() bool {
			counts, _, _ := w.stored(s, bucket)
			return counts["/"] >= int64(next)
		})
	}
	produce(1000)
	counted()
	for _, end := range []func() error{broker.Stop, broker.Kill, broker.Kill} {
		produce(500) // perhaps read, perhaps not
		if err := end(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := broker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		produce(500)
		began := time.Now()
		counted()
		t.Logf("all was counted %v after the broker was back", time.Since(began).Round(time.Millisecond))
	}
	stop()
	counts, got, gaps := w.stored(s, bucket)
	if counts["/"] != int64(next) || got != sum || gaps != nil {
		t.Errorf("counted %d with sum %d and gaps %v, want %d with %d\n%s", counts["/"], got, gaps, next, sum, w.logs)
	}
}
