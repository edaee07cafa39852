package incident

import (
	"context"
	"fmt"
	"slices"

	"github.com/weir-stream/weir"
)

// MaxVersions is how many versions of an incident are told: the first, and the
// newest of the others.
const MaxVersions = 1000

// maxStorySeries bounds the series of all versions together, to the same end.
const maxStorySeries = 200_000

// Incident returns the versions of an incident in order, and beside each the
// batch that tells of it: its window, offsets and definition, and of its records
// this one alone. It fails with ErrUnknown where there is nothing of it, or no
// more.
func (l *Log) Incident(ctx context.Context, id string) (versions []Record, batches []*Batch, err error) {
	h, opened, err := l.find(id)
	if err != nil {
		return nil, nil, err
	}
	if err := h.refresh(ctx, l.options.MaxAge); err != nil {
		return nil, nil, err
	}
	series := 0
	for at := opened - 1; ; {
		chunk, err := h.batches(ctx, at, chunkBatches)
		if err != nil {
			return nil, nil, fmt.Errorf("incident %s: %w", id, err)
		}
		if len(chunk) == 0 || len(batches) == 0 && chunk[0].N > opened {
			break // it goes on no further, or expired
		}
		over := false
		for _, b := range chunk {
			r := b.record(id)
			if r == nil {
				continue
			}
			alone := *b
			alone.Records = []Record{*r}
			batches = append(batches, &alone)
			series += len(r.All)
			for len(batches) > 2 && (len(batches) > MaxVersions || series > maxStorySeries) {
				series -= len(batches[1].Records[0].All)
				batches = slices.Delete(batches, 1, 2)
			}
			over = r.State == weir.Resolved
		}
		if over {
			break
		}
		at = chunk[len(chunk)-1].N
	}
	if len(batches) == 0 {
		return nil, nil, fmt.Errorf("incident %s: %w", id, ErrUnknown)
	}
	for _, b := range batches {
		versions = append(versions, b.Records[0])
	}
	return versions, batches, nil
}

// find returns the detector of an incident, and the number of the batch that
// opened it.
func (l *Log) find(id string) (*history, int64, error) {
	for _, h := range l.order {
		if n, err := h.ref.opened(id); err == nil {
			return h, n, nil
		}
	}
	return nil, 0, fmt.Errorf("incident %.80q: %w", id, ErrUnknown)
}
