package chaos

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/weir-stream/weir/store/storetest/s3test"
)

// flaky is an object store that fails when it is told to.
type flaky struct {
	server http.Handler
	proxy  s3test.Proxy
	ghosts sync.WaitGroup // requests whose connection was cut, and which are yet to be done
	late   time.Duration  // at most, is what is done slowly or later

	mu    sync.Mutex
	rng   *rand.Rand // guarded by mu
	way   trouble    // guarded by mu
	until time.Time  // guarded by mu; the store fails until then
}

func newFlaky(server http.Handler, seed uint64) *flaky {
	f := &flaky{server: server, late: 2 * time.Second, rng: rand.New(rand.NewPCG(seed, 2))}
	f.proxy = s3test.Proxy{Server: server, OnRequest: f.decide, Delay: 0}
	return f
}

// fail makes the store fail in a way for a while, and in no other.
func (f *flaky) fail(way trouble, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.way, f.until = way, time.Now().Add(d)
}

// lastFailed is when the store last failed, or now if it does.
func (f *flaky) lastFailed() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); f.until.After(now) {
		return now
	}
	return f.until
}

// now draws what becomes of a request: how it fails, if it does.
func (f *flaky) now() (way trouble, fails bool, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Now().After(f.until) {
		return 0, false, 0
	}
	if way = f.way; way == mixed {
		way = trouble(f.rng.IntN(int(mixed)))
	}
	return way, way == outage || way == slow || f.rng.IntN(3) > 0, time.Duration(f.rng.Int64N(int64(f.late)))
}

type decision struct{}

// ServeHTTP implements http.Handler.
func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	way, fails, wait := f.now()
	fault := s3test.Pass
	switch {
	case !fails:
	case way == failing && wait%2 == 0:
		fault = s3test.Internal
	case way == failing, way == outage:
		fault = s3test.SlowDown
	case way == slow:
		pause(r.Context(), wait)
	case way == cutBefore:
		fault = s3test.CutBefore
	case way == cutMiddle:
		fault = s3test.CutBody
	case way == cutAfter:
		fault = s3test.CutAfter
	case way == ghost:
		f.doLater(r, wait)
	}
	f.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), decision{}, fault)))
}

func (f *flaky) decide(r *http.Request) s3test.Fault {
	return r.Context().Value(decision{}).(s3test.Fault)
}

// doLater cuts the connection, and does what was asked for after a while, as a
// gateway may that had the request in a queue.
func (f *flaky) doLater(r *http.Request, wait time.Duration) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		later := r.Clone(context.WithoutCancel(r.Context()))
		later.Body = io.NopCloser(bytes.NewReader(body))
		f.ghosts.Go(func() {
			time.Sleep(wait)
			f.server.ServeHTTP(httptest.NewRecorder(), later)
		})
	}
	panic(http.ErrAbortHandler)
}
