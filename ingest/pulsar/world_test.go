package pulsar

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/ingest/pulsar/pulsartest"
)

// world is a real broker.
type world struct {
	t      *testing.T
	url    string
	admin  pulsartest.Admin
	client pulsargo.Client
	logs   *logBuffer
}

// newWorld takes the broker that the environment names.
func newWorld(t *testing.T) *world {
	t.Helper()
	url, admin := os.Getenv(pulsartest.URLVariable), os.Getenv(pulsartest.AdminVariable)
	if url == "" || admin == "" {
		t.Skipf("%s and %s do not name a broker; make test-pulsar starts one", pulsartest.URLVariable, pulsartest.AdminVariable)
	}
	return connectTo(t, url, pulsartest.Admin(admin))
}

func connectTo(t *testing.T, url string, admin pulsartest.Admin) *world {
	t.Helper()
	w := &world{t: t, url: url, admin: admin, logs: new(logBuffer)}
	client, err := pulsargo.NewClient(pulsargo.ClientOptions{URL: url, Logger: log.DefaultNopLogger(),
		MetricsRegisterer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	w.client = client
	return w
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: logLevel}))
}

// topic makes a topic of so many partitions, or of none, and gives its name.
func (w *world) topic(partitions int) string {
	w.t.Helper()
	name := fmt.Sprintf("t-%x", rand.Uint64())
	w.must(w.admin.Create(w.context(), name, partitions))
	return name
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// producer sends messages in batches to the partitions that they name.
func (w *world) producer(topic string, change func(*pulsargo.ProducerOptions)) pulsargo.Producer {
	w.t.Helper()
	o := pulsargo.ProducerOptions{Topic: topic, BatchingMaxPublishDelay: time.Millisecond,
		MessageRouter: func(m *pulsargo.ProducerMessage, _ pulsargo.TopicMetadata) int {
			n, _ := strconv.Atoi(m.OrderingKey)
			return n
		}}
	if change != nil {
		change(&o)
	}
	p, err := w.client.CreateProducer(o)
	w.must(err)
	w.t.Cleanup(p.Close)
	return p
}

// send produces events, all in one batch if the producer makes batches.
func (w *world) send(p pulsargo.Producer, events ...string) {
	w.t.Helper()
	for _, e := range events {
		p.SendAsync(w.context(), &pulsargo.ProducerMessage{Payload: []byte(e)}, func(_ pulsargo.MessageID, _ *pulsargo.ProducerMessage, err error) {
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	w.must(p.FlushWithCtx(w.context()))
}

// eventually waits until f holds, and tells what does not.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	if !w.soon(f) {
		w.t.Fatalf("never: %s\n%s", what, w.logs)
	}
}

// soon reports whether f comes to hold.
func (w *world) soon(f func() bool) bool {
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func random(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if given := os.Getenv("WEIR_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// logBuffer keeps the end of what is logged.
var logLevel = slog.LevelInfo

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() > 1<<20 {
		l.buf.Next(l.buf.Len() / 2)
	}
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
