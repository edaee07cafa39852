package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(pushUntilKilled(dir))
	}
	code := m.Run()
	if err := goleak.Find(tolerated...); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// tolerated are the leaks that a test has explained.
var tolerated []goleak.Option

// seed returns the seed of a random test: WEIR_SEED, or a new one.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("WEIR_SEED=%d", n)
	return rand.New(rand.NewPCG(n, n))
}

// rig is an open journal whose Run is running.
type rig struct {
	*Journal
	t    *testing.T
	stop func() error
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func defaults(dir string) Options {
	return Options{Dir: dir, Streams: map[string]int{"web": 2}, SegmentSize: 64 << 10, Logger: quiet()}
}

// start opens a journal, tells it that all chains are empty, and runs it.
func start(t *testing.T, opts Options, faults ...func(*Journal)) *rig {
	t.Helper()
	j, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		f(j)
	}
	for name, n := range opts.Streams {
		for p := range n {
			if err := j.Advance(name, p, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- j.Run(ctx) }()
	r := &rig{Journal: j, t: t}
	r.stop = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-ran, j.Close())
	})
	t.Cleanup(func() { r.stop() }) //nolint:errcheck // those who care call it
	return r
}

func (r *rig) shut() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) push(key, body string) Ack {
	r.t.Helper()
	ack, err := r.Append(context.Background(), "web", key, []byte(body), strings.Count(body, "\n"))
	if err != nil {
		r.t.Fatalf("push %q: %v", key, err)
	}
	return ack
}

// all reads what a partition holds from an offset on.
func (r *rig) all(partition int, from int64) []Batch {
	r.t.Helper()
	rd, err := r.Reader("web", partition)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	if err := rd.SeekTo(from); err != nil {
		r.t.Fatal(err)
	}
	var list []Batch
	for pos := from; r.stored(partition, pos); pos = list[len(list)-1].To {
		b, err := rd.Next(context.Background())
		if err != nil {
			r.t.Fatalf("partition %d, after %d batches: %v", partition, len(list), err)
		}
		list = append(list, b)
	}
	return list
}

// stored tells whether the log has anything of a partition from an offset on.
func (r *rig) stored(partition int, from int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.streams["web"].partitions[partition].spanOf(from)
	return ok
}

// contents draws everything the log holds: "partition [from,to) body".
func (r *rig) contents() []string {
	r.t.Helper()
	var list []string
	for _, p := range r.Partitions("web") {
		for _, b := range r.all(p, 0) {
			list = append(list, fmt.Sprintf("%d [%d,%d) %s", p, b.From, b.To, b.Data))
		}
	}
	return list
}

// lines returns a body of n events that no other tag has.
func lines(tag string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"tag":%q,"n":%d}`+"\n", tag, i)
	}
	return b.String()
}

// noise returns a body of one event that no compression makes smaller.
func noise(rng *rand.Rand, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(' ' + rng.IntN(95))
	}
	b[size-1] = '\n'
	return string(b)
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d\ngot  %.2000q\nwant %.2000q", len(got), len(want), got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d is\n%.500q, want\n%.500q", i, got[i], want[i])
		}
	}
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "0*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestPushReadRestart(t *testing.T) {
	opts := defaults(t.TempDir())
	r := start(t, opts)
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range 100 {
				body := lines(fmt.Sprintf("%d-%d", c, i), 1+i%7)
				ack, err := r.Append(context.Background(), "web", "", []byte(body), 1+i%7)
				if err != nil || ack.Count != int64(1+i%7) || ack.Duplicate {
					t.Errorf("push: %+v, %v", ack, err)
				}
			}
		})
	}
	wg.Wait()
	want := r.contents()
	if len(want) != 400 {
		t.Fatalf("%d batches, want 400", len(want))
	}
	for p := range 2 {
		next := int64(0)
		for _, b := range r.all(p, 0) {
			if b.From != next || int64(bytes.Count(b.Data, []byte("\n"))) != b.To-b.From || time.Since(b.Arrival) > time.Minute {
				t.Fatalf("partition %d at %d: %+v", p, next, b)
			}
			next = b.To
		}
		if next < 600 {
			t.Errorf("partition %d has %d of 1600 events", p, next)
		}
	}
	id := r.ID()
	r.shut()

	for range 2 {
		r = start(t, opts)
		equal(t, r.contents(), want)
		if r.ID() != id {
			t.Errorf("the log was %s, and is %s", id, r.ID())
		}
		r.shut()
	}
	if n := len(segments(t, opts.Dir)); n < 3 {
		t.Errorf("%d files: nothing was rotated", n)
	}
}

func TestTailMeetsFiles(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.Streams = map[string]int{"web": 1}
	opts.MaxTail = 1000 // a few batches: the reader falls out of memory, and back
	rng := seed(t)
	r := start(t, opts)
	rd, err := r.Reader("web", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	pushed, read := 0, 0
	for pushed < 600 {
		for range rng.IntN(12) {
			r.push("", lines(strconv.Itoa(pushed), 1))
			pushed++
		}
		for n := rng.IntN(12); n > 0 && read < pushed; n-- {
			b, err := rd.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if string(b.Data) != lines(strconv.Itoa(read), 1) || b.From != int64(read) {
				t.Fatalf("batch %d is %d %q", read, b.From, b.Data)
			}
			read++
		}
	}
}

// Clients push, readers read, go back, and commit, files come and go; now and
// then all of it stops and goes on.
func TestEverythingAtOnce(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.MaxTail = 8 << 10
	opts.MaxBehind = 64 << 10
	rng := seed(t)
	var committed [2]int64 // by partition
	for round := range 4 {
		r := start(t, opts)
		ctx, cancel := context.WithCancel(context.Background())
		var pushing, reading sync.WaitGroup
		for p := range committed {
			if err := r.Advance("web", p, committed[p]); err != nil {
				t.Fatal(err)
			}
			rd, err := r.Reader("web", p)
			if err != nil {
				t.Fatal(err)
			}
			own := rand.New(rand.NewPCG(rng.Uint64(), 1))
			reading.Go(func() {
				defer rd.Close()
				pos := committed[p]
				if err := rd.SeekTo(pos); err != nil {
					t.Error(err)
				}
				for {
					b, err := rd.Next(ctx)
					if err != nil {
						return
					}
					if b.From != pos || b.Skip != 0 || int64(bytes.Count(b.Data, []byte("\n"))) != b.To-b.From {
						t.Errorf("partition %d at %d: [%d,%d) %.60q", p, pos, b.From, b.To, b.Data)
						return
					}
					pos = b.To
					switch own.IntN(20) {
					case 0, 1:
						committed[p] = pos
						r.Committed("web", p, pos)
					case 2: // as after a race for a segment was lost
						pos = committed[p]
						if err := rd.SeekTo(pos); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for c := range 4 {
			own := rand.New(rand.NewPCG(rng.Uint64(), 1))
			pushing.Go(func() {
				for i := range 100 {
					n := 1 + own.IntN(100)
					body, key := lines(fmt.Sprint(round, c, i), n), ""
					if i%8 < 2 {
						key = fmt.Sprint(round, c, i/2)
					}
					for {
						a, err := r.Append(ctx, "web", key, []byte(body), n)
						if errors.Is(err, ErrBehind) {
							time.Sleep(time.Millisecond)
							continue
						}
						if err != nil && !errors.Is(err, ErrKeyReused) || err == nil && a.Count != int64(n) {
							t.Errorf("push: %+v, %v", a, err)
						}
						break
					}
				}
			})
		}
		pushing.Wait()
		cancel()
		reading.Wait()
		r.shut()
	}
	if segments(t, opts.Dir)[0] == wlog.SegmentName(opts.Dir, 0) {
		t.Error("no file was deleted")
	}
}

func TestSeek(t *testing.T) {
	r := start(t, Options{Dir: t.TempDir(), Streams: map[string]int{"web": 1}, Logger: quiet()})
	for i := range 3 {
		r.push("", lines(strconv.Itoa(i), 10))
	}
	b := r.all(0, 13)
	if len(b) != 2 || b[0].From != 10 || b[0].Skip != 3 || b[1].Skip != 0 {
		t.Fatalf("from 13: %+v", b)
	}
	if got := string(b[0].Lines()); !strings.HasPrefix(got, `{"tag":"1","n":3}`) || strings.Count(got, "\n") != 7 {
		t.Errorf("lines from 13: %q", got)
	}
	if b := r.all(0, 20); len(b) != 1 || b[0].Skip != 0 || b[0].From != 20 {
		t.Fatalf("from 20: %+v", b)
	}
}

func TestIdle(t *testing.T) {
	now := time.Unix(1000, 0)
	hold := make(chan struct{})
	synced := make(chan struct{}, 10)
	var armed atomic.Bool
	r := start(t, Options{Dir: t.TempDir(), Streams: map[string]int{"web": 1}, Logger: quiet(), Now: func() time.Time { return now }}, func(j *Journal) {
		j.sync = func(f *os.File) error {
			if armed.Load() {
				synced <- struct{}{}
				<-hold
			}
			return f.Sync()
		}
	})
	r.push("", lines("a", 5))
	rd, err := r.Reader("web", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if _, ok := rd.Idle(4); ok {
		t.Error("idle, with an event at 4")
	}
	if since, ok := rd.Idle(5); !ok || !since.Equal(now) {
		t.Errorf("caught up: %v %v", since, ok)
	}

	armed.Store(true)
	done := make(chan struct{})
	go func() { defer close(done); r.push("", lines("b", 5)) }()
	<-synced
	now = time.Unix(2000, 0)
	if since, ok := rd.Idle(5); !ok || !since.Equal(time.Unix(1000, 0)) {
		t.Errorf("with a push of t=1000 under way: %v %v", since, ok)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := rd.SeekTo(5); err != nil {
		t.Fatal(err)
	}
	if b, err := rd.Next(ctx); err == nil {
		t.Errorf("handed out before it was on disk: %+v", b)
	}
	close(hold)
	<-done
	if _, ok := rd.Idle(5); ok {
		t.Error("idle, with an event at 5")
	}
	if b, err := rd.Next(context.Background()); err != nil || b.From != 5 {
		t.Errorf("next: %+v %v", b, err)
	}
}

func TestAdvance(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(Options{Dir: dir, Streams: map[string]int{"web": 1}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(context.Background(), "web", "", []byte("x\n"), 1); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the chain's end is known: %v", err)
	}
	if _, err := j.Append(context.Background(), "wbe", "", []byte("x\n"), 1); !errors.Is(err, ErrInvalid) {
		t.Errorf("unknown stream: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	r := start(t, Options{Dir: dir, Streams: map[string]int{"web": 1}, Logger: quiet()})
	if ack := r.push("", "a\n"); ack.First != 0 {
		t.Errorf("first offset %d", ack.First)
	}
	if err := r.Advance("web", 0, 70); err != nil {
		t.Fatal(err)
	}
	if ack := r.push("", "b\n"); ack.First != 70 {
		t.Errorf("chain's end 70, first offset %d", ack.First)
	}
	if err := r.Advance("web", 0, 3); err != nil {
		t.Fatal(err)
	}
	if ack := r.push("", "c\n"); ack.First != 71 {
		t.Errorf("log's end 71, first offset %d", ack.First)
	}
	b := r.all(0, 1)
	if len(b) != 2 || b[0].From != 70 || b[0].Skip != 0 {
		t.Errorf("across the jump: %+v", b)
	}
	// A partition only the chain knows of can claim to be idle.
	if err := r.Advance("web", 5, 40); err != nil {
		t.Fatal(err)
	}
	rd, err := r.Reader("web", 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := rd.Idle(40); !ok {
		t.Error("a partition without a log is not idle")
	}
	if err := rd.Close(); err != nil {
		t.Error(err)
	}
}

func TestFewerPartitions(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.Streams = map[string]int{"web": 4}
	r := start(t, opts)
	for i := range 40 {
		r.push("", lines(strconv.Itoa(i), 1))
	}
	want := r.contents()
	r.shut()

	opts.Streams = map[string]int{"web": 2}
	r = start(t, opts)
	if got := fmt.Sprint(r.Partitions("web")); got != "[0 1 2 3]" {
		t.Errorf("partitions %s", got)
	}
	equal(t, r.contents(), want)
	for i := range 10 {
		if ack := r.push("", lines(strconv.Itoa(i), 1)); ack.Partition > 1 {
			t.Errorf("a new batch in partition %d", ack.Partition)
		}
	}
	r.Committed("web", 2, 10)
	r.Committed("web", 3, 9)
	if got := fmt.Sprint(r.Partitions("web")); got != "[0 1 3]" {
		t.Errorf("partition 2 drained, 3 not: %s", got)
	}
	r.shut()

	opts.Streams = map[string]int{"log": 1} // web is gone from the configuration
	r = start(t, opts)
	if got := fmt.Sprint(r.Streams(), r.Partitions("web")); got != "[log web] [0 1 2 3]" {
		t.Errorf("streams and partitions %s", got)
	}
}

func TestTruncate(t *testing.T) {
	opts := defaults(t.TempDir())
	r := start(t, opts)
	rng := seed(t)
	for range 100 {
		r.push("", noise(rng, 8000)) // 8 a file
	}
	before := len(segments(t, opts.Dir))
	end := [2]int64{r.End("web", 0), r.End("web", 1)}
	r.Committed("web", 0, end[0])
	r.push("", "x\n")
	r.push("", "x\n") // its turn of the owner begins after the deletion
	if n := len(segments(t, opts.Dir)); n != before {
		t.Errorf("%d files of %d left, and partition 1 needs all", n, before)
	}
	r.Committed("web", 1, end[1]/2)
	r.push("", "x\n")
	r.push("", "x\n")
	if n := len(segments(t, opts.Dir)); n > before/2+2 || n < before/2-1 {
		t.Errorf("%d files of %d left, with half committed", n, before)
	}
	if b := r.all(1, end[1]/2); b[0].From != end[1]/2 || b[len(b)-1].To != r.End("web", 1) {
		t.Errorf("from %d: %d batches from %d", end[1]/2, len(b), b[0].From)
	}
	st := r.Stats()
	if st.Files != len(segments(t, opts.Dir)) || st.Deleted == 0 || st.Rotations == 0 || st.Fsyncs == 0 || st.Streams["web"].Events != 104 {
		t.Errorf("stats %+v", st)
	}
	r.shut()
	r = start(t, opts)
	if b := r.all(1, end[1]/2); b[0].From != end[1]/2 {
		t.Errorf("after a restart from %d: %d", end[1]/2, b[0].From)
	}
}

func TestBehind(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.MaxBehind = 1000
	r := start(t, opts)
	body := lines("x", 20) // some 360 bytes
	var behind *BehindError
	n := 0
	for ; n < 20; n++ {
		_, err := r.Append(context.Background(), "web", "", []byte(body), 20)
		if errors.As(err, &behind) {
			if !errors.Is(err, ErrBehind) {
				t.Error("not an ErrBehind")
			}
			break
		}
	}
	if n != 4 || behind == nil || behind.RetryAfter < time.Second || behind.RetryAfter > 30*time.Second {
		t.Fatalf("after %d batches: %v", n, behind)
	}
	if st := r.Stats().Streams["web"]; st.Behind != 1 || st.Partitions[0].BehindBytes+st.Partitions[1].BehindBytes != int64(4*len(body)) {
		t.Errorf("stats %+v", st)
	}
	if len(r.all(1, 0)) != 2 {
		t.Fatal("partition 1 does not hold two batches")
	}
	if ack := r.push("", body); ack.Partition != 1 {
		t.Errorf("partition %d takes a batch, and 1 was read", ack.Partition)
	}
	r.shut()
	r = start(t, opts) // what was not read is unread after a restart
	if st := r.Stats().Streams["web"]; st.Partitions[0].BehindBytes != int64(2*len(body)) || st.Partitions[1].BehindBytes != int64(3*len(body)) {
		t.Errorf("after a restart: %+v", st.Partitions)
	}
}

func TestLock(t *testing.T) {
	opts := defaults(t.TempDir())
	start(t, opts)
	_, err := Open(opts)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d on ", os.Getpid())) {
		t.Errorf("a second Open: %v", err)
	}
}

func TestInvalid(t *testing.T) {
	r := start(t, defaults(t.TempDir()))
	for _, c := range []struct {
		key, body string
		events    int
	}{{"", "", 1}, {"", "x\n", 0}, {strings.Repeat("k", MaxKey+1), "x\n", 1}, {"", strings.Repeat("x", MaxBody+1), 1}} {
		if _, err := r.Append(context.Background(), "web", c.key, []byte(c.body), c.events); !errors.Is(err, ErrInvalid) {
			t.Errorf("key of %d, body of %d bytes, %d events: %v", len(c.key), len(c.body), c.events, err)
		}
	}
}

func TestBatchLargerThanAFile(t *testing.T) {
	opts := defaults(t.TempDir())
	opts.Streams = map[string]int{"web": 1}
	r := start(t, opts)
	rng := seed(t)
	for i := range 3 {
		r.push(strings.Repeat("k", MaxKey), "small\n")
		r.push("", strconv.Itoa(i)+noise(rng, 1<<20))
	}
	want := r.contents()
	if n := len(segments(t, opts.Dir)); n != 4 {
		t.Errorf("%d files, want one for each large batch and one for the small one", n)
	}
	r.shut()
	r = start(t, opts)
	equal(t, r.contents(), want)
}
