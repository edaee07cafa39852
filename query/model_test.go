package query

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
	"github.com/weir-stream/weir/store"
)

// seed returns the seed of a random test, from WEIR_SEED or the clock, and says
// it if the test fails.
func seed(t testing.TB) *rand.Rand {
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("WEIR_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("run again with WEIR_SEED=%d", s)
		}
	})
	return rand.New(rand.NewPCG(s, 1))
}

// event is what really happened.
type event struct {
	time        int64
	dims        []string
	delay, taxi float64 // NaN: not given
	distance    float64
	destination string // "": not given
}

var dayOne = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// randomEvents makes events of a few days, roughly in order.
func randomEvents(r *rand.Rand, n int) []event {
	origins := []string{"JFK", "LAX", "New York", "", "O\"D"}
	events := make([]event, n)
	for i := range events {
		e := &events[i]
		progress := int64(i) * int64(4*24*time.Hour) / int64(n)
		e.time = dayOne + progress + r.Int64N(int64(3*time.Hour))
		e.dims = []string{origins[r.IntN(len(origins))], strconv.Itoa(r.IntN(4) * 10)}
		e.delay, e.taxi = math.Round(r.ExpFloat64()*40-20), math.Round(math.Exp(r.NormFloat64())*100)/100
		if r.IntN(10) == 0 {
			e.delay = math.NaN()
		}
		e.distance = float64(r.IntN(3000))
		if r.IntN(20) > 0 {
			e.destination = fmt.Sprintf("D%d", int(r.ExpFloat64()*12))
		}
	}
	return events
}

// cellsOf makes the cells of events, as a shard would.
func cellsOf(s *weir.Stream, events []event, sel *weir.Selection) *weir.Cells {
	type key struct {
		series string
		window int64
	}
	cells := make(map[key][]event)
	for _, e := range events {
		k := key{strings.Join(e.dims, "\x00"), weir.WindowStart(e.time, int64(s.Window))}
		cells[k] = append(cells[k], e)
	}
	keys := slices.SortedFunc(maps.Keys(cells), func(a, b key) int {
		return cmp.Or(slices.Compare(cells[a][0].dims, cells[b][0].dims), cmp.Compare(a.window, b.window))
	})
	out := &weir.Cells{Width: int64(s.Window), Measures: make([]weir.Column, len(s.Measures))}
	var last []string
	for _, k := range keys {
		in := cells[k]
		if sel != nil && (k.window < sel.From || k.window >= sel.To || sel.Match != nil && !sel.Match(in[0].dims)) {
			continue
		}
		if last == nil || !slices.Equal(last, in[0].dims) {
			last = in[0].dims
			out.Series, out.Starts = append(out.Series, last), append(out.Starts, len(out.Window))
		}
		out.Window, out.Count = append(out.Window, k.window), append(out.Count, int64(len(in)))
		for i, m := range s.Measures {
			if sel == nil || sel.Wants(i) {
				addMeasure(&out.Measures[i], s, m, in)
			}
		}
	}
	out.Starts = append(out.Starts, len(out.Window))
	return out
}

func addMeasure(c *weir.Column, s *weir.Stream, m weir.Measure, events []event) {
	c.Present = true
	if m.Kind.Numeric() {
		values := valuesOf(m.Name, events)
		n, sum, least, greatest := int64(len(values)), 0.0, 0.0, 0.0
		for i, x := range values {
			sum += x
			if i == 0 || x < least {
				least = x
			}
			if i == 0 || x > greatest {
				greatest = x
			}
		}
		c.Values, c.Sum, c.Min, c.Max = append(c.Values, n), append(c.Sum, sum), append(c.Min, least), append(c.Max, greatest)
		if m.Kind == weir.Sum {
			return
		}
		if n == 0 {
			c.Sketch = append(c.Sketch, nil)
		} else if m.Params.Sketch == weir.DDSketch {
			c.Sketch = append(c.Sketch, sketch.AppendDDSketch(nil, m.Params.Scale, values))
		} else {
			c.Sketch = append(c.Sketch, sketch.AppendTDigest(nil, m.Params.Compression, values))
		}
		return
	}
	counts := countsOf(events)
	if len(counts) == 0 {
		c.Sketch = append(c.Sketch, nil)
		return
	}
	var encoded []byte
	switch m.Kind {
	case weir.Distinct:
		var tokens []uint32
		for item := range counts {
			tokens = append(tokens, sketch.Token(sketch.HashString(s.Seed, item)))
		}
		encoded = sketch.AppendHLL(nil, m.Params.Precision, s.Seed, tokens)
	case weir.Top:
		var items []sketch.TopItem
		for item, n := range counts {
			items = append(items, sketch.TopItem{Item: item, Count: n, Lower: n, Upper: n})
		}
		encoded = sketch.AppendTop(nil, m.Params.Slots, items)
	case weir.Frequency:
		var hashes []uint64
		for _, e := range events {
			if e.destination != "" {
				hashes = append(hashes, sketch.HashString(s.Seed, e.destination))
			}
		}
		encoded = sketch.AppendFrequency(nil, m.Params.Epsilon, m.Params.Delta, s.Seed, hashes)
	}
	c.Sketch = append(c.Sketch, encoded)
}

func valuesOf(measure string, events []event) (values []float64) {
	for _, e := range events {
		x := map[string]float64{"delay": e.delay, "taxi.out": e.taxi, "distance": e.distance}[measure]
		if !math.IsNaN(x) {
			values = append(values, x)
		}
	}
	return values
}

func countsOf(events []event) map[string]uint64 {
	counts := make(map[string]uint64)
	for _, e := range events {
		if e.destination != "" {
			counts[e.destination]++
		}
	}
	return counts
}

// world is a store and live owners that hold the same events as the model.
type world struct {
	stream  *weir.Stream
	bucket  store.Bucket
	catalog *store.Catalog
	live    *fakeLive
	memory  *memoryCatalog // of benchmarks
	now     time.Time
}

func newWorld(t testing.TB, s *weir.Stream) *world {
	bucket, err := store.OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		stream: s, bucket: bucket,
		catalog: store.NewCatalog(bucket, s, slog.New(slog.DiscardHandler)),
		live:    &fakeLive{stream: s},
		now:     time.Date(2001, 1, 10, 0, 0, 0, 0, time.UTC),
	}
}

func (w *world) engine(o Options) *Engine {
	o.Now = func() time.Time { return w.now }
	return New([]Catalog{w.catalog}, w.live, o)
}

// meta describes a segment of those events at the offset.
func (w *world) meta(partition string, from int64, events []event) store.SegmentMeta {
	m := store.SegmentMeta{
		Format: 1, ID: fmt.Sprintf("%s-%d", partition, from), Stream: w.stream.Name, Definition: store.DefinitionOf(w.stream),
		Partition: partition, From: from, To: from + int64(len(events)), Log: "log", Events: int64(len(events)),
		Watermark: watermarkOf(w.stream, events), Written: w.now,
	}
	for i, e := range events {
		if i == 0 || e.time < m.MinTime {
			m.MinTime = e.time
		}
		if i == 0 || e.time > m.MaxTime {
			m.MaxTime = e.time
		}
	}
	return m
}

func watermarkOf(s *weir.Stream, events []event) int64 {
	watermark := int64(store.NoWatermark)
	for _, e := range events {
		watermark = max(watermark, e.time-int64(s.Time.Lateness))
	}
	return watermark
}

func (w *world) put(t testing.TB, m store.SegmentMeta, events []event) {
	t.Helper()
	var cells iter.Seq[*weir.Cells]
	if m.Gap == nil {
		cells = func(yield func(*weir.Cells) bool) { yield(cellsOf(w.stream, events, nil)) }
	}
	data, err := store.EncodeSegment(w.stream, m, cells)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.bucket.Put(context.Background(), store.SegmentName(w.stream.Name, m.Partition, m.From), data); err != nil {
		t.Fatal(err)
	}
}

func (w *world) refresh(t testing.TB) {
	t.Helper()
	if _, err := w.catalog.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// fakeLive answers with pieces of given events.
type fakeLive struct {
	stream *weir.Stream
	owned  []ownedPiece
	asked  func() // called at each question, if not nil
	err    error
}

type ownedPiece struct {
	weir.Piece
	events []event
}

func (l *fakeLive) add(s *weir.Stream, partition string, from int64, events []event) {
	l.owned = append(l.owned, ownedPiece{events: events, Piece: weir.Piece{
		Partition: partition, From: from, To: from + int64(len(events)), Log: "log",
		Watermark: watermarkOf(s, events), Events: int64(len(events)),
	}})
}

func (l *fakeLive) Live(_ context.Context, _ string, sel weir.Selection) ([]weir.Piece, error) {
	if l.asked != nil {
		l.asked()
	}
	var pieces []weir.Piece
	for _, o := range l.owned {
		piece := o.Piece
		piece.Cells = cellsOf(l.stream, o.events, &sel)
		pieces = append(pieces, piece)
	}
	return pieces, l.err
}

// scatter spreads events over partitions, segments and live pieces at random:
// the chain's last segments are also live, as just committed, and a slow owner
// still answers with pieces that the chain has overtaken.
func (w *world) scatter(t testing.TB, r *rand.Rand, events []event) {
	partitions := make([][]event, 1+r.IntN(4))
	for _, e := range events {
		p := r.IntN(len(partitions))
		partitions[p] = append(partitions[p], e)
	}
	for p, events := range partitions {
		name := fmt.Sprint("p", p)
		var cuts []int
		for range r.IntN(8) {
			cuts = append(cuts, r.IntN(len(events)+1))
		}
		cuts = append(cuts, 0, len(events))
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		stored := r.IntN(len(cuts))          // segments
		liveFrom := max(0, stored-r.IntN(3)) // the last of them are live too
		if stored > 0 && r.IntN(3) == 0 {    // a zombie, cut elsewhere
			end := cuts[stored]
			if begin := r.IntN(end); begin > 0 {
				zombie := min(len(events), begin+1+r.IntN(len(events)-begin))
				if zombie != end && !slices.Contains(cuts, begin) {
					w.live.add(w.stream, name, int64(begin), events[begin:zombie])
				}
			}
		}
		for i := range len(cuts) - 1 {
			part := events[cuts[i]:cuts[i+1]]
			if i < stored {
				m := w.meta(name, int64(cuts[i]), part)
				m.Watermark = watermarkOf(w.stream, events[:cuts[i+1]])
				w.put(t, m, part)
			}
			if i >= liveFrom {
				w.live.add(w.stream, name, int64(cuts[i]), part)
			}
		}
	}
	w.refresh(t)
}
