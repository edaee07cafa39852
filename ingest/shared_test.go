package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// topic is a source of which a test says which partitions are this process's. It
// watches that no partition is read by two at a time.
type topic struct {
	w     *world
	owner chan Owner // of capacity 1

	mu      sync.Mutex
	events  map[string][][]byte // lines, by partition; guarded by mu
	readers map[string]int      // guarded by mu
	made    int                 // logs that were asked for; guarded by mu
	opened  int                 // readers there ever were; guarded by mu
	two     bool                // two processes may read one partition
	atEnd   totals              // what was stored when the membership ended; guarded by mu
}

func newTopic(w *world) *topic {
	w.stream.Time.MaxAhead = 50 * 365 * 24 * time.Hour // the clock of a synctest begins in 2000
	return &topic{w: w, owner: make(chan Owner, 1), events: make(map[string][][]byte), readers: make(map[string]int)}
}

func (s *topic) Run(ctx context.Context, owner Owner) error {
	s.owner <- owner
	<-ctx.Done()
	got := s.w.stored()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atEnd = got
	return nil
}

// produce adds events to a partition.
func (s *topic) produce(partition string, n int) {
	lines := bytes.SplitAfter(s.w.lines(n), []byte("\n"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[partition] = append(s.events[partition], lines[:n]...)
}

// opens gives what the owner is told of partitions.
func (s *topic) opens(partitions ...string) map[string]func() Log {
	out := make(map[string]func() Log)
	for _, p := range partitions {
		out[p] = func() Log {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.made++
			return &topicLog{topic: s, partition: p}
		}
	}
	return out
}

func (s *topic) reading() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.readers {
		if n > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// topicLog reads a partition; an offset is the number of a line.
type topicLog struct {
	topic     *topic
	partition string
	open      bool
	next      int64
}

func (l *topicLog) Open(_ context.Context, at store.Position) (Start, error) {
	s := l.topic
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.open {
		l.open = true
		s.opened++
		if s.readers[l.partition]++; s.readers[l.partition] > 1 && !s.two {
			s.w.t.Errorf("partition %s is read by two workers", l.partition)
		}
	}
	l.next = at.Next
	return Start{From: at.Next, Log: "log"}, nil
}

func (l *topicLog) Next(ctx context.Context, _ []byte) (Batch, error) {
	for tries := 0; ; tries++ {
		l.topic.mu.Lock()
		events := l.topic.events[l.partition]
		l.topic.mu.Unlock()
		from := l.next
		if to := int64(len(events)); to > from {
			l.next = min(to, from+10)
			return Batch{From: from, To: l.next, Lines: true, Arrival: time.Now(), Data: bytes.Join(events[from:l.next], nil)}, nil
		}
		if tries > 0 {
			return Batch{From: from, To: from, Idle: true, Arrival: time.Now()}, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

func (l *topicLog) Committed(int64) {}
func (l *topicLog) End() int64      { return -1 }

func (l *topicLog) Close() error {
	l.topic.mu.Lock()
	defer l.topic.mu.Unlock()
	if l.open {
		l.open = false
		l.topic.readers[l.partition]--
	}
	return nil
}

// member is a process that reads a topic.
type member struct {
	*Node
	owner Owner
	end   func()
}

// join runs a node on the topic. Its flushes come after the given time.
func (s *topic) join(bucket store.Bucket, interval time.Duration) *member {
	logger := slog.New(slog.NewTextHandler(s.w.logs, nil))
	n := New(Options{Name: "member", Streams: []*weir.Stream{s.w.stream}, Memory: s.w.memory, Interval: interval, Logger: logger,
		Catalogs: map[string]*store.Catalog{s.w.stream.Name: store.NewCatalog(bucket, s.w.stream, logger)},
		Sources:  map[string]Source{s.w.stream.Name: s}})
	ctx, cancel := context.WithCancel(s.w.t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	m := &member{Node: n, owner: <-s.owner}
	m.end = func() {
		cancel()
		if err := <-done; err != nil {
			s.w.t.Error(err)
		}
	}
	return m
}

// live counts what is in memory, by partition.
func (m *member) live(w *world) map[string]int64 {
	w.t.Helper()
	pieces, err := m.Live(w.t.Context(), w.stream.Name, weir.Selection{From: math.MinInt64, To: math.MaxInt64})
	if err != nil {
		w.t.Error(err)
	}
	counts := make(map[string]int64)
	for _, p := range pieces {
		counts[p.Partition] += p.Events
	}
	return counts
}

// Partitions come, go and come again in any order and at any speed, while what
// was read of them takes its time to be stored: each is read by one worker at a
// time, those that are ours are answered for, and every event counts once.
func TestPartitionsComeAndGo(t *testing.T) {
	rng := random(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := newTopic(w)
		names := []string{"p0", "p1", "p2", "p3"}
		slow := &storetest.Faults{Bucket: w.bucket, OnPut: func(string) storetest.Outcome {
			time.Sleep(rand.N(200 * time.Millisecond))
			return storetest.Done
		}}
		m := s.join(slow, time.Millisecond)
		for range 300 {
			s.produce(names[rng.IntN(len(names))], rng.IntN(30))
			var ours []string
			for _, p := range names {
				if rng.IntN(2) == 0 {
					ours = append(ours, p)
				}
			}
			if rng.IntN(2) == 0 {
				m.owner.Revoked()
			}
			m.owner.Assigned(s.opens(ours...))
			time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
			if rng.IntN(10) > 0 {
				continue // the next change comes before this one is over
			}
			time.Sleep(5 * time.Second)
			if got := s.reading(); !slices.Equal(got, ours) {
				t.Fatalf("%v are read, %v are ours", got, ours)
			}
			if got := slices.Sorted(maps.Keys(m.live(w))); !slices.Equal(got, ours) {
				t.Fatalf("%v are answered for, %v are ours", got, ours)
			}
		}
		m.owner.Assigned(s.opens(names...))
		time.Sleep(5 * time.Second)
		m.end()
		w.exact()
		if s.opened < 100 {
			t.Errorf("there were only %d readers, so this test tests little", s.opened)
		}
	})
}

// A partition that comes back is not begun before what was read of it is stored,
// even if that takes long.
func TestPartitionThatComesBackWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := newTopic(w)
		s.produce("p", 10)
		free := make(chan struct{})
		held := &storetest.Faults{Bucket: w.bucket, OnPut: func(string) storetest.Outcome {
			<-free
			return storetest.Done
		}}
		m := s.join(held, time.Hour)
		m.owner.Assigned(s.opens("p"))
		time.Sleep(time.Second)
		m.owner.Assigned(nil)
		for range 3 { // each of these would begin another one
			m.owner.Assigned(s.opens("p"))
			m.owner.Assigned(nil)
		}
		m.owner.Assigned(s.opens("p"))
		time.Sleep(time.Second)
		if s.opened != 1 {
			t.Errorf("%d workers have begun while the first still stores", s.opened)
		}
		if got := m.live(w)["p"]; got != 10 {
			t.Errorf("%d events are answered for, want 10, once", got)
		}
		close(free)
		time.Sleep(2 * settleAfter)
		s.produce("p", 5)
		time.Sleep(time.Second)
		if got := m.live(w)["p"]; got != 5 {
			t.Errorf("%d events are in memory, want 5: the others are stored", got)
		}
		m.end()
		w.exact()
	})
}

// When partitions are about to move, what is in memory is stored at once, and
// reading goes on.
func TestRevokedStoresWhatIsInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := newTopic(w)
		m := s.join(w.bucket, time.Hour)
		m.owner.Assigned(s.opens("p", "q"))
		time.Sleep(2 * settleAfter)
		for round := range 3 {
			s.produce("p", 10)
			s.produce("q", 20)
			time.Sleep(time.Second)
			if got := m.live(w); got["p"] != 10 || got["q"] != 20 || w.stored().segments != 2*round {
				t.Fatalf("round %d: %v in memory, %d segments", round, got, w.stored().segments)
			}
			m.owner.Revoked()
			m.owner.Revoked() // it may be said twice
			time.Sleep(time.Second)
			w.exact()
		}
		m.end()
	})
}

// A partition that came from another owner, who stores its last events only now,
// is soon read from where they end, and not only after the next flush.
func TestNewOwnerSettlesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := newTopic(w)
		s.produce("p", 10)
		free := make(chan struct{})
		late := &storetest.Faults{Bucket: w.bucket, OnPut: func(string) storetest.Outcome {
			<-free
			return storetest.Done
		}}
		old := s.join(late, time.Hour)
		old.owner.Assigned(s.opens("p"))
		time.Sleep(100 * time.Millisecond)
		s.two = true
		fresh := s.join(w.bucket, time.Hour)
		old.owner.Assigned(nil)
		fresh.owner.Assigned(s.opens("p"))
		time.Sleep(100 * time.Millisecond)
		s.produce("p", 10) // the old owner does not read it
		time.Sleep(100 * time.Millisecond)
		close(free) // its 10 events are stored, where the new one has 20
		time.Sleep(2 * settleAfter)
		s.produce("p", 5)
		time.Sleep(time.Second)
		if got, stored := fresh.live(w)["p"], w.stored().count; got+stored != 25 || stored < 10 {
			t.Errorf("%d events in memory and %d stored, of 25", got, stored)
		}
		old.end()
		fresh.end()
		w.exact()
	})
}

// Whoever leaves is a member until all that was read is stored, answers until
// then, and begins nothing any more.
func TestLeaveStoresFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := newTopic(w)
		s.produce("p", 10)
		slow := &storetest.Faults{Bucket: w.bucket, OnPut: func(string) storetest.Outcome {
			time.Sleep(3 * time.Second)
			return storetest.Done
		}}
		m := s.join(slow, time.Hour)
		m.owner.Assigned(s.opens("p"))
		time.Sleep(time.Second)
		impatient, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("time is up"))
		defer cancel()
		if err := m.Leave(impatient); err == nil || fmt.Sprint(err) != "leave the partitions shared with others: time is up" {
			t.Errorf("leaving takes 3 s and ended within 1 s: %v", err)
		}
		if got := m.live(w)["p"]; got != 10 {
			t.Errorf("%d events are answered for while they are being stored, want 10", got)
		}
		m.owner.Assigned(s.opens("p", "q"))
		if err := m.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if s.atEnd.count != 10 {
			t.Errorf("%d events were stored when the membership ended, want 10", s.atEnd.count)
		}
		if s.made != 1 || len(s.reading()) > 0 {
			t.Errorf("%d logs were asked for, and %v are read", s.made, s.reading())
		}
		m.end()
		w.exact()
	})
}
