package objects

import (
	"math"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/blockcache"
	"github.com/weir-stream/weir/store/storetest/s3test"
)

// A small segment is read by one request, and one that was read is read again by
// none.
func TestRequestsOfAQuestion(t *testing.T) {
	var requests atomic.Int64
	proxy := &s3test.Proxy{Server: s3test.New(t, s3test.Kept), OnRequest: func(*http.Request) s3test.Fault {
		requests.Add(1)
		return s3test.Pass
	}}
	b := open(t, s3test.Serve(t, proxy), s3test.Prefix())
	writer := store.NewWriter(store.NewCatalog(b, offsets, quiet), "p", "w")
	at, err := writer.Takeover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const segments = 5
	for range segments {
		if at, _, err = writer.Append(t.Context(), draft(at, at.Next+100)); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := blockcache.New(b, blockcache.Options{Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	catalog := store.NewCatalog(cache, offsets, quiet)
	snapshot, err := catalog.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (made int64) {
		t.Helper()
		before := requests.Load()
		for _, ref := range snapshot.Chain("p").Segments {
			cells, err := catalog.Cells(t.Context(), ref, weir.Selection{From: math.MinInt64, To: math.MaxInt64})
			if err != nil || cells.Rows() != 100 {
				t.Fatal(cells.Rows(), err)
			}
		}
		return requests.Load() - before
	}
	// The refresh has opened them, and the block of their end is all of them.
	if n := ask(); n != 0 {
		t.Errorf("%d requests for segments that came whole with opening them", n)
	}
	if n := ask(); n != 0 {
		t.Errorf("%d requests for what was read before", n)
	}
	// Without a cache there is one for each.
	catalog = store.NewCatalog(b, offsets, quiet)
	if snapshot, err = catalog.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := ask(); n != segments {
		t.Errorf("%d requests for %d segments without a cache", n, segments)
	}
}
