package query

import (
	"context"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// Info says what can be asked of a stream and how much of it there is.
type Info struct {
	Stream      *weir.Stream
	Select      []string  // what its measures answer, as selects are written
	Oldest      time.Time // event time; zero: no event yet
	Newest      time.Time // end of the newest window
	Watermark   time.Time // zero: not known
	Events      int64     // counted, in segments and live
	Rejected    map[string]int64
	Segments    int
	Partitions  map[string]int64 // offset that each has reached
	Gaps        []store.Gap
	Quarantined []store.Quarantined
}

// Info describes a stream, or fails with a [*ParamError] if there is none of
// that name.
func (e *Engine) Info(ctx context.Context, stream string) (*Info, error) {
	catalog, err := e.catalog(stream)
	if err != nil {
		return nil, err
	}
	p := &plan{stream: catalog.Stream()} // no measure, every series
	now := e.now()
	c, err := e.cover(ctx, catalog, p, now, nil, e.live == nil)
	if err != nil {
		return nil, err
	}
	info := &Info{
		Stream: p.stream, Select: selectable(p.stream),
		Rejected: make(map[string]int64), Partitions: c.offsets(),
		Gaps: c.snapshot.Gaps(), Quarantined: c.snapshot.Quarantined,
	}
	if oldest, newestEnd, any := c.events(int64(p.stream.Window)); any {
		info.Oldest, info.Newest = time.Unix(0, oldest).UTC(), time.Unix(0, newestEnd).UTC()
	}
	watermark, known := c.watermark(p.stream.Time.Lateness, func(largest int64) time.Duration {
		return e.idleFor(p.stream.Name, largest, now)
	})
	if known {
		info.Watermark = time.Unix(0, watermark).UTC()
	}
	info.Events, _ = c.snapshot.Events()
	for _, partition := range c.partitions {
		if partition.chain != nil {
			info.Segments += len(partition.chain.Segments)
			for _, s := range partition.chain.Segments {
				addCounts(info.Rejected, s.Meta.Rejected)
			}
		}
		for i := range partition.pieces {
			info.Events += partition.pieces[i].Events
			addCounts(info.Rejected, partition.pieces[i].Rejected)
		}
	}
	return info, nil
}

func addCounts(to, from map[string]int64) {
	for reason, n := range from {
		to[reason] += n
	}
}
