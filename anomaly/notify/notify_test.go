package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// incident is version v of the n-th incident of the detector traffic, recorded
// that many seconds ago.
func incident(n, v int64, state weir.IncidentState) weir.Incident {
	now := time.Now().UTC()
	i := weir.Incident{
		ID: weir.IncidentID("traffic", n), Detector: "traffic", Stream: "flights", Value: "count",
		Summary: "count of flights is 12 where 100 was expected", State: state, Version: v, Severity: weir.Warning,
		Since: now.Add(-time.Minute), Opened: now, Updated: now, Recorded: now,
		Series: []weir.IncidentSeries{{
			By: map[string]string{"origin": "ORD"}, State: state, Since: now.Add(-time.Minute), Window: now.Add(-time.Minute),
			Value: 12, Expected: 100, Lower: 80, Upper: 120, Score: 9.5, Direction: "down", Reason: "lower than ever",
		}},
		Members: 1,
		Causes:  []weir.Cause{{Dimension: "origin", Value: "ORD", Share: 0.81, Is: 12, Was: 100}},
	}
	if state == weir.Resolved {
		i.Resolved = now
	}
	return i
}

// receiver is an endpoint that remembers what it was sent.
type receiver struct {
	URL    string
	answer func(w http.ResponseWriter, r *http.Request, n int) // n counts from 1; nil: 204

	mu       sync.Mutex
	requests []request // guarded by mu
}

type request struct {
	at     time.Time
	header http.Header
	path   string
	body   []byte
}

func (r request) id() string { return r.header.Get("webhook-id") }

func newReceiver(t *testing.T, answer func(http.ResponseWriter, *http.Request, int)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.requests = append(r.requests, request{time.Now(), q.Header, q.URL.Path, body})
	n, answer := len(r.requests), r.answer
	r.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(w, q, n)
}

// answers changes what it answers from now on.
func (r *receiver) answers(answer func(http.ResponseWriter, *http.Request, int)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// status answers with a status, and headers in pairs.
func status(code int, headers ...string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

func (r *receiver) ids() []string {
	ids := []string{}
	for _, q := range r.all() {
		ids = append(ids, q.id())
	}
	return ids
}

// await waits until so many requests have come.
func (r *receiver) await(t *testing.T, n int) []request {
	t.Helper()
	until(t, fmt.Sprintf("%d requests", n), func() bool { return len(r.all()) >= n })
	return r.all()
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// hook is a webhook that may be on this machine.
func hook(name, url string) *weir.WebhookConfig {
	return &weir.WebhookConfig{Name: name, URL: url, Format: "weir", AllowPrivate: true, Timeout: 2 * time.Second, MaxQueue: 1000}
}

// world is a notifier under test and what surrounds it.
type world struct {
	*notify.Notifier
	t      *testing.T
	bucket store.Bucket
	log    *buffer
	stop   func() // ends Run, if it runs, and waits
}

func newWorld(t *testing.T, bucket store.Bucket, hooks ...*weir.WebhookConfig) *world {
	t.Helper()
	w := &world{t: t, bucket: bucket, log: &buffer{}, stop: func() {}}
	if bucket == nil {
		w.bucket = &storetest.Memory{}
	}
	var err error
	w.Notifier, err = notify.New(notify.Options{
		Webhooks: hooks, Bucket: w.bucket, External: "http://weir.example",
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			t.Logf("log:\n%s", w.log)
		}
	})
	return w
}

func (w *world) run() *world {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	})
	return w
}

func (w *world) notify(i weir.Incident, hooks ...string) {
	w.t.Helper()
	if err := w.Notify(context.Background(), i, hooks); err != nil {
		w.t.Fatal(err)
	}
}

// deliveries are all of a webhook, the newest first.
func (w *world) deliveries(f weir.DeliveryFilter) []weir.Delivery {
	w.t.Helper()
	list, _, err := w.Deliveries(context.Background(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) awaitState(webhook string, state weir.DeliveryState, n int) []weir.Delivery {
	w.t.Helper()
	var list []weir.Delivery
	until(w.t, fmt.Sprintf("%d messages %s to %s", n, state, webhook), func() bool {
		list = w.deliveries(weir.DeliveryFilter{Webhook: webhook, State: state})
		return len(list) >= n
	})
	return list
}

// What is told arrives once, in order, as it is, and telling of it again, here
// or in another process, changes nothing.
func TestDelivers(t *testing.T) {
	r := newReceiver(t, nil)
	w := newWorld(t, nil, hook("ops", r.URL)).run()
	story := []weir.Incident{incident(7, 7, weir.Firing), incident(7, 8, weir.Firing), incident(7, 11, weir.Resolved)}
	for _, i := range story {
		w.notify(i, "ops")
	}
	got := r.await(t, 3)
	for n, want := range []string{"incident.firing", "incident.updated", "incident.resolved"} {
		var e notify.Event
		if err := json.Unmarshal(got[n].body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != want || got[n].id() != fmt.Sprintf("traffic.7-%d", story[n].Version) || e.Data.ID != "traffic.7" ||
			e.Link != "http://weir.example/v1/incidents/traffic.7" || !e.Timestamp.Equal(story[n].Recorded) || e.Omitted != nil {
			t.Errorf("request %d: id %q, body %s", n, got[n].id(), got[n].body)
		}
	}
	w.awaitState("ops", weir.Delivered, 3)
	for _, i := range story {
		w.notify(i, "ops")
	}
	w.stop()
	again := newWorld(t, w.bucket, hook("ops", r.URL)).run()
	for _, i := range story {
		again.notify(i, "ops")
	}
	again.notify(incident(8, 8, weir.Firing), "ops")
	r.await(t, 4)
	again.awaitState("ops", weir.Delivered, 4)
	if ids := r.ids(); !slices.Equal(ids, []string{"traffic.7-7", "traffic.7-8", "traffic.7-11", "traffic.8-8"}) {
		t.Errorf("received %v", ids)
	}
	if !strings.Contains(again.log.String(), "webhook told") {
		t.Error("the log does not say that a webhook was told")
	}
}

// What nobody configured, or can be named, is told apart.
func TestUnknown(t *testing.T) {
	w := newWorld(t, nil, hook("ops", "http://127.0.0.1:1"))
	w.notify(incident(1, 1, weir.Firing), "gone")
	if !strings.Contains(w.log.String(), "gone") {
		t.Error("no word of the webhook that is not configured")
	}
	if err := w.Redeliver(context.Background(), "traffic.1-1", "ops"); !errors.Is(err, weir.ErrUnknownMessage) {
		t.Errorf("redeliver what was never told: %v", err)
	}
	if err := w.Redeliver(context.Background(), "traffic.1-1", "gone"); !errors.Is(err, weir.ErrUnknownWebhook) {
		t.Errorf("redeliver to nobody: %v", err)
	}
	if _, err := w.Test(context.Background(), "gone"); !errors.Is(err, weir.ErrUnknownWebhook) {
		t.Errorf("test nobody: %v", err)
	}
	i := incident(1, 1, weir.Firing)
	i.ID = "../../etc"
	if err := w.Notify(context.Background(), i, []string{"ops"}); err == nil {
		t.Error("an incident whose ID is a path was taken")
	}
	i = incident(1, 1, weir.Firing)
	i.Muted = "silence 4"
	w.notify(i, "ops")
	if list := w.deliveries(weir.DeliveryFilter{}); len(list) != 0 {
		t.Errorf("there are deliveries: %+v", list)
	}
}
