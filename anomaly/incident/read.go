package incident

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Batches are read so many at a time.
const chunkBatches = 16

// readBatch reads one batch.
func (h *history) readBatch(ctx context.Context, n int64) (*Batch, error) {
	data, err := h.log.bucket.Read(ctx, h.ref.name(n))
	if err != nil {
		return nil, err
	}
	b, err := decodeBatch(h.ref, n, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.ref.name(n), err)
	}
	return b, nil
}

// readAll reads batches at the same time. Those that are damaged or gone are nil.
func (h *history) readAll(ctx context.Context, numbers []int64) ([]*Batch, error) {
	batches, errs := make([]*Batch, len(numbers)), make([]error, len(numbers))
	var reading sync.WaitGroup
	for i, n := range numbers {
		reading.Go(func() { batches[i], errs[i] = h.readBatch(ctx, n) })
	}
	reading.Wait()
	for i, err := range errs {
		if passable(err) {
			h.passOver(numbers[i], err)
			batches[i] = nil
		} else if err != nil {
			return nil, err
		}
	}
	return batches, nil
}

// batches returns batches of numbers greater than after, in order. None means
// that there are none.
func (h *history) batches(ctx context.Context, after int64, limit int) ([]*Batch, error) {
	for {
		numbers, err := h.numbersAfter(ctx, after, limit)
		if err != nil || len(numbers) == 0 {
			return nil, err
		}
		var told []*Batch
		for chunk := range slices.Chunk(numbers, chunkBatches) {
			batches, err := h.readAll(ctx, chunk)
			if err != nil {
				return nil, fmt.Errorf("read incidents of %s: %w", h.ref, err)
			}
			for _, b := range batches {
				if b != nil {
					told = append(told, b)
				}
			}
		}
		if len(told) > 0 {
			return told, nil
		}
		after = numbers[len(numbers)-1] // all of them are damaged or gone
	}
}

// numbersAfter returns numbers of batches that are greater than after.
func (h *history) numbersAfter(ctx context.Context, after int64, limit int) ([]int64, error) {
	h.mu.Lock()
	begin, found := slices.BinarySearch(h.numbers, after)
	if found {
		begin++
	}
	numbers := slices.Clone(h.numbers[begin:min(len(h.numbers), begin+limit)])
	known := !h.trimmed || len(h.numbers) > 0 && after >= h.numbers[0]-1
	h.mu.Unlock()
	if known {
		return numbers, nil
	}
	numbers, err := h.list(ctx, after) // older than what is remembered
	if err != nil {
		return nil, fmt.Errorf("list incidents of %s: %w", h.ref, err)
	}
	return numbers[:min(len(numbers), limit)], nil
}
