package pulsar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sort"
	"sync"
	"testing"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/log"
)

// fakeTopic is a partition in memory, and a client of it whose readers do what
// those of Pulsar do at their worst.
type fakeTopic struct {
	pulsargo.Client
	logger *clientLogger

	mu       sync.Mutex
	messages []*fakeMessage // guarded by mu
	faults   *rand.Rand     // nil: none; guarded by mu
	opened   int            // readers so far; guarded by mu
	moved    int            // the last of them whose cursor was moved on; guarded by mu
}

type fakeMessage struct {
	pulsargo.Message
	at      place
	chunked bool
	text    string
}

func (m *fakeMessage) ID() pulsargo.MessageID        { return fakeID{m.at.id(), m} }
func (m *fakeMessage) Payload() []byte               { return []byte(m.text) }
func (m *fakeMessage) Key() string                   { return "key of " + m.text }
func (m *fakeMessage) ProducerName() string          { return "p" }
func (m *fakeMessage) PublishTime() time.Time        { return time.UnixMilli(1_000_000) }
func (m *fakeMessage) EventTime() time.Time          { return time.UnixMilli(0) }
func (m *fakeMessage) Properties() map[string]string { return map[string]string{"of": m.text} }

type fakeID struct {
	pulsargo.MessageID
	of *fakeMessage
}

func (id fakeID) BatchSize() int32 { return id.of.at.size }

func (id fakeID) BatchIdx() int32 {
	if id.of.chunked {
		return -1
	}
	return id.of.at.batch
}

func (f *fakeTopic) CreateReader(o pulsargo.ReaderOptions) (pulsargo.Reader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	if f.faults != nil && f.faults.IntN(10) == 0 {
		return nil, errors.New("no broker")
	}
	start := o.StartMessageID
	at := place{ledger: start.LedgerID(), entry: start.EntryID(), batch: start.BatchIdx(), size: 1}
	return &fakeReader{topic: f, options: o, start: at, next: sort.Search(len(f.messages), func(i int) bool {
		return f.messages[i].at.compare(at) >= 0 && (!f.messages[i].chunked || f.messages[i].at.ledger != at.ledger || f.messages[i].at.entry != at.entry)
	})}, nil
}

type fakeReader struct {
	pulsargo.Reader
	topic   *fakeTopic
	options pulsargo.ReaderOptions
	start   place
	next    int
}

func (r *fakeReader) Close() {}

func (r *fakeReader) Next(ctx context.Context) (pulsargo.Message, error) {
	f := r.topic
	f.mu.Lock()
	if f.faults != nil && r.next < len(f.messages) {
		skip := f.faults.IntN(5)
		switch f.faults.IntN(40) {
		case 0: // connected again
			r.options.BackoffPolicyFunc()
			r.next += skip
		case 1: // a message that is damaged on the way
			f.logger.SubLogger(log.Fields{"subscription": r.options.SubscriptionName}).WithField("msg", r.next).Error("Discarding")
			r.next += skip
		case 2: // a cursor that was moved on, which a reader is not told; not that of the next one too
			if r.next > 0 && f.messages[r.next-1].at.ledger > r.start.ledger && f.opened > f.moved+1 {
				f.moved = f.opened
				r.next += skip
			}
		}
	}
	defer f.mu.Unlock()
	if r.next >= len(f.messages) {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return nil, ctx.Err()
	}
	r.next++
	return f.messages[r.next-1], nil
}

// GetLastMessageID tells, as brokers do, which message of a batch is the last, and
// not how many it has.
func (r *fakeReader) GetLastMessageID() (pulsargo.MessageID, error) {
	r.options.BackoffPolicyFunc()
	f := r.topic
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.messages) == 0 {
		return pulsargo.NewMessageID(7, -1, -1, -1), nil
	}
	last := f.messages[len(f.messages)-1].at
	batch := int32(-1)
	if last.size > 1 {
		batch = last.size - 1
	}
	return pulsargo.NewMessageID(last.ledger, last.entry, batch, -1), nil
}

// fill makes n messages from the place on: batches, markers, chunks, ledgers.
func (f *fakeTopic) fill(rng *rand.Rand, n int, at place) {
	for len(f.messages) < n {
		size := int32(1)
		switch rng.IntN(10) {
		case 0:
			size = 1 + rng.Int32N(30)
		case 1:
			at.entry += 1 + rng.Int64N(2) // markers
		case 2:
			at.ledger, at.entry = at.ledger+1+rng.Int64N(100), 0
		case 3:
			at.entry++
			at.batch, at.size = 0, 1
			f.messages = append(f.messages, &fakeMessage{at: at, chunked: true, text: "chunked"})
			at.entry++
		}
		for i := range size {
			at.batch, at.size = i, size
			f.messages = append(f.messages, &fakeMessage{at: at, text: fmt.Sprint("m", len(f.messages))})
		}
		at.entry++
	}
}

func (f *fakeTopic) log(t *testing.T) *partitionLog {
	t.Helper()
	f.logger = &clientLogger{logger: slog.New(slog.DiscardHandler), streams: new(sync.Map)}
	c := &client{Client: f, limit: time.Second, logger: f.logger}
	config, err := Config{URL: "pulsar://none", Topic: "t", Subscription: "s", Headers: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l := newPartitionLog(c, &config, "t", func(string, place) {})
	t.Cleanup(func() {
		l.Close()
		c.calls.Wait()
	})
	return l
}

// want is what a reader should get, from the offset on.
func (f *fakeTopic) want(from int64) (out []string) {
	for _, m := range f.messages {
		if !m.chunked {
			out = append(out, fmt.Sprint(from, " ", m.text))
			from++
		}
	}
	return out
}
