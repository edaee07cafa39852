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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
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
	definition := store.DefinitionOf(stream)
	return store.SegmentMeta{
		Format: 1, ID: fmt.Sprintf("id-%s-%d", partition, from), Stream: stream.Name,
		Definition: definition, Hash: definition.Hash(), Partition: partition,
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

// pick is what Cells promises, done slowly.
func pick(c *weir.Cells, sel weir.Selection) *weir.Cells {
	out := &weir.Cells{Width: c.Width, Measures: make([]weir.Column, len(c.Measures))}
	for s, dims := range c.Series {
		if sel.Match != nil && !sel.Match(dims) {
			continue
		}
		for row := c.Starts[s]; row < c.Starts[s+1]; row++ {
			if c.Window[row] < sel.From || c.Window[row] >= sel.To {
				continue
			}
			if n := len(out.Series); n == 0 || !slices.Equal(out.Series[n-1], dims) {
				out.Series, out.Starts = append(out.Series, dims), append(out.Starts, len(out.Window))
			}
			out.Window, out.Count = append(out.Window, c.Window[row]), append(out.Count, c.Count[row])
			for i := range c.Measures {
				to, from := &out.Measures[i], &c.Measures[i]
				if !sel.Wants(i) {
					continue
				}
				if from.Values != nil {
					to.Values, to.Sum = append(to.Values, from.Values[row]), append(to.Sum, from.Sum[row])
					to.Min, to.Max = append(to.Min, from.Min[row]), append(to.Max, from.Max[row])
				}
				if from.Sketch != nil {
					to.Sketch = append(to.Sketch, from.Sketch[row])
				}
			}
		}
	}
	out.Starts = append(out.Starts, len(out.Window))
	for i := range out.Measures {
		out.Measures[i].Present = sel.Wants(i) && c.Measures[i].Present
	}
	return out
}

// split cuts cells into batches at any rows.
func split(rng *rand.Rand, c *weir.Cells, stream *weir.Stream) (batches []*weir.Cells) {
	for lo := int64(0); lo < int64(c.Rows()); {
		hi := min(lo+1+rng.Int64N(int64(c.Rows())), int64(c.Rows()))
		b := &weir.Cells{Width: c.Width, Measures: make([]weir.Column, len(c.Measures))}
		for s, dims := range c.Series {
			from, to := max(int64(c.Starts[s]), lo), min(int64(c.Starts[s+1]), hi)
			if from < to {
				b.Series, b.Starts = append(b.Series, dims), append(b.Starts, int(from-lo))
			}
		}
		b.Starts = append(b.Starts, int(hi-lo))
		b.Window, b.Count = c.Window[lo:hi], c.Count[lo:hi]
		for i := range c.Measures {
			to, from := &b.Measures[i], &c.Measures[i]
			to.Present = true
			if from.Values != nil {
				to.Values, to.Sum, to.Min, to.Max = from.Values[lo:hi], from.Sum[lo:hi], from.Min[lo:hi], from.Max[lo:hi]
			}
			if from.Sketch != nil {
				to.Sketch = from.Sketch[lo:hi]
			}
		}
		batches = append(batches, b)
		lo = hi
	}
	return batches
}

func TestCellsAreSelected(t *testing.T) {
	rng := seeded(t)
	stream := flights()
	cells := storetest.Cells(rng, stream, storetest.Workload{Series: 200, Windows: 70, Events: 2, Start: 1e18})
	meta := metaOf(stream, "0", 0, 1)
	segment := openStored(t, meta, encode(t, stream, meta, split(rng, cells, stream)...))
	last := cells.Window[cells.Rows()-1]
	for range 200 {
		sel := weir.Selection{From: math.MinInt64, To: math.MaxInt64}
		for range stream.Measures {
			sel.Measures = append(sel.Measures, rng.IntN(2) == 0)
		}
		switch rng.IntN(3) {
		case 0:
			sel.From = 1e18 + rng.Int64N(last-1e18)
			sel.To = sel.From + rng.Int64N(last-1e18)
		case 1:
			sel.From = last
		}
		switch modulo, rest := 1+rng.IntN(90), rng.IntN(90); rng.IntN(3) {
		case 0:
			sel.Match = func(dims []string) bool { return len(dims) == 2 && int(dims[0][len(dims[0])-1])%modulo == rest%modulo }
		case 1:
			wanted := cells.Series[rng.IntN(len(cells.Series))]
			sel.Match = func(dims []string) bool { return slices.Equal(dims, wanted) }
		}
		want := pick(cells, sel)
		if match := sel.Match; match != nil {
			asked := make(map[string]bool)
			sel.Match = func(dims []string) bool {
				if key := strings.Join(dims, "|"); asked[key] {
					t.Fatalf("asked twice about %q", dims)
				} else {
					asked[key] = true
				}
				return match(dims)
			}
		}
		got, err := segment.Cells(context.Background(), stream, sel)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, want, got)
	}
}

// A stream changes; what was stored stays readable as far as it means the same.
// A measure wanted without its sketch comes with its numbers alone.
func TestBareMeasuresLeaveSketchesOut(t *testing.T) {
	stream := flights()
	cells := storetest.Cells(seeded(t), stream, storetest.Workload{Series: 5, Windows: 20, Events: 10})
	meta := metaOf(stream, "p", 0, 100)
	segment := openStored(t, meta, encode(t, stream, meta, cells))
	sel := everything(stream)
	delay := stream.Measure("delay", weir.Quantile)
	sel.Bare = make([]bool, len(stream.Measures))
	sel.Bare[delay] = true
	got, err := segment.Cells(context.Background(), stream, sel)
	if err != nil {
		t.Fatal(err)
	}
	want := *cells
	want.Measures = slices.Clone(cells.Measures)
	want.Measures[delay].Sketch = nil
	mustEqual(t, &want, got)
	if got.Measures[delay].Sketch != nil {
		t.Error("the sketch was read all the same")
	}
}

func TestOldDefinitionsAreRead(t *testing.T) {
	rng := seeded(t)
	old := flights()
	cells := storetest.Cells(rng, old, storetest.Workload{Series: 40, Windows: 5, Events: 3, Start: 1e18})
	meta := metaOf(old, "0", 0, 1)
	segment := openStored(t, meta, encode(t, old, meta, cells))
	read := func(s *weir.Stream) *weir.Cells {
		t.Helper()
		got, err := segment.Cells(context.Background(), s, everything(s))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}

	t.Run("a new dimension and measure", func(t *testing.T) {
		s := flights()
		s.Dimensions = append(s.Dimensions, weir.Dimension{Name: "aircraft", Field: "aircraft"})
		s.Measures = append(s.Measures, weir.Measure{Name: "weight", Kind: weir.Sum, Field: "weight"})
		got := read(s)
		if got.Measures[len(s.Measures)-1].Present {
			t.Error("a measure is present that was never stored")
		}
		if len(got.Series) != len(cells.Series) || got.Series[7][2] != "" || got.Series[7][0] != cells.Series[7][0] {
			t.Errorf("series are %q", got.Series[:8])
		}
	})
	t.Run("measures of another meaning", func(t *testing.T) {
		s := flights()
		s.Measures[0].Params.Compression = 200
		s.Measures[1].Field = "diverted_to"
		s.Measures[4].Kind = weir.Quantile
		s.Seed++ // the hashes of distinct and frequency are others
		got := read(s)
		for i, want := range []bool{false, false, true, false, false, true} {
			if got.Measures[i].Present != want {
				t.Errorf("measure %+v: present is %v", s.Measures[i], got.Measures[i].Present)
			}
		}
	})
	t.Run("a coarser window", func(t *testing.T) {
		s := flights()
		s.Window *= 6
		if got := read(s); got.Width != int64(old.Window) || got.Rows() != cells.Rows() {
			t.Errorf("%d cells of width %d", got.Rows(), got.Width)
		}
	})
	t.Run("dimensions left out and turned round", func(t *testing.T) {
		for _, dims := range [][]weir.Dimension{{{Name: "carrier"}}, {}, {{Name: "carrier"}, {Name: "origin"}}} {
			s := flights()
			s.Dimensions = dims
			got := read(s)
			total := int64(0)
			for i, n := range got.Count {
				total += n
				if i > 0 && !slices.Contains(got.Starts, i) && got.Window[i] < got.Window[i-1] {
					t.Fatalf("%v: window %d comes after %d", dims, got.Window[i], got.Window[i-1])
				}
			}
			if !slices.IsSortedFunc(got.Series, slices.Compare) || len(slices.CompactFunc(slices.Clone(got.Series), slices.Equal)) != len(got.Series) {
				t.Fatalf("%v: series are %q", dims, got.Series)
			}
			if want := int64(3 * cells.Rows()); total != want || got.Starts[len(got.Series)] != got.Rows() {
				t.Fatalf("%v: %d events in %d rows, want %d", dims, total, got.Rows(), want)
			}
		}
	})
}

func TestEmptyValuesAndOddNames(t *testing.T) {
	stream := &weir.Stream{
		Name: "o/d d", Window: time.Second,
		Dimensions: []weir.Dimension{{Name: "count"}, {Name: "Window"}, {Name: "größe"}, {Name: "1"}},
		Measures: []weir.Measure{
			{Name: "a b", Kind: weir.Quantile, Params: weir.Params{Sketch: "tdigest", Compression: 100}},
			{Name: "a.b", Kind: weir.Quantile, Params: weir.Params{Sketch: "tdigest", Compression: 100}},
			{Name: "a.b", Kind: weir.Distinct, Params: weir.Params{Precision: 10}},
			{Name: "", Kind: weir.Sum},
		},
	}
	cells := storetest.Cells(seeded(t), stream, storetest.Workload{Series: 3, Windows: 2, Events: 0, Start: -1e18})
	cells.Series[0] = []string{"", "", "", ""}
	cells.Series[2] = []string{"zz\x00", "\xff", strings.Repeat("long", 100), "☃"}
	meta := metaOf(stream, "p\n", 5, 6)
	segment := openStored(t, meta, encode(t, stream, meta, cells))
	got, err := segment.Cells(context.Background(), stream, everything(stream))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, cells, got)
}

func TestGapSegment(t *testing.T) {
	stream := flights()
	meta := metaOf(stream, "0", 7, 8)
	meta.Events = 0
	meta.Gap = &store.GapMeta{Reason: store.GapRetention, WatermarkBefore: store.NoWatermark, Noticed: time.Unix(5, 0).UTC()}
	data, err := store.EncodeSegment(stream, meta, nil)
	if err != nil {
		t.Fatal(err)
	}
	segment := openStored(t, meta, data)
	if diff := cmp.Diff(meta, segment.Meta()); diff != "" {
		t.Error(diff)
	}
	got, err := segment.Cells(context.Background(), stream, everything(stream))
	if err != nil || got.Rows() != 0 || len(got.Starts) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEncodeRefusesDisorder(t *testing.T) {
	stream := flights()
	good := func() *weir.Cells {
		return storetest.Cells(rand.New(rand.NewPCG(1, 1)), stream, storetest.Workload{Series: 3, Windows: 3, Events: 1})
	}
	for name, spoil := range map[string]func(c *weir.Cells){
		"windows":   func(c *weir.Cells) { c.Window[1] = c.Window[2] },
		"series":    func(c *weir.Cells) { c.Series[0], c.Series[1] = c.Series[1], c.Series[0] },
		"width":     func(c *weir.Cells) { c.Width++ },
		"starts":    func(c *weir.Cells) { c.Starts[3]++ },
		"empty run": func(c *weir.Cells) { c.Starts[1] = 0 },
		"a measure": func(c *weir.Cells) { c.Measures[2].Present = false },
		"measures":  func(c *weir.Cells) { c.Measures = c.Measures[1:] },
		"a column":  func(c *weir.Cells) { c.Measures[0].Sum = c.Measures[0].Sum[1:] },
		"sketches":  func(c *weir.Cells) { c.Measures[1].Sketch = nil },
		"a sketch":  func(c *weir.Cells) { c.Measures[1].Sketch[2] = []byte("no sketch") },
	} {
		c := good()
		spoil(c)
		if _, err := store.EncodeSegment(stream, metaOf(stream, "0", 0, 1), storetest.One(c)); err == nil {
			t.Errorf("cells with a wrong %s were encoded", name)
		}
	}
	twice := func(yield func(*weir.Cells) bool) {
		for range 2 {
			if !yield(good()) {
				return
			}
		}
	}
	if _, err := store.EncodeSegment(stream, metaOf(stream, "0", 0, 1), twice); err == nil {
		t.Error("the same cells were encoded twice")
	}
}

// A segment is an ordinary Parquet file to others: the library's own reader
// stands for them here, with page checksums, offset index and all columns.
func TestOtherReadersReadSegments(t *testing.T) {
	stream := flights()
	cells := storetest.Cells(seeded(t), stream, storetest.Workload{Series: 200, Windows: 60, Events: 3, Start: 1e18})
	meta := metaOf(stream, "0", 0, 1)
	data := encode(t, stream, meta, cells)
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := file.Lookup("weir"); !ok || !strings.Contains(text, meta.ID) {
		t.Errorf("the metadata is %q", text)
	}
	if len(file.RowGroups()) != 2 {
		t.Errorf("%d row groups", len(file.RowGroups()))
	}
	type row struct {
		Window   int64   `parquet:"window,timestamp(nanosecond)"`
		Origin   string  `parquet:"origin"`
		Count    int64   `parquet:"count"`
		Sum      float64 `parquet:"distance_sum"`
		P50      float64 `parquet:"delay_p50"`
		P99      float64 `parquet:"delay_p99"`
		Digest   []byte  `parquet:"delay_tdigest"`
		Distinct float64 `parquet:"destination_distinct"`
		Top      []byte  `parquet:"destination_top"`
		Bucketed float64 `parquet:"taxi_p99"`
	}
	rows := make([]row, file.NumRows())
	reader := parquet.NewGenericReader[row](file)
	defer reader.Close()
	if n, err := reader.Read(rows); n != len(rows) {
		t.Fatalf("%d rows, %v", n, err)
	}
	at := 0
	for s, dims := range cells.Series {
		for i := cells.Starts[s]; i < cells.Starts[s+1]; i++ {
			r := rows[at]
			at++
			if r.Window != cells.Window[i] || r.Origin != dims[0] || r.Count != cells.Count[i] || r.Sum != cells.Measures[4].Sum[i] ||
				!bytes.Equal(r.Digest, cells.Measures[0].Sketch[i]) || !bytes.Equal(r.Top, cells.Measures[2].Sketch[i]) {
				t.Fatalf("row %d is %+v", i, r)
			}
			delay, taxi := &cells.Measures[0], &cells.Measures[5]
			if r.P50 < delay.Min[i] || r.P50 > delay.Max[i] || r.P99 < r.P50 || r.P99 > delay.Max[i] || r.Distinct < 1 || r.Distinct > 3 {
				t.Fatalf("row %d is %+v", i, r)
			}
			if r.Bucketed > 1.03*taxi.Max[i] || r.Bucketed < 0.5*taxi.Min[i] {
				t.Fatalf("row %d is %+v", i, r)
			}
		}
	}
}
