package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// Of two nodes that share the partitions of a stream, exactly one runs each
// detector, and loaded files have no say in it.
func TestOneNodeRunsADetector(t *testing.T) {
	w := newWorld(t)
	snapshot := &store.Snapshot{Chains: []store.Chain{{Partition: "file:/a"}, {Partition: "kafka:0"}, {Partition: "kafka:1"}}}
	pieces := []weir.Piece{{Partition: "kafka:1"}, {Partition: "kafka:2"}, {Partition: "kafka:3"}}
	node := func(partitions ...string) *Watcher {
		watcher := w.watcher()
		watcher.o.Mine = func(string) ([]string, bool) { return partitions, false }
		return watcher
	}
	one, other := node("kafka:0", "kafka:3"), node("kafka:1", "kafka:2")
	run := map[bool]int{}
	for i := range 200 {
		d := &definition{config: &weir.DetectorConfig{Name: fmt.Sprintf("d%d", i)}, stream: w.stream}
		mine := one.mine(d, snapshot, pieces)
		if mine == other.mine(d, snapshot, pieces) {
			t.Errorf("detector %s: both nodes say %v", d.config.Name, mine)
		}
		run[mine]++
		if one.mine(d, &store.Snapshot{Chains: snapshot.Chains[:1]}, nil) {
			t.Errorf("detector %s is run where no partition is known", d.config.Name)
		}
	}
	if run[true] < 50 || run[false] < 50 {
		t.Errorf("of 200 detectors one node runs %d and the other %d", run[true], run[false])
	}
}

// A partition that moves takes its detectors along: the new owner goes on from
// the store, the old one lets go, and what is told is what one would have told.
func TestPartitionMoves(t *testing.T) {
	of := season(seed(t), 700)
	story := func(nodes int) []string {
		w := newWorld(t)
		owner := 0
		var watchers []*Watcher
		for n := range nodes {
			watcher := w.watcher(watched3(w)...)
			watcher.o.Mine = func(string) ([]string, bool) {
				if n == owner {
					return []string{"push:0"}, false
				}
				return nil, false
			}
			watchers = append(watchers, watcher)
		}
		for w.next < 700 {
			w.write(1, of)
			if w.next%97 == 0 {
				for _, r := range watchers[owner].streams[0].runners {
					if w.next%2 == 0 { // or the new owner has but the stored windows
						if err := r.save(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				owner = (owner + 1) % nodes
			}
			for n, watcher := range watchers {
				w.look(watcher)
				for _, r := range watcher.streams[0].runners {
					if running := r.machine != nil; running != (n == owner) {
						t.Fatalf("minute %d: node %d runs detector %s: %v", w.next, n, r.def.config.Name, running)
					}
				}
				told, err := testutil.GatherAndCount(gathered(t, watcher), "weir_detector_reached_timestamp_seconds")
				if err != nil || (told > 0) != (n == owner) {
					t.Fatalf("minute %d: node %d says of %d detectors how far they are, %v", w.next, n, told, err)
				}
			}
		}
		var out []string
		for _, i := range w.told {
			out = append(out, written(t, i))
		}
		slices.Sort(out)
		return out
	}
	alone, two := story(1), story(2)
	if len(alone) < 10 || !slices.Equal(alone, two) {
		t.Errorf("one node told %d, two told %d:\n%s\n\n%s", len(alone), len(two), strings.Join(alone, "\n"), strings.Join(two, "\n"))
	}
}

func gathered(t *testing.T, w *Watcher) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(w.Collector()); err != nil {
		t.Fatal(err)
	}
	return registry
}

// Run judges, ends when it is told to, and has saved the state by then. That no
// goroutine is left is seen to by TestMain.
func TestRunEnds(t *testing.T) {
	w := newWorld(t)
	watcher := w.watcher(watched3(w)...)
	w.write(30, steady(150))
	now := w.now
	watcher.o.Now = func() time.Time { return now }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- watcher.Run(ctx) }()
	reached := func() map[string]int64 {
		out := make(map[string]int64)
		watcher.counts.mu.Lock()
		defer watcher.counts.mu.Unlock()
		for name, n := range watcher.counts.per {
			out[name] = n.next
		}
		return out
	}
	end := begin.Add(30 * time.Minute).UnixNano()
	want := map[string]int64{"season": end, "level": end, "least": end}
	for began := time.Now(); !maps.Equal(reached(), want); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("reached %v, want %v", reached(), want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, r := range watcher.streams[0].runners {
		kept, err := r.keeper.load(t.Context(), r.def)
		if err != nil || kept.machine == nil || kept.machine.next != end || len(kept.machine.series) == 0 {
			t.Errorf("detector %s: %+v, %v", r.def.config.Name, kept, err)
		}
	}
}

// A detector that has much to catch up with holds up no other for long, saves
// what it has learned, and touches no incident of the past though it begins
// again in the middle.
func TestCatchingUpTakesTurns(t *testing.T) {
	w := newWorld(t)
	low := func(m int64, _, _ string) (int64, int64) {
		if m >= 100 && m < 110 || m >= 150 && m < 160 || m == 210 {
			return 10, 0
		}
		return 100, 0
	}
	limits := func(x float64) *weir.DetectorConfig {
		return w.detector(weir.DetectorConfig{Name: "traffic", Threshold: &weir.ThresholdConfig{Below: limit(x)}})
	}
	first := w.watcher(limits(50)) // finds nothing until then
	for w.next < 200 {
		w.write(1, low)
	}
	w.look(first)
	if err := first.streams[0].runners[0].save(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Each look at this clock takes as long as half a turn.
	slow := func(watcher *Watcher) *runner {
		r := watcher.streams[0].runners[0]
		at := w.now
		r.now = func() time.Time { at = at.Add(turn / 2); return at }
		return r
	}
	second := w.watcher(limits(500))
	r := slow(second)
	for range 20 {
		w.look(second)
	}
	if !r.behind || r.machine.next >= begin.Add(100*time.Minute).UnixNano() {
		t.Fatalf("behind %v, and at %v", r.behind, time.Unix(0, r.machine.next).UTC())
	}
	if err := r.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := w.watcher(limits(500))
	r = slow(third)
	turns := 0
	for w.look(third); r.behind; w.look(third) {
		turns++
	}
	for w.next < 220 {
		w.write(1, low)
		for w.look(third); r.behind; w.look(third) {
		}
	}
	got := w.story()
	if len(got) != 2 || !strings.HasPrefix(got[0], "traffic.0 firing 3h31m0s") || turns < 10 {
		t.Errorf("%d turns; told\n%s", turns, strings.Join(got, "\n"))
	}
}

// A store of very many series is begun with, though more windows than can be
// answered at once are in one segment.
func TestBeginningWithManySeries(t *testing.T) {
	w := newWorld(t)
	w.services = nil
	for i := range 1500 {
		w.services = append(w.services, fmt.Sprintf("s%04d", i))
	}
	d := w.detector(weir.DetectorConfig{Name: "each", By: []string{"service", "region"}, Threshold: &weir.ThresholdConfig{Above: limit(150)}})
	d.MaxSeries = 2000
	w.write(1000, func(m int64, _, _ string) (int64, int64) {
		if m%250 == 0 {
			return 100, 0
		}
		return 0, 0
	})
	watcher := w.watcher(d)
	w.look(watcher)
	m := watcher.streams[0].runners[0].machine
	if m == nil || m.next != begin.Add(1000*time.Minute).UnixNano() || len(m.series) != 2000 {
		t.Fatalf("%+v", m)
	}
	// 1,000 series too many in each of the four windows that have events
	if n := watcher.counts.per["each"].left; n != 4000 || m.left != n {
		t.Errorf("%d left out, and %d in the state; want 4000", n, m.left)
	}
}

// unsynced is a store whose disk fails.
type unsynced struct{ store.Bucket }

func (unsynced) Put(context.Context, string, []byte) error { return store.ErrSync }

// A state is a cache, but a disk that may have lost what it was given ends the
// process, whoever finds out.
func TestStateThatIsNotSyncedEndsRun(t *testing.T) {
	w := newWorld(t)
	watcher := w.watcher(watched3(w)...)
	w.write(30, steady(150))
	w.look(watcher)
	for _, r := range watcher.streams[0].runners {
		r.keeper.bucket = unsynced{r.keeper.bucket}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := watcher.Run(ctx); !errors.Is(err, store.ErrSync) {
		t.Errorf("Run: %v", err)
	}
}
