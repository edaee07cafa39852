package pulsar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/store"
)

// Two goroutines of the client outlive what they are for: that of a producer,
// which only tests have, and one a message in chunks, for a second.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/apache/pulsar-client-go/pulsar.(*partitionProducer).failTimeoutMessages"),
		goleak.IgnoreTopFunction("github.com/apache/pulsar-client-go/pulsar.(*chunkedMsgCtxMap).discardChunkIfExpire"))
}

// reading reads a log as a worker does.
type reading struct {
	t    *testing.T
	log  *partitionLog
	at   store.Position
	idle bool
	got  []string         // every message, with its offset
	all  []store.Position // where batches ended
}

func (r *reading) open() ingest.Start {
	r.t.Helper()
	start, err := r.log.Open(r.t.Context(), r.at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.at = store.Position{Next: start.From, Log: start.Log, Shift: start.Shift, Tail: start.Tail}
	return start
}

// next reads a batch, and reports false where the log must be opened again.
func (r *reading) next() bool {
	r.t.Helper()
	b, err := r.log.Next(r.t.Context(), nil)
	if errors.Is(err, ingest.ErrMoved) {
		return false
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if b.From != r.at.Next || b.To != b.From+int64(len(b.Records)) {
		r.t.Fatalf("a batch [%d,%d) of %d records at %d", b.From, b.To, len(b.Records), r.at.Next)
	}
	for i, record := range b.Records {
		text := string(record.Value.In(b.Data))
		h := b.Headers[record.Headers[0]]
		if record.Offset != b.From+int64(i) || string(record.Key.In(b.Data)) != "key of "+text || string(h.Value.In(b.Data)) != text {
			r.t.Fatalf("record %+v of %s", record, text)
		}
		r.got = append(r.got, fmt.Sprint(record.Offset, " ", text))
	}
	if b.Release != nil {
		b.Release()
	}
	r.idle = b.Idle
	if !b.Idle {
		r.at.Next, r.at.Tail = b.To, b.Tail
		r.all = append(r.all, r.at)
	}
	return true
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%d messages, want %d; the first difference is at %d: got %v, want %v", len(got), len(want), i,
				got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
		}
	}
}

// Readers lose messages whenever they may; the log gives each once, in order, and
// whoever goes on from the end of any batch gives the same offset to the same
// message.
func TestEveryMessageOnceFromUntrustedReaders(t *testing.T) {
	synctest.Test(t, everyMessageOnceFromUntrustedReaders)
}

func everyMessageOnceFromUntrustedReaders(t *testing.T) {
	rng := random(t)
	for range 30 {
		f := &fakeTopic{faults: rng}
		f.fill(rng, 1+rng.IntN(400), place{ledger: rng.Int64N(3), entry: rng.Int64N(3)})
		want := f.want(0)
		r := &reading{t: t, log: f.log(t)}
		r.open()
		for len(r.got) < len(want) {
			if !r.next() || r.idle {
				t.Fatalf("moved, or at an end, though all messages are there: %d of %d", len(r.got), len(want))
			}
		}
		same(t, r.got, want)
		from := r.all[rng.IntN(len(r.all))]
		other := &reading{t: t, log: f.log(t), at: from}
		if start := other.open(); start.Gap != nil || start.Log != from.Log {
			t.Fatalf("gone on at %+v with %+v", from, start)
		}
		for int(from.Next)+len(other.got) < len(want) {
			if !other.next() || other.idle {
				t.Fatal("moved, or at an end, though all messages are there")
			}
		}
		same(t, other.got, want[from.Next:])
	}
}

// bubble runs a test whose time is not the clock's.
func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// What was dropped before it was read, and topics that were made anew, are gaps.
func TestGaps(t *testing.T) {
	topic := func(ledger int64, n int) *fakeTopic {
		f := &fakeTopic{}
		for i := range n {
			f.messages = append(f.messages, &fakeMessage{at: place{ledger: ledger, entry: int64(i), size: 1}, text: fmt.Sprintf("m%d/%d", ledger, i)})
		}
		return f
	}
	for _, test := range []struct {
		name   string
		after  *fakeTopic // what is there when reading goes on behind 7:4
		reason store.GapReason
		want   []string // read behind the gap, whose offset is 5
	}{
		{"later ledgers", topic(9, 2), store.GapRetention, []string{"6 m9/0", "7 m9/1"}},
		{"empty", topic(9, 0), store.GapLogShrank, nil},
		{"another cluster", func() *fakeTopic {
			f := topic(7, 6)
			f.messages[4].text = "another"
			return f
		}(), store.GapNewLog, []string{"6 m7/0", "7 m7/1", "8 m7/2", "9 m7/3", "10 another", "11 m7/5"}},
		{"ends before", topic(7, 3), store.GapLogShrank, nil},
		{"ends before, with a batch", func() *fakeTopic {
			f := topic(7, 2)
			for i := range int32(3) {
				f.messages = append(f.messages, &fakeMessage{at: place{ledger: 7, entry: 2, batch: i, size: 3}, text: fmt.Sprint("of a batch ", i)})
			}
			return f
		}(), store.GapLogShrank, nil},
		{"earlier ledgers", topic(6, 3), store.GapLogShrank, nil},
	} {
		bubble(t, test.name, func(t *testing.T) {
			before := &reading{t: t, log: topic(7, 5).log(t)}
			before.open()
			for len(before.got) < 5 {
				before.next()
			}
			r := &reading{t: t, log: test.after.log(t), at: before.at}
			start := r.open()
			if start.Gap == nil || start.Gap.Reason != test.reason || start.From != 6 || start.Shift != 6 || start.Log == before.at.Log {
				t.Fatalf("start %+v, gap %+v", start, start.Gap)
			}
			again := &reading{t: t, log: test.after.log(t), at: r.at} // the gap is stored, and another owner goes on
			if start := again.open(); start.Gap != nil {
				t.Fatalf("another gap %+v", start.Gap)
			}
			for _, r := range []*reading{r, again} {
				for len(r.got) < len(test.want) {
					r.next()
				}
				r.next() // nothing
				same(t, r.got, test.want)
			}
		})
	}
}

// A log whose messages are dropped while it is read, unseen, says that it moved;
// one of which only the read part is dropped goes on.
func TestDroppedWhileReading(t *testing.T) { synctest.Test(t, droppedWhileReading) }

func droppedWhileReading(t *testing.T) {
	f := &fakeTopic{}
	for i := range 30 {
		f.messages = append(f.messages, &fakeMessage{at: place{ledger: int64(i / 10), entry: int64(i % 10), size: 1}, text: fmt.Sprint("m", i)})
	}
	later := f.messages[15:]
	f.messages = f.messages[:15]
	r := &reading{t: t, log: f.log(t)}
	r.open()
	for len(r.got) < 15 {
		r.next()
	}
	f.mu.Lock()
	f.messages = append(slices.Clone(f.messages), later[5:]...) // the rest of ledger 1 is lost on the way
	f.messages = f.messages[10:]                                // and ledger 0 was dropped, which was read
	f.mu.Unlock()
	r.log.forget()
	for len(r.got) < 20 {
		if !r.next() {
			t.Fatal("moved, though the last message is there")
		}
	}
	f.mu.Lock()
	f.messages = []*fakeMessage{{at: place{ledger: 5, size: 1}, text: "behind"}}
	f.mu.Unlock()
	r.log.forget()
	for r.next() {
		if len(r.got) > 25 {
			t.Fatal("messages were passed over")
		}
	}
	if start := r.open(); start.Gap == nil || start.Gap.Reason != store.GapRetention {
		t.Errorf("start %+v", start)
	}
}

// An idle log says so, and where it ends; one that holds more does not.
func TestIdle(t *testing.T) { synctest.Test(t, idle) }

func idle(t *testing.T) {
	f := &fakeTopic{}
	r := &reading{t: t, log: f.log(t)}
	r.open()
	idle := func() bool {
		t.Helper()
		b, err := r.log.Next(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return b.Idle
	}
	if !idle() || r.log.End() != 0 {
		t.Errorf("an empty log ends at %d", r.log.End())
	}
	add := func(m *fakeMessage) {
		f.mu.Lock()
		f.messages = append(f.messages, m)
		f.mu.Unlock()
		r.next()
	}
	add(&fakeMessage{at: place{entry: 1, size: 2}, text: "a"})
	if idle() || r.log.End() != -1 {
		t.Error("idle within a batch")
	}
	add(&fakeMessage{at: place{entry: 1, batch: 1, size: 2}, text: "b"})
	if r.log.End() != -1 {
		t.Error("a log that was just read knows its end")
	}
	if !idle() || r.log.End() != 2 {
		t.Errorf("a log that was read ends at %d", r.log.End())
	}
}

// Progress is acknowledged up to the entry before the last message, which the
// next owner looks for.
func TestAcknowledged(t *testing.T) { synctest.Test(t, acknowledged) }

func acknowledged(t *testing.T) {
	f := &fakeTopic{}
	var told []string
	l := f.log(t)
	l.acknowledged = func(_ string, to place) { told = append(told, to.String()) }
	r := &reading{t: t, log: l}
	r.open()
	add := func(m ...*fakeMessage) {
		f.mu.Lock()
		f.messages = append(f.messages, m...)
		f.mu.Unlock()
		for n := len(r.got) + len(m); len(r.got) < n; {
			r.next()
		}
	}
	add(&fakeMessage{at: place{ledger: 3, entry: 0, size: 1}})
	add(&fakeMessage{at: place{ledger: 3, entry: 1, size: 1}})
	add(&fakeMessage{at: place{ledger: 3, entry: 2, size: 1}})
	add(&fakeMessage{at: place{ledger: 4, entry: 0, size: 1}})
	for to := range int64(5) {
		l.Committed(to)
	}
	if want := "3:0:0 3:1:0"; strings.Join(told, " ") != want {
		t.Errorf("acknowledged %v, want %s", told, want)
	}
}
