package blockcache

import "container/list"

// lru keeps values that cost something up to a limit of costs, and gives up
// those that were used longest ago.
type lru[V any] struct {
	limit, cost int64
	recent      *list.List // of *entry[V], the one used last at the front
	byID        map[blockID]*list.Element
}

type entry[V any] struct {
	id    blockID
	value V
	cost  int64
}

func newLRU[V any](limit int64) lru[V] {
	return lru[V]{limit: limit, recent: list.New(), byID: make(map[blockID]*list.Element)}
}

func (l *lru[V]) find(id blockID) (value V, ok bool) {
	e, ok := l.byID[id]
	if !ok {
		return value, false
	}
	l.recent.MoveToFront(e)
	return e.Value.(*entry[V]).value, true
}

// add adds a value and returns those that it drives out. Its id is not there.
func (l *lru[V]) add(id blockID, value V, cost int64) (out []*entry[V]) {
	l.byID[id] = l.recent.PushFront(&entry[V]{id, value, cost})
	l.cost += cost
	for l.cost > l.limit {
		out = append(out, l.removeOldest())
	}
	return out
}

// removeOldest returns nil if there is none.
func (l *lru[V]) removeOldest() *entry[V] {
	e := l.recent.Back()
	if e == nil {
		return nil
	}
	x := e.Value.(*entry[V])
	l.remove(x.id)
	return x
}

func (l *lru[V]) remove(id blockID) {
	if e, ok := l.byID[id]; ok {
		l.cost -= l.recent.Remove(e).(*entry[V]).cost
		delete(l.byID, id)
	}
}

func (l *lru[V]) len() int { return len(l.byID) }
