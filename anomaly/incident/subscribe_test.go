package incident

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store/storetest"
)

// take returns the next n changes by their webhook-id, and the ID of the last.
func take(t *testing.T, s *Subscription, n int) (got []string, id string) {
	t.Helper()
	for range n {
		c, err := s.Next(t.Context())
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got = append(got, fmt.Sprintf("%s-%d", c.Incident.ID, c.Incident.Version))
		id = c.ID
	}
	return got, id
}

func subscribe(t *testing.T, l *Log, lastID string) *Subscription {
	t.Helper()
	s, err := l.Subscribe(t.Context(), lastID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestSubscribe listens on one node to what it and another append, loses the
// connection after each change in turn, and goes on at either node without
// missing or repeating any.
func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := new(storetest.Memory)
		node := func() *Log { return NewLog(bucket, []Ref{traffic, slower}, Options{}) }
		here, there := node(), node()
		mustAppend(t, here, window(traffic, 0, states{0: weir.Firing})) // before anybody listens
		s := subscribe(t, here, "")
		other := subscribe(t, there, "")

		mustAppend(t, here, window(traffic, 1, states{0: weir.Firing, 1: weir.Firing}))
		var all, ids []string
		follow := func(n int) {
			t.Helper()
			for range n {
				got, id := take(t, s, 1)
				all, ids = append(all, got...), append(ids, id)
			}
		}
		follow(2)
		mustAppend(t, there, window(slower, 0, states{0: weir.Firing}))
		began := time.Now()
		follow(1)
		if late := time.Since(began); late > 4*time.Second {
			t.Errorf("another node's change was told after %v", late)
		}
		mustAppend(t, here, window(traffic, 2, states{0: weir.Resolved}))
		mustAppend(t, there, window(slower, 1, states{0: weir.Resolved, 1: weir.Firing}))
		follow(3)
		want := []string{"traffic.0-1", "traffic.1-1", "slower.0-0", "traffic.0-2", "slower.0-1", "slower.1-1"}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("changes -want +got: %s", diff)
		}
		if want := "traffic.0-1,slower:0"; ids[0] != want {
			t.Errorf("the first ID is %s, want %s", ids[0], want)
		}
		take(t, other, 6)

		for i, id := range ids {
			for name, l := range map[string]*Log{"here": here, "there": there, "a new node": node()} {
				rest := len(all) - i - 1
				got, _ := take(t, subscribe(t, l, id), rest)
				missing := map[string]bool{}
				for _, change := range all[i+1:] {
					missing[change] = true
				}
				for _, change := range got {
					if !missing[change] {
						t.Errorf("%s, after %s: %s again", name, id, change)
					}
					delete(missing, change)
				}
				if len(missing) > 0 {
					t.Errorf("%s, after %s: missing %v", name, id, missing)
				}
			}
		}

		// A change that comes after the backlog follows it.
		late := subscribe(t, there, ids[4])
		mustAppend(t, here, window(traffic, 3, states{1: weir.Resolved}))
		if got, _ := take(t, late, 2); got[0] != "slower.1-1" || got[1] != "traffic.1-3" {
			t.Errorf("after the backlog: %v", got)
		}
	})
}

// TestSlowListener is cut off, is counted, and goes on where it was.
func TestSlowListener(t *testing.T) {
	l := newLog(new(storetest.Memory), traffic)
	s := subscribe(t, l, "")
	const windows = feedChanges + 10
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	_, id := take(t, s, 1)
	for n := range int64(windows) {
		mustAppend(t, l, window(traffic, n+1, states{0: weir.Firing}))
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrSlow) {
		t.Fatalf("next: %v", err)
	}
	if got := l.slow.Load(); got != 1 {
		t.Errorf("%d slow listeners counted", got)
	}
	again := subscribe(t, l, id)
	for n := range windows {
		if got, _ := take(t, again, 1); got[0] != fmt.Sprintf("traffic.0-%d", n+1) {
			t.Fatalf("change %d is %v", n, got)
		}
	}
}

// TestSubscribeWhileAppending has listeners come and go while windows are
// appended; each sees a detector's changes in order and none twice.
func TestSubscribeWhileAppending(t *testing.T) {
	const windows = 200
	bucket := new(storetest.Memory)
	l := NewLog(bucket, []Ref{traffic, slower}, Options{MaxAge: 10 * time.Millisecond})
	remote := NewLog(bucket, []Ref{traffic, slower}, Options{MaxAge: 10 * time.Millisecond})
	first := make([]*Subscription, 0, 4)
	for _, on := range []*Log{l, remote, l, remote} {
		first = append(first, subscribe(t, on, "traffic.0-0,slower:0"))
	}
	var running sync.WaitGroup
	for _, ref := range []Ref{traffic, slower} {
		running.Go(func() {
			for n := range int64(windows) {
				mustAppend(t, l, window(ref, n, states{n: weir.Firing}))
			}
		})
	}
	for i, s := range first {
		running.Go(func() {
			next := map[string]int64{}
			for next["traffic"] < windows || next["slower"] < windows {
				c, err := s.Next(t.Context())
				if err != nil {
					t.Errorf("listener %d: %v", i, err)
					return
				}
				inc := &c.Incident
				if inc.Version != next[inc.Detector] && !(inc.Detector == "traffic" && inc.Version == 1 && next["traffic"] == 0) {
					t.Errorf("listener %d: %s-%d after %v", i, inc.ID, inc.Version, next)
					return
				}
				next[inc.Detector] = inc.Version + 1
			}
		})
	}
	running.Wait()
	if _, err := l.Subscribe(context.Background(), "x"); !errors.Is(err, ErrPosition) {
		t.Errorf("subscribe: %v", err)
	}
}

func TestNextEndsWithContext(t *testing.T) {
	l := NewLog(new(storetest.Memory), []Ref{traffic}, Options{})
	s := subscribe(t, l, "")
	reason := errors.New("quiet")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, reason)
	defer cancel()
	if _, err := s.Next(ctx); !errors.Is(err, reason) {
		t.Errorf("next: %v", err)
	}
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	if got, _ := take(t, s, 1); got[0] != "traffic.0-0" {
		t.Errorf("got %v", got)
	}
}

func TestCollector(t *testing.T) {
	l := newLog(new(storetest.Memory), traffic, slower)
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	mustAppend(t, l, window(traffic, 1, states{0: weir.Resolved, 1: weir.Firing}))
	subscribe(t, l, "")
	if got := testutil.CollectAndCount(l.Collector()); got != 12 {
		t.Errorf("%d metrics", got)
	}
	if problems, err := testutil.CollectAndLint(l.Collector()); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func FuzzPosition(f *testing.F) {
	l := newLog(new(storetest.Memory), traffic, slower)
	f.Add("traffic.5-9,slower:17")
	f.Add("traffic.5-9")
	f.Add("nobody.5-9,users:0")
	f.Fuzz(func(t *testing.T, text string) {
		found, err := l.parsePosition(text)
		if err != nil && !errors.Is(err, ErrPosition) {
			t.Errorf("%q: %v", text, err)
		}
		for ref, p := range found {
			if p.next < 0 || p.batch < 0 || (ref != traffic && ref != slower) {
				t.Errorf("%q: %v is %+v", text, ref, p)
			}
		}
	})
}
