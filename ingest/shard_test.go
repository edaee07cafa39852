package ingest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/sketch"
	"github.com/weir-stream/weir/store"
)

// random is seeded by WEIR_SEED, or by the clock; it prints which.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("WEIR_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 7))
}

// cellKey names a cell in the naive counting that shards are held against.
type cellKey struct {
	service, country string
	window           int64
}

type naiveCell struct {
	count  int64
	bytes  []float64
	lat    []float64
	users  map[string]bool
	paths  map[string]uint64
	status map[string]uint64
}

// generate writes random events, with fields missing now and then, and counts
// them naively.
func generate(rng *rand.Rand, n, services, users, paths int, windows int64) ([]byte, map[cellKey]*naiveCell) {
	cells := make(map[cellKey]*naiveCell)
	var out []byte
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range n {
		at := base.Add(time.Duration(rng.Int64N(windows * int64(10*time.Second))))
		line := map[string]any{"time": at.Format(time.RFC3339Nano)}
		k := cellKey{window: at.Truncate(10 * time.Second).UnixNano()}
		if rng.IntN(10) > 0 {
			k.service = fmt.Sprintf("s%d", int(float64(services)*rng.Float64()*rng.Float64()))
			line["service"] = k.service
		}
		if rng.IntN(3) > 0 {
			k.country = []string{"CH", "DE", "é"}[rng.IntN(3)]
			line["geo"] = map[string]any{"country": k.country, "city": "x"}
		}
		c := cells[k]
		if c == nil {
			c = &naiveCell{users: map[string]bool{}, paths: map[string]uint64{}, status: map[string]uint64{}}
			cells[k] = c
		}
		c.count++
		if rng.IntN(10) > 0 {
			v := math.Round(100*math.Exp(rng.NormFloat64())) / 100
			line["latency"] = v
			c.lat = append(c.lat, v)
		}
		if rng.IntN(10) > 0 {
			v := float64(rng.IntN(100000))
			line["bytes"] = v
			c.bytes = append(c.bytes, v)
		}
		if rng.IntN(10) > 0 {
			u := fmt.Sprintf("u%d", rng.IntN(users))
			line["user"] = u
			c.users[u] = true
		}
		if rng.IntN(10) > 0 {
			p := fmt.Sprintf("/%d", rng.IntN(paths))
			line["path"] = p
			c.paths[p]++
		}
		if rng.IntN(10) > 0 {
			s := fmt.Sprint(200 + 100*rng.IntN(4))
			line["status"] = s
			c.status[s]++
		}
		b, _ := json.Marshal(line)
		out = append(append(out, b...), '\n')
	}
	return out, cells
}

// checkCells holds what a shard answers against the naive counting.
func checkCells(t *testing.T, s *weir.Stream, got *weir.Cells, want map[cellKey]*naiveCell) {
	t.Helper()
	if got.Rows() != len(want) || len(got.Starts) != len(got.Series)+1 || got.Starts[len(got.Series)] != got.Rows() {
		t.Fatalf("%d cells in %d series with %d starts, want %d cells", got.Rows(), len(got.Series), len(got.Starts), len(want))
	}
	if !slices.IsSortedFunc(got.Series, slices.Compare) {
		t.Errorf("series are not sorted: %q", got.Series)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
	asked, missed := 0, 0
	defer func() {
		if missed > 10+asked/100 {
			t.Errorf("%d of %d lower bounds at 99 %% are too high", missed, asked)
		}
	}()
	column := func(name string, kind weir.Kind) weir.Column { return got.Measures[s.Measure(name, kind)] }
	for i, dims := range got.Series {
		for row := got.Starts[i]; row < got.Starts[i+1]; row++ {
			if row > got.Starts[i] && got.Window[row] <= got.Window[row-1] {
				t.Fatalf("%q: windows are not sorted", dims)
			}
			w := want[cellKey{dims[0], dims[1], got.Window[row]}]
			if w == nil || got.Count[row] != w.count {
				t.Fatalf("%q %d: count %d, want %+v", dims, got.Window[row], got.Count[row], w)
			}
			bytes := column("bytes", weir.Sum)
			if bytes.Values[row] != int64(len(w.bytes)) {
				t.Fatalf("%d values, want %d", bytes.Values[row], len(w.bytes))
			}
			if len(w.bytes) > 0 {
				sum := 0.0
				for _, b := range w.bytes {
					sum += b
				}
				near("sum", bytes.Sum[row], sum)
				near("min", bytes.Min[row], slices.Min(w.bytes))
				near("max", bytes.Max[row], slices.Max(w.bytes))
			}
			d := sketch.NewTDigest(100)
			if data := column("latency", weir.Quantile).Sketch[row]; len(data) > 0 {
				if err := d.MergeBinary(data); err != nil {
					t.Fatal(err)
				}
			}
			if d.Count() != uint64(len(w.lat)) {
				t.Fatalf("digest of %d values, want %d", d.Count(), len(w.lat))
			}
			slices.Sort(w.lat)
			for _, q := range []float64{0.1, 0.5, 0.9} {
				if len(w.lat) == 0 {
					break
				}
				e := d.Quantile(q, 0.99)
				below, _ := slices.BinarySearch(w.lat, e.Value)
				above, _ := slices.BinarySearch(w.lat, math.Nextafter(e.Value, math.Inf(1)))
				n := float64(len(w.lat))
				if off := max(float64(below)/n-q, q-float64(above)/n); off > 0.01+1/n {
					t.Errorf("p%v of %d values is off by %v of rank", 100*q, len(w.lat), off)
				}
			}
			h := sketch.NewHLL(14, s.Seed)
			if data := column("user", weir.Distinct).Sketch[row]; len(data) > 0 {
				if err := h.MergeBinary(data); err != nil {
					t.Fatal(err)
				}
			}
			if off := h.Estimate(0.99).Value - float64(len(w.users)); math.Abs(off) > 0.04*float64(len(w.users)) {
				t.Errorf("%v users, want %d", h.Estimate(0.99).Value, len(w.users))
			}
			top := sketch.NewTop(1000)
			if data := column("path", weir.Top).Sketch[row]; len(data) > 0 {
				if err := top.MergeBinary(data); err != nil {
					t.Fatal(err)
				}
			}
			for _, item := range top.Items(10) {
				if n := w.paths[item.Item]; n < item.Lower || n > item.Upper {
					t.Fatalf("%+v, want %d", item, n)
				}
			}
			for name, items := range map[string]map[string]uint64{"path": w.paths, "status": w.status} {
				f := sketch.NewFrequency(0.01, 0.01, s.Seed)
				if data := column(name, weir.Frequency).Sketch[row]; len(data) > 0 {
					if err := f.MergeBinary(data); err != nil {
						t.Fatal(err)
					}
				}
				for item, n := range items {
					e := f.Estimate(sketch.HashString(s.Seed, item), 0.99)
					if e.Upper < float64(n) {
						t.Fatalf("%s %s: %+v, want %d", name, item, e, n)
					}
					asked++
					if e.Lower > float64(n) { // which may be, once in a hundred times
						missed++
					}
				}
			}
		}
	}
}

func TestShardAgreesWithNaiveCounting(t *testing.T) {
	rng := random(t)
	for _, c := range []struct {
		name                           string
		n, services, users, paths, win int
	}{
		{"small cells", 3000, 40, 500, 30, 20},
		{"grown cells", 30000, 3, 5000, 400, 3},
		{"one cell an event", 2000, 500, 10, 10, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testStream()
			data, want := generate(rng, c.n, c.services, c.users, c.paths, int64(c.win))
			sh := newShard("p", s, &budget{limit: 1e6}, &rejects{})
			sh.drop(0, "log", 0, nil, store.NoWatermark)
			// Twice: the second life of a piece reuses the memory of the first.
			for life := range 2 {
				sh.add(&Batch{From: 0, To: int64(len(data)), Data: data, Arrival: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
				if n := sh.active.rejectedByName(); n != nil {
					t.Fatalf("rejected: %v", n)
				}
				live := sh.live(everything(s), 0)
				checkCells(t, s, live[len(live)-1].Cells, want)
				frozen := sh.freeze(time.Now())
				again := sh.live(everything(s), 0)
				checkCells(t, s, again[0].Cells, want)
				if again[0].To != again[1].From {
					t.Errorf("pieces do not adjoin: %+v", again)
				}
				// In batches, as for a segment.
				rows := 0
				for cells := range frozen.cellsOf(everything(s), 100) {
					if rows += cells.Rows(); cells.Rows() > 100 || cells.Starts[len(cells.Series)] != cells.Rows() {
						t.Fatalf("a batch of %d rows, ending at %v", cells.Rows(), cells.Starts)
					}
				}
				if rows != len(want) {
					t.Fatalf("life %d: %d rows in batches, want %d", life, rows, len(want))
				}
				sh.release()
			}
		})
	}
}

func TestSelection(t *testing.T) {
	s := testStream()
	data, want := generate(random(t), 3000, 10, 10, 10, 20)
	sh := newShard("p", s, &budget{limit: 1e6}, &rejects{})
	sh.drop(0, "log", 0, nil, store.NoWatermark)
	sh.add(&Batch{To: int64(len(data)), Data: data, Arrival: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	sel := weir.Selection{From: base + 3e10, To: base + 7e10, Match: func(d []string) bool { return d[1] == "CH" },
		Measures: make([]bool, len(s.Measures))}
	sel.Measures[s.Measure("latency", weir.Quantile)] = true
	got := sh.live(sel, 0)[0].Cells
	cells, events := 0, int64(0)
	for k, c := range want {
		if k.country == "CH" && k.window >= sel.From && k.window < sel.To {
			cells++
			events += c.count
		}
	}
	sum := int64(0)
	for _, n := range got.Count {
		sum += n
	}
	if got.Rows() != cells || sum != events {
		t.Errorf("%d cells with %d events, want %d with %d", got.Rows(), sum, cells, events)
	}
	for i, c := range got.Measures {
		if c.Present != sel.Measures[i] {
			t.Errorf("column %d present: %v", i, c.Present)
		}
	}
}

// An event is late when its whole window lies behind the watermark, which
// trails the newest event by the stream's lateness.
func TestLate(t *testing.T) {
	s := testStream()
	sh := newShard("p", s, &budget{limit: 10}, &rejects{})
	sh.drop(0, "log", 0, nil, store.NoWatermark)
	var data []byte
	for _, second := range []int{5, 12, 9, 3, 0, 10, 11, 1} { // from 11 s on, the first window is believed complete
		data = fmt.Appendf(data, `{"time":"2026-01-01T00:00:%02dZ"}`+"\n", second)
	}
	sh.add(&Batch{To: int64(len(data)), Data: data, Arrival: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if sh.active.late != 4 || sh.active.events != 8 {
		t.Errorf("%d of %d events late, want 4 of 8", sh.active.late, sh.active.events)
	}
	if got, want := sh.active.watermark, time.Date(2026, 1, 1, 0, 0, 11, 0, time.UTC).UnixNano(); got != want {
		t.Errorf("watermark %d, want %d", got, want)
	}
}

// What is over the budget of series counts under weir.Other, so totals stay.
func TestBudget(t *testing.T) {
	s := testStream()
	b := &budget{limit: 10}
	sh := newShard("p", s, b, &rejects{})
	sh.drop(0, "log", 0, nil, store.NoWatermark)
	var data []byte
	for i := range 100 {
		data = fmt.Appendf(data, `{"time":"2026-01-01T00:00:00Z","service":"s%d"}`+"\n", i%50)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	add := func() {
		sh.add(&Batch{To: int64(len(data)), Data: data, Arrival: now})
	}
	add()
	cells := sh.live(everything(s), 0)[0].Cells
	if len(cells.Series) != 11 || sh.active.overflow != 80 {
		t.Fatalf("%d series, %d events over the budget; want 11 and 80", len(cells.Series), sh.active.overflow)
	}
	for i, dims := range cells.Series {
		if dims[0] == weir.Other && (dims[1] != weir.Other || cells.Count[i] != 80) || dims[0] != weir.Other && cells.Count[i] != 2 {
			t.Errorf("%q: %d", dims, cells.Count[i])
		}
	}
	// An hour of silence later the budget is free again.
	sh.freeze(now)
	sh.release()
	now = now.Add(seriesIdle + time.Minute)
	sh.freeze(now)
	sh.release()
	if n := b.used.Load(); n != 0 {
		t.Errorf("%d series are still counted", n)
	}
	add()
	if n := len(sh.live(everything(s), 0)[0].Cells.Series); n != 11 {
		t.Errorf("%d series, want 11", n)
	}
}

func TestRejectsAreCountedAndNeighboursStay(t *testing.T) {
	s := testStream()
	r := &rejects{}
	sh := newShard("p", s, &budget{limit: 10}, r)
	sh.drop(100, "log", 100, nil, store.NoWatermark)
	good := `{"time":"2026-01-01T00:00:00Z","latency":1}`
	lines := []string{good, `{`, good, `{"time":1}`, good, strings.Repeat("x", 5000), good, "", "  \r", `{"time":"2027-01-01T00:00:00Z"}`, good}
	data := []byte(strings.Join(lines, "\n"))
	sh.add(&Batch{From: 100, To: 100 + int64(len(data)), Data: data, Arrival: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if sh.active.events != 5 {
		t.Errorf("%d events, want 5", sh.active.events)
	}
	got := r.read()
	want := map[string]int64{"not_json": 1, "bad_time": 1, "line_too_long": 1, "too_far_ahead": 1}
	if fmt.Sprint(got.ByReason) != fmt.Sprint(want) || len(got.Sample) != 4 {
		t.Errorf("rejected %v (%d in the sample), want %v", got.ByReason, len(got.Sample), want)
	}
	if s := got.Sample[3]; s.Excerpt != "{" || s.Offset != 100+int64(len(good))+1 || s.Partition != "p" {
		t.Errorf("the oldest sample is %+v", s)
	}
	if n := len(got.Sample[1].Excerpt); n > excerptBytes {
		t.Errorf("an excerpt of %d bytes", n)
	}
	for range 1000 {
		r.add(NotJSON, []byte("\xff\xfe"), "p", 1, time.Time{})
	}
	if got := r.read(); len(got.Sample) != 100 || got.ByReason["not_json"] != 1001 || got.Sample[0].Excerpt != "\uFFFD" {
		t.Errorf("%d samples, %v", len(got.Sample), got.ByReason)
	}
}

// standardShard is fed the standard stream, as much of it as asked for.
func standardShard(tb testing.TB, events int) (*shard, []byte) {
	tb.Helper()
	s := &weir.Stream{Name: "web", Window: 10 * time.Second, MaxSeries: 1e5, MaxLine: 1 << 20,
		Time:       weir.TimeField{Field: "time", Format: weir.RFC3339, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "service", Field: "service"}, {Name: "region", Field: "region"}},
		Measures: []weir.Measure{
			{Name: "latency", Kind: weir.Quantile, Field: "latency", Params: weir.Params{Sketch: weir.TDigest, Compression: 100}},
			{Name: "path", Kind: weir.Top, Field: "path", Params: weir.Params{Slots: 64}},
			{Name: "user", Kind: weir.Distinct, Field: "user", Params: weir.Params{Precision: 14}},
		}}
	sh := newShard("p", s, &budget{limit: 1e6}, &rejects{})
	sh.drop(0, "log", 0, nil, store.NoWatermark)
	w := workload.Standard()
	w.Events = events
	var data []byte
	if err := w.Each(func(r *workload.Request) error { data = r.Append(data); return nil }); err != nil {
		tb.Fatal(err)
	}
	return sh, data
}

// In the steady state, with the memory of an earlier piece, nothing is
// allocated for an event, and next to nothing for the sketches of the few
// cells that grow.
func TestAddAllocatesNothing(t *testing.T) {
	sh, data := standardShard(t, 20000)
	b := &Batch{To: int64(len(data)), Data: data, Arrival: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	add := func() {
		sh.add(b)
		sh.active.reset()
		sh.begin(sh.active, 0, "log", 0, nil, store.NoWatermark)
	}
	add()
	if n := testing.AllocsPerRun(5, add); n > 20000/100 {
		t.Errorf("%v allocations for 20,000 events", n)
	}
}

// BenchmarkAdd measures decode and cells, without segments:
//
//	go test ./ingest -run - -bench 'Add|Encode' -benchtime 5x -cpu 1
func BenchmarkAdd(b *testing.B) {
	const events = 500_000
	sh, data := standardShard(b, events)
	batch := &Batch{To: int64(len(data)), Data: data, Arrival: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	began := cpuTime(b)
	for b.Loop() {
		sh.active.reset()
		sh.begin(sh.active, 0, "log", 0, nil, store.NoWatermark)
		sh.add(batch)
	}
	b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N)/events, "cpu-ns/event")
	b.ReportMetric(float64(sh.active.usedBytes())/float64(len(sh.active.cells)), "B/cell")
	b.ReportMetric(events/float64(len(sh.active.cells)), "events/cell")
}

// BenchmarkEncode measures what a flush adds before Parquet.
func BenchmarkEncode(b *testing.B) {
	const events = 500_000
	sh, data := standardShard(b, events)
	sh.add(&Batch{To: int64(len(data)), Data: data, Arrival: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	frozen := sh.freeze(time.Now())
	bytes := 0
	began := cpuTime(b)
	for b.Loop() {
		bytes = 0
		for cells := range frozen.cellsOf(everything(sh.plan.stream), flushRows) {
			for _, c := range cells.Measures {
				for _, s := range c.Sketch {
					bytes += len(s)
				}
			}
		}
	}
	cells := float64(len(frozen.cells))
	spent := float64(cpuTime(b)-began) / float64(b.N)
	b.ReportMetric(spent/cells, "cpu-ns/cell")
	b.ReportMetric(spent/events, "cpu-ns/event")
	b.ReportMetric(float64(bytes)/cells, "sketchB/cell")
}

// cpuTime is what the process has used of the CPUs: the clock on the wall also
// measures the neighbours.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
