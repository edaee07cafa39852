package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

// running is a server inside the test.
type running struct {
	*remote
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

func startServer(t *testing.T, c *weir.Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, stop: cancel, done: make(chan error, 1)}
	address := make(chan net.Addr, 1)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	go func() { r.done <- serve(ctx, c, log, func(a net.Addr) { address <- a }) }()
	select {
	case err := <-r.done:
		t.Fatalf("the server did not start: %v", err)
	case a := <-address:
		var err error
		if r.remote, err = newRemote(a.String()); err != nil {
			t.Fatal(err)
		}
	}
	r.http.Transport = &http.Transport{}
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/-/ready", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.do(request, maxProblem)
		if err == nil {
			return r
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("the server is not ready: %v", err)
		}
	}
}

// end stops the server as a signal would, and waits for it.
func (r *running) end() {
	r.t.Helper()
	r.http.CloseIdleConnections()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("the server ended with %v", err)
	}
}

// What is pushed is answered at once, and after a restart; and a batch that is
// pushed again under its key counts once.
func TestServe(t *testing.T) {
	defer goleak.VerifyNone(t)
	config := filepath.Join(t.TempDir(), "weir.yaml")
	c, err := weir.Parse(config, []byte(`
listen: 127.0.0.1:0
admin: 127.0.0.1:0
streams:
  web:
    source: {push: {partitions: 2}}
    dimensions: [service]
    measures: {ms: {quantile: ms}}
`))
	if err != nil {
		t.Fatal(err)
	}
	batch := func(n int) []byte {
		var b bytes.Buffer
		for i := range 10 {
			fmt.Fprintf(&b, `{"time":"2026-03-01T12:00:%02dZ","service":"s%d","ms":%d}`+"\n", i, i%3, n)
		}
		return b.Bytes()
	}
	count := func(r *running) float64 {
		t.Helper()
		a, err := r.query(t.Context(), query.Text{Stream: "web", Select: "count"})
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Series) == 0 {
			return 0
		}
		return a.Series[0].Columns[0].Value[0]
	}

	total := 0
	for life := range 3 {
		r := startServer(t, c)
		if got := count(r); got != float64(total) {
			t.Errorf("life %d begins with %v events, want %d", life, got, total)
		}
		for i := range 5 {
			key := fmt.Sprintf("%d-%d", life, i)
			for range 2 {
				if err := r.push(t.Context(), "web", key, batch(i)); err != nil {
					t.Fatal(err)
				}
			}
			total += 10
		}
		if life > 0 {
			if err := r.push(t.Context(), "web", "0-0", batch(0)); err != nil {
				t.Fatal(err)
			}
		}
		deadline := time.Now().Add(10 * time.Second)
		for count(r) != float64(total) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		if got := count(r); got != float64(total) {
			t.Errorf("life %d: %v events, want %d", life, got, total)
		}

		_, err := r.query(t.Context(), query.Text{Stream: "web", Select: "mz.p99"})
		var refused *serverError
		if !errors.As(err, &refused) || refused.status != http.StatusBadRequest || !strings.Contains(refused.detail, "ms") {
			t.Errorf("a misspelt measure is answered with %v", err)
		}
		r.end()
	}

	// The journal that it leaves can be looked at.
	files, err := filepath.Glob(filepath.Join(c.Journal.Path, "[0-9]*"))
	if err != nil || len(files) == 0 {
		t.Errorf("no journal in %s (%v)", c.Journal.Path, err)
	}
	for _, file := range files {
		var out bytes.Buffer
		if err := inspect(t.Context(), &out, file, 0); err != nil || !strings.Contains(out.String(), "batches") {
			t.Errorf("inspect printed %q, error %v", out.String(), err)
		}
	}

	// The store answers by itself now, through the command line.
	answer, err := askStore(t.Context(), c, query.Text{Stream: "web", Select: "count"})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Series[0].Columns[0].Value[0]; got != float64(total) {
		t.Errorf("the store has %v events, want %d", got, total)
	}
}

// A port that is taken is an error before anything is touched.
func TestServePortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	c, err := weir.Parse(filepath.Join(dir, "weir.yaml"), fmt.Appendf(nil, "listen: %s\nstreams: {web: {}}\n", taken.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	err = serve(t.Context(), c, slog.New(slog.DiscardHandler), func(net.Addr) { t.Error("it started") })
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("serve returned %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}
