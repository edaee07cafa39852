package store

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Snapshot is one consistent view of what is stored of a stream: a manifest
// and the walk of every chain from its frontier. It never changes.
type Snapshot struct {
	Manifest    *Manifest // nil until something was compacted
	Chains      []Chain   // sorted by partition: those found, known before, or in the manifest
	Quarantined []Quarantined
	Taken       time.Time // when the walk began: what was stored by then is in it
}

// Chain is what is stored of one partition from the manifest's frontier on.
type Chain struct {
	Partition string
	Frontier  int64         // blocks speak for what lies before
	Segments  []*SegmentRef // in order; gap segments and damaged ones are in Gaps instead
	Gaps      []Gap         // in order
	End       int64         // offset at which the next segment will begin
	Log       string        // as of End, like the following
	Shift     int64
	Tail      []byte
	Watermark int64
	Left      []string // logs that the chain left, never to return to

	// Broken says why the chain cannot be followed to its end: the segment at
	// End is stored but what it covers cannot be read, and none follows it.
	Broken error
}

// SegmentRef is a segment of a chain, not opened. It never changes.
type SegmentRef struct {
	Name string
	Size int64
	Meta SegmentMeta
}

// Gap is a stretch of a chain whose events are not counted.
type Gap struct {
	Partition string    `json:"partition"`
	From      int64     `json:"from"`
	To        int64     `json:"to"` // math.MaxInt64 means unknown
	Reason    GapReason `json:"reason"`
	Detail    string    `json:"detail,omitempty"`

	// Event times, Unix ns, between which answers may lack events: from the
	// watermark before the gap to when it was noticed, or closer where known.
	Since int64 `json:"since"`
	Until int64 `json:"until"`
}

// Meets reports whether events of the gap may fall in [from, to).
func (g *Gap) Meets(from, to int64) bool { return g.Since < to && from <= g.Until }

// Quarantined is a segment that is stored but damaged: its cells are in no
// answer, and a gap stands for them.
type Quarantined struct {
	Name      string
	Partition string
	From, To  int64 // To is math.MaxInt64 where unknown
	Reason    string
	Noticed   time.Time
}

// Chain returns the chain of a partition, or nil.
func (s *Snapshot) Chain(partition string) *Chain {
	i, found := s.find(partition)
	if !found {
		return nil
	}
	return &s.Chains[i]
}

func (s *Snapshot) find(partition string) (int, bool) {
	return slices.BinarySearchFunc(s.Chains, partition, func(c Chain, p string) int { return strings.Compare(c.Partition, p) })
}

// Gaps returns the gaps of the manifest and of all chains.
func (s *Snapshot) Gaps() []Gap {
	var gaps []Gap
	if s.Manifest != nil {
		gaps = append(gaps, s.Manifest.Gaps...)
	}
	for i := range s.Chains {
		gaps = append(gaps, s.Chains[i].Gaps...)
	}
	return gaps
}

// Events returns how many events the snapshot counts, and how many were rejected.
func (s *Snapshot) Events() (events, rejected int64) {
	if s.Manifest != nil {
		events = s.Manifest.Events
	}
	for i := range s.Chains {
		for _, seg := range s.Chains[i].Segments {
			events += seg.Meta.Events
			for _, n := range seg.Meta.Rejected {
				rejected += n
			}
		}
	}
	return events, rejected
}

// with returns a copy of the snapshot in which the chain replaces the one of
// its partition.
func (s *Snapshot) with(c Chain) *Snapshot {
	next := *s
	next.Chains = slices.Clone(s.Chains)
	i, found := next.find(c.Partition)
	if found {
		next.Chains[i] = c
	} else {
		next.Chains = slices.Insert(next.Chains, i, c)
	}
	return &next
}

// position is where the partition's next segment begins.
func (c *Chain) position() Position {
	return Position{Next: c.End, Log: c.Log, Shift: c.Shift, Tail: c.Tail, Watermark: c.Watermark}
}

// positionAt is where the chain was at an offset, if the segment that ended there
// can be read.
func (c *Chain) positionAt(offset int64) (Position, bool) {
	if offset == c.End {
		return c.position(), true
	}
	for _, s := range c.Segments {
		if m := &s.Meta; m.To == offset {
			return Position{Next: m.To, Log: m.Log, Shift: m.Shift, Tail: m.Tail, Watermark: m.Watermark}, true
		}
	}
	return Position{}, false
}

// newChain is the chain of a partition as far as the manifest speaks for it.
func newChain(partition string, m *Manifest) Chain {
	c := Chain{Partition: partition, Watermark: NoWatermark}
	if m == nil {
		return c
	}
	p, ok := m.Partitions[partition]
	if !ok {
		return c
	}
	c.Frontier, c.End = p.Frontier, p.Frontier
	c.Log, c.Shift, c.Tail, c.Watermark = p.Log, p.Shift, p.Tail, p.Watermark
	c.Left = slices.Clone(p.Left)
	return c
}

// from returns the chain as it begins at the frontier of a newer manifest. It
// reports false where the frontier is no position of the chain's walk.
func (c *Chain) from(frontier int64) (Chain, bool) {
	if frontier == c.Frontier {
		return *c, true
	}
	next := *c
	next.Frontier = frontier
	next.Segments, next.Gaps = nil, nil
	boundary := frontier == c.End
	for _, s := range c.Segments {
		if s.Meta.From >= frontier {
			next.Segments = append(next.Segments, s)
		}
		boundary = boundary || s.Meta.From == frontier
	}
	for _, g := range c.Gaps {
		if g.From >= frontier {
			next.Gaps = append(next.Gaps, g)
		}
		boundary = boundary || g.From == frontier
	}
	return next, boundary
}

// advance moves the chain's end behind a segment whose metadata is known.
func (c *Chain) advance(m *SegmentMeta) {
	if c.Log != m.Log && c.Log != "" && !slices.Contains(c.Left, c.Log) {
		c.Left = append(slices.Clip(c.Left), c.Log)
	}
	c.End, c.Log, c.Shift, c.Tail, c.Watermark = m.To, m.Log, m.Shift, m.Tail, m.Watermark
	c.Broken = nil
}

// add appends a segment that can be read. The slices of older snapshots stay
// as they are: only the newest chain of a partition is ever added to.
func (c *Chain) add(ref *SegmentRef) {
	if ref.Meta.Gap != nil {
		c.Gaps = append(c.Gaps, ref.Meta.gap())
	} else {
		c.Segments = append(c.Segments, ref)
	}
	c.advance(&ref.Meta)
}

// damagedGap stands for a damaged segment whose metadata is known: its events
// lie between its own event times. A gap stays what it was.
func damagedGap(m *SegmentMeta, reason string) Gap {
	if m.Gap != nil {
		return m.gap()
	}
	return Gap{
		Partition: m.Partition, From: m.From, To: m.To, Reason: GapDamaged, Detail: reason,
		Since: m.MinTime, Until: m.MaxTime,
	}
}

// gap is what a gap segment says.
func (m *SegmentMeta) gap() Gap {
	return Gap{
		Partition: m.Partition, From: m.From, To: m.To, Reason: m.Gap.Reason,
		Since: m.Gap.WatermarkBefore, Until: m.Gap.Noticed.UnixNano(),
	}
}

const unknownOffset = math.MaxInt64
