package journal

import (
	"cmp"
	"container/list"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zeebo/xxh3"
)

// stream is what the journal keeps of one stream. Journal.mu guards it.
type stream struct {
	name       string
	configured int // partitions 0 to configured-1 take new batches; 0: none does
	partitions map[int]*partition
	turn       int // where choose begins, so that equals take turns

	keys   keyTable
	flying map[keyID]*request // keyed and not on disk yet
	inWork list.List          // *request in order of arrival, all not on disk yet

	drained drainRate
	counts  StreamCounts
}

func newStream(name string, configured int, ttl time.Duration, maxKeys int) *stream {
	s := &stream{
		name:       name,
		configured: configured,
		partitions: make(map[int]*partition),
		keys:       newKeyTable(ttl, maxKeys),
		flying:     make(map[keyID]*request),
	}
	for i := range configured {
		s.partition(i)
	}
	return s
}

// partition returns the partition of that number, and makes it if need be.
func (s *stream) partition(i int) *partition {
	p := s.partitions[i]
	if p == nil {
		p = &partition{stream: s, index: i}
		s.partitions[i] = p
	}
	return p
}

// choose returns the partition that is least behind, in turn among equals.
func (s *stream) choose(size, bound int64) (*partition, error) {
	var best *partition
	for i := range s.configured {
		p := s.partitions[(s.turn+i)%s.configured]
		if p.ready && (best == nil || p.behind() < best.behind()) {
			best = p
		}
	}
	switch {
	case best == nil:
		return nil, fmt.Errorf("%w: the end of no chain of stream %q is known yet", ErrNotReady, s.name)
	case best.behind() > 0 && best.behind()+size > bound:
		s.counts.Behind++
		var all int64
		for i := range s.configured {
			all += s.partitions[i].behind()
		}
		return nil, &BehindError{Stream: s.name, Bytes: all, Bound: bound * int64(s.configured), RetryAfter: s.drained.retryAfter(all / 2)}
	}
	s.turn = (best.index + 1) % s.configured
	return best, nil
}

// enter and leave frame the time in which a request is not on disk yet.
func (s *stream) enter(r *request) {
	r.partition.queued += int64(len(r.body))
	r.place = s.inWork.PushBack(r)
	if r.keyed {
		s.flying[r.id] = r
	}
}

func (s *stream) leave(r *request) {
	r.partition.queued -= int64(len(r.body))
	s.inWork.Remove(r.place)
	if r.keyed {
		delete(s.flying, r.id)
	}
}

// duplicate counts a batch whose key is known, and refuses another body.
func (s *stream) duplicate(known, given xxh3.Uint128) error {
	if known == given {
		s.counts.Duplicates++
		return nil
	}
	s.counts.KeysReused++
	return fmt.Errorf("journal: stream %q: %w", s.name, ErrKeyReused)
}

// BehindError says that the readers of a stream must catch up first.
type BehindError struct {
	Stream     string
	Bytes      int64         // pushed and not read yet
	Bound      int64         // of Bytes
	RetryAfter time.Duration // when half of it should be read, at the present rate
}

func (e *BehindError) Error() string {
	return fmt.Sprintf("journal: stream %q is behind by %d bytes, at most %d; retry after %s", e.Stream, e.Bytes, e.Bound, e.RetryAfter)
}

// Is makes it an [ErrBehind].
func (e *BehindError) Is(target error) bool { return target == ErrBehind }

// partition is the log of one partition. Journal.mu guards it.
//
//	    start          committed        position                 end       next
//	──────┼────────────────┼────────────────┼─────────────────────┼──────────┼──
//	gone  │ in segments,   │ in a shard     │ on disk, unread     │ being    │
//	      │ files not yet  │                │ ├── spans ────────┤ │ written  │
//	      │ deleted        │                │        ├── tail ──┤ │          │
type partition struct {
	stream *stream
	index  int

	ready     bool  // the chain's end is known
	committed int64 // segments hold what is below
	end       int64 // on disk up to here
	next      int64 // offset of the next event

	spans []span  // where the log holds it: one a file, ascending
	tail  []Batch // the newest batches, in memory, ascending, adjoining end
	kept  int64   // bytes of tail, with batchCost

	reader *Reader // at most one
	unread int64   // bytes on disk and not read; an estimate after a seek
	queued int64   // bytes not on disk yet

	grown chan struct{} // closed when end has moved; nil while nobody waits
}

// span is what one file holds of one partition.
type span struct {
	file       int
	first, end int64
	bytes      int64 // of bodies, unpacked
}

func (p *partition) behind() int64 { return p.unread + p.queued }

// add notes a record that is on disk, or is about to be built upon.
func (p *partition) add(file int, first, end, size int64) {
	if n := len(p.spans); n > 0 && p.spans[n-1].file == file {
		p.spans[n-1].end = end
		p.spans[n-1].bytes += size
	} else {
		p.spans = append(p.spans, span{file, first, end, size})
	}
	p.end = end
	p.next = max(p.next, end)
	p.unread += size
}

// batchCost is what a batch in memory costs beside its body.
const batchCost = 128

// keep adds a batch to the tail.
func (p *partition) keep(b Batch, bound int64) {
	p.tail = append(p.tail, b)
	p.kept += int64(len(b.Data)) + batchCost
	for p.kept > bound {
		p.forget()
	}
	if p.grown != nil {
		close(p.grown)
		p.grown = nil
	}
}

func (p *partition) waitGrown() chan struct{} {
	if p.grown == nil {
		p.grown = make(chan struct{})
	}
	return p.grown
}

// forget drops the oldest batch of the tail.
func (p *partition) forget() {
	p.kept -= int64(len(p.tail[0].Data)) + batchCost
	p.tail[0] = Batch{}
	p.tail = p.tail[1:]
	if len(p.tail) == 0 {
		p.tail = nil
	}
}

// spanOf returns the first span that ends after the offset.
func (p *partition) spanOf(offset int64) (span, bool) {
	i, _ := slices.BinarySearchFunc(p.spans, offset, func(s span, o int64) int { return cmp.Compare(s.end, o+1) })
	if i == len(p.spans) {
		return span{}, false
	}
	return p.spans[i], true
}

// measure sets what is unread as seen from the position: exact at the bounds of
// files, in proportion inside one.
func (p *partition) measure(position int64) {
	p.unread = 0
	for _, s := range p.spans {
		switch {
		case s.first >= position:
			p.unread += s.bytes
		case s.end > position:
			p.unread += int64(float64(s.bytes) * float64(s.end-position) / float64(s.end-s.first))
		}
	}
}

// took notes that the reader has taken a batch up to the position.
func (p *partition) took(position, size int64, now time.Time) {
	p.unread = max(0, p.unread-size)
	if position >= p.end {
		p.unread = 0
	}
	p.stream.drained.add(size, now)
}

// drainRate estimates how fast the readers of a stream take bytes.
type drainRate struct {
	since     time.Time
	bytes     int64
	perSecond float64
}

const (
	drainSample = time.Second
	minRetry    = time.Second
	maxRetry    = 30 * time.Second
)

func (d *drainRate) add(n int64, now time.Time) {
	if d.since.IsZero() {
		d.since = now
	}
	d.bytes += n
	if took := now.Sub(d.since); took >= drainSample {
		d.perSecond = float64(d.bytes) / took.Seconds()
		d.since, d.bytes = now, 0
	}
}

// retryAfter is when so many bytes should have been taken.
func (d *drainRate) retryAfter(bytes int64) time.Duration {
	if d.perSecond <= 0 {
		return 5 * minRetry
	}
	wait := time.Duration(float64(bytes) / d.perSecond * float64(time.Second))
	return min(max(wait, minRetry), maxRetry).Round(time.Second)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
