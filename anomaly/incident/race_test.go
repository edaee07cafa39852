package incident

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// seeded returns a source of chance whose seed is printed, and can be given back
// in WEIR_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("WEIR_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// chance is a source of chance for several goroutines.
type chance struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (c *chance) n(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// faulty is a bucket whose puts fail in all the ways that stores know, and whose
// reads fail now and then.
func faulty(bucket store.Bucket, c *chance) *storetest.Faults {
	outcomes := []storetest.Outcome{storetest.Lost, storetest.Unknown, storetest.Delayed, storetest.Forgotten}
	return &storetest.Faults{
		Bucket: bucket,
		OnPut: func(string) storetest.Outcome {
			if c.n(3) > 0 {
				return storetest.Done
			}
			return outcomes[c.n(len(outcomes))]
		},
		OnRead: func(string) error {
			if c.n(20) == 0 {
				return storetest.ErrInjected
			}
			return nil
		},
	}
}

// TestAppendersRace lets several nodes that all believe they own a detector
// judge the same windows differently, over stores that lose, delay and
// misreport puts, and gives up on some of them midway. Whatever was appended is
// agreed on: every number tells the same to everybody, is stored by one node
// and by no other, and none is left out.
func TestAppendersRace(t *testing.T) {
	const nodes, windows = 4, 60
	c := &chance{random: seeded(t)}
	bucket := new(storetest.Memory)
	var mu sync.Mutex
	stored := map[int64]string{} // ID of the batch, as told to whoever appended
	owner := map[int64]int{}     // who was told that it is theirs
	var racing sync.WaitGroup
	for node := range nodes {
		racing.Go(func() {
			faults := faulty(bucket, c)
			defer faults.Land()
			l := newLog(faults, traffic)
			for {
				next, open, _, err := l.Open(t.Context(), traffic)
				if errors.Is(err, storetest.ErrInjected) {
					continue
				}
				if err != nil {
					t.Errorf("node %d: open: %v", node, err)
					return
				}
				for {
					if next >= windows {
						return
					}
					b := window(traffic, next, randomStates(c, next, open))
					b.Definition = fmt.Sprint("node ", node)
					ctx, cancel := t.Context(), context.CancelFunc(func() {})
					if c.n(10) == 0 {
						ctx, cancel = context.WithTimeout(ctx, time.Duration(c.n(20))*time.Millisecond)
					}
					got, mine, err := l.Append(ctx, b)
					cancel()
					if c.n(4) == 0 {
						faults.Land()
					}
					if err != nil {
						break // and begin anew
					}
					mu.Lock()
					if before, known := stored[next]; known && before != got.ID {
						t.Errorf("batch %d is %s to node %d, and %s to another", next, got.ID, node, before)
					}
					stored[next] = got.ID
					if mine {
						if other, taken := owner[next]; taken {
							t.Errorf("batch %d belongs to nodes %d and %d", next, other, node)
						}
						owner[next] = node
						if got.Definition != b.Definition {
							t.Errorf("batch %d is said to be of node %d, and is of %s", next, node, got.Definition)
						}
					}
					mu.Unlock()
					open = fold(open, got)
					next++
				}
			}
		})
	}
	racing.Wait()

	l := newLog(bucket, traffic)
	batches, err := l.Batches(t.Context(), traffic, -1)
	if err != nil || len(batches) != windows {
		t.Fatalf("%d batches, %v; want %d", len(batches), err, windows)
	}
	var open []Record
	for i, b := range batches {
		if b.N != int64(i) || stored[b.N] != "" && stored[b.N] != b.ID {
			t.Errorf("batch %d is number %d and %s, and was told to be %s", i, b.N, b.ID, stored[b.N])
		}
		open = fold(open, b)
	}
	_, got, _, err := l.Open(t.Context(), traffic)
	if diff := cmp.Diff(standings(open), standings(got)); diff != "" || err != nil {
		t.Errorf("open -folded +told: %s, %v", diff, err)
	}
}

// randomStates opens, updates and resolves some incidents.
func randomStates(c *chance, n int64, open []Record) states {
	changes := states{}
	for _, r := range open {
		opened, _ := traffic.opened(r.ID)
		switch c.n(4) {
		case 0:
			changes[opened] = weir.Resolved
		case 1:
			changes[opened] = weir.Firing
		}
	}
	if c.n(2) == 0 || len(changes) == 0 {
		changes[n] = weir.Firing
	}
	return changes
}

// fold is what a watcher does with a batch.
func fold(open []Record, b *Batch) []Record {
	var next []Record
	for _, r := range open {
		if b.record(r.ID) == nil {
			next = append(next, r)
		}
	}
	for _, r := range b.Records {
		if r.State == weir.Firing {
			next = append(next, r)
		}
	}
	return next
}

func standings(records []Record) map[string]int64 {
	list := map[string]int64{}
	for _, r := range records {
		list[r.ID] = r.Version
	}
	return list
}

// TestUnsettled gives up on a put whose outcome is unknown: it is an error, and
// whoever begins anew finds what became of it.
func TestUnsettled(t *testing.T) {
	for outcome, landed := range map[storetest.Outcome]int64{storetest.Lost: 0, storetest.Unknown: 1, storetest.Delayed: 1} {
		bucket := new(storetest.Memory)
		away := errors.New("away")
		var down bool
		faults := &storetest.Faults{
			Bucket: bucket,
			OnPut:  func(string) storetest.Outcome { down = true; return outcome },
			OnRead: func(string) error {
				if down {
					return away
				}
				return nil
			},
		}
		l := newLog(faults, traffic)
		if _, _, _, err := l.Open(t.Context(), traffic); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a put and a read fit in, however busy the machine
		defer cancel()
		if _, _, err := l.Append(ctx, window(traffic, 0, states{0: weir.Firing})); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, away) {
			t.Errorf("%v: append: %v", outcome, err)
		}
		down = false
		faults.Land()
		next, open, last, err := l.Open(t.Context(), traffic)
		if err != nil || next != landed || int64(len(open)) != landed || (last != nil) != (landed == 1) {
			t.Errorf("%v: open: %d, %v, %v, %v", outcome, next, open, last, err)
		}
	}
}

func TestSyncErrorEndsIt(t *testing.T) {
	l := newLog(&storetest.Faults{Bucket: new(storetest.Memory), OnPut: func(string) storetest.Outcome { return storetest.Unsynced }}, traffic)
	if _, _, err := l.Append(t.Context(), window(traffic, 0, states{0: weir.Firing})); !errors.Is(err, store.ErrSync) {
		t.Errorf("append: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	l := newLog(new(storetest.Memory), traffic)
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	for name, change := range map[string]func(b *Batch){
		"a number too far":     func(b *Batch) { *b = *window(traffic, 2, states{0: weir.Firing}) },
		"another detector":     func(b *Batch) { b.Detector = "nobody" },
		"another's incident":   func(b *Batch) { b.Records[0].ID = "slower.0" },
		"another's version":    func(b *Batch) { b.Records[0].Version = 0 },
		"an incident to come":  func(b *Batch) { b.Records[0].ID = "traffic.2" },
		"no state":             func(b *Batch) { b.Records[0].State = "" },
		"an incident twice":    func(b *Batch) { b.Records = append(b.Records, b.Records[0]) },
		"what JSON can't hold": func(b *Batch) { b.Config = []byte("{") },
	} {
		b := window(traffic, 1, states{0: weir.Firing})
		change(b)
		if _, mine, err := l.Append(t.Context(), b); err == nil || mine {
			t.Errorf("%s was appended", name)
		}
	}
	mustAppend(t, l, window(traffic, 1, states{0: weir.Resolved}))
	// A number of long ago is another's, whoever asks.
	stored, mine, err := l.Append(t.Context(), window(traffic, 0, states{0: weir.Firing}))
	if err != nil || mine || stored.N != 0 {
		t.Errorf("append of an old number: %v, mine %v, %v", stored, mine, err)
	}
}

// TestDamage puts what is no batch among the batches. It is passed over, named
// once and counted, and its numbers are not given again.
func TestDamage(t *testing.T) {
	bucket := new(storetest.Memory)
	l := newLog(bucket, traffic)
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	mustAppend(t, l, window(traffic, 1, states{1: weir.Firing}))
	mustAppend(t, l, window(traffic, 2, states{2: weir.Firing}))
	good, err := bucket.Read(t.Context(), traffic.name(2))
	if err != nil {
		t.Fatal(err)
	}
	bucket.Overwrite(traffic.name(1), []byte("rotten"))
	bucket.Overwrite(traffic.name(3), good) // it says to be number 2
	bucket.Overwrite(traffic.name(4), bytes.Replace(good, []byte(`"format":1`), []byte(`"format":9`), 1))
	for _, foreign := range []string{"5", "zzz", "0000000000000000007.tmp", "9999999999999999999", "9223372036854775807", "-000000000000000001", "+000000000000000001"} {
		bucket.Overwrite(traffic.folder()+foreign, []byte("x"))
	}
	bucket.Overwrite(traffic.folder()+"folder/0000000000000000001", []byte("x"))

	for name, l := range map[string]*Log{"the same": l, "another": newLog(bucket, traffic)} {
		for range 2 {
			next, open, last, err := l.Open(t.Context(), traffic)
			if err != nil || next != 5 || last == nil || last.N != 2 {
				t.Fatalf("%s: open: %d, %v, %v", name, next, last, err)
			}
			if diff := cmp.Diff(map[string]int64{"traffic.0": 0, "traffic.2": 2}, standings(open)); diff != "" {
				t.Errorf("%s: open -want +got: %s", name, diff)
			}
		}
		if _, _, err := l.Append(t.Context(), window(traffic, 3, states{0: weir.Firing})); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: append to a damaged number: %v", name, err)
		}
		batches, err := l.Batches(t.Context(), traffic, 0)
		if err != nil || len(batches) != 1 || batches[0].N != 2 {
			t.Errorf("%s: batches: %v, %v", name, batches, err)
		}
		if list, _, err := l.List(t.Context(), Filter{}); err != nil || len(list) < 2 {
			t.Errorf("%s: list: %v, %v", name, list, err)
		}
		// What sorts before the newest batch is listed by those that begin only.
		want := map[string]int64{"the same": 6, "another": 8}[name]
		if damaged, foreign := l.damaged.Load(), l.foreign.Load(); damaged != 3 || foreign != want {
			t.Errorf("%s: %d damaged and %d foreign; want 3 and %d", name, damaged, foreign, want)
		}
	}
	// One that lists up to the damage learns of it by being refused.
	late := newLog(bucket, traffic)
	if _, _, _, err := late.Open(t.Context(), traffic); err != nil {
		t.Fatal(err)
	}
	bucket.Overwrite(traffic.name(5), []byte("rotten"))
	if _, _, err := late.Append(t.Context(), window(traffic, 5, states{0: weir.Resolved})); !errors.Is(err, ErrTaken) {
		t.Errorf("append to a number that is damaged by now: %v", err)
	}
	mustAppend(t, late, window(traffic, 6, states{0: weir.Resolved}))
}

// durable is a bucket in which what was put is durable only once it was synced.
type durable struct {
	storetest.Memory
	synced []string
}

func (d *durable) Sync(_ context.Context, folder string) error {
	d.synced = append(d.synced, folder)
	return nil
}

// TestOthersAreMadeDurable syncs what another process put, before anybody builds
// on it: that one may have died before it did.
func TestOthersAreMadeDurable(t *testing.T) {
	bucket := new(durable)
	here, there := newLog(bucket, traffic), newLog(bucket, traffic)
	for _, l := range []*Log{here, there} {
		if _, _, _, err := l.Open(t.Context(), traffic); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, here, window(traffic, 0, states{0: weir.Firing}))
	bucket.synced = nil
	if _, mine, err := there.Append(t.Context(), window(traffic, 0, states{0: weir.Firing})); err != nil || mine {
		t.Fatalf("mine %v, %v", mine, err)
	}
	if diff := cmp.Diff([]string{traffic.folder()}, bucket.synced); diff != "" {
		t.Errorf("after a lost race, synced -want +got: %s", diff)
	}
	bucket.synced = nil
	if _, _, _, err := newLog(bucket, traffic).Open(t.Context(), traffic); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{traffic.folder()}, bucket.synced); diff != "" {
		t.Errorf("as an owner begins, synced -want +got: %s", diff)
	}
}
