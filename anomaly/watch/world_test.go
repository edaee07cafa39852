package watch

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seed is of the test's random choices; WEIR_SEED gives it back.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("WEIR_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 1))
}

// The stream has a window of a minute, and series of service and region, whose
// events are counted.
func web() *weir.Stream {
	return &weir.Stream{Name: "web", Window: time.Minute, MaxSeries: 1000, Time: weir.TimeField{Lateness: 10 * time.Second},
		Dimensions: []weir.Dimension{{Name: "service", Field: "service"}, {Name: "region", Field: "region"}},
		Measures:   []weir.Measure{{Name: "failed", Kind: weir.Sum, Field: "failed"}}}
}

var begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// world is a store that is being written, and all that watches it.
type world struct {
	t       testing.TB
	stream  *weir.Stream
	bucket  store.Bucket
	catalog *store.Catalog
	writer  *store.Writer
	logger  *slog.Logger
	now     time.Time
	next    int64 // window to be written, in minutes from begin

	services []string // in order

	mu     sync.Mutex
	told   []weir.Incident // guarded by mu
	muting string          // guarded by mu
	shown  int             // series of an incident that a silence was shown, at most; guarded by mu
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, stream: web(), bucket: &storetest.Memory{}, logger: slog.New(slog.DiscardHandler), now: begin, services: []string{"api", "auth", "web"}}
	w.open()
	return w
}

// open begins as a new process does.
func (w *world) open() {
	w.catalog = store.NewCatalog(w.bucket, w.stream, w.logger)
	w.writer = store.NewWriter(w.catalog, "push:0", "test")
	if _, err := w.writer.Takeover(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// traffic gives how many events a series has in a minute, and how many failed.
type traffic func(minute int64, service, region string) (events, failed int64)

// write stores n minutes as one segment, whose watermark is their end.
func (w *world) write(n int64, of traffic) {
	w.t.Helper()
	from, to := w.next, w.next+n
	w.next = to
	w.now = begin.Add(time.Duration(to)*time.Minute + 11*time.Second)
	w.append(from, to, begin.Add(time.Duration(to)*time.Minute), of)
}

func (w *world) append(from, to int64, watermark time.Time, of traffic) {
	w.t.Helper()
	c := &weir.Cells{Width: int64(time.Minute), Measures: []weir.Column{{Present: true}}}
	meta := store.SegmentMeta{Log: "log", Watermark: watermark.UnixNano()}
	for _, service := range w.services {
		for _, region := range []string{"eu", "us"} {
			starts := len(c.Window)
			for m := from; m < to; m++ {
				events, failed := of(m, service, region)
				if events == 0 {
					continue
				}
				at := begin.Add(time.Duration(m) * time.Minute).UnixNano()
				if meta.Events == 0 || at < meta.MinTime {
					meta.MinTime = at
				}
				meta.MaxTime = max(meta.MaxTime, at+int64(time.Minute)-1)
				meta.Events += events
				c.Window, c.Count = append(c.Window, at), append(c.Count, events)
				col := &c.Measures[0]
				col.Values, col.Sum = append(col.Values, events), append(col.Sum, float64(failed))
				col.Min, col.Max = append(col.Min, 0), append(col.Max, 1)
			}
			if len(c.Window) > starts {
				c.Series, c.Starts = append(c.Series, []string{service, region}), append(c.Starts, starts)
			}
		}
	}
	c.Starts = append(c.Starts, len(c.Window))
	at := w.writer.Position()
	meta.From, meta.To = at.Next, at.Next+max(meta.Events, 1)
	var cells iter.Seq[*weir.Cells]
	if meta.Events > 0 {
		cells = storetest.One(c)
	} else {
		cells = func(func(*weir.Cells) bool) {}
	}
	if _, kept, err := w.writer.Append(context.Background(), store.Draft{Meta: meta, Cells: cells}); err != nil || !kept {
		w.t.Fatalf("append: kept %v, %v", kept, err)
	}
}

// Live says that somebody reads the partition and has nothing.
func (w *world) Live(context.Context, string, weir.Selection) ([]weir.Piece, error) {
	at := w.writer.Position()
	return []weir.Piece{{Partition: "push:0", From: at.Next, To: at.Next, Log: at.Log, Shift: at.Shift, Watermark: at.Watermark}}, nil
}

func (w *world) detector(c weir.DetectorConfig) *weir.DetectorConfig {
	w.t.Helper()
	text := fmt.Sprintf(`
streams: {web: {window: 1m, dimensions: [service, region], measures: {failed: {sum: failed}}}}
detectors: [{name: %s}]
webhooks: [{name: ops, url: "https://ops.example"}]
`, c.Name)
	config, err := weir.Parse("weir.yaml", []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	d := config.Detectors[0]
	if c.Value != "" {
		d.Value = c.Value
	}
	if c.Gap != "" {
		d.Gap = c.Gap
	}
	if c.Threshold != nil || c.Change != nil || c.Breakout != nil {
		d.Seasonal = nil
	}
	if c.Seasonal != nil {
		d.Seasonal = c.Seasonal
	}
	d.Threshold, d.Change, d.Breakout = c.Threshold, c.Change, c.Breakout
	d.By, d.Where = c.By, c.Where
	if c.For > 0 {
		d.For = c.For
	}
	if c.MaxIncidents > 0 {
		d.MaxIncidents = c.MaxIncidents
	}
	if c.MaxSeries > 0 {
		d.MaxSeries = c.MaxSeries
	}
	if c.Window > 0 {
		d.Window = c.Window
	}
	return d
}

// watcher makes what a process has that runs these detectors.
func (w *world) watcher(detectors ...*weir.DetectorConfig) *Watcher {
	w.t.Helper()
	var refs []incident.Ref
	for _, d := range detectors {
		refs = append(refs, incident.Ref{Stream: d.Stream, Detector: d.Name})
	}
	watcher, err := New(Options{Detectors: detectors, Catalogs: map[string]query.Catalog{"web": w.catalog}, Bucket: w.bucket,
		Log: incident.NewLog(w.bucket, refs, incident.Options{Now: func() time.Time { return w.now }}), Live: w, Tell: w.tell, Mute: w.mute,
		Logger: w.logger, Now: func() time.Time { return w.now }})
	if err != nil {
		w.t.Fatal(err)
	}
	return watcher
}

func (w *world) tell(_ context.Context, i *weir.Incident, _ []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.told, func(old weir.Incident) bool { return old.ID == i.ID && old.Version == i.Version }) {
		w.told = append(w.told, *i)
	}
	return nil
}

func (w *world) mute(_ context.Context, i *weir.Incident, _ time.Time) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = max(w.shown, len(i.Series))
	if len(i.Series) != i.Members {
		w.t.Errorf("incident %s: a silence is shown %d of %d series", i.ID, len(i.Series), i.Members)
	}
	return w.muting, nil
}

// look judges what is closed.
func (w *world) look(watcher *Watcher) {
	w.t.Helper()
	for _, s := range watcher.streams {
		if err := watcher.look(context.Background(), s); err != nil {
			w.t.Fatal(err)
		}
	}
}

// story tells what was told, in short.
func (w *world) story() (out []string) {
	for _, i := range w.told {
		out = append(out, fmt.Sprintf("%s %s %s %s", i.ID, i.State, i.Updated.Sub(begin), i.Summary))
	}
	return out
}

func limit(x float64) *float64 { return &x }
