package incident

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// TestExpiry lets time pass between windows. What has been over for long goes,
// with what was said of it, and nothing else: it is told as before by logs that
// begin anew, and numbers go on.
func TestExpiry(t *testing.T) {
	c := &chance{random: seeded(t)}
	for range 2 {
		bucket, m := new(storetest.Memory), model{}
		now := &clock{midnight}
		const keep = 48 * time.Hour
		few := func() *Log {
			return NewLog(bucket, []Ref{traffic}, Options{MaxAge: -1, Now: now.now, held: 4, Keep: keep})
		}
		l := few()
		last := map[string]int64{}
		var n int64
		for n = range 120 {
			now.at = now.at.Add(time.Duration(c.n(180)) * time.Minute)
			_, open, _, err := l.Open(t.Context(), traffic)
			if err != nil {
				t.Fatal(err)
			}
			changes := states{}
			for _, r := range open {
				opened, _ := traffic.opened(r.ID)
				if c.n(4) == 0 && (opened != 5 || n > 100) { // the fifth lasts long
					changes[opened] = []weir.IncidentState{weir.Firing, weir.Resolved}[c.n(2)]
				}
			}
			if c.n(3) > 0 || len(changes) == 0 {
				changes[n] = weir.Firing
			}
			b := window(traffic, n, changes)
			b.Recorded = now.at
			for i := range b.Records {
				b.Records[i].Recorded = now.at
			}
			for _, r := range mustAppend(t, l, b).Records {
				if _, known := m[r.ID]; !known {
					if _, err := l.AddFeedback(t.Context(), Feedback{Incident: r.ID, Alarm: true}); err != nil {
						t.Fatal(err)
					}
				}
				m[r.ID], last[r.ID] = r.Incident, n
			}
			if c.n(10) == 0 {
				l = few()
			}
		}
		now.at = now.at.Add(2 * time.Hour)
		l = few()
		if _, _, _, err := l.Open(t.Context(), traffic); err != nil { // deletes
			t.Fatal(err)
		}
		alive := func(inc *weir.Incident) bool {
			return inc.State == weir.Firing || !inc.Recorded.Before(now.at.Add(-keep))
		}
		want := m.list(alive)
		for name, l := range map[string]*Log{"the same": l, "another": few()} {
			if diff := cmp.Diff(want, pages(t, l, Filter{Limit: 7}, nil)); diff != "" {
				t.Errorf("%s: list -want +got:\n%s", name, diff)
			}
		}
		if len(want) == len(m) {
			t.Error("nothing has expired, so this test tests nothing")
		}
		stored := map[string]bool{}
		batches, err := few().Batches(t.Context(), traffic, -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			useful := b.N == n
			for _, r := range b.Records {
				stored[r.ID] = true
				inc := m[r.ID]
				useful = useful || alive(&inc)
			}
			// What stays without need is the end of a story whose beginning stays.
			for _, r := range b.Records {
				useful = useful || last[r.ID] == b.N
			}
			if !useful {
				t.Errorf("batch %d stays", b.N)
			}
		}
		for id := range m {
			feedback, err := l.Feedback(t.Context(), id)
			inc := m[id]
			if err != nil || len(feedback) == 0 && alive(&inc) || len(feedback) > 0 && !stored[id] {
				t.Errorf("%s: stored %v, feedback %v, %v", id, stored[id], feedback, err)
			}
		}
		if next, _, _, err := few().Open(t.Context(), traffic); err != nil || next != n+1 {
			t.Errorf("the next number is %d, %v; want %d", next, err, n+1)
		}
	}
}

// TestNewestStays waits for years.
func TestNewestStays(t *testing.T) {
	bucket, now := new(storetest.Memory), &clock{midnight}
	l := NewLog(bucket, []Ref{traffic}, Options{MaxAge: -1, Now: now.now})
	for n := range int64(10) {
		mustAppend(t, l, window(traffic, 2*n, states{2 * n: weir.Firing}))
		mustAppend(t, l, window(traffic, 2*n+1, states{2 * n: weir.Resolved}))
	}
	now.at = now.at.AddDate(5, 0, 0)
	next, open, last, err := l.Open(t.Context(), traffic)
	if err != nil || next != 20 || len(open) != 0 || last.N != 19 {
		t.Fatalf("open: %d, %v, %v, %v", next, open, last, err)
	}
	if diff := cmp.Diff([]string{traffic.name(18), traffic.name(19)}, bucket.Names()); diff != "" && !cmp.Equal([]string{traffic.name(19)}, bucket.Names()) {
		t.Errorf("stored are %v", bucket.Names())
	}
	// A node that slept all the while may believe a deleted number to be free.
	if _, _, err := l.Append(t.Context(), window(traffic, 3, states{3: weir.Firing})); !errors.Is(err, ErrTaken) {
		t.Errorf("append to a number that was deleted: %v", err)
	}
}

// TestSleeper is a node that last looked before its numbers were stored by
// another, and deleted.
func TestSleeper(t *testing.T) {
	bucket, now := new(storetest.Memory), &clock{midnight}
	sleeper := NewLog(bucket, []Ref{traffic}, Options{Now: now.now})
	if _, _, _, err := sleeper.Open(t.Context(), traffic); err != nil {
		t.Fatal(err)
	}
	other := NewLog(bucket, []Ref{traffic}, Options{MaxAge: -1, Now: now.now})
	for n := range int64(4) {
		mustAppend(t, other, window(traffic, n, states{n &^ 1: []weir.IncidentState{weir.Firing, weir.Resolved}[n&1]}))
	}
	now.at = now.at.AddDate(1, 0, 0)
	if _, _, _, err := other.Open(t.Context(), traffic); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Read(t.Context(), traffic.name(0)); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("batch 0 was not deleted: %v", err)
	}
	if _, _, err := sleeper.Append(t.Context(), window(traffic, 0, states{0: weir.Firing})); !errors.Is(err, ErrTaken) {
		t.Errorf("the sleeper appended to a deleted number: %v", err)
	}
}
