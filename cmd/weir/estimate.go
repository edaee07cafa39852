package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// cellBytes measures what a cell of the stream takes after that many events,
// before compression: it builds one and counts its columns. Items follow Zipf's
// law (exponent 1.1, a million of them), numbers are lognormal.
func cellBytes(s *weir.Stream, events int) int {
	random := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(random, 1.1, 1, 1_000_000-1)
	values := make([]float64, events)
	items := make([]string, events)
	for i := range events {
		values[i] = math.Exp(3 + random.NormFloat64())
		items[i] = fmt.Sprintf("item-%07d", zipf.Uint64())
	}

	const number = 8
	total := 2 * number // window and count; a dimension's values are shared by its rows
	for _, m := range s.Measures {
		var encoded []byte
		switch m.Kind {
		case weir.Sum:
			total += 4 * number // count, sum, min, max
		case weir.Quantile:
			total += 6 * number // p50 and p99 stand beside the sketch
			numbers := append([]float64(nil), values...)
			if m.Params.Sketch == weir.DDSketch {
				encoded = sketch.AppendDDSketch(nil, m.Params.Scale, numbers)
			} else {
				encoded = sketch.AppendTDigest(nil, m.Params.Compression, numbers)
			}
		case weir.Distinct:
			total += number
			h := sketch.NewHLL(m.Params.Precision, s.Seed)
			for _, item := range items {
				h.AddHash(sketch.HashString(s.Seed, item))
			}
			encoded = h.AppendBinary(nil)
		case weir.Top:
			t := sketch.NewTop(m.Params.Slots)
			for _, item := range items {
				t.Add(item, 1)
			}
			encoded = t.AppendBinary(nil)
		case weir.Frequency:
			hashes := make([]uint64, events)
			for i, item := range items {
				hashes[i] = sketch.HashString(s.Seed, item)
			}
			encoded = sketch.AppendFrequency(nil, m.Params.Epsilon, m.Params.Delta, s.Seed, hashes)
		}
		total += len(encoded)
	}
	return total
}
