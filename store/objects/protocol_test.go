package objects

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/blockcache"
	"github.com/weir-stream/weir/store/storetest"
	"github.com/weir-stream/weir/store/storetest/s3test"
)

// TestChainsThroughFaults lets writers that all believe to own one partition
// append to its chain, through requests that fail in every way a network and an
// overloaded server can make them fail, and now and then begin anew. All along,
// and at the end, every event is counted exactly once.
//
// Which faults there are depends on the seed, which is printed; WEIR_SEED=…
// repeats them. What they meet depends on the scheduler too.
func TestChainsThroughFaults(t *testing.T) {
	for name, server := range s3test.Servers(t) {
		t.Run(name, func(t *testing.T) { testChainsThroughFaults(t, server) })
	}
}

func testChainsThroughFaults(t *testing.T, server http.Handler) {
	seed := rand.Uint64()
	if text := os.Getenv("WEIR_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("WEIR_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var (
		mu       sync.Mutex
		faults   [s3test.FaultsCount]int
		requests int
	)
	proxy := &s3test.Proxy{Server: server, Delay: 30 * time.Millisecond, OnRequest: func(r *http.Request) s3test.Fault {
		mu.Lock()
		defer mu.Unlock()
		requests++
		fault := s3test.Pass
		switch {
		case rng.IntN(300) == 0:
			fault = s3test.Stalled
		case r.Method == http.MethodPut && rng.IntN(3) == 0:
			fault = []s3test.Fault{s3test.SlowDown, s3test.Conflict, s3test.CutBefore, s3test.CutAfter, s3test.CutAfter}[rng.IntN(5)]
		case rng.IntN(10) == 0:
			fault = s3test.Fault(rng.IntN(int(s3test.Stalled)))
		}
		faults[fault]++
		return fault
	}}
	endpoint, prefix := s3test.Serve(t, proxy), s3test.Prefix()
	total := int64(1000)
	if testing.Short() {
		total = 300
	}

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	// Fewer attempts, so that failures reach the writers and the catalogs.
	hasty := quick
	hasty.attempts--
	through := func() *Bucket {
		b := open(t, endpoint, prefix)
		b.policy = hasty
		return b
	}

	var tally struct{ kept, lost, restarts, failed int }
	var writers sync.WaitGroup
	for i := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)+1))
		bucket := through()
		writers.Go(func() {
			var w *store.Writer
			for ctx.Err() == nil {
				if w == nil || rng.IntN(30) == 0 {
					w = store.NewWriter(store.NewCatalog(bucket, offsets, quiet), "p", fmt.Sprint("writer ", i))
					if _, err := w.Takeover(ctx); err != nil {
						w = nil // a takeover that fails is tried again
						continue
					}
					mu.Lock()
					tally.restarts++
					mu.Unlock()
				}
				at := w.Position()
				if at.Next >= total {
					return
				}
				_, kept, err := w.Append(ctx, draft(at, min(at.Next+1+rng.Int64N(15), total)))
				mu.Lock()
				switch {
				case errors.Is(err, store.ErrUnsettled):
					tally.failed++
				case err != nil:
					tally.failed++
					w = nil
				case kept:
					tally.kept++
				default:
					tally.lost++
				}
				mu.Unlock()
			}
		})
	}

	// A reader, by way of a cache that is too small.
	done := make(chan struct{})
	var reader sync.WaitGroup
	cached, err := blockcache.New(through(), blockcache.Options{Memory: 200_000})
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	reader.Go(func() {
		catalog := store.NewCatalog(cached, offsets, quiet)
		shown := int64(0)
		for {
			if end, err := countedTo(ctx, catalog); err == nil {
				reads++
				if end < shown {
					t.Errorf("the count fell from %d to %d", shown, end)
				}
				shown = end
			} else if errors.Is(err, errMiscounted) {
				t.Error(err)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(done)
	reader.Wait()
	if ctx.Err() != nil {
		t.Fatal("the writers did not finish in time")
	}

	direct := open(t, s3test.Serve(t, server), prefix)
	catalog := store.NewCatalog(direct, offsets, quiet)
	end, err := countedTo(ctx, catalog)
	if err != nil || end != total {
		t.Fatalf("%d of %d events are counted: %v", end, total, err)
	}
	stored := 0
	for _, err := range direct.List(ctx, "s/segment/p/", "") {
		if err != nil {
			t.Fatal(err)
		}
		stored++
	}
	if chain := catalog.Snapshot().Chain("p"); len(chain.Segments) != stored || len(chain.Gaps) > 0 {
		t.Errorf("%d segments are stored, %d on the chain, with %d gaps", stored, len(chain.Segments), len(chain.Gaps))
	}
	t.Logf("%d requests, %d segments; %+v; %d reads", requests, stored, tally, reads)
	for fault, n := range faults {
		t.Logf("%8v %d", s3test.Fault(fault), n)
		if n == 0 {
			t.Errorf("no request met %v: this tests too little", s3test.Fault(fault))
		}
	}
	if tally.lost == 0 || tally.kept == 0 || reads == 0 {
		t.Errorf("%+v, %d reads: this tests too little", tally, reads)
	}
}

var (
	quiet   = slog.New(slog.DiscardHandler)
	offsets = &weir.Stream{Name: "s", Window: 1, Dimensions: []weir.Dimension{{Name: "log", Field: "log"}}}

	errMiscounted = errors.New("miscounted")
)

// draft has one cell for each offset from the position on.
func draft(at store.Position, to int64) store.Draft {
	c := &weir.Cells{Width: 1, Series: [][]string{{"log"}}, Starts: []int{0, int(to - at.Next)}}
	for o := at.Next; o < to; o++ {
		c.Window, c.Count = append(c.Window, o), append(c.Count, 1)
	}
	return store.Draft{
		Meta: store.SegmentMeta{
			From: at.Next, To: to, Log: "log", Watermark: max(at.Watermark, to),
			MinTime: at.Next, MaxTime: to - 1, Events: to - at.Next,
		},
		Cells: storetest.One(c),
	}
}

// countedTo reads all cells of the chain, which must be those of the offsets
// from 0 on, and returns where they end.
func countedTo(ctx context.Context, catalog *store.Catalog) (int64, error) {
	snapshot, err := catalog.Refresh(ctx)
	if err != nil {
		return 0, err
	}
	chain := snapshot.Chain("p")
	if chain == nil {
		return 0, nil
	}
	next := int64(0)
	for _, ref := range chain.Segments {
		cells, err := catalog.Cells(ctx, ref, weir.Selection{From: math.MinInt64, To: math.MaxInt64})
		if err != nil {
			return 0, err
		}
		for row, o := range cells.Window {
			if o != next || cells.Count[row] != 1 {
				return 0, fmt.Errorf("%w: offset %d with a count of %d, where %d follows", errMiscounted, o, cells.Count[row], next)
			}
			next++
		}
	}
	if next != chain.End {
		return 0, fmt.Errorf("%w: the chain ends at %d, its cells at %d", errMiscounted, chain.End, next)
	}
	return next, nil
}
