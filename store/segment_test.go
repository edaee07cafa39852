package store_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// seeded returns a source of random numbers whose seed is printed, and can be
// given back in WEIR_SEED.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if text := os.Getenv("WEIR_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// flights is a stream with a measure of every kind.
func flights() *weir.Stream {
	return &weir.Stream{
		Name:       "flights",
		Time:       weir.TimeField{Field: "time", Lateness: 10 * time.Second},
		Window:     10 * time.Second,
		Dimensions: []weir.Dimension{{Name: "origin", Field: "origin"}, {Name: "carrier", Field: "op.carrier"}},
		Measures: []weir.Measure{
			{Name: "delay", Kind: weir.Quantile, Field: "delay", Params: weir.Params{Sketch: "tdigest", Compression: 100}},
			{Name: "destination", Kind: weir.Distinct, Field: "destination", Params: weir.Params{Precision: 14}},
			{Name: "destination", Kind: weir.Top, Field: "destination", Params: weir.Params{Slots: 64}},
			{Name: "destination", Kind: weir.Frequency, Field: "destination", Params: weir.Params{Epsilon: 0.001, Delta: 0.01}},
			{Name: "distance", Kind: weir.Sum, Field: "distance"},
			{Name: "taxi", Kind: weir.Quantile, Field: "taxi", Params: weir.Params{Sketch: "ddsketch", Scale: 5}},
		},
		Seed: 42,
	}
}

// metaOf is the metadata of a segment of some cells.
func metaOf(stream *weir.Stream, partition string, from, to int64) store.SegmentMeta {
	return store.SegmentMeta{
		Format: 1, ID: fmt.Sprintf("id-%s-%d", partition, from), Stream: stream.Name,
		Definition: store.DefinitionOf(stream), Partition: partition,
		From: from, To: to, Log: "log", Watermark: to, Events: to - from,
	}
}

// everything selects all cells and measures.
func everything(stream *weir.Stream) weir.Selection {
	sel := weir.Selection{From: math.MinInt64, To: math.MaxInt64}
	for range stream.Measures {
		sel.Measures = append(sel.Measures, true)
	}
	return sel
}

// openStored stores an encoded segment in memory and opens it.
func openStored(t testing.TB, meta store.SegmentMeta, data []byte) *store.Segment {
	t.Helper()
	bucket := new(storetest.Memory)
	name := store.SegmentName(meta.Stream, meta.Partition, meta.From)
	if err := bucket.Put(context.Background(), name, data); err != nil {
		t.Fatal(err)
	}
	segment, err := store.OpenSegment(context.Background(), bucket, name)
	if err != nil {
		t.Fatal(err)
	}
	return segment
}

func encode(t testing.TB, stream *weir.Stream, meta store.SegmentMeta, batches ...*weir.Cells) []byte {
	t.Helper()
	data, err := store.EncodeSegment(stream, meta, func(yield func(*weir.Cells) bool) {
		for _, c := range batches {
			if !yield(c) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mustEqual compares cells, in which NaN is NaN and nothing is empty.
func mustEqual(t testing.TB, want, got *weir.Cells) {
	t.Helper()
	if want.Rows() != got.Rows() || len(want.Series) != len(got.Series) {
		t.Fatalf("%d cells of %d series, want %d of %d", got.Rows(), len(got.Series), want.Rows(), len(want.Series))
	}
	same := slices.EqualFunc(want.Series, got.Series, slices.Equal) && slices.Equal(want.Starts, got.Starts) &&
		slices.Equal(want.Window, got.Window) && slices.Equal(want.Count, got.Count) && want.Width == got.Width
	for i := range want.Measures {
		w, g := &want.Measures[i], &got.Measures[i]
		same = same && w.Present == g.Present && slices.Equal(w.Values, g.Values) && slices.Equal(w.Sum, g.Sum) &&
			slices.EqualFunc(w.Sketch, g.Sketch, bytes.Equal)
		for j, n := range w.Values {
			same = same && (n == 0 || w.Min[j] == g.Min[j] && w.Max[j] == g.Max[j])
		}
	}
	if !same {
		t.Fatalf("cells changed on the way (-want +got):\n%s", cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()))
	}
}

func TestCellsComeBack(t *testing.T) {
	rng := seeded(t)
	stream := flights()
	cells := storetest.Cells(rng, stream, storetest.Workload{Series: 300, Windows: 90, Events: 3, Start: 1e18})
	if cells.Rows() <= 20_000 {
		t.Fatalf("%d rows are too few to fill several row groups", cells.Rows())
	}
	meta := metaOf(stream, "0", 0, 1)
	segment := openStored(t, meta, encode(t, stream, meta, cells))
	got, err := segment.Cells(context.Background(), stream, everything(stream))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, cells, got)
	if diff := cmp.Diff(meta, segment.Meta()); diff != "" {
		t.Fatalf("metadata changed on the way (-want +got):\n%s", diff)
	}
}
