package incident

import (
	"maps"
	"sync"

	"github.com/weir-stream/weir"
)

// feedChanges is how many changes a listener may be behind.
const feedChanges = 1024

// feed is the newest changes of all detectors, in the order in which this
// process learned of them.
type feed struct {
	mu        sync.Mutex // guards what follows; taken under history.mu
	ring      [feedChanges]change
	head      int64         // changes so far
	next      map[Ref]int64 // number of the next batch of each detector that is loaded
	wake      chan struct{} // closed and replaced at each change
	listeners int
}

// change is an incident that changed.
type change struct {
	ref      Ref
	batch    int64
	last     bool // of its batch
	incident *weir.Incident
}

// begin says where a detector stands as it is loaded. What it had before is no
// change.
func (f *feed) begin(ref Ref, next int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil {
		f.next = make(map[Ref]int64)
		f.wake = make(chan struct{})
	}
	f.next[ref] = next
}

func (f *feed) publish(ref Ref, b *Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range b.Records {
		incident := b.Records[i].Incident
		f.ring[f.head%feedChanges] = change{ref, b.N, i == len(b.Records)-1, &incident}
		f.head++
	}
	f.next[ref] = b.N + 1
	close(f.wake)
	f.wake = make(chan struct{})
}

// join returns where a listener begins.
func (f *feed) join() (at int64, next map[Ref]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners++
	return f.head, maps.Clone(f.next)
}

func (f *feed) part() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners--
}

// after returns the change of that number, or what is closed when there is one.
// It reports false if the ring holds it no more.
func (f *feed) after(at int64) (c *change, wake <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case at < f.head-feedChanges:
		return nil, nil, false
	case at < f.head:
		c := f.ring[at%feedChanges]
		return &c, nil, true
	}
	return nil, f.wake, true
}
