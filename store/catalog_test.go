package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// chainOf puts a chain of segments of ten events each and returns a fresh node.
func chainOf(t testing.TB, bucket *storetest.Memory, partition string, segments int) *node {
	t.Helper()
	owner := newNode(bucket, partition, "owner")
	owner.takeover(t)
	for i := range segments {
		owner.append(t, "log", int64(10*(i+1)))
	}
	return newNode(bucket, partition, "reader")
}

func TestRefreshIsIncremental(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 50)
	chainOf(t, bucket, "a/b c", 1)
	var reads atomic.Int64
	reader.OnRead = func(string) error { reads.Add(1); return nil }
	refresh := func() *store.Snapshot {
		t.Helper()
		reads.Store(0)
		s, err := reader.catalog.Refresh(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := refresh(); len(s.Chains) != 2 || s.Chain("0").End != 500 || s.Chain("a/b c").End != 10 {
		t.Fatalf("%+v", s.Chains)
	}
	if reads.Load() < 50 {
		t.Errorf("50 segments in %d reads", reads.Load())
	}
	// Manifests twice, partitions once, and the end of each chain.
	if refresh(); reads.Load() != 5 {
		t.Errorf("a refresh that finds nothing new took %d reads", reads.Load())
	}
	chainOf(t, bucket, "new", 1)
	owner := newNode(bucket, "0", "owner")
	owner.takeover(t)
	owner.append(t, "log", 510)
	owner.append(t, "log", 520)
	s := refresh()
	if s.Chain("new") == nil || s.Chain("0").End != 520 {
		t.Errorf("%+v", s.Chains)
	}
	if reads.Load() > 12 {
		t.Errorf("two segments and a partition more took %d reads", reads.Load())
	}
}

func TestRefreshesAreShared(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 3)
	const callers = 50
	var lists, waiting atomic.Int64
	release := make(chan struct{})
	reader.OnRead = func(name string) error {
		if name == "s/manifest/" && lists.Add(1) == 1 {
			<-release
		}
		return nil
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			waiting.Add(1)
			if s, err := reader.catalog.Refresh(context.Background()); err != nil || s.Chain("0").End != 30 {
				t.Error(err)
			}
		})
	}
	for waiting.Load() < callers || lists.Load() == 0 {
	}
	close(release)
	wg.Wait()
	// One that was under way, one for all who waited; those that came too late
	// to wait take one more each, and here none should.
	if n := lists.Load(); n > 2*4 {
		t.Errorf("%d callers listed the manifests %d times", callers, n)
	}
}

func TestRefreshWaitsNoLongerThanItsContext(t *testing.T) {
	reader := chainOf(t, new(storetest.Memory), "0", 1)
	release, blocked := make(chan struct{}), make(chan struct{})
	reader.OnRead = func(string) error { reader.OnRead = nil; close(blocked); <-release; return nil }
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = reader.catalog.Refresh(context.Background()) })
	<-blocked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := reader.catalog.Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	wg.Wait()
}

// Compaction overtakes a refresh after it has listed the manifests.
func TestCompactionUnderARefresh(t *testing.T) {
	for _, when := range []string{"s/segment/", store.SegmentName("s", "0", 0), store.SegmentName("s", "0", 20), store.SegmentName("s", "0", 50)} {
		bucket := new(storetest.Memory)
		reader := chainOf(t, bucket, "0", 5)
		owner := newNode(bucket, "0", "owner")
		at := owner.takeover(t)
		reader.OnRead = func(name string) error {
			if name == when {
				reader.OnRead = nil
				compact(t, bucket, 1, map[string]store.Position{"0": at})
				owner.append(t, "log", 60)
			}
			return nil
		}
		snapshot, events, err := counted(context.Background(), reader.catalog)
		if err != nil {
			t.Fatalf("at %s: %v", when, err)
		}
		if snapshot.Manifest.N != 1 || snapshot.Chain("0").Frontier != 50 || len(events) != 10 || len(snapshot.Gaps()) != 0 {
			t.Errorf("at %s: manifest %v, %d events, gaps %v", when, snapshot.Manifest, len(events), snapshot.Gaps())
		}
	}
}

// Partitions that only the manifest knows still have a chain.
func TestPartitionsOfTheManifest(t *testing.T) {
	bucket := new(storetest.Memory)
	owner := newNode(bucket, "gone", "owner")
	owner.takeover(t)
	at, _ := owner.append(t, "log", 10)
	compact(t, bucket, 1, map[string]store.Position{"gone": at})
	s, err := newNode(bucket, "0", "a").catalog.Refresh(context.Background())
	if err != nil || s.Chain("gone") == nil || s.Chain("gone").End != 10 || s.Chain("gone").Watermark != 10 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestFrontiersInsideAChain(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 5)
	reader.mustCount(t, "log", 50)
	compact(t, bucket, 1, map[string]store.Position{"0": {Next: 30, Log: "log", Watermark: 30, Tail: []byte("log 30")}})
	for _, n := range []*node{reader, newNode(bucket, "0", "new")} {
		s, events, err := counted(context.Background(), n.catalog)
		if err != nil || len(events) != 20 || s.Chain("0").Frontier != 30 || s.Chain("0").Segments[0].Meta.From != 30 {
			t.Errorf("%d events, %+v, %v", len(events), s, err)
		}
	}
	// No writer ever put a position there.
	compact(t, bucket, 2, map[string]store.Position{"0": {Next: 35, Log: "log", Watermark: 35, Tail: []byte("log 35")}})
	if _, err := reader.catalog.Refresh(context.Background()); err == nil || !strings.Contains(err.Error(), "inside") {
		t.Errorf("a frontier inside a segment: %v", err)
	}
}

func TestTheStoreMustNotGoBack(t *testing.T) {
	t.Run("a manifest", func(t *testing.T) {
		bucket := new(storetest.Memory)
		reader := chainOf(t, bucket, "0", 5)
		compact(t, bucket, 1, map[string]store.Position{"0": {Next: 30, Log: "log", Watermark: 30, Tail: []byte("log 30")}})
		before, _, err := counted(context.Background(), reader.catalog)
		if err != nil {
			t.Fatal(err)
		}
		compact(t, bucket, 2, map[string]store.Position{"0": {Next: 20, Log: "log", Watermark: 20, Tail: []byte("log 20")}})
		if _, err := reader.catalog.Refresh(context.Background()); !errors.Is(err, store.ErrWentBack) {
			t.Error(err)
		}
		if reader.catalog.Snapshot() != before {
			t.Error("the snapshot changed")
		}
	})
	t.Run("a chain", func(t *testing.T) {
		bucket := new(storetest.Memory)
		reader := chainOf(t, bucket, "0", 5)
		reader.mustCount(t, "log", 50)
		compact(t, bucket, 1, map[string]store.Position{"0": {Next: 50, Log: "log", Watermark: 49, Tail: []byte("log 50")}})
		if _, err := reader.catalog.Refresh(context.Background()); err == nil {
			t.Error("the watermark fell and nobody noticed")
		}
	})
}

func TestUnreadableManifest(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 5)
	bucket.Overwrite(fmt.Sprintf("s/manifest/%019d", 1), []byte("{"))
	if _, err := reader.catalog.Refresh(context.Background()); err == nil || !strings.Contains(err.Error(), "manifest/0000000000000000001") {
		t.Error(err)
	}
}

// What is damaged is left out and shown, and the rest still counts.
func TestQuarantine(t *testing.T) {
	name := store.SegmentName("s", "0", 20)
	cut := func(data []byte) []byte { return data[:len(data)/2] }
	garbage := func(data []byte) []byte { return make([]byte, len(data)) }
	bitOfData := func(data []byte) []byte {
		// Behind the head, in front of the checksums: the first page.
		at := strings.Index(string(data), "WEIRsums") / 2
		data[at] ^= 4
		return data
	}
	for _, c := range []struct {
		name  string
		spoil func([]byte) []byte
		since int64 // of the gap; 20 to 29 are the times of the segment's events
		until int64 // -1 is when it was noticed
	}{
		{"its end is gone, its head says how far it goes", cut, 20, 29},
		{"nothing is left of it, the next name says how far it went", garbage, 20, -1},
		{"a bit of its data, found on reading", bitOfData, 20, 29},
	} {
		t.Run(c.name, func(t *testing.T) {
			bucket := new(storetest.Memory)
			reader := chainOf(t, bucket, "0", 5)
			data, err := bucket.Read(context.Background(), name)
			if err != nil {
				t.Fatal(err)
			}
			bucket.Overwrite(name, c.spoil(data))
			snapshot, events, err := counted(context.Background(), reader.catalog)
			if err != nil {
				t.Fatal(err)
			}
			chain := snapshot.Chain("0")
			if len(events) != 40 || chain.End != 50 || chain.Broken != nil {
				t.Fatalf("%d events, %+v", len(events), chain)
			}
			if len(snapshot.Quarantined) != 1 || snapshot.Quarantined[0].Name != name || snapshot.Quarantined[0].To != 30 ||
				!strings.Contains(snapshot.Quarantined[0].Reason, "damaged") {
				t.Errorf("quarantined: %+v", snapshot.Quarantined)
			}
			if len(chain.Gaps) != 1 || chain.Gaps[0].From != 20 || chain.Gaps[0].To != 30 || chain.Gaps[0].Reason != store.GapDamaged ||
				chain.Gaps[0].Since != c.since || c.until >= 0 && chain.Gaps[0].Until != c.until || chain.Gaps[0].Detail == "" {
				t.Errorf("gaps: %+v", chain.Gaps)
			}
			// It stays so, and the chain goes on.
			owner := newNode(bucket, "0", "owner")
			owner.takeover(t)
			owner.append(t, "log", 60)
			snapshot, events, err = counted(context.Background(), reader.catalog)
			if err != nil || len(events) != 50 || len(snapshot.Quarantined) != 1 || len(snapshot.Chain("0").Gaps) != 1 {
				t.Errorf("%d events, %+v, %v", len(events), snapshot, err)
			}
			// Until compaction has gone past it.
			compact(t, bucket, 1, map[string]store.Position{"0": owner.writer.Position()})
			snapshot, events, err = counted(context.Background(), reader.catalog)
			if err != nil || len(events) != 0 || len(snapshot.Quarantined) != 0 || len(snapshot.Gaps()) != 0 {
				t.Errorf("%d events, %+v, %v", len(events), snapshot, err)
			}
		})
	}
}

// The last segment is damaged beyond saying how far it goes: nobody can go on,
// and nobody goes on silently.
func TestBrokenEnd(t *testing.T) {
	bucket := new(storetest.Memory)
	chainOf(t, bucket, "0", 3)
	var logged bytes.Buffer
	reader := newNode(bucket, "0", "reader")
	reader.catalog = store.NewCatalog(reader.Faults, offsetsStream(), slog.New(slog.NewTextHandler(&logged, nil)))
	last := store.SegmentName("s", "0", 20)
	whole, err := bucket.Read(context.Background(), last)
	if err != nil {
		t.Fatal(err)
	}
	bucket.Overwrite(last, []byte("nothing"))
	for range 2 { // a second refresh finds no more and no less
		snapshot, events, err := counted(context.Background(), reader.catalog)
		if err != nil {
			t.Fatal(err)
		}
		chain := snapshot.Chain("0")
		if len(events) != 20 || chain.End != 20 || chain.Broken == nil || len(chain.Gaps) != 1 || len(snapshot.Quarantined) != 1 {
			t.Fatalf("%d events, %+v", len(events), snapshot)
		}
		if g := chain.Gaps[0]; g.From != 20 || g.To != math.MaxInt64 || !g.Meets(25, 26) {
			t.Errorf("%+v", g)
		}
	}
	if n := strings.Count(logged.String(), "left out of answers"); n != 1 {
		t.Errorf("it was logged %d times:\n%s", n, &logged)
	}
	owner := newNode(bucket, "0", "owner")
	if _, err := owner.writer.Takeover(context.Background()); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), last) {
		t.Fatalf("takeover: %v", err)
	}
	t.Run("restored", func(t *testing.T) {
		bucket.Overwrite(last, whole)
		if s := reader.mustCount(t, "log", 30); len(s.Gaps()) != 0 || len(s.Quarantined) != 0 {
			t.Errorf("%+v", s)
		}
		bucket.Overwrite(last, []byte("nothing"))
	})
	t.Run("moved away", func(t *testing.T) {
		if err := bucket.Delete(context.Background(), last); err != nil {
			t.Fatal(err)
		}
		owner.takeover(t)
		owner.append(t, "log", 40)
		newNode(bucket, "0", "new").mustCount(t, "log", 40)
	})
}

// The head of a gap segment is all there is to it.
func TestDamagedGap(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 1)
	owner := newNode(bucket, "0", "owner")
	at := owner.takeover(t)
	if _, _, err := owner.writer.Append(context.Background(), gapTo(at, "log", 0, 15, store.GapRetention)); err != nil {
		t.Fatal(err)
	}
	owner.append(t, "log", 20)
	name := store.SegmentName("s", "0", 10)
	data, err := bucket.Read(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	bucket.Overwrite(name, data[:len(data)-1])
	snapshot, events, err := counted(context.Background(), reader.catalog)
	if err != nil {
		t.Fatal(err)
	}
	want := store.Gap{Partition: "0", From: 10, To: 15, Reason: store.GapRetention, Since: 10, Until: 1000}
	if gaps := snapshot.Gaps(); len(events) != 15 || len(gaps) != 1 || gaps[0] != want || len(snapshot.Quarantined) != 1 {
		t.Errorf("%d events, gaps %+v, quarantined %+v", len(events), gaps, snapshot.Quarantined)
	}
}

// A segment is gone though no manifest says so.
func TestMissingSegment(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 5)
	if err := bucket.Delete(context.Background(), store.SegmentName("s", "0", 20)); err != nil {
		t.Fatal(err)
	}
	snapshot, events, err := counted(context.Background(), reader.catalog)
	if err != nil {
		t.Fatal(err)
	}
	chain := snapshot.Chain("0")
	if len(events) != 40 || chain.End != 50 || len(chain.Gaps) != 1 || chain.Gaps[0].Reason != store.GapMissing ||
		chain.Gaps[0].From != 20 || chain.Gaps[0].To != 30 {
		t.Errorf("%d events, %+v", len(events), chain)
	}
}

func TestCacheOfOpenedSegments(t *testing.T) {
	bucket := new(storetest.Memory)
	reader := chainOf(t, bucket, "0", 20)
	snapshot := reader.mustCount(t, "log", 200)
	before := reader.catalog.CacheStats()
	opens := 0
	reader.OnRead = func(string) error { opens++; return nil }
	if _, err := eventsOf(context.Background(), reader.catalog, snapshot); err != nil {
		t.Fatal(err)
	}
	after := reader.catalog.CacheStats()
	if after.Hits-before.Hits != 20 || after.Misses != before.Misses || after.Segments != 20 || after.Bytes == 0 || opens != 20 {
		t.Errorf("before %+v, after %+v, %d opens", before, after, opens)
	}
}

// Questions and appends at once, under the race detector.
func TestReadersBesideAWriter(t *testing.T) {
	bucket := new(storetest.Memory)
	n := newNode(bucket, "0", "a")
	n.takeover(t)
	n.append(t, "log", 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				snapshot, events, err := counted(ctx, n.catalog)
				if ctx.Err() == nil && (err != nil || int64(len(events)) != snapshot.Chain("0").End) {
					t.Errorf("%d events up to %+v, %v", len(events), snapshot, err)
				}
			}
		})
	}
	for i := range int64(100) {
		n.append(t, "log", 2+i)
	}
	cancel()
	wg.Wait()
}
