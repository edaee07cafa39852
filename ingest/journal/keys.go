package journal

import (
	"slices"
	"time"
)

// keyTable remembers the idempotency keys of one stream whose batches are on
// disk: for a time, and no more than so many. Journal.mu guards it.
type keyTable struct {
	ttl   int64 // nanoseconds
	bound int
	known map[keyID]keyEntry
	queue []aged // by arrival, oldest first: who is forgotten next

	expired, evicted int64
}

type aged struct {
	id      keyID
	arrival int64
}

func newKeyTable(ttl time.Duration, bound int) keyTable {
	return keyTable{ttl: int64(ttl), bound: bound, known: make(map[keyID]keyEntry)}
}

func (t *keyTable) lookup(id keyID, now time.Time) (keyEntry, bool) {
	e, ok := t.known[id]
	return e, ok && t.alive(e, now)
}

func (t *keyTable) alive(e keyEntry, now time.Time) bool { return now.UnixNano()-e.arrival < t.ttl }

// add remembers a key; known already, it is merely told of by another file.
func (t *keyTable) add(id keyID, e keyEntry) {
	if old, ok := t.known[id]; !ok || old.arrival != e.arrival {
		t.queue = append(t.queue, aged{id, e.arrival})
	}
	t.known[id] = e
}

// sort puts the queue in order of arrival, which a log that was read is not.
func (t *keyTable) sort() {
	slices.SortStableFunc(t.queue, func(a, b aged) int {
		switch {
		case a.arrival < b.arrival:
			return -1
		case a.arrival > b.arrival:
			return 1
		}
		return 0
	})
}

// expire forgets what is too old, and the oldest of what is too many.
func (t *keyTable) expire(now time.Time) {
	i := 0
	for ; i < len(t.queue); i++ {
		a := t.queue[i]
		e, ok := t.known[a.id]
		switch {
		case !ok || e.arrival != a.arrival: // the key came anew since
		case !t.alive(e, now):
			delete(t.known, a.id)
			t.expired++
		case len(t.known) > t.bound:
			delete(t.known, a.id)
			t.evicted++
		default:
			t.queue = t.queue[i:]
			return
		}
	}
	t.queue = nil
}
