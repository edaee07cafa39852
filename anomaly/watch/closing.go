package watch

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// closing decides how far a stream's windows are closed. What counts is what is
// stored; of what is live only this: that a partition has nothing more.
//
// A window is closed when the watermark of every partition has passed its end. A
// partition that is idle, and has stored all that it was given, is as far as the
// clock when it was asked, less the lateness. If all are idle, nobody knows
// whether old events are being replayed with pauses: then the largest watermark
// stands, and moves on at the clock's rate. A file that was loaded, and that
// nobody reads on, holds up nothing.
type closing struct {
	largest int64 // watermark when all were first seen idle
	since   time.Time
}

// watermark is the event time up to which all windows are closed. It is not
// known before the first event, and while a partition has had none and is not
// known to be idle.
func (c *closing) watermark(snapshot *store.Snapshot, pieces []weir.Piece, lateness time.Duration, now time.Time) (int64, bool) {
	type partition struct{ own, claim int64 } // claim is 0 if it is not idle
	var partitions []partition
	owned := make(map[string][]weir.Piece)
	for _, p := range pieces {
		owned[p.Partition] = append(owned[p.Partition], p)
	}
	see := func(chain *store.Chain, pieces []weir.Piece) {
		p := partition{own: chain.Watermark}
		if i := slices.IndexFunc(pieces, func(piece weir.Piece) bool { return drained(chain, &piece) }); i >= 0 {
			p.claim = pieces[i].Idle - int64(lateness)
		} else if len(pieces) == 0 && strings.HasPrefix(chain.Partition, loadedPrefix) {
			p.claim = math.MaxInt64
		}
		partitions = append(partitions, p)
	}
	for i := range snapshot.Chains {
		chain := &snapshot.Chains[i]
		see(chain, owned[chain.Partition])
		delete(owned, chain.Partition)
	}
	for name, pieces := range owned {
		see(&store.Chain{Partition: name, Watermark: store.NoWatermark}, pieces)
	}

	largest, claims, effective, allIdle := int64(math.MinInt64), int64(math.MaxInt64), int64(math.MaxInt64), true
	for _, p := range partitions {
		largest = max(largest, p.own)
		effective = min(effective, max(p.own, p.claim))
		if p.claim == 0 {
			allIdle = false
			effective = min(effective, p.own)
		} else {
			claims = min(claims, p.claim)
		}
	}
	if !allIdle || largest == store.NoWatermark || c.largest != largest || c.since.IsZero() || now.Before(c.since) {
		c.largest, c.since = largest, now
	}
	switch {
	case largest == store.NoWatermark:
		return 0, false
	case !allIdle:
		return effective, effective != store.NoWatermark
	}
	return min(effective, max(largest, min(largest+int64(now.Sub(c.since)), claims))), true
}

const loadedPrefix = "file:"

// drained reports that an owner says of itself that it is idle, and that all it
// was given is stored.
func drained(chain *store.Chain, p *weir.Piece) bool {
	return p.Idle != 0 && p.From == p.To && p.To == chain.End && (chain.Log == "" || p.Log == chain.Log && p.Shift == chain.Shift)
}
