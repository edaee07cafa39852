package query

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// cover is what an answer is made of: the blocks of one manifest, the walk of
// every chain from its frontier, and the live pieces that connect to the
// chains' ends. It counts every event once:
//
//	blocks ──────── frontier ── segment ── segment ── End ── piece ── piece
//
// A piece connects if it begins where the chain or the piece before it ends, in
// the same log with the same shift. Pieces of a slower owner of the partition
// begin or end elsewhere, and are dropped.
type cover struct {
	snapshot   *store.Snapshot
	partitions []partition // sorted by name
	ahead      bool        // an owner has pieces past a chain's end: the snapshot is old
	liveErr    error       // owners that did not answer, or nil
	oldErr     error       // why the snapshot is older than it should be, or nil
}

// partition is what is known of one partition.
type partition struct {
	name      string
	chain     *store.Chain // nil: nothing stored yet
	pieces    []weir.Piece // connected, in order
	dropped   int          // pieces that did not connect, and had events
	end       int64        // offset up to which the answer counts
	watermark int64
	idle      int64 // as of its last piece; 0: not idle, or not known
}

// newCover connects live pieces to the chains of a snapshot.
func newCover(snapshot *store.Snapshot, pieces []weir.Piece) *cover {
	c := &cover{snapshot: snapshot}
	live := make(map[string][]weir.Piece)
	for _, p := range pieces {
		live[p.Partition] = append(live[p.Partition], p)
	}
	for i := range snapshot.Chains {
		chain := &snapshot.Chains[i]
		c.connect(partition{name: chain.Partition, chain: chain, end: chain.End, watermark: chain.Watermark}, live[chain.Partition])
		delete(live, chain.Partition)
	}
	for _, name := range slices.Sorted(maps.Keys(live)) {
		c.connect(partition{name: name, watermark: store.NoWatermark}, live[name])
	}
	slices.SortFunc(c.partitions, func(a, b partition) int { return strings.Compare(a.name, b.name) })
	return c
}

func (c *cover) connect(p partition, pieces []weir.Piece) {
	var log string
	var shift int64
	if p.chain != nil {
		log, shift = p.chain.Log, p.chain.Shift
	}
	started := p.chain != nil && p.chain.Log != ""
	for begin := 0; begin < len(pieces); {
		end := begin + 1
		for end < len(pieces) && adjoin(&pieces[end-1], &pieces[end]) {
			end++
		}
		run := pieces[begin:end] // of one owner
		begin = end
		at := slices.IndexFunc(run, func(piece weir.Piece) bool {
			return piece.From == p.end && (!started || piece.Log == log && piece.Shift == shift)
		})
		switch {
		case at >= 0:
			if run = run[at:]; len(p.pieces) == 0 || run[len(run)-1].To > p.pieces[len(p.pieces)-1].To {
				p.pieces = run
			}
		case run[0].From > p.end:
			c.ahead = true
			fallthrough
		default:
			for _, piece := range run {
				if piece.To > p.end && piece.Events > 0 {
					p.dropped++
				}
			}
		}
	}
	if n := len(p.pieces); n > 0 {
		last := &p.pieces[n-1]
		p.end, p.watermark, p.idle = last.To, max(p.watermark, last.Watermark), last.Idle
		p.dropped = 0
	}
	c.partitions = append(c.partitions, p)
}

func adjoin(a, b *weir.Piece) bool {
	return a.To == b.From && a.Log == b.Log && a.Shift == b.Shift
}

// events reports the time of the oldest event of all that is covered, and the
// end of the window that holds the newest. Of live cells the windows are known;
// an event's own time is not.
func (c *cover) events(width int64) (oldest, newestEnd int64, any bool) {
	oldest, newestEnd = math.MaxInt64, math.MinInt64
	see := func(first, last, width int64) {
		oldest, newestEnd, any = min(oldest, first), max(newestEnd, weir.WindowStart(last, width)+width), true
	}
	for _, g := range c.snapshot.Gaps() {
		// Where events were, though they can't be read. An unknown time is 0, or
		// no watermark.
		if g.Reason != store.GapStart && g.Since != 0 && g.Since != store.NoWatermark {
			oldest = min(oldest, g.Since)
		}
	}
	if m := c.snapshot.Manifest; m != nil {
		for _, b := range m.Blocks {
			see(b.MinTime, b.MaxTime-1, int64(b.Width))
		}
	}
	for _, p := range c.partitions {
		if p.chain != nil {
			for _, s := range p.chain.Segments {
				if s.Meta.Events > 0 {
					see(s.Meta.MinTime, s.Meta.MaxTime, width)
				}
			}
		}
		for i := range p.pieces {
			if cells := p.pieces[i].Cells; cells != nil && cells.Rows() > 0 {
				see(slices.Min(cells.Window), slices.Max(cells.Window), cells.Width)
			}
		}
	}
	return oldest, newestEnd, any
}

// segments returns the segments that may have cells of [from, to), in the
// canonical order: by partition, then offset.
func (c *cover) segments(from, to int64) (refs []*store.SegmentRef) {
	for _, p := range c.partitions {
		if p.chain == nil {
			continue
		}
		for _, s := range p.chain.Segments {
			if s.Meta.Events > 0 && s.Meta.MaxTime >= from && weir.WindowStart(s.Meta.MinTime, int64(s.Meta.Definition.Window)) < to {
				refs = append(refs, s)
			}
		}
	}
	return refs
}

// exceptions tells, of the segments that meet [from, to) and of live pieces, how
// many events came late, and how many were rejected by reason. A rejected event
// has no time that could be believed; those that came with it tell roughly when
// it was.
func (c *cover) exceptions(from, to int64) (late int64, rejected map[string]int64) {
	rejected = make(map[string]int64)
	for _, p := range c.partitions {
		if p.chain != nil {
			for _, s := range p.chain.Segments {
				first, last := s.Meta.MinTime, s.Meta.MaxTime
				if s.Meta.Events == 0 {
					first, last = s.Meta.Watermark, s.Meta.Watermark
				}
				if first < to && last >= from {
					late += s.Meta.Late
					addCounts(rejected, s.Meta.Rejected)
				}
			}
		}
		for i := range p.pieces {
			late += p.pieces[i].Late
			addCounts(rejected, p.pieces[i].Rejected)
		}
	}
	return late, rejected
}

func (c *cover) offsets() map[string]int64 {
	offsets := make(map[string]int64, len(c.partitions))
	for _, p := range c.partitions {
		offsets[p.name] = p.end
	}
	return offsets
}

// watermark returns the event time up to which every partition is believed
// complete. A partition whose log was found empty is complete up to when it was
// asked, less the lateness, as long as another one is not: events come as they
// happen then. If all are idle, that is not known, since old data may be
// replayed with pauses: the largest watermark stands, and idleFor says how
// long it has been allowed to move on at the clock's rate.
func (c *cover) watermark(lateness time.Duration, idleFor func(largest int64) time.Duration) (watermark int64, known bool) {
	if len(c.partitions) == 0 {
		return 0, false
	}
	largest, allIdle := int64(math.MinInt64), true
	claims, effective := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, p := range c.partitions {
		largest = max(largest, p.watermark)
		own := p.watermark
		if p.idle == 0 {
			allIdle = false
		} else {
			claim := p.idle - int64(lateness)
			claims = min(claims, claim)
			own = max(own, claim)
		}
		effective = min(effective, own)
	}
	if largest == store.NoWatermark {
		return 0, false // no event yet
	}
	if !allIdle {
		return effective, effective != store.NoWatermark
	}
	moved := min(largest+int64(idleFor(largest)), max(claims, largest))
	return min(effective, moved), true
}

// incomplete says what of [from, to) may be missing, or nothing.
func (c *cover) incomplete(from, to int64, watermark int64, known bool) (notes []string) {
	switch {
	case len(c.partitions) == 0:
		return []string{"the stream has no events yet"}
	case !known:
		notes = append(notes, "a partition has no events yet, so how far the stream is complete is not known")
	case watermark < to:
		note := fmt.Sprintf("events from %s on (the watermark) may still come", formatTime(watermark))
		if p := c.slowest(watermark); p != nil {
			note += fmt.Sprintf(": so far partition %s has come", p.name)
		}
		notes = append(notes, note)
	}
	if c.oldErr != nil {
		notes = append(notes, fmt.Sprintf("what others have stored since %s may be missing: %v", formatTime(c.snapshot.Taken.UnixNano()), c.oldErr))
	}
	if c.liveErr != nil {
		notes = append(notes, fmt.Sprintf("events that are not stored yet may be missing: %v", c.liveErr))
	}
	for _, g := range c.snapshot.Gaps() {
		if g.Meets(from, to) && g.Reason != store.GapStart {
			notes = append(notes, gapNote(&g))
		}
	}
	for _, p := range c.partitions {
		if p.chain != nil && p.chain.Broken != nil {
			notes = append(notes, fmt.Sprintf("what follows offset %d of partition %s cannot be read: %v", p.chain.End, p.name, p.chain.Broken))
		}
		if p.dropped > 0 {
			notes = append(notes, fmt.Sprintf("live events of partition %s are left out: they do not connect to what is stored up to offset %d", p.name, p.end))
		}
	}
	return notes
}

// behind names the partitions of which earlier answers have shown more. What an
// owner had in memory went with it, and is being read again: an answer without
// it counts less than one before did.
func (c *cover) behind(shown map[string]int64) (notes []string) {
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		at, known := slices.BinarySearchFunc(c.partitions, name, func(p partition, name string) int { return strings.Compare(p.name, name) })
		end := int64(0)
		if known {
			end = c.partitions[at].end
		}
		if end < shown[name] {
			notes = append(notes, fmt.Sprintf("partition %s was answered for up to offset %d before; its events from %d on are being read again", name, shown[name], end))
		}
	}
	return notes
}

// slowest returns the partition whose own watermark is the stream's while
// another one has come further, or nil.
func (c *cover) slowest(watermark int64) *partition {
	var held *partition
	ahead := false
	for i := range c.partitions {
		switch p := &c.partitions[i]; {
		case p.watermark > watermark:
			ahead = true
		case p.watermark == watermark && p.idle == 0:
			held = p
		}
	}
	if !ahead {
		return nil
	}
	return held
}

func gapNote(g *store.Gap) string {
	if g.Reason == store.GapNewLog {
		return fmt.Sprintf("partition %s went on in a new log at offset %d; what the old one held past it, if anything, was not read", g.Partition, g.From)
	}
	end := fmt.Sprintf("%d", g.To)
	if g.To == math.MaxInt64 {
		end = "…"
	}
	note := fmt.Sprintf("events of partition %s at offsets [%s, %s) are missing: %s", g.Partition, fmt.Sprint(g.From), end, g.Reason)
	if g.Detail != "" {
		note += ": " + g.Detail
	}
	return note
}
