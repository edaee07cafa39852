package watch

import (
	"context"
	"maps"
	"sort"

	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
)

// cut is what counts for a window: of every partition, the events below an
// offset.
type cut map[string]int64

// cutAt is the cut of a window that ends at end: each chain up to the first
// segment whose watermark has reached the end, or all of it if none has.
func cutAt(s *store.Snapshot, end int64) cut {
	c := make(cut, len(s.Chains))
	for i := range s.Chains {
		chain := &s.Chains[i]
		c[chain.Partition] = chain.End
		first := sort.Search(len(chain.Segments), func(i int) bool { return chain.Segments[i].Meta.Watermark >= end })
		if first < len(chain.Segments) {
			c[chain.Partition] = chain.Segments[first].Meta.To
		}
	}
	return c
}

// stretch returns how many windows from start on, of those before limit and at
// most as many as are given, have the same cut as the first.
func stretch(s *store.Snapshot, start, width, limit int64, most int) (int, cut) {
	first := cutAt(s, start+width)
	n := 1
	for n < most && start+int64(n+1)*width <= limit && maps.Equal(first, cutAt(s, start+int64(n+1)*width)) {
		n++
	}
	return n, first
}

// frozen is a catalog as it was at a cut.
type frozen struct {
	query.Catalog
	snapshot *store.Snapshot
}

// freeze makes a catalog of what lies below a cut.
func freeze(catalog query.Catalog, s *store.Snapshot, at cut) frozen {
	next := *s
	next.Chains = nil
	for _, chain := range s.Chains {
		end, known := at[chain.Partition]
		if !known {
			continue
		}
		var kept []*store.SegmentRef
		for _, segment := range chain.Segments {
			if segment.Meta.To <= end {
				kept = append(kept, segment)
			}
		}
		chain.Segments, chain.End = kept, min(chain.End, end)
		next.Chains = append(next.Chains, chain)
	}
	return frozen{Catalog: catalog, snapshot: &next}
}

func (f frozen) Snapshot() *store.Snapshot                        { return f.snapshot }
func (f frozen) Refresh(context.Context) (*store.Snapshot, error) { return f.snapshot, nil }
