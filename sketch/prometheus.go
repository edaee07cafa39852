package sketch

import (
	"fmt"
	"math"
)

// NativeHistogram is a Prometheus native histogram in the terms of its exposition
// formats: bucket i of schema s holds values in (2^((i-1)/2^s), 2^(i/2^s)], and
// spans say which buckets the deltas are of.
type NativeHistogram struct {
	Schema        int32 // of exponential buckets, -4 to 8
	Count         uint64
	Sum           float64
	ZeroThreshold float64
	ZeroCount     uint64

	PositiveSpans, NegativeSpans   []BucketSpan
	PositiveDeltas, NegativeDeltas []int64 // of each count to the one before
}

// BucketSpan is a run of consecutive buckets: how many buckets lie between it
// and the run before (the first: its index), and how many it has.
type BucketSpan struct {
	Offset int32
	Length uint32
}

// NativeHistogram returns the sketch's buckets, which are those of the schema
// that equals its scale. The sum is not part of a sketch and has to be given.
func (d *DDSketch) NativeHistogram(sum float64) *NativeHistogram {
	if !d.bucketed {
		c := DDSketch{scale: d.scale, min: d.min, max: d.max, count: d.count, bucketed: true}
		for _, x := range d.values {
			c.addBucketed(x, 1)
		}
		d = &c
	}
	h := &NativeHistogram{Schema: int32(d.scale), Count: d.count, Sum: sum, ZeroCount: d.zero}
	h.PositiveSpans, h.PositiveDeltas = d.positive.spans()
	h.NegativeSpans, h.NegativeDeltas = d.negative.spans()
	return h
}

func (b *buckets) spans() (spans []BucketSpan, deltas []int64) {
	end, before := 0, int64(0)
	for k, n := range b.counts {
		if n == 0 {
			continue
		}
		at := b.low + k
		if len(spans) == 0 || at > end {
			spans = append(spans, BucketSpan{Offset: int32(at - end)})
		}
		spans[len(spans)-1].Length++
		end = at + 1
		deltas = append(deltas, int64(n)-before)
		before = int64(n)
	}
	return spans, deltas
}

// FromNativeHistogram makes a sketch of a native histogram. Its extremes are the
// bounds of the outermost buckets; values in the zero bucket count as 0.
func FromNativeHistogram(h *NativeHistogram) (*DDSketch, error) {
	if h.Schema < MinScale || h.Schema > MaxScale {
		return nil, fmt.Errorf("read native histogram: %w: schema %d has no exponential buckets", ErrCorrupt, h.Schema)
	}
	d := NewDDSketch(int(h.Schema))
	d.bucketed = true
	d.zero, d.count = h.ZeroCount, h.ZeroCount
	if d.zero > 0 {
		d.min, d.max = 0, 0
	}
	if err := d.addSpans(&d.negative, -1, h.Schema, h.NegativeSpans, h.NegativeDeltas); err != nil {
		return nil, err
	}
	if err := d.addSpans(&d.positive, 1, h.Schema, h.PositiveSpans, h.PositiveDeltas); err != nil {
		return nil, err
	}
	if d.count != h.Count {
		return nil, fmt.Errorf("read native histogram: %w: buckets sum to %d of a count of %d", ErrCorrupt, d.count, h.Count)
	}
	return d, nil
}

func (d *DDSketch) addSpans(b *buckets, sign float64, schema int32, spans []BucketSpan, deltas []int64) error {
	at, n := int64(0), int64(0)
	extreme := int64(1100) << MaxScale >> uint(MaxScale-schema)
	for _, span := range spans {
		at += int64(span.Offset)
		for range span.Length {
			if len(deltas) == 0 {
				return fmt.Errorf("read native histogram: %w: spans of more buckets than there are", ErrCorrupt)
			}
			n += deltas[0]
			deltas = deltas[1:]
			if n < 0 || n > maxWeight || at < -extreme || at > extreme {
				return fmt.Errorf("read native histogram: %w: bucket %d counts %d", ErrCorrupt, at, n)
			}
			if n > 0 {
				d.addBucket(b, int(at), schema, sign, uint64(n))
			}
			at++
		}
	}
	if len(deltas) != 0 {
		return fmt.Errorf("read native histogram: %w: %d buckets outside the spans", ErrCorrupt, len(deltas))
	}
	return nil
}

func (d *DDSketch) addBucket(b *buckets, i int, schema int32, sign float64, n uint64) {
	d.fit(b, i, i, int8(schema))
	coarse := shiftUp(i, uint(int8(schema)-d.scale))
	b.widen(coarse, coarse)
	b.counts[coarse-b.low] += n
	d.count += n
	lo, hi := sign*bucketBound(i-1, int8(schema)), sign*bucketBound(i, int8(schema))
	d.min = min(d.min, math.Min(lo, hi))
	d.max = max(d.max, math.Max(lo, hi))
}
