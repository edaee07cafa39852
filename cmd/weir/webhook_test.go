package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/store"
)

// hooked writes a configuration with the webhook ops, and one whose URL is a
// secret.
func hooked(t *testing.T, listen, url string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf(`listen: %s
streams:
  flights: {source: {push: {}}, time: {field: time, format: rfc3339}, window: 10s}
webhooks:
  - {name: ops, url: %q, secret_env: OPS_SECRET, allow_private: true}
  - {name: chat, url_env: CHAT_URL, format: slack}
`, listen, url)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OPS_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	t.Setenv("CHAT_URL", "https://chat.example/services/T0PS3CRET")
	return file
}

// weirs runs a command and returns its exit code and what it says.
func weirs(args ...string) (int, string, string) {
	var stdout, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestWebhookTest(t *testing.T) {
	var status atomic.Int32
	var got atomic.Value
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got.Store(r.Header.Get("webhook-signature") + " " + string(body))
		w.WriteHeader(int(status.Load()))
		fmt.Fprint(w, "so be it")
	}))
	defer receiver.Close()
	file := hooked(t, "127.0.0.1:1", receiver.URL+"/hook")

	status.Store(200)
	code, out, errs := weirs("webhook", "test", "ops", "-c", file)
	if code != exitOK || !strings.Contains(out, "webhook ops was told") || !strings.Contains(out, "so be it") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if text, _ := got.Load().(string); !strings.HasPrefix(text, "v1,") || !strings.Contains(text, `"type":"incident.firing"`) {
		t.Errorf("it was sent %q", text)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "weir-data")); err == nil {
		t.Error("a test made a store")
	}
	status.Store(500)
	if code, out, errs = weirs("webhook", "test", "ops", "-c", file); code != exitFailed || !strings.Contains(errs, "500") {
		t.Errorf("of a failure: exit %d, %q, %q", code, out, errs)
	}
	if code, _, errs = weirs("webhook", "test", "pos", "-c", file); code != exitUsage || !strings.Contains(errs, "ops, chat") {
		t.Errorf("of one that is not there: exit %d, %q", code, errs)
	}

	code, out, errs = weirs("webhook", "list", "-c", file)
	if code != exitOK || !strings.Contains(out, "$CHAT_URL") || !strings.Contains(out, receiver.URL) {
		t.Errorf("list: exit %d, %q, %q", code, out, errs)
	}
	if err := os.Unsetenv("OPS_SECRET"); err != nil { // t.Setenv puts it back
		t.Fatal(err)
	}
	code, out, _ = weirs("webhook", "list", "-c", file)
	if code != exitOK || !strings.Contains(out, "OPS_SECRET") {
		t.Errorf("list without a secret: exit %d, %q", code, out)
	}
	if code, _, errs = weirs("webhook", "test", "ops", "-c", file); code != exitFailed || !strings.Contains(errs, "webhook ops") || !strings.Contains(errs, "OPS_SECRET") {
		t.Errorf("test without a secret: exit %d, %q", code, errs)
	}
	for _, text := range []string{out, errs} {
		if strings.Contains(text, "S3CRET") || strings.Contains(text, "MfKQ9r8") {
			t.Errorf("a secret is printed: %s", text)
		}
	}
}

// A message is sent again by the server that runs, or by the next one.
func TestWebhookRedeliver(t *testing.T) {
	requests := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests <- r.Header.Get("webhook-id") }))
	defer receiver.Close()
	received := func() string {
		select {
		case id := <-requests:
			return id
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was received within 10 s")
			return ""
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file := hooked(t, listener.Addr().String(), receiver.URL)
	c, err := weir.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := store.OpenDirectory(c.Store)
	if err != nil {
		t.Fatal(err)
	}

	// serve runs what of a server this is about.
	serve := func(listener net.Listener) (*notify.Notifier, func()) {
		n, err := notify.New(notify.Options{Webhooks: c.Webhooks, Bucket: bucket, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		server, err := api.New(api.Options{Deliveries: n, Store: storeID(c)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 2)
		go func() { ended <- n.Run(ctx) }()
		go func() { ended <- server.Run(ctx, listener) }()
		return n, func() {
			cancel()
			for range 2 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
	}
	n, stop := serve(listener)
	now := time.Now()
	incident := weir.Incident{ID: "traffic.3", Detector: "traffic", State: weir.Firing, Version: 3, Recorded: now}
	if err := n.Notify(context.Background(), incident, []string{"ops"}); err != nil {
		t.Fatal(err)
	}
	if id := received(); id != "traffic.3-3" {
		t.Fatalf("received %s", id)
	}
	code, out, errs := weirs("webhook", "redeliver", "traffic.3-3", "-c", file)
	if code != exitOK || !strings.Contains(out, "on its way") || received() != "traffic.3-3" {
		t.Errorf("by the server: exit %d, %q, %q", code, out, errs)
	}
	if code, _, errs = weirs("webhook", "redeliver", "traffic.3-4", "-c", file); code != exitFailed || !strings.Contains(errs, "no such message") {
		t.Errorf("of what never was: exit %d, %q", code, errs)
	}
	stop()

	code, out, errs = weirs("webhook", "redeliver", "traffic.3-3", "--webhook", "ops", "-c", file)
	if code != exitOK || !strings.Contains(out, "the next one sends it") {
		t.Errorf("in the store: exit %d, %q, %q", code, out, errs)
	}
	again, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, stop = serve(again)
	if id := received(); id != "traffic.3-3" {
		t.Errorf("the next one sent %s", id)
	}
	stop()
}
