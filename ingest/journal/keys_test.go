package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTwins(t *testing.T) {
	hold := make(chan struct{})
	syncing := make(chan struct{}, 10)
	var armed atomic.Bool
	r := start(t, defaults(t.TempDir()), func(j *Journal) {
		j.sync = func(f *os.File) error {
			if armed.Load() {
				syncing <- struct{}{}
				<-hold
			}
			return f.Sync()
		}
	})
	r.push("", "first\n")
	armed.Store(true)

	const twins = 8
	acks := make(chan Ack, twins)
	var wg sync.WaitGroup
	for range twins {
		wg.Go(func() { acks <- r.push("k", "a\nb\n") })
	}
	<-syncing
	if _, err := r.Append(context.Background(), "web", "k", []byte("other\n"), 1); !errors.Is(err, ErrKeyReused) {
		t.Errorf("another body while the first is written: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Append(ctx, "web", "k", []byte("a\nb\n"), 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a twin did not wait for the fsync: %v", err)
	}
	if len(acks) != 0 {
		t.Error("acknowledged before the fsync")
	}
	close(hold)
	wg.Wait()
	close(acks)
	first, logged := Ack{}, 0
	for a := range acks {
		if !a.Duplicate {
			logged++
		}
		a.Duplicate = false
		if first == (Ack{}) {
			first = a
		}
		if a != first {
			t.Errorf("acknowledged as %+v and %+v", first, a)
		}
	}
	if logged != 1 {
		t.Errorf("%d of the twins were logged", logged)
	}
	if a := r.push("k", "a\nb\n"); !a.Duplicate || a.First != first.First {
		t.Errorf("later: %+v, first %+v", a, first)
	}
	if _, err := r.Append(context.Background(), "web", "k", []byte("other\n"), 1); !errors.Is(err, ErrKeyReused) {
		t.Errorf("another body later: %v", err)
	}
	if n := len(r.contents()); n != 2 {
		t.Errorf("%d batches, want 2", n)
	}
	if st := r.Stats().Streams["web"]; st.Duplicates != twins+1 || st.KeysReused != 2 || st.Keys != 1 {
		t.Errorf("stats %+v", st)
	}
}

// Keys outlive their files, again and again, until they expire.
func TestKeysSurvive(t *testing.T) {
	now := time.Unix(1e9, 0)
	opts := defaults(t.TempDir())
	opts.KeyTTL = time.Hour
	opts.Now = func() time.Time { return now }
	rng := seed(t)
	acks := make(map[string]Ack)
	r := start(t, opts)
	for i := range 50 {
		k := strconv.Itoa(i)
		acks[k] = r.push(k, lines(k, 1))
	}
	for round := range 4 {
		for range 30 {
			r.push("", noise(rng, 8000))
		}
		for p := range 2 {
			r.Committed("web", p, r.End("web", p))
		}
		r.push("", "x\n")
		r.push("", "x\n")
		if n := len(segments(t, opts.Dir)); n > 2 {
			t.Fatalf("round %d: %d files left", round, n)
		}
		if round%2 == 1 {
			r.shut()
			r = start(t, opts)
		}
		for k, first := range acks {
			a := r.push(k, lines(k, 1))
			if !a.Duplicate || a.First != first.First || a.Partition != first.Partition || a.Count != first.Count {
				t.Fatalf("round %d, key %s: %+v, first %+v", round, k, a, first)
			}
			if _, err := r.Append(context.Background(), "web", k, []byte("other\n"), 1); !errors.Is(err, ErrKeyReused) {
				t.Fatalf("round %d, key %s with another body: %v", round, k, err)
			}
		}
	}
	if r.Stats().Streams["web"].Keys != 50 {
		t.Errorf("stats %+v", r.Stats())
	}
	now = now.Add(time.Hour)
	if a := r.push("7", lines("7", 1)); a.Duplicate {
		t.Errorf("an expired key: %+v", a)
	}
	if a := r.push("7", lines("7", 1)); !a.Duplicate {
		t.Errorf("the key again: %+v", a)
	}
	if st := r.Stats().Streams["web"]; st.Keys != 1 || st.KeysExpired != 49 { // and 7 came anew
		t.Errorf("stats %+v", st)
	}
}

func TestKeysAreBounded(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.MaxKeys = 10
	r := start(t, opts)
	for i := range 25 {
		r.push(strconv.Itoa(i), "x\n")
	}
	if st := r.Stats().Streams["web"]; st.Keys != 10 || st.KeysEvicted != 15 {
		t.Errorf("%d keys, %d evicted", st.Keys, st.KeysEvicted)
	}
	for i := 15; i < 25; i++ {
		if !r.push(strconv.Itoa(i), "x\n").Duplicate {
			t.Errorf("key %d forgotten", i)
		}
	}
	r.shut()
	r = start(t, opts)
	if st := r.Stats().Streams["web"]; st.Keys != 10 {
		t.Errorf("%d keys after a restart", st.Keys)
	}
}

// A log whose files hold little but keys does not write itself anew forever.
func TestCarryingKeysIsAmortised(t *testing.T) {
	opts := defaults(t.TempDir())
	r := start(t, opts)
	for i := range 2000 { // 112 KB of entries, in files of 64 KiB
		r.push(fmt.Sprint(i), "x\n")
	}
	for range 100 {
		r.push("", lines("y", 1))
		for p := range 2 {
			r.Committed("web", p, r.End("web", p))
		}
	}
	if st := r.Stats(); st.Relogged > 10*2000 {
		t.Errorf("2000 keys were logged again %d times in 100 commits", st.Relogged)
	}
}
