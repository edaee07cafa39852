package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is an ingester that remembers what it was pushed.
type journal struct {
	mu     sync.Mutex
	lines  []string
	keys   map[string]string
	offset int64

	err  error                           // of each push
	hold func(ctx context.Context) error // before a push is durable
}

func (j *journal) Push(ctx context.Context, stream, key string, ndjson []byte, events int) (weir.Ack, error) {
	if j.hold != nil {
		if err := j.hold(ctx); err != nil {
			return weir.Ack{}, err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return weir.Ack{}, j.err
	}
	text := string(ndjson)
	if strings.Count(text, "\n") != events || !strings.HasSuffix(text, "\n") || strings.Contains(text, "\n\n") {
		panic("a push of " + text + " breaks its promise")
	}
	ack := weir.Ack{Partition: "3", Offset: j.offset, Events: events}
	if before, known := j.keys[key]; known && key != "" {
		if before != text {
			return weir.Ack{}, weir.ErrKeyReused
		}
		ack.Duplicate, ack.Offset = true, 0
		return ack, nil
	}
	if j.keys == nil {
		j.keys = map[string]string{}
	}
	j.keys[key] = text
	j.offset += int64(events)
	j.lines = append(j.lines, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
	return ack, nil
}

func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines, j.keys, j.offset = nil, nil, 0
}

func (j *journal) Status(stream string) (weir.Status, error) {
	return weir.Status{
		Events: j.offset, Rejected: 2, Watermark: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC),
		Partitions: []weir.PartitionStatus{{Partition: "3", Committed: 1, Position: j.offset, Lag: -1}},
	}, nil
}

func (j *journal) Rejected(stream string) (weir.Rejects, error) {
	return weir.Rejects{
		ByReason: map[string]int64{"not_json": 1, "bad_time": 1},
		Sample:   []weir.Reject{{Reason: "not_json", Excerpt: "tru", Partition: "3", Offset: 7, Time: time.Unix(5, 0)}},
	}, nil
}

// engine answers every question by a function.
type engine func(ctx context.Context, q query.Request) (*query.Answer, error)

func (e engine) Query(ctx context.Context, q query.Request) (*query.Answer, error) { return e(ctx, q) }

func (e engine) Info(ctx context.Context, stream string) (*query.Info, error) {
	return &query.Info{
		Select: []string{"count", "delay.p99"}, Events: 9, Segments: 1,
		Watermark: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC),
		Rejected:  map[string]int64{"not_json": 1, "bad_time": 2}, Partitions: map[string]int64{"3": 9, "4": 8},
		Gaps: []store.Gap{{Partition: "4", From: 8, To: math.MaxInt64, Reason: "damaged"}},
	}, nil
}

func flights() *weir.Stream {
	return &weir.Stream{
		Name: "flights", Source: weir.Source{Kind: weir.Push, Partitions: 4},
		Time: weir.TimeField{Field: "time", Format: weir.RFC3339, Lateness: 10 * time.Second}, Window: time.Hour,
		Dimensions: []weir.Dimension{{Name: "origin", Field: "origin"}},
		Measures: []weir.Measure{
			{Name: "delay", Kind: weir.Quantile, Field: "delay", Params: weir.Params{Sketch: "tdigest", Compression: 100}},
			{Name: "destination", Kind: weir.Distinct, Field: "destination", Params: weir.Params{Precision: 14}},
		},
		Retention: []weir.Retention{{Window: time.Hour, Keep: 14 * 24 * time.Hour}},
		MaxSeries: 100,
	}
}

// bench is a server under test.
type bench struct {
	*httptest.Server
	server  *api.Server
	t       *testing.T
	journal *journal
	log     *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newBench(t *testing.T, change func(*api.Options)) *bench {
	t.Helper()
	b := &bench{t: t, journal: &journal{}, log: &syncBuffer{}}
	o := api.Options{
		Streams: []*weir.Stream{
			flights(),
			{Name: "weblog", Source: weir.Source{Kind: weir.File, Path: "web.ndjson"}, Window: time.Minute},
		},
		Ingester: b.journal,
		Engine:   engine(func(context.Context, query.Request) (*query.Answer, error) { return answer(), nil }),
		Registry: prometheus.NewRegistry(),
		Logger:   slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version:  "test",
	}
	if change != nil {
		change(&o)
	}
	server, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.server = server
	b.Server = httptest.NewServer(server.Handler())
	t.Cleanup(b.Close)
	return b
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are pairs of names and values.
func (b *bench) do(method, path string, body io.Reader, headers ...string) reply {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.Client().Do(r)
	if err != nil {
		b.t.Error(err) // it may be another goroutine than the test's
		return reply{}
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Error(err)
	}
	return reply{response.StatusCode, response.Header, string(read)}
}

func (b *bench) push(body string, headers ...string) reply {
	b.t.Helper()
	return b.do("POST", "/v1/streams/flights/events", strings.NewReader(body), headers...)
}

// problem reads a reply as a problem of that status and type.
func (b *bench) problem(r reply, status int, name string) api.Problem {
	b.t.Helper()
	var p api.Problem
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(r.body), &p) != nil {
		b.t.Fatalf("got %d %s %s, want problem %s with status %d", r.status, r.header.Get("Content-Type"), r.body, name, status)
	}
	if p.Type != "urn:weir:problem:"+name || p.Status != status || p.Detail == "" || p.Title == "" {
		b.t.Fatalf("got %+v, want problem %s", p, name)
	}
	if p.RequestID == "" || p.RequestID != r.header.Get("X-Request-Id") {
		b.t.Fatalf("the problem's request id is %q, the header's %q", p.RequestID, r.header.Get("X-Request-Id"))
	}
	return p
}

// metric reads one sample from /metrics.
func (b *bench) metric(series string) string {
	b.t.Helper()
	for line := range strings.Lines(b.do("GET", "/metrics", nil).body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func answer() *query.Answer {
	start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	return &query.Answer{
		Stream: "flights", From: start, To: start.Add(2 * time.Hour), Step: time.Hour, Window: time.Hour,
		Confidence: 0.95, Complete: true, Offsets: map[string]int64{"3": 9}, By: []string{"origin"},
		Series: []query.Series{{
			By: []string{"JFK"}, T: []int64{start.UnixNano(), start.Add(time.Hour).UnixNano()},
			Columns: []query.Column{
				{Name: "count", Value: []float64{84, 33}},
				{Name: "delay.p99", Value: []float64{129.4, 93}, Lower: []float64{127, 91}, Upper: []float64{131, 97}},
			},
		}},
	}
}

func newStreams() []*weir.Stream { return []*weir.Stream{flights()} }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// pipeListener accepts connections that never leave the process.
type pipeListener struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.accept <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
