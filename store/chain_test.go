package store_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// offsetsStream is a stream whose cells tell which offsets they count: an event
// has its log as dimension and its offset there as time.
func offsetsStream() *weir.Stream {
	return &weir.Stream{Name: "s", Window: 1, Dimensions: []weir.Dimension{{Name: "log", Field: "log"}}}
}

// event is an event of a log.
type event struct {
	log    string
	offset int64
}

// node is a process: its view of the bucket, its catalog, and a writer of one
// partition.
type node struct {
	*storetest.Faults
	catalog *store.Catalog
	writer  *store.Writer
}

func newNode(bucket store.Bucket, partition, name string) *node {
	n := &node{Faults: &storetest.Faults{Bucket: bucket}}
	n.catalog = store.NewCatalog(n.Faults, offsetsStream(), slog.New(slog.DiscardHandler))
	n.writer = store.NewWriter(n.catalog, partition, name).Hasty()
	return n
}

// draftOf is a draft of the offsets [from, to) of a chain.
func draftOf(at store.Position, log string, to int64) store.Draft {
	return store.Draft{
		Meta: store.SegmentMeta{
			From: at.Next, To: to, Log: log, Shift: at.Shift, Watermark: max(at.Watermark, to),
			MinTime: at.Next - at.Shift, MaxTime: to - at.Shift - 1, Events: to - at.Next,
			Tail: fmt.Appendf(nil, "%s %d", log, to-at.Shift),
		},
		Cells: offsetCells(log, at.Next-at.Shift, to-at.Shift),
	}
}

func offsetCells(log string, from, to int64) iter.Seq[*weir.Cells] {
	c := &weir.Cells{Width: 1, Series: [][]string{{log}}, Starts: []int{0, int(to - from)}}
	for o := from; o < to; o++ {
		c.Window, c.Count = append(c.Window, o), append(c.Count, 1)
	}
	return storetest.One(c)
}

// gapTo is a draft of a gap behind which the chain goes on in a log.
func gapTo(at store.Position, log string, shift, to int64, reason store.GapReason) store.Draft {
	return store.Draft{Meta: store.SegmentMeta{
		From: at.Next, To: to, Log: log, Shift: shift, Watermark: at.Watermark,
		Gap: &store.GapMeta{Reason: reason, WatermarkBefore: at.Watermark, Noticed: time.Unix(0, 1000).UTC()},
	}}
}

func (n *node) takeover(t testing.TB) store.Position {
	t.Helper()
	at, err := n.writer.Takeover(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// append appends events up to an offset of the chain, and must succeed.
func (n *node) append(t testing.TB, log string, to int64) (store.Position, bool) {
	t.Helper()
	at, kept, err := n.writer.Append(context.Background(), draftOf(n.writer.Position(), log, to))
	if err != nil {
		t.Fatal(err)
	}
	return at, kept
}

// counted reads all events that a catalog's snapshot counts in segments, and
// refreshes where it is told to.
func counted(ctx context.Context, c *store.Catalog) (*store.Snapshot, []event, error) {
	for range 20 {
		snapshot, err := c.Refresh(ctx)
		if err != nil {
			return nil, nil, err
		}
		events, err := eventsOf(ctx, c, snapshot)
		if isStale(err) {
			continue
		}
		return snapshot, events, err
	}
	return nil, nil, fmt.Errorf("stale 20 times: %w", store.ErrStale)
}

func eventsOf(ctx context.Context, c *store.Catalog, snapshot *store.Snapshot) ([]event, error) {
	var events []event
	for i := range snapshot.Chains {
		for _, ref := range snapshot.Chains[i].Segments {
			cells, err := c.Cells(ctx, ref, weir.Selection{From: math.MinInt64, To: math.MaxInt64})
			if err != nil {
				return nil, err
			}
			if int64(cells.Rows()) != ref.Meta.Events {
				return nil, fmt.Errorf("%s has %d cells, its metadata %d events", ref.Name, cells.Rows(), ref.Meta.Events)
			}
			for s, dims := range cells.Series {
				for row := cells.Starts[s]; row < cells.Starts[s+1]; row++ {
					events = append(events, event{dims[0], cells.Window[row]})
				}
			}
		}
	}
	return events, nil
}

// mustCount checks that exactly the offsets [0, to) of one log are counted, each once.
func (n *node) mustCount(t testing.TB, log string, to int64) *store.Snapshot {
	t.Helper()
	snapshot, events, err := counted(context.Background(), n.catalog)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]event, 0, to)
	for o := range to {
		want = append(want, event{log, o})
	}
	slices.SortFunc(events, compareEvents)
	if !slices.Equal(events, want) {
		t.Fatalf("counted %v, want all of [0, %d)", events, to)
	}
	return snapshot
}

// compact puts a manifest by hand that speaks for all up to the given offsets,
// which must be positions of the chains, and deletes what it made superfluous.
func compact(t testing.TB, bucket *storetest.Memory, n int64, frontiers map[string]store.Position) {
	t.Helper()
	m := &store.Manifest{Format: 1, ID: fmt.Sprint("by hand ", n), N: n, Partitions: map[string]store.ManifestPartition{}}
	for p, at := range frontiers {
		m.Partitions[p] = store.ManifestPartition{Frontier: at.Next, Log: at.Log, Shift: at.Shift, Tail: at.Tail, Watermark: at.Watermark}
	}
	data, err := store.EncodeManifest(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Put(context.Background(), fmt.Sprintf("s/manifest/%019d", n), data); err != nil {
		t.Fatal(err)
	}
	for _, name := range bucket.Names() {
		_, p, from, err := store.ParseSegmentName(name)
		if err == nil && from < frontiers[p].Next {
			if err := bucket.Delete(context.Background(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
