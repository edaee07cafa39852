package store

import (
	"container/list"
	"sync"
)

const (
	// openedBytes bounds what the opened segments of a stream take in memory.
	openedBytes = 64 << 20

	// footerFactor is how much more an opened footer takes than a stored one.
	footerFactor = 12
)

// CacheStats counts what became of requests for opened segments.
type CacheStats struct {
	Hits, Misses, Evictions int64
	Segments, Bytes         int64 // held now; bytes are estimated
}

// segmentCache keeps the segments that were opened last, so that repeated
// questions do not read their ends again. The one used longest ago goes first.
type segmentCache struct {
	limit int64

	mu     sync.Mutex // guards what follows
	recent *list.List // of *Segment, the newest at the front
	byID   map[segmentID]*list.Element
	counts CacheStats
}

type segmentID struct{ name, id string }

func newSegmentCache(limit int64) *segmentCache {
	return &segmentCache{limit: limit, recent: list.New(), byID: make(map[segmentID]*list.Element)}
}

func (c *segmentCache) find(ref *SegmentRef) *Segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[segmentID{ref.Name, ref.Meta.ID}]
	if !ok {
		c.counts.Misses++
		return nil
	}
	c.counts.Hits++
	c.recent.MoveToFront(e)
	return e.Value.(*Segment)
}

func (c *segmentCache) add(s *Segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := segmentID{s.name, s.meta.ID}
	if e, ok := c.byID[id]; ok {
		c.recent.MoveToFront(e)
		return
	}
	c.byID[id] = c.recent.PushFront(s)
	c.counts.Segments++
	c.counts.Bytes += s.memory()
	for c.counts.Bytes > c.limit && c.recent.Len() > 1 {
		c.counts.Evictions++
		c.drop(c.recent.Back())
	}
}

func (c *segmentCache) remove(ref *SegmentRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[segmentID{ref.Name, ref.Meta.ID}]; ok {
		c.drop(e)
	}
}

// drop takes out an element. The caller holds mu.
func (c *segmentCache) drop(e *list.Element) {
	s := c.recent.Remove(e).(*Segment)
	delete(c.byID, segmentID{s.name, s.meta.ID})
	c.counts.Segments--
	c.counts.Bytes -= s.memory()
}

func (c *segmentCache) stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// memory estimates what the opened segment takes.
func (s *Segment) memory() int64 {
	return footerFactor*int64(len(s.end.footer)) + 8*int64(len(s.end.sums))
}
