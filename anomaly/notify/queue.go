package notify

import (
	"container/heap"
	"slices"
	"time"
)

// entry is a message that waits.
type entry struct {
	key   key
	n     int       // attempts recorded, however they ended
	tries int       // requests made since its schedule began
	due   time.Time // not before
	held  bool      // it failed as all would have; due at once when the endpoint answers again
	added int       // the number of the last scan that had begun when it was added
}

// queue holds what waits for an endpoint. The messages of one incident go in the
// order of its versions: only the first of them is ever due.
type queue struct {
	lanes map[string]*lane // by incident
	order laneHeap         // all lanes, the first due first
	size  int              // entries of all lanes
}

// lane is what waits of one incident, the oldest version first; never empty.
type lane struct {
	entries []*entry
	index   int // in the heap
}

func (l *lane) head() *entry { return l.entries[0] }

func position(l *lane, k key) (int, bool) {
	return slices.BinarySearchFunc(l.entries, k, func(e *entry, k key) int {
		if e.key.version != k.version {
			if e.key.version < k.version {
				return -1
			}
			return 1
		}
		return 0
	})
}

// find returns the entry of the key, or nil.
func (q *queue) find(k key) *entry {
	l := q.lanes[k.incident]
	if l == nil {
		return nil
	}
	at, found := position(l, k)
	if !found {
		return nil
	}
	return l.entries[at]
}

// add takes an entry that is not in the queue.
func (q *queue) add(e *entry) {
	l := q.lanes[e.key.incident]
	if l == nil {
		if q.lanes == nil {
			q.lanes = map[string]*lane{}
		}
		l = &lane{entries: []*entry{e}}
		q.lanes[e.key.incident] = l
		heap.Push(&q.order, l)
	} else {
		at, _ := position(l, e.key)
		l.entries = slices.Insert(l.entries, at, e)
		heap.Fix(&q.order, l.index)
	}
	q.size++
}

// remove takes the entry of the key out, if it is there.
func (q *queue) remove(k key) {
	l := q.lanes[k.incident]
	if l == nil {
		return
	}
	at, found := position(l, k)
	if !found {
		return
	}
	q.size--
	if len(l.entries) == 1 {
		heap.Remove(&q.order, l.index)
		delete(q.lanes, k.incident)
		return
	}
	l.entries = slices.Delete(l.entries, at, at+1)
	heap.Fix(&q.order, l.index)
}

// moved restores the order after the due time of an entry has changed.
func (q *queue) moved(k key) {
	if l := q.lanes[k.incident]; l != nil {
		heap.Fix(&q.order, l.index)
	}
}

// release makes due what failed with the endpoint.
func (q *queue) release(now time.Time) {
	for _, l := range q.lanes {
		for _, e := range l.entries {
			if e.held {
				e.held, e.due = false, now
			}
		}
	}
	heap.Init(&q.order)
}

// first returns the entry that is due first, or nil.
func (q *queue) first() *entry {
	if len(q.order) == 0 {
		return nil
	}
	return q.order[0].head()
}

// oldest returns the entry that was recorded first, or nil.
func (q *queue) oldest() *entry {
	var oldest *entry
	for _, l := range q.lanes {
		if oldest == nil || l.head().key.compare(oldest.key) < 0 {
			oldest = l.head()
		}
	}
	return oldest
}

// laneHeap orders lanes by when their first entry is due, and then by age.
type laneHeap []*lane

func (h laneHeap) Len() int { return len(h) }

func (h laneHeap) Less(i, j int) bool {
	a, b := h[i].head(), h[j].head()
	if c := a.due.Compare(b.due); c != 0 {
		return c < 0
	}
	return a.key.compare(b.key) < 0
}

func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *laneHeap) Push(x any) {
	l := x.(*lane)
	l.index = len(*h)
	*h = append(*h, l)
}

func (h *laneHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}
