package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// walk follows the chain of one partition.
type walk struct {
	catalog   *Catalog
	partition string
	manifest  *Manifest
	last      *Snapshot

	quarantined []Quarantined
	lost        []Gap // found by this walk
}

func (w *walk) run(ctx context.Context) (Chain, error) {
	chain, fresh, err := w.begin()
	if err != nil {
		return Chain{}, err
	}
	// Names listed before the walk: each of them is on the chain, or was
	// deleted, or follows damage. A chain that is known up to its end needs them
	// only where it is damaged.
	var listed []int64
	if fresh {
		if listed, err = w.list(ctx, chain.End); err != nil {
			return Chain{}, err
		}
	}
	for {
		name := SegmentName(w.catalog.stream.Name, w.partition, chain.End)
		ref, err := w.catalog.readRef(ctx, name)
		switch {
		case err == nil:
			if err := chain.accepts(&ref.Meta); err != nil {
				return Chain{}, err
			}
			chain.add(ref)
			continue
		case errors.Is(err, ErrDamaged):
			goesOn, err := w.passDamage(ctx, &chain, name, err)
			if err != nil {
				return Chain{}, err
			}
			if goesOn {
				continue
			}
		case errors.Is(err, ErrNotFound):
			goesOn, err := w.passHole(&chain, listed)
			if err != nil {
				return Chain{}, err
			}
			if goesOn {
				continue
			}
		default:
			return Chain{}, err
		}
		break
	}
	if shown := w.last.Chain(w.partition); shown != nil && chain.End < shown.End {
		return Chain{}, fmt.Errorf("%w: the chain of partition %q ends at %d, it had reached %d", ErrWentBack, w.partition, chain.End, shown.End)
	}
	return chain, nil
}

// begin returns the chain as far as it is known. It is fresh if it is not known
// at all.
func (w *walk) begin() (chain Chain, fresh bool, err error) {
	known := w.last.Chain(w.partition)
	if known == nil {
		return newChain(w.partition, w.manifest), true, nil
	}
	frontier := w.manifest.frontier(w.partition)
	chain, ok := known.from(frontier)
	switch {
	case !ok && frontier < known.End:
		return Chain{}, false, fmt.Errorf("the frontier %d of partition %q in manifest %d is inside a segment", frontier, w.partition, w.manifest.number())
	case !ok:
		return newChain(w.partition, w.manifest), true, nil
	}
	if frontier != known.Frontier {
		said := newChain(w.partition, w.manifest)
		if at, ok := known.positionAt(frontier); ok && !at.Equal(said.position()) {
			return Chain{}, false, fmt.Errorf("manifest %d has partition %q at %+v, its chain is there at %+v",
				w.manifest.number(), w.partition, w.manifest.Partitions[w.partition], at)
		}
	}
	for _, q := range w.last.Quarantined {
		// What broke the chain is looked at again; the rest is known.
		if q.Partition == w.partition && q.From >= chain.Frontier && q.From < chain.End {
			w.quarantined = append(w.quarantined, q)
		}
	}
	if chain.Broken != nil {
		chain.Gaps = slices.DeleteFunc(slices.Clone(chain.Gaps), func(g Gap) bool { return g.To == unknownOffset })
		chain.Broken = nil
	}
	return chain, false, nil
}

// list returns the first offsets of the segments stored at or past an offset.
func (w *walk) list(ctx context.Context, from int64) ([]int64, error) {
	folder := segmentFolder(w.catalog.stream.Name, w.partition)
	after := ""
	if from > 0 {
		after = folder + number(from-1)
	}
	var listed []int64
	for name, err := range w.catalog.bucket.List(ctx, folder, after) {
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if n, err := lastNumber(name); err == nil && n >= from {
			listed = append(listed, n)
		}
	}
	return listed, nil
}

// accepts checks a segment against the end of the chain that it is to follow.
func (c *Chain) accepts(m *SegmentMeta) error {
	switch {
	case m.From != c.End:
		return fmt.Errorf("%v follows the chain's end %d", m, c.End)
	case m.Watermark < c.Watermark:
		return fmt.Errorf("%v: the watermark falls from %d to %d", m, c.Watermark, m.Watermark)
	}
	return nil
}

// passDamage puts a gap in the place of a segment at the chain's end that
// cannot be opened, and reports whether the chain is known to go on behind it:
// by the copy of its metadata at the head of the file, or else by the next name
// that is listed, since all names past the frontier are on the chain.
func (w *walk) passDamage(ctx context.Context, chain *Chain, name string, reason error) (bool, error) {
	q := Quarantined{Name: name, Partition: w.partition, From: chain.End, To: unknownOffset, Reason: reason.Error(), Noticed: w.catalog.now()}
	defer func() { w.quarantined = append(w.quarantined, q) }()
	meta, err := rescueMeta(ctx, w.catalog.bucket, name)
	if err == nil && chain.accepts(meta) == nil {
		q.To = meta.To
		w.skip(chain, damagedGap(meta, reason.Error()))
		chain.advance(meta)
		return true, nil
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		return false, err
	}
	gap := Gap{
		Partition: w.partition, From: chain.End, To: unknownOffset, Reason: GapDamaged, Detail: reason.Error(),
		Since: chain.Watermark, Until: q.Noticed.UnixNano(),
	}
	listed, err := w.list(ctx, chain.End+1)
	if err != nil {
		return false, err
	}
	if len(listed) == 0 {
		w.skip(chain, gap)
		chain.Broken = fmt.Errorf("the chain ends in a segment that cannot be read, and nothing says how far it goes: "+
			"restore it, or move it away to have its events read again where the log still holds them: %w", reason)
		return false, nil
	}
	q.To, gap.To = listed[0], listed[0]
	w.skip(chain, gap)
	chain.End = listed[0]
	return true, nil
}

// passHole is asked when nothing is stored at the chain's end, and reports
// whether the chain goes on behind a hole: a name that was listed before the walk
// is on the chain or, if compaction deleted what leads to it, off it by the rules,
// which step 3 of the refresh notices. Otherwise a segment was lost.
func (w *walk) passHole(chain *Chain, listed []int64) (bool, error) {
	i, found := slices.BinarySearch(listed, chain.End)
	switch {
	case found:
		return false, errMoved // listed but gone: deleted meanwhile
	case i == len(listed):
		return false, nil // this is the end
	}
	w.skip(chain, Gap{
		Partition: w.partition, From: chain.End, To: listed[i], Reason: GapMissing,
		Since: chain.Watermark, Until: w.catalog.now().UnixNano(),
	})
	chain.End = listed[i]
	return true, nil
}

// skip appends a gap in the place of a segment, to be logged if it is new.
func (w *walk) skip(chain *Chain, gap Gap) {
	chain.Gaps = append(chain.Gaps, gap)
	if known := w.last.Chain(w.partition); known != nil {
		for _, g := range known.Gaps {
			if g.From == gap.From && g.Reason == gap.Reason {
				return
			}
		}
	}
	w.lost = append(w.lost, gap)
}

// without returns the chain with a gap in the place of a segment.
func (c *Chain) without(ref *SegmentRef, reason string) (Chain, bool) {
	i := slices.IndexFunc(c.Segments, func(s *SegmentRef) bool { return s.Name == ref.Name && s.Meta.ID == ref.Meta.ID })
	if i < 0 {
		return Chain{}, false
	}
	next := *c
	next.Segments = slices.Delete(slices.Clone(c.Segments), i, i+1)
	at, _ := slices.BinarySearchFunc(c.Gaps, ref.Meta.From, func(g Gap, from int64) int { return cmp.Compare(g.From, from) })
	next.Gaps = slices.Insert(slices.Clone(c.Gaps), at, damagedGap(&ref.Meta, reason))
	return next, true
}
