package storetest

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// Workload says what cells to make up.
type Workload struct {
	Series  int   // their dimensions are "a", "b", … or many more
	Windows int   // of each series
	Events  int   // of each cell
	Start   int64 // of the first window, Unix nanoseconds
}

// Cells makes up one batch of cells of the stream, sorted, with all measures.
// The same random numbers make the same cells.
func Cells(rng *rand.Rand, stream *weir.Stream, w Workload) *weir.Cells {
	c := &weir.Cells{Width: int64(stream.Window), Measures: make([]weir.Column, len(stream.Measures))}
	for s := range w.Series {
		dims := make([]string, len(stream.Dimensions))
		for i := range dims {
			dims[i] = fmt.Sprintf("%s-%04d", stream.Dimensions[i].Name, s>>(2*i))
		}
		c.Series = append(c.Series, dims)
	}
	slices.SortFunc(c.Series, slices.Compare)
	c.Series = slices.CompactFunc(c.Series, slices.Equal)
	for range c.Series {
		c.Starts = append(c.Starts, len(c.Window))
		for i := range w.Windows {
			c.Window = append(c.Window, w.Start+int64(i)*c.Width)
			c.Count = append(c.Count, int64(w.Events))
			for m := range stream.Measures {
				c.Measures[m].Present = true
				appendMeasure(rng, &c.Measures[m], &stream.Measures[m], stream.Seed, w.Events)
			}
		}
	}
	c.Starts = append(c.Starts, len(c.Window))
	return c
}

func appendMeasure(rng *rand.Rand, c *weir.Column, m *weir.Measure, seed uint64, events int) {
	values := make([]float64, events)
	items := make(map[string]uint64)
	hashes := make([]uint64, events)
	tokens := make([]uint32, events)
	for i := range events {
		values[i] = float64(int(rng.ExpFloat64() * 1000))
		item := fmt.Sprintf("/path/%d/of/items", int(rng.ExpFloat64()*20))
		items[item]++
		hashes[i] = sketch.HashString(seed, item)
		tokens[i] = sketch.Token(hashes[i])
	}
	if m.Kind.Numeric() {
		sum := 0.0
		for _, v := range values {
			sum += v
		}
		low, high := 0.0, 0.0
		if events > 0 {
			low, high = slices.Min(values), slices.Max(values)
		}
		c.Values = append(c.Values, int64(events))
		c.Sum, c.Min, c.Max = append(c.Sum, sum), append(c.Min, low), append(c.Max, high)
	}
	var encoded []byte
	if events > 0 {
		switch {
		case m.Kind == weir.Quantile && m.Params.Sketch == "ddsketch":
			encoded = sketch.AppendDDSketch(nil, m.Params.Scale, values)
		case m.Kind == weir.Quantile:
			encoded = sketch.AppendTDigest(nil, m.Params.Compression, values)
		case m.Kind == weir.Distinct:
			encoded = sketch.AppendHLL(nil, m.Params.Precision, seed, tokens)
		case m.Kind == weir.Top:
			list := make([]sketch.TopItem, 0, len(items))
			for _, item := range slices.Sorted(maps.Keys(items)) {
				list = append(list, sketch.TopItem{Item: item, Count: items[item], Lower: items[item], Upper: items[item]})
			}
			encoded = sketch.AppendTop(nil, m.Params.Slots, list)
		case m.Kind == weir.Frequency:
			encoded = sketch.AppendFrequency(nil, m.Params.Epsilon, m.Params.Delta, seed, hashes)
		}
	}
	if m.Kind != weir.Sum {
		c.Sketch = append(c.Sketch, encoded)
	}
}

// One yields the batch.
func One(c *weir.Cells) iter.Seq[*weir.Cells] {
	return func(yield func(*weir.Cells) bool) { yield(c) }
}
