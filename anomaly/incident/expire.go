package incident

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weir-stream/weir/store"
)

// sweepEvery is how often it is looked for what has expired.
const sweepEvery = time.Hour

// expire deletes what has been over for longer than it is kept. It runs on the
// node that owns the detector, as it takes over and after it appended. What
// fails is tried again an hour later.
func (h *history) expire(ctx context.Context) {
	now := h.log.now()
	h.mu.Lock()
	due := now.Sub(h.swept) >= sweepEvery
	if due {
		h.swept = now
	}
	newest := h.newest
	h.mu.Unlock()
	if !due || newest < 0 {
		return
	}
	deleted, err := h.sweep(ctx, now.Add(-h.log.options.Keep), newest)
	h.log.expired.Add(int64(len(deleted)))
	if err != nil {
		h.log.log.Warn("expired incidents could not be deleted, trying again later", "detector", h.ref.String(), "err", err)
	}
	if len(deleted) == 0 {
		return
	}
	h.log.log.Info("deleted expired incidents", "detector", h.ref.String(), "batches", len(deleted))
	h.mu.Lock()
	defer h.mu.Unlock()
	gone := make(map[int64]bool, len(deleted))
	for _, n := range deleted {
		gone[n] = true
	}
	h.numbers = slices.DeleteFunc(h.numbers, func(n int64) bool { return gone[n] })
	h.entries = slices.DeleteFunc(h.entries, func(e entry) bool { return gone[e.version] })
}

// maxSweep bounds the batches that are looked at for expiry at a time: whoever
// appends waits for them.
const maxSweep = 1000

// sweep deletes the batches all of whose incidents were resolved before the
// cutoff, but never the newest, so that numbers never begin anew. It returns
// what it deleted.
//
// The last batch recorded before the cutoff lists who was still firing then: of
// the incidents of older batches, all others were over. The last version of an
// incident goes only when no earlier one is left, for it would seem to fire
// again.
func (h *history) sweep(ctx context.Context, cutoff time.Time, newest int64) ([]int64, error) {
	type old struct {
		n         int64
		incidents []string
	}
	numbers, err := h.list(ctx, -1)
	if err != nil {
		return nil, err
	}
	var olds []old
	last := map[string]int{} // of each incident, the index of the newest batch in olds
	var open []Standing
scan:
	for chunk := range slices.Chunk(numbers, chunkBatches) {
		batches, err := h.readAll(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, b := range batches {
			if b == nil {
				continue
			}
			if !b.Recorded.Before(cutoff) || b.N >= newest || len(olds) == maxSweep {
				break scan
			}
			open = b.Open
			incidents := make([]string, len(b.Records))
			for i := range b.Records {
				incidents[i] = b.Records[i].ID
				last[incidents[i]] = len(olds)
			}
			olds = append(olds, old{b.N, incidents})
		}
	}
	stays := make(map[string]bool, len(open)) // incidents that are told of by what stays
	alive := make(map[string]bool, len(open))
	for _, s := range open {
		alive[s.ID] = true
	}
	var deleted []int64
	for i, o := range olds {
		deletable := true
		for _, id := range o.incidents {
			if alive[id] || stays[id] && last[id] == i {
				deletable = false
			}
		}
		if !deletable {
			for _, id := range o.incidents {
				stays[id] = true
			}
			continue
		}
		for _, id := range o.incidents {
			if last[id] == i {
				if err := h.forget(ctx, id); err != nil {
					return deleted, err
				}
			}
		}
		if err := h.log.bucket.Delete(ctx, h.ref.name(o.n)); err != nil && !errors.Is(err, store.ErrNotFound) {
			return deleted, err
		}
		deleted = append(deleted, o.n)
	}
	return deleted, nil
}

// forget deletes what was said of an incident that goes.
func (h *history) forget(ctx context.Context, id string) error {
	numbers, err := h.feedbackNumbers(ctx, id)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		err := h.log.bucket.Delete(ctx, h.feedbackFolder(id)+number(n))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
