package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a bucket, a stream of numbered events, and what was written of it.
type world struct {
	t      *testing.T
	stream *weir.Stream
	bucket store.Bucket
	dir    string
	memory int64
	logs   *logBuffer

	next, count, sum int64 // what was written
}

func newWorld(t *testing.T) *world {
	s := &weir.Stream{Name: "numbers", Window: 10 * time.Second, MaxSeries: 1000, MaxLine: 1000,
		Time:       weir.TimeField{Field: "t", Format: weir.UnixSeconds, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "k", Field: "k"}},
		Measures:   []weir.Measure{{Name: "n", Kind: weir.Sum, Field: "n"}}}
	return &world{t: t, stream: s, bucket: &storetest.Memory{}, dir: t.TempDir(), memory: 1 << 30, logs: &logBuffer{}}
}

// node is a process over the world's bucket, or over another view of it.
func (w *world) node(bucket store.Bucket, j *journal.Journal) *Node {
	logger := slog.New(slog.NewTextHandler(w.logs, nil))
	return New(Options{Name: "test", Streams: []*weir.Stream{w.stream}, Journal: j, Memory: w.memory,
		Catalogs: map[string]*store.Catalog{w.stream.Name: store.NewCatalog(bucket, w.stream, logger)},
		Interval: 20 * time.Millisecond, Logger: logger})
}

// logBuffer is a buffer that several nodes log to.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// lines makes the next n numbered events.
func (w *world) lines(n int) []byte {
	var b []byte
	for range n {
		w.next++
		b = fmt.Appendf(b, `{"t":%d,"k":"key-%d","n":%d}`+"\n", 1_700_000_000+w.next/100, w.next%7, w.next)
		w.count++
		w.sum += w.next
	}
	return b
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name string, data []byte, flag int) {
	w.t.Helper()
	f, err := os.OpenFile(w.path(name), os.O_CREATE|os.O_WRONLY|flag, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if strings.HasSuffix(name, ".gz") {
		z := gzip.NewWriter(f)
		z.Write(data)
		data = nil
		if err := z.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := f.Write(data); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) load(names ...string) Progress {
	w.t.Helper()
	p, err := w.tryLoad(context.Background(), w.bucket, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) tryLoad(ctx context.Context, bucket store.Bucket, names ...string) (Progress, error) {
	var paths []string
	for _, n := range names {
		paths = append(paths, w.path(n))
	}
	var last Progress
	err := w.node(bucket, nil).Load(ctx, w.stream.Name, paths, func(p Progress) { last = p })
	return last, err
}

// stored adds up what the store holds.
type totals struct {
	count, sum, rejected int64
	segments             int
	gaps                 []store.GapReason
}

func (w *world) stored() (got totals) {
	w.t.Helper()
	ctx := context.Background()
	snapshot, err := store.NewCatalog(w.bucket, w.stream, slog.New(slog.DiscardHandler)).Refresh(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range snapshot.Chains {
		for _, g := range c.Gaps {
			got.gaps = append(got.gaps, g.Reason)
		}
		for _, ref := range c.Segments {
			got.segments++
			s, err := store.OpenSegment(ctx, w.bucket, ref.Name)
			if err != nil {
				w.t.Fatal(err)
			}
			cells, err := s.Cells(ctx, w.stream, everything(w.stream))
			if err != nil {
				w.t.Fatal(err)
			}
			events := int64(0)
			for row := range cells.Rows() {
				events += cells.Count[row]
				got.sum += int64(cells.Measures[0].Sum[row])
			}
			if events != ref.Meta.Events {
				w.t.Errorf("%s holds %d events and says %d", ref.Name, events, ref.Meta.Events)
			}
			got.count += events
			for _, n := range ref.Meta.Rejected {
				got.rejected += n
			}
		}
	}
	return got
}

// exact requires that every event written was counted once.
func (w *world) exact() totals {
	w.t.Helper()
	got := w.stored()
	if got.count != w.count || got.sum != w.sum {
		w.t.Fatalf("stored %d events with sum %d, written %d with %d\n%s", got.count, got.sum, w.count, w.sum, w.logs)
	}
	return got
}

func TestLoadGoesOnWhereItEnded(t *testing.T) {
	for _, name := range []string{"a.ndjson", "a.ndjson.gz"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for range 5 {
				w.write(name, w.lines(5000), os.O_APPEND)
				w.load(name)
				w.exact()
				if p := w.load(name); p.Events != 0 {
					t.Errorf("loading again added %d events", p.Events)
				}
				w.exact()
			}
		})
	}
}

func TestReplacedFileIsAnotherLog(t *testing.T) {
	for name, size := range map[string]int{"shorter": 10, "as long": 3000, "longer": 9000} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.next = 1_000_000 // numbers of equal length, so that "as long" is
			w.write("a", w.lines(3000), os.O_TRUNC)
			w.load("a")
			w.write("a", w.lines(size), os.O_TRUNC)
			w.load("a")
			got := w.exact()
			if len(got.gaps) != 1 || got.gaps[0] != store.GapNewLog {
				t.Errorf("gaps %q, want one for the new log", got.gaps)
			}
			if !strings.Contains(w.logs.String(), "replaced") {
				t.Errorf("nothing was said of it:\n%s", w.logs)
			}
			w.load("a")
			w.write("a", w.lines(10), os.O_APPEND)
			w.load("a")
			if got := w.exact(); len(got.gaps) != 1 {
				t.Errorf("gaps %q after it grew", got.gaps)
			}
		})
	}
}

func TestEndOfFile(t *testing.T) {
	w := newWorld(t)
	whole := w.lines(10)
	w.write("a", whole[:len(whole)-1], 0) // the last line is whole, without its newline
	w.load("a")
	w.exact()
	next := w.lines(1)
	w.write("a", []byte("\n"), os.O_APPEND)
	w.write("a", next[:10], os.O_APPEND) // the next one is not
	w.count, w.sum = w.count-1, w.sum-w.next
	w.load("a")
	w.exact()
	if !strings.Contains(w.logs.String(), "within a line") {
		t.Errorf("nothing was said of the torn line:\n%s", w.logs)
	}
	w.write("a", next[10:], os.O_APPEND)
	w.count, w.sum = w.count+1, w.sum+w.next
	w.load("a")
	if got := w.exact(); got.rejected != 0 || len(got.gaps) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestBadLinesCostOnlyThemselves(t *testing.T) {
	w := newWorld(t)
	rng := random(t)
	var data []byte
	bad := int64(0)
	for range 3000 {
		data = append(data, w.lines(1)...)
		switch rng.IntN(4) {
		case 0:
			data, bad = append(data, "{broken\n"...), bad+1
		case 1:
			data, bad = append(append(data, bytes.Repeat([]byte("x"), 900+rng.IntN(5000))...), '\n'), bad+1
		case 2:
			data = append(data, " \r\n"...)
		}
	}
	w.write("a", data, 0)
	p := w.load("a")
	if got := w.exact(); got.rejected != bad || p.Rejected != bad {
		t.Errorf("%d rejected, %d reported, want %d", got.rejected, p.Rejected, bad)
	}
}

func TestLoadErrors(t *testing.T) {
	w := newWorld(t)
	w.write("a", w.lines(10), 0)
	w.write("torn.gz", w.lines(20000), 0)
	torn, err := os.ReadFile(w.path("torn.gz"))
	if err != nil {
		t.Fatal(err)
	}
	w.write("not.gz", nil, 0)
	os.WriteFile(w.path("not.gz"), []byte("plain text"), 0o644)
	os.WriteFile(w.path("torn.gz"), torn[:len(torn)/2], 0o644)
	for names, want := range map[string]string{"missing": "missing", "a a": "one file", "not.gz": "gzip", "torn.gz": "torn.gz at byte", ".": "directory"} {
		if _, err := w.tryLoad(context.Background(), w.bucket, strings.Fields(names)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load %s: %v, want it to say %q", names, err, want)
		}
	}
	// What came before the damage counts, and the mended file goes on from there.
	if got := w.stored(); got.count == 0 || got.count >= 20010 {
		t.Errorf("%d events of the torn file", got.count)
	}
	os.WriteFile(w.path("torn.gz"), torn, 0o644)
	w.load("torn.gz", "a")
	w.exact()
}

// A small memory makes many segments, a cancelled load leaves some, another
// process races for each, and puts fail in every way: the count is exact.
func TestLoadUnderFaults(t *testing.T) {
	rng := random(t)
	for round := range 8 {
		w := newWorld(t)
		w.memory = 100_000
		w.write("a", w.lines(20_000), 0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(30))*time.Millisecond)
		w.tryLoad(ctx, w.bucket, "a")
		cancel()
		var group sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			own := rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
			faults := &storetest.Faults{Bucket: w.bucket, OnPut: func(string) storetest.Outcome {
				return []storetest.Outcome{storetest.Done, storetest.Done, storetest.Lost, storetest.Unknown, storetest.Delayed}[own.IntN(5)]
			}}
			group.Go(func() {
				_, errs[i] = w.tryLoad(context.Background(), faults, "a")
				faults.Land()
			})
		}
		group.Wait()
		for _, err := range errs {
			if err != nil && !errors.Is(err, store.ErrUnsettled) {
				t.Fatalf("round %d: %v\n%s", round, err, w.logs)
			}
		}
		w.load("a")
		if got := w.exact(); got.segments < 2 {
			t.Errorf("%d segments: the memory bound was not met", got.segments)
		}
	}
}

// A store that is away when a partition begins, and again and again later, ends
// nothing: all is read once it is back.
func TestStoreIsAway(t *testing.T) {
	rng := random(t)
	w := newWorld(t)
	w.memory = 100_000
	w.write("a", w.lines(5_000), 0)
	own := rand.New(rand.NewPCG(rng.Uint64(), 1))
	var mu sync.Mutex // guards own
	away := 0
	faults := &storetest.Faults{Bucket: w.bucket, OnRead: func(name string) error {
		mu.Lock()
		defer mu.Unlock()
		if own.IntN(3) == 0 {
			return nil
		}
		away++
		return fmt.Errorf("read %s: %w", name, store.ErrUnavailable)
	}}
	if _, err := w.tryLoad(context.Background(), faults, "a"); err != nil {
		t.Fatalf("%v\n%s", err, w.logs)
	}
	if away == 0 {
		t.Error("the store was never away")
	}
	w.exact()
}

func (w *world) journal() *journal.Journal {
	w.t.Helper()
	j, err := journal.Open(journal.Options{Dir: w.path("journal"), Streams: map[string]int{w.stream.Name: 2}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// pushing runs a node with a journal, and stops it cleanly at the end.
func (w *world) pushing(do func(n *Node)) {
	w.t.Helper()
	j := w.journal()
	defer j.Close()
	w.stream.Source = weir.Source{Kind: weir.Push, Partitions: 2}
	n := w.node(w.bucket, j)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	for n.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	do(n)
	stop()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
	if _, err := n.Push(context.Background(), w.stream.Name, "", []byte("{}\n"), 1); !errors.Is(err, weir.ErrStopping) {
		w.t.Errorf("a push after the end: %v", err)
	}
}

func TestPushIsReadableAtOnce(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for life := range 3 {
		w.pushing(func(n *Node) {
			for i := range 50 {
				body := w.lines(10)
				ack, err := n.Push(ctx, w.stream.Name, fmt.Sprintf("%d-%d", life, i), body, 10)
				if err != nil || ack.Duplicate {
					t.Fatalf("%+v %v", ack, err)
				}
				again, err := n.Push(ctx, w.stream.Name, fmt.Sprintf("%d-%d", life, i), body, 10)
				if err != nil || !again.Duplicate || again.Offset != ack.Offset || again.Partition != ack.Partition {
					t.Fatalf("the same again: %+v %v, at first %+v", again, err, ack)
				}
			}
			if err := n.Drain(ctx, w.stream.Name); err != nil {
				t.Fatal(err)
			}
			if st, err := n.Status(w.stream.Name); err != nil || st.Events != 500 {
				t.Fatalf("%+v %v", st, err)
			}
			pieces, err := n.Live(ctx, w.stream.Name, everything(w.stream))
			if err != nil || len(pieces) < 2 {
				t.Fatalf("%d pieces: %v", len(pieces), err)
			}
		})
		w.exact()
	}
	if _, err := w.node(w.bucket, nil).Push(ctx, "other", "", nil, 0); !errors.Is(err, weir.ErrUnknownStream) {
		t.Errorf("push to another stream: %v", err)
	}
}

// A journal can meet a chain that another one wrote: its directory was lost,
// or the store's was exchanged. What it holds is counted, past a gap.
func TestJournalOfAnotherStore(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	push := func(n *Node) {
		for range 20 {
			if _, err := n.Push(ctx, w.stream.Name, "", w.lines(10), 10); err != nil {
				t.Fatal(err)
			}
		}
		if err := n.Drain(ctx, w.stream.Name); err != nil {
			t.Fatal(err)
		}
	}
	w.pushing(push)
	w.exact()
	if err := os.Rename(w.path("journal"), w.path("first")); err != nil {
		t.Fatal(err)
	}
	w.pushing(push) // a new journal, empty
	if got := w.exact(); len(got.gaps) != 2 {
		t.Fatalf("gaps %q, want one a partition", got.gaps)
	}
	if err := os.Rename(w.path("journal"), w.path("second")); err != nil {
		t.Fatal(err)
	}
	// A third one, with events that nobody has read.
	j := w.journal()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- j.Run(running) }()
	for p := range 2 {
		if err := j.Advance(w.stream.Name, p, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		if _, err := j.Append(ctx, w.stream.Name, "", w.lines(3), 3); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	j.Close()
	for range 2 {
		w.pushing(push)
		if got := w.exact(); len(got.gaps) != 4 {
			t.Fatalf("gaps %q, want two a partition", got.gaps)
		}
	}
	// The store is gone: what the journal's deleted files held is a gap.
	w.bucket = &storetest.Memory{}
	w.count, w.sum = 0, 0
	w.pushing(push)
	if got := w.stored(); got.count < w.count {
		t.Fatalf("%d events, want at least the %d that were pushed since", got.count, w.count)
	}
}

// An idle partition says since when its log is known to hold nothing.
func TestIdle(t *testing.T) {
	w := newWorld(t)
	w.pushing(func(n *Node) {
		began := time.Now()
		for {
			pieces, err := n.Live(context.Background(), w.stream.Name, everything(w.stream))
			if err != nil {
				t.Fatal(err)
			}
			if p := pieces[len(pieces)-1]; p.Idle != 0 {
				if at := time.Unix(0, p.Idle); at.Before(began.Add(-time.Second)) || at.After(time.Now()) {
					t.Errorf("idle at %v", at)
				}
				return
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("never idle")
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func TestLoadReader(t *testing.T) {
	w := newWorld(t)
	for range 2 { // what is sent twice counts twice
		in := append(w.lines(1000), "\n\n  \n"...)
		in = append(in, w.lines(1000)...)
		in = in[:len(in)-1] // no newline at the end
		j := w.journal()
		var last Progress
		if err := w.node(w.bucket, j).LoadReader(context.Background(), w.stream.Name, bytes.NewReader(in), func(p Progress) { last = p }); err != nil {
			t.Fatal(err)
		}
		j.Close()
		if w.exact(); last.Events != 2000 {
			t.Errorf("%d events reported", last.Events)
		}
	}
}

// A followed file is read as it grows, and its successor after it.
func TestFollow(t *testing.T) {
	w := newWorld(t)
	w.stream.Source = weir.Source{Kind: weir.File, Path: w.path("log")}
	w.stream.Window = 10 * time.Millisecond // flushes are at least a window apart
	n := w.node(w.bucket, nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	await := func() {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if got := w.stored(); got.count == w.count {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%+v, want %d\n%s", got, w.count, w.logs)
			}
		}
	}
	time.Sleep(20 * time.Millisecond) // it is not there yet
	w.write("log", nil, 0)
	w.write("log", w.lines(100), 0)
	await()
	w.write("log", w.lines(100), os.O_APPEND)
	await()
	if err := os.Rename(w.path("log"), w.path("log.1")); err != nil {
		t.Fatal(err)
	}
	w.write("log.1", w.lines(50), os.O_APPEND) // written to the end by who has it open
	w.write("log", w.lines(100), 0)
	await()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := w.exact(); len(got.gaps) != 1 || got.gaps[0] != store.GapNewLog {
		t.Errorf("%+v", got)
	}
}
