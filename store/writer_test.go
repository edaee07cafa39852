package store_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func isStale(err error) bool { return errors.Is(err, store.ErrStale) }

func compareEvents(a, b event) int {
	return cmp.Or(strings.Compare(a.log, b.log), cmp.Compare(a.offset, b.offset))
}

func TestAppendGoesOnWhereTheChainEnds(t *testing.T) {
	bucket := new(storetest.Memory)
	a := newNode(bucket, "0", "a")
	if at := a.takeover(t); !at.Equal(store.Position{Watermark: store.NoWatermark}) {
		t.Errorf("an empty chain ends at %+v", at)
	}
	a.append(t, "log", 10)
	at, kept := a.append(t, "log", 15)
	if want := (store.Position{Next: 15, Log: "log", Tail: []byte("log 15"), Watermark: 15}); !kept || !at.Equal(want) {
		t.Errorf("at %+v, kept %v, want %+v", at, kept, want)
	}
	b := newNode(bucket, "0", "b")
	if got := b.takeover(t); !got.Equal(at) {
		t.Errorf("the next owner begins at %+v, the last one ended at %+v", got, at)
	}
	// The process that appended sees it without a refresh.
	if end := a.catalog.Snapshot().Chain("0").End; end != 15 {
		t.Errorf("the writer's catalog ends at %d", end)
	}
	b.mustCount(t, "log", 15)
}

// Two owners may count different events up to the same offset, where offsets are
// counted and events were dropped meanwhile: the tail tells.
func TestOtherTailIsNotKept(t *testing.T) {
	bucket := new(storetest.Memory)
	first, second := newNode(bucket, "0", "a"), newNode(bucket, "0", "b")
	first.takeover(t)
	at := second.takeover(t)
	want, _ := first.append(t, "log", 10)
	draft := draftOf(at, "log", 10)
	draft.Meta.Tail = []byte("another place")
	got, kept, err := second.writer.Append(context.Background(), draft)
	if err != nil || kept || !got.Equal(want) {
		t.Errorf("at %+v, kept %v, %v; want %+v", got, kept, err, want)
	}
}

// Protocol test 1: a put whose outcome is unknown, and which arrives when it
// was already taken for lost.
func TestUnknownPuts(t *testing.T) {
	t.Run("stored after all", func(t *testing.T) {
		n := newNode(new(storetest.Memory), "0", "a")
		n.OnPut = once(storetest.Unknown)
		n.takeover(t)
		if at, kept := n.append(t, "log", 10); at.Next != 10 || !kept {
			t.Errorf("at %+v, kept %v", at, kept)
		}
		n.mustCount(t, "log", 10)
	})
	t.Run("lost", func(t *testing.T) {
		n := newNode(new(storetest.Memory), "0", "a")
		n.OnPut = once(storetest.Lost, storetest.Forgotten, storetest.Lost)
		n.takeover(t)
		if at, kept := n.append(t, "log", 10); at.Next != 10 || !kept {
			t.Errorf("at %+v, kept %v", at, kept)
		}
		n.mustCount(t, "log", 10)
	})
	t.Run("lands before the retry", func(t *testing.T) {
		n := newNode(new(storetest.Memory), "0", "a")
		puts := 0
		n.OnPut = func(string) storetest.Outcome {
			if puts++; puts == 1 {
				return storetest.Delayed
			}
			n.Land()
			return storetest.Done
		}
		n.takeover(t)
		if at, kept := n.append(t, "log", 10); at.Next != 10 || !kept {
			t.Errorf("at %+v, kept %v", at, kept)
		}
		n.mustCount(t, "log", 10)
	})

	// The caller gave up on [0, 10) and tries again with [0, 20).
	unsettled := func(t *testing.T) *node {
		n := newNode(new(storetest.Memory), "0", "a")
		ctx, cancel := context.WithCancel(context.Background())
		n.OnPut = once(storetest.Delayed)
		n.OnRead = func(name string) error {
			if strings.HasSuffix(name, "/0000000000000000000") {
				cancel() // having seen that it is absent
				n.OnRead = nil
			}
			return nil
		}
		// The walk of a takeover reads the same name.
		read := n.OnRead
		n.OnRead = nil
		at := n.takeover(t)
		n.OnRead = read
		if _, _, err := n.writer.Append(ctx, draftOf(at, "log", 10)); !errors.Is(err, store.ErrUnsettled) {
			t.Fatalf("the put is unknown, and Append says %v", err)
		}
		return n
	}
	t.Run("lands before the longer retry", func(t *testing.T) {
		n := unsettled(t)
		if n.Land() != 1 {
			t.Fatal("the first put did not land")
		}
		if at, kept := n.append(t, "log", 20); at.Next != 10 || kept {
			t.Errorf("the chain ends at 10, the writer is at %+v, kept %v", at, kept)
		}
		n.append(t, "log", 20)
		n.mustCount(t, "log", 20)
	})
	t.Run("lands after the longer retry", func(t *testing.T) {
		n := unsettled(t)
		if at, kept := n.append(t, "log", 20); at.Next != 20 || !kept {
			t.Errorf("at %+v, kept %v", at, kept)
		}
		if n.Land() != 0 {
			t.Error("the late put was stored beside the retry")
		}
		n.mustCount(t, "log", 20)
	})
}

// once returns outcomes one after the other, then Done.
func once(outcomes ...storetest.Outcome) func(string) storetest.Outcome {
	return func(string) storetest.Outcome {
		if len(outcomes) == 0 {
			return storetest.Done
		}
		next := outcomes[0]
		outcomes = outcomes[1:]
		return next
	}
}

// Protocol test 2: another owner was first.
func TestLoserAdoptsTheWinner(t *testing.T) {
	for _, c := range []struct {
		name   string
		winner int64
		kept   bool
	}{{"shorter", 5, false}, {"longer", 30, false}, {"equal", 10, true}} {
		t.Run(c.name, func(t *testing.T) {
			bucket := new(storetest.Memory)
			loser, winner := newNode(bucket, "0", "loser"), newNode(bucket, "0", "winner")
			loser.takeover(t)
			winner.takeover(t)
			winner.append(t, "log", c.winner)
			at, kept := loser.append(t, "log", 10)
			if at.Next != c.winner || kept != c.kept {
				t.Fatalf("at %+v, kept %v", at, kept)
			}
			loser.append(t, "log", 40)
			loser.mustCount(t, "log", 40)
		})
	}
}

// Another log or shift with an equal end is not the same place.
func TestLoserOfAnotherLogKeepsNothing(t *testing.T) {
	bucket := new(storetest.Memory)
	loser, winner := newNode(bucket, "0", "loser"), newNode(bucket, "0", "winner")
	winner.takeover(t)
	winner.append(t, "log", 10)
	loser.takeover(t)
	if _, _, err := winner.writer.Append(context.Background(), gapTo(winner.writer.Position(), "new", 11, 11, store.GapNewLog)); err != nil {
		t.Fatal(err)
	}
	at, kept := loser.append(t, "log", 11)
	if kept || at.Next != 11 || at.Log != "new" || at.Shift != 11 {
		t.Errorf("kept %v, at %+v", kept, at)
	}
	if _, _, err := loser.writer.Append(context.Background(), draftOf(store.Position{Next: 11}, "log", 20)); err == nil {
		t.Error("events of the old log were appended behind the change to a new one")
	}
}

// Protocol test 3: a writer that slept while its name was compacted and deleted.
func TestZombiePutsADeletedName(t *testing.T) {
	bucket := new(storetest.Memory)
	zombie, owner, reader := newNode(bucket, "0", "zombie"), newNode(bucket, "0", "owner"), newNode(bucket, "0", "reader")
	owner.takeover(t)
	owner.append(t, "log", 10)
	zombie.takeover(t)
	asleep := draftOf(zombie.writer.Position(), "log", 20)
	owner.append(t, "log", 30)
	at, _ := owner.append(t, "log", 40)
	old := reader.mustCount(t, "log", 40)
	compact(t, bucket, 1, map[string]store.Position{"0": at})

	woken, kept, err := zombie.writer.Append(context.Background(), asleep)
	if err != nil {
		t.Fatal(err)
	}
	if kept || !woken.Equal(at) {
		t.Errorf("the zombie goes on at %+v, kept %v; the chain ends at %+v", woken, kept, at)
	}
	if _, err := bucket.Read(context.Background(), store.SegmentName("s", "0", 10)); err != nil {
		t.Fatalf("the zombie's put did not happen: %v", err)
	}

	// The reader's old snapshot points to the name, where another segment is now.
	for _, n := range []*node{reader, newNode(bucket, "0", "with nothing in its cache")} {
		snapshot := store.Snapshot{Chains: []store.Chain{{Segments: old.Chains[0].Segments[1:2]}}}
		if _, err := eventsOf(context.Background(), n.catalog, &snapshot); !isStale(err) {
			t.Errorf("the old snapshot reads: %v", err)
		}
		if q := n.catalog.Snapshot().Quarantined; len(q) > 0 {
			t.Errorf("another segment is taken for a damaged one: %+v", q)
		}
	}
	for _, n := range []*node{reader, newNode(bucket, "0", "new")} {
		snapshot, events, err := counted(context.Background(), n.catalog)
		if err != nil || len(events) != 0 || snapshot.Chain("0").End != 40 || snapshot.Manifest.N != 1 {
			t.Errorf("%d events are counted beside the manifest's, up to %+v, %v", len(events), snapshot.Chain("0"), err)
		}
	}
	zombie.append(t, "log", 50)
	if snapshot, events, err := counted(context.Background(), reader.catalog); err != nil || len(events) != 10 || snapshot.Chain("0").End != 50 {
		t.Errorf("%v, %v", events, err)
	}
}

// A late put is void also where it arrives before its writer looks.
func TestVoidPutFoundByReadingBack(t *testing.T) {
	bucket := new(storetest.Memory)
	zombie, owner := newNode(bucket, "0", "zombie"), newNode(bucket, "0", "owner")
	owner.takeover(t)
	zombie.takeover(t)
	at, _ := owner.append(t, "log", 30)
	compact(t, bucket, 1, map[string]store.Position{"0": at})
	zombie.OnPut = once(storetest.Unknown)
	if got, kept := zombie.append(t, "log", 10); kept || !got.Equal(at) {
		t.Errorf("kept %v, at %+v", kept, got)
	}
}

// Protocol test 4: nothing is left of a chain but the manifest's word.
func TestNewOwnerAfterCompactionOfAll(t *testing.T) {
	bucket := new(storetest.Memory)
	first := newNode(bucket, "0", "first")
	first.takeover(t)
	first.append(t, "log", 10)
	at, _ := first.append(t, "log", 20)
	compact(t, bucket, 7, map[string]store.Position{"0": at})
	second := newNode(bucket, "0", "second")
	if got := second.takeover(t); !got.Equal(at) {
		t.Errorf("the new owner begins at %+v, want %+v", got, at)
	}
	if got, kept := second.append(t, "log", 30); !kept || got.Next != 30 {
		t.Errorf("at %+v, kept %v", got, kept)
	}
	if got, kept := first.append(t, "log", 25); kept || got.Next != 30 {
		t.Errorf("the first owner: at %+v, kept %v", got, kept)
	}
}

// Protocol test 8: the log is made anew, or drops what was not yet read.
func TestLogsChange(t *testing.T) {
	ctx := context.Background()
	bucket := new(storetest.Memory)
	n := newNode(bucket, "0", "a")
	n.takeover(t)
	if _, kept, err := n.writer.Append(ctx, gapTo(n.writer.Position(), "one", 0, 5, store.GapStart)); err != nil || !kept {
		t.Fatal(err)
	}
	n.append(t, "one", 10)
	if _, kept, err := n.writer.Append(ctx, gapTo(n.writer.Position(), "one", 0, 12, store.GapRetention)); err != nil || !kept {
		t.Fatal(err)
	}
	at := n.writer.Position()
	if _, kept, err := n.writer.Append(ctx, gapTo(at, "two", at.Next+1, at.Next+1, store.GapNewLog)); err != nil || !kept {
		t.Fatal(err)
	}
	n.append(t, "two", 20) // offsets [0, 7) of it
	at = n.writer.Position()
	if _, kept, err := n.writer.Append(ctx, gapTo(at, "two", at.Next+1-3, at.Next+1, store.GapLogShrank)); err != nil || !kept {
		t.Fatal(err)
	}
	n.append(t, "two", 25)

	reader := newNode(bucket, "0", "b")
	snapshot, events, err := counted(ctx, reader.catalog)
	if err != nil {
		t.Fatal(err)
	}
	chain := snapshot.Chain("0")
	if len(events) != 5+7+4 || chain.End != 25 || chain.Shift != 18 || chain.Log != "two" || len(chain.Gaps) != 4 {
		t.Errorf("%d events, chain %+v", len(events), chain)
	}
	for i, want := range []store.Gap{
		{From: 0, To: 5, Reason: store.GapStart, Since: store.NoWatermark},
		{From: 10, To: 12, Reason: store.GapRetention, Since: 10},
		{From: 12, To: 13, Reason: store.GapNewLog, Since: 10},
		{From: 20, To: 21, Reason: store.GapLogShrank, Since: 20},
	} {
		want.Partition, want.Until = "0", 1000
		if chain.Gaps[i] != want {
			t.Errorf("gap %d is %+v, want %+v", i, chain.Gaps[i], want)
		}
	}
	// A chain never returns to a log that it left.
	for _, n := range []*node{n, reader} {
		at := n.takeover(t)
		if _, _, err := n.writer.Append(ctx, gapTo(at, "one", at.Next+1, at.Next+1, store.GapNewLog)); !errors.Is(err, store.ErrLeftLog) {
			t.Errorf("back to the first log: %v", err)
		}
	}
}

func TestAppendRefusesWhatBreaksTheChain(t *testing.T) {
	n := newNode(new(storetest.Memory), "0", "a")
	if _, _, err := n.writer.Append(context.Background(), draftOf(store.Position{}, "log", 10)); err == nil {
		t.Error("appended without having taken over")
	}
	n.takeover(t)
	n.append(t, "log", 10)
	at := n.writer.Position()
	for name, spoil := range map[string]func(d *store.Draft){
		"from":      func(d *store.Draft) { d.Meta.From++ },
		"to":        func(d *store.Draft) { d.Meta.To = d.Meta.From },
		"watermark": func(d *store.Draft) { d.Meta.Watermark = 9 },
		"log":       func(d *store.Draft) { d.Meta.Log = "other" },
		"no log":    func(d *store.Draft) { d.Meta.Log = "" },
		"shift":     func(d *store.Draft) { d.Meta.Shift++ },
	} {
		d := draftOf(at, "log", 20)
		spoil(&d)
		if _, _, err := n.writer.Append(context.Background(), d); err == nil {
			t.Errorf("appended with a wrong %s", name)
		}
	}
	n.append(t, "log", 20)
	n.mustCount(t, "log", 20)
}

func TestSyncErrorEndsTheWriter(t *testing.T) {
	n := newNode(new(storetest.Memory), "0", "a")
	n.OnPut = once(storetest.Unsynced)
	n.takeover(t)
	if _, _, err := n.writer.Append(context.Background(), draftOf(n.writer.Position(), "log", 10)); !errors.Is(err, store.ErrSync) {
		t.Errorf("Append says %v", err)
	}
}

func TestAppendEndsWithItsContext(t *testing.T) {
	n := newNode(new(storetest.Memory), "0", "a")
	n.OnPut = func(string) storetest.Outcome { return storetest.Lost }
	at := n.takeover(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := n.writer.Append(ctx, draftOf(at, "log", 10)); !errors.Is(err, store.ErrUnsettled) || !errors.Is(err, storetest.ErrInjected) {
		t.Errorf("Append says %v", err)
	}
}

// A store that goes away between the put and its validation is waited for: the
// segment is stored, and nothing is known to be wrong with it.
func TestAppendOutlivesAnOutage(t *testing.T) {
	n := newNode(new(storetest.Memory), "0", "a")
	at := n.takeover(t)
	failures := 3
	n.OnRead = func(name string) error {
		if strings.Contains(name, "/manifest/") && failures > 0 {
			failures--
			return fmt.Errorf("list %s: %w", name, store.ErrUnavailable)
		}
		return nil
	}
	next, kept, err := n.writer.Append(context.Background(), draftOf(at, "log", 10))
	if err != nil || !kept || next.Next != 10 || failures != 0 {
		t.Errorf("Append: %v, kept %v, %v; %d failures are left", next, kept, err, failures)
	}
	n.mustCount(t, "log", 10)
}

// full is a bucket without room for so many puts.
type full struct {
	store.Bucket
	puts int
}

func (f *full) Put(ctx context.Context, name string, data []byte) error {
	if f.puts--; f.puts >= 0 {
		return fmt.Errorf("write %s: %w", name, syscall.ENOSPC)
	}
	return f.Bucket.Put(ctx, name, data)
}

// A full disk stops nothing for good: the put is tried until there is room, the
// log says what to do, and it is counted.
func TestFullStore(t *testing.T) {
	var log bytes.Buffer
	catalog := store.NewCatalog(&full{new(storetest.Memory), 2}, offsetsStream(), slog.New(slog.NewTextHandler(&log, nil)))
	writer := store.NewWriter(catalog, "0", "a")
	at, err := writer.Takeover(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if next, kept, err := writer.Append(context.Background(), draftOf(at, "log", 10)); err != nil || !kept || next.Next != 10 {
		t.Fatalf("Append: %v, kept %v, %v", next, kept, err)
	}
	if strings.Count(log.String(), "make room") != 2 || strings.Contains(log.String(), "nothing of that name") {
		t.Errorf("logged:\n%s", &log)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(store.Collector([]*store.Catalog{catalog}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weir_segment_put_retries_total" {
			if n := f.GetMetric()[0].GetCounter().GetValue(); n != 2 {
				t.Errorf("%v retries were counted, want 2", n)
			}
			return
		}
	}
	t.Error("retries are not in the metrics")
}
