package ingest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir"
)

// shard is what one partition has built since its last segment. One goroutine
// owns it, and nothing on the way of an event is shared but two counters: the
// stream's budget of series and its sample of rejects.
type shard struct {
	partition string
	plan      *plan
	decoder   *decoder
	series    *interner
	seen      []int64 // by series: when it was last new to a piece, Unix nanoseconds
	swept     int64   // when idle series were last dropped
	budget    *budget
	rejects   *rejects
	active    *piece
	frozen    *piece // being put, or nil
	spare     *piece
	key       []byte   // scratch of number
	inner     []uint32 // scratch of number
	otherKey  []byte
	otherEnds []uint32
}

// budget bounds the series that a stream's shards hold at a time. A series
// counts once for each partition it arrives in, and until it has been silent
// for seriesIdle.
type budget struct {
	limit int64
	used  atomic.Int64
}

const seriesIdle = time.Hour

func (b *budget) take() bool {
	if b.used.Add(1) > b.limit {
		b.used.Add(-1)
		return false
	}
	return true
}

func newShard(partition string, s *weir.Stream, b *budget, r *rejects) *shard {
	p, d := newPlan(s)
	sh := &shard{partition: partition, plan: p, decoder: d, budget: b, rejects: r,
		series: newInterner(len(s.Dimensions)), active: newPiece(p)}
	sh.active.series = sh.series
	for range s.Dimensions {
		sh.otherKey = append(sh.otherKey, weir.Other...)
		sh.otherEnds = append(sh.otherEnds, uint32(len(sh.otherKey)))
	}
	if n := len(sh.otherEnds); n > 0 {
		sh.otherEnds = sh.otherEnds[:n-1]
	}
	return sh
}

// add reads a batch into the active piece.
func (s *shard) add(b *Batch) {
	latest := b.Arrival.UnixNano() + int64(s.plan.stream.Time.MaxAhead)
	if b.Records != nil {
		s.addRecords(b, latest)
	} else {
		s.addLines(b, latest)
	}
	s.active.to, s.active.tail = b.To, b.Tail
}

func (s *shard) addLines(b *Batch, latest int64) {
	data, offset := b.Data, b.From
	for skip := b.Skip; len(data) > 0; {
		line := data
		size := bytes.IndexByte(data, '\n') + 1
		if size == 0 {
			size = len(data)
		} else {
			line = data[:size-1]
		}
		data = data[size:]
		if skip > 0 {
			skip--
			continue
		}
		if skipSpace(line, 0) < len(line) {
			s.count(s.decoder.decode(line, latest), line, offset, b.Arrival)
		}
		if b.Lines {
			offset++
		} else {
			offset += int64(size)
		}
	}
}

// addRecords counts the records that have a value: one without, a tombstone,
// says that its key is gone, and is no event.
func (s *shard) addRecords(b *Batch, latest int64) {
	for i := range b.Records {
		r := &b.Records[i]
		value := r.Value.In(b.Data)
		if skipSpace(value, 0) < len(value) {
			s.count(s.decoder.decodeRecord(b, r, value, latest), value, r.Offset, b.Arrival)
		}
	}
}

// count takes in what the decoder made of an event.
func (s *shard) count(reason Reason, line []byte, offset int64, arrival time.Time) {
	if reason == accepted {
		e := &s.decoder.event
		s.active.add(s.number(e, arrival), e)
		return
	}
	s.active.rejected[reason]++
	s.rejects.add(reason, line, s.partition, offset, arrival)
}

// number finds the series of an event, or makes it, or gives the overflow
// series when the budget is spent.
func (s *shard) number(e *event, now time.Time) int {
	s.key, s.inner = s.key[:0], s.inner[:0]
	for i, d := range e.dims {
		s.key = append(s.key, d...)
		if i < len(e.dims)-1 {
			s.inner = append(s.inner, uint32(len(s.key)))
		}
	}
	hash := xxh3.Hash(s.key)
	id := s.series.find(hash, s.key, s.inner)
	if id < 0 {
		if !s.series.full(s.key) && s.budget.take() {
			id = s.series.add(hash, s.key, s.inner)
		} else {
			s.active.overflow++
			hash = xxh3.Hash(s.otherKey)
			if id = s.series.find(hash, s.otherKey, s.otherEnds); id < 0 {
				s.budget.used.Add(1)
				id = s.series.add(hash, s.otherKey, s.otherEnds)
			}
		}
		for len(s.seen) < s.series.len() {
			s.seen = append(s.seen, 0)
		}
	}
	s.seen[id] = now.UnixNano()
	return id
}

// freeze ends the active piece and begins the next one at its end.
func (s *shard) freeze(now time.Time) *piece {
	old := s.active
	old.freeze()
	s.frozen = old
	if s.sweepDue(now) {
		s.sweep(now)
	}
	if s.spare == nil {
		s.spare = newPiece(s.plan)
	}
	s.begin(s.spare, old.to, old.log, old.shift, old.tail, old.watermark)
	s.spare = nil
	return old
}

// begin makes an empty piece the active one.
func (s *shard) begin(p *piece, at int64, log string, shift int64, tail []byte, watermark int64) {
	p.series = s.series
	p.from, p.to, p.log, p.shift, p.tail, p.watermark = at, at, log, shift, tail, watermark
	s.active = p
}

// release takes the frozen piece back, its cells being stored.
func (s *shard) release() {
	s.spare, s.frozen = s.frozen, nil
	s.spare.reset()
}

// drop forgets everything built since the last segment.
func (s *shard) drop(at int64, log string, shift int64, tail []byte, watermark int64) {
	s.frozen = nil
	s.active.reset()
	s.begin(s.active, at, log, shift, tail, watermark)
}

func (s *shard) sweepDue(now time.Time) bool {
	return now.UnixNano()-s.swept > int64(seriesIdle)
}

// sweep gives the budget back what silent series held, by beginning a new
// interner with those that still speak. Frozen pieces keep the old one.
func (s *shard) sweep(now time.Time) {
	first := s.swept == 0
	s.swept = now.UnixNano()
	if first {
		return
	}
	next := newInterner(s.series.parts)
	var seen []int64
	for id := range s.series.len() {
		if s.seen[id] < now.UnixNano()-int64(seriesIdle) {
			continue
		}
		key, inner := s.series.key(id)
		next.add(s.series.hashes[id], key, inner)
		seen = append(seen, s.seen[id])
	}
	s.budget.used.Add(int64(next.len() - s.series.len()))
	s.series, s.seen = next, seen
}

// live answers what the shard holds of the selection, as pieces that adjoin.
func (s *shard) live(sel weir.Selection, idle int64) []weir.Piece {
	var pieces []weir.Piece
	for _, p := range []*piece{s.frozen, s.active} {
		if p == nil {
			continue
		}
		piece := weir.Piece{Partition: s.partition, From: p.from, To: p.to, Log: p.log, Shift: p.shift,
			Watermark: p.watermark, Events: p.events, Late: p.late, Rejected: p.rejectedByName()}
		for cells := range p.cellsOf(sel, len(p.cells)+1) {
			piece.Cells = cells
		}
		pieces = append(pieces, piece)
	}
	pieces[len(pieces)-1].Idle = idle
	return pieces
}

// rejects keeps the newest rejected events of a stream, for people to look at.
type rejects struct {
	mu     sync.Mutex
	sample [100]weir.Reject // a ring; guarded by mu
	n      int64            // rejected so far; guarded by mu
	counts [reasons]int64   // guarded by mu
}

const excerptBytes = 256

func (r *rejects) add(reason Reason, line []byte, partition string, offset int64, at time.Time) {
	if len(line) > excerptBytes {
		line = cutUTF8(line, excerptBytes)
	}
	excerpt := string(line)
	if !utf8.ValidString(excerpt) {
		excerpt = string(bytes.ToValidUTF8(line, []byte("\uFFFD")))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sample[r.n%int64(len(r.sample))] = weir.Reject{Reason: reason.String(), Excerpt: excerpt,
		Partition: partition, Offset: offset, Time: at}
	r.n++
	r.counts[reason]++
}

func (r *rejects) read() weir.Rejects {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := weir.Rejects{ByReason: make(map[string]int64)}
	for reason := NotJSON; reason < reasons; reason++ {
		if n := r.counts[reason]; n > 0 {
			out.ByReason[reason.String()] = n
		}
	}
	for i := r.n - 1; i >= 0 && i >= r.n-int64(len(r.sample)); i-- {
		out.Sample = append(out.Sample, r.sample[i%int64(len(r.sample))])
	}
	return out
}
