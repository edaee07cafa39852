package ingest

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir"
)

// piece is what a shard has built of the offsets [from, to): its cells. One
// goroutine owns it while it grows. Once frozen it changes no more, except
// that settle, guarded by a sync.Once, moves the last records of grown cells
// into their sketches.
//
// Nothing in it that is held once an event or once a cell has a pointer, so
// the garbage collector has nothing to walk:
//
//	heads   by series   its two newest cells
//	cells   40 bytes each, found by (series, window) in an open-addressed table
//	blocks  512 KiB each, cut into chunks: one word linking to the next chunk, then records
//	grown   the sketches of cells that have outgrown their log, by cell and measure
//
// A cell begins as a log of its events and is exact. When the log reaches
// logLimit records it is drained into real sketches, and from then on serves
// as their buffer. At a dozen events a cell the cell, not the event, is the
// cost, and most cells never grow.
type piece struct {
	plan      *plan
	from, to  int64
	log       string
	shift     int64
	tail      []byte
	watermark int64 // Unix nanoseconds, as of to

	tally
	minTime, maxTime int64 // of events, Unix nanoseconds

	series  *interner // the shard's while the piece grows, a view once frozen
	items   *interner
	heads   []head
	active  []uint32 // series that have a cell here
	cells   []cell
	table   []uint32 // cell+1
	blocks  [][]uint64
	chunks  int // in use
	grown   []grown
	heap    int      // bytes that grown sketches hold
	scratch *columns // of drain
	settle  func()   // drains what is left, once
	frozen  bool
	size    int // bytes used when it was frozen

	width    int64
	lateness int64
	start    int64 // window of the last event
	limit    int   // records at which a log is drained
}

type head struct {
	window [2]int64
	cell   [2]uint32 // +1; 0 means none
}

type cell struct {
	window  int64
	drained int64 // events that have left the log
	series  uint32
	first   uint32 // chunk of the log, +1; 0 means none yet
	last    uint32
	logged  uint32 // records in the log
	grown   uint32 // which of piece.grown, in steps of the measures, +1; 0 means none
}

const (
	logLimit    = 84
	blockWords  = 1 << 16
	cellBytes   = 40
	headBytes   = 24
	minCellSlot = 1 << 10
)

func newPiece(p *plan) *piece {
	pc := &piece{plan: p, width: int64(p.stream.Window), lateness: int64(p.stream.Time.Lateness), items: newInterner(1),
		scratch: newColumns(p)}
	pc.limit = logLimit
	if p.records > 0 {
		pc.limit = max(1, logLimit/p.records) * p.records
	}
	pc.reset()
	return pc
}

// reset empties the piece and keeps its memory: fresh memory costs a third of
// a run.
func (p *piece) reset() {
	p.tally = tally{}
	p.minTime, p.maxTime, p.start = math.MaxInt64, math.MinInt64, math.MinInt64
	p.items.reset()
	p.series, p.frozen = nil, false
	clear(p.heads)
	p.heads, p.active, p.cells = p.heads[:0], p.active[:0], p.cells[:0]
	if p.table == nil {
		p.table = make([]uint32, minCellSlot)
	}
	clear(p.table)
	p.chunks, p.grown, p.heap = 0, p.grown[:0], 0
	p.settle = sync.OnceFunc(p.drainAll)
}

// freeze ends the piece: it will be read by others while the shard goes on.
func (p *piece) freeze() {
	view := p.series.view()
	p.size = p.usedBytes()
	p.series, p.frozen = &view, true
}

// empty reports whether nothing was read into the piece.
func (p *piece) empty() bool { return p.to == p.from }

// usedBytes is what the events of this piece occupy; memory kept for reuse
// does not count.
func (p *piece) usedBytes() int {
	return 8*p.chunks*p.plan.chunk + (cellBytes+8)*len(p.cells) + headBytes*len(p.heads) +
		p.items.usedBytes() + p.heap
}

// add counts an event. series is its number in the shard's interner.
func (p *piece) add(series int, e *event) {
	if uint64(e.time-p.start) >= uint64(p.width) || p.start == math.MinInt64 {
		p.start = weir.WindowStart(e.time, p.width)
	}
	p.events++
	p.minTime, p.maxTime = min(p.minTime, e.time), max(p.maxTime, e.time)
	if p.start+p.width <= p.watermark {
		p.late++
	}
	p.watermark = max(p.watermark, e.time-p.lateness)

	i := p.find(series, p.start)
	c := &p.cells[i]
	if p.plan.words == 0 {
		c.drained++
		return
	}
	if int(c.logged) == p.limit {
		p.drain(c)
	}
	p.write(p.next(c), e)
	c.logged++
}

// find returns the cell of a series and window, which it makes if need be.
func (p *piece) find(series int, window int64) uint32 {
	for series >= len(p.heads) {
		p.heads = append(p.heads, head{})
	}
	h := &p.heads[series]
	if h.cell[0] != 0 && h.window[0] == window {
		return h.cell[0] - 1
	}
	if h.cell[1] != 0 && h.window[1] == window {
		return h.cell[1] - 1
	}
	mask := uint64(len(p.table) - 1)
	i := cellHash(series, window) & mask
	for ; p.table[i] != 0; i = (i + 1) & mask {
		if c := &p.cells[p.table[i]-1]; c.window == window && int(c.series) == series {
			return p.table[i] - 1
		}
	}
	p.cells = append(p.cells, cell{window: window, series: uint32(series)})
	n := uint32(len(p.cells))
	p.table[i] = n
	if h.cell[0] == 0 {
		p.active = append(p.active, uint32(series))
	}
	switch {
	case h.cell[0] == 0 || window > h.window[0]:
		h.window[1], h.cell[1] = h.window[0], h.cell[0]
		h.window[0], h.cell[0] = window, n
	case h.cell[1] == 0 || window > h.window[1]:
		h.window[1], h.cell[1] = window, n
	}
	if 2*len(p.cells) > len(p.table) {
		p.rehash()
	}
	return n - 1
}

func (p *piece) rehash() {
	p.table = make([]uint32, 2*len(p.table))
	mask := uint64(len(p.table) - 1)
	for n := range p.cells {
		i := cellHash(int(p.cells[n].series), p.cells[n].window) & mask
		for p.table[i] != 0 {
			i = (i + 1) & mask
		}
		p.table[i] = uint32(n + 1)
	}
}

func cellHash(series int, window int64) uint64 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(series))
	binary.LittleEndian.PutUint64(b[8:], uint64(window))
	return xxh3.Hash(b[:])
}

// next returns the room of the next record of the cell's log.
func (p *piece) next(c *cell) []uint64 {
	at := int(c.logged) % p.plan.records
	if at == 0 {
		switch {
		case c.first == 0: // the log is new
			c.first = p.allocate()
			c.last = c.first
		case c.logged == 0: // drained: go through the chunks again
			c.last = c.first
		default:
			link := &p.chunkOf(c.last)[0]
			if *link == 0 {
				*link = uint64(p.allocate())
			}
			c.last = uint32(*link)
		}
	}
	words := p.plan.words
	return p.chunkOf(c.last)[1+at*words : 1+at*words+words]
}

func (p *piece) allocate() uint32 {
	perBlock := blockWords / p.plan.chunk
	if p.chunks == perBlock*len(p.blocks) {
		p.blocks = append(p.blocks, make([]uint64, blockWords))
	}
	p.chunks++
	n := uint32(p.chunks)
	p.chunkOf(n)[0] = 0
	return n
}

func (p *piece) chunkOf(n uint32) []uint64 {
	perBlock := uint32(blockWords / p.plan.chunk)
	at := int((n-1)%perBlock) * p.plan.chunk
	return p.blocks[(n-1)/perBlock][at : at+p.plan.chunk]
}

// write lays an event out as a record; see plan.
func (p *piece) write(record []uint64, e *event) {
	for i, f := range e.numbers {
		record[i] = math.Float64bits(f)
	}
	if p.plan.narrow&1 == 1 {
		record[len(record)-1] = 0
	}
	for i := range e.items {
		it := &e.items[i]
		f := p.plan.forms[i]
		if f.keep == asHash {
			record[f.at] = 0
			if it.ok {
				record[f.at] = it.hash
			}
			continue
		}
		v := none
		if it.ok {
			if f.keep == asID {
				v = p.intern(it)
			} else {
				v = tokenOf(it.hash)
			}
		}
		if f.at&1 == 0 {
			record[f.at/2] = uint64(v)
		} else {
			record[f.at/2] = record[f.at/2]&0xffffffff | uint64(v)<<32
		}
	}
}

func (p *piece) intern(it *item) uint32 {
	t, hash := it.text, it.hash
	if len(t) > MaxValue {
		t = cutUTF8(t, MaxValue)
		hash = hashOf(p.plan.stream.Seed, t)
		p.cut++
	}
	id := p.items.find(hash, t, nil)
	if id < 0 {
		id = p.items.add(hash, t, nil)
	}
	return uint32(id)
}
