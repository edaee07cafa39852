package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/store"
)

// TestIncidentOfServer asks a server and then the store that it served, by one
// configuration: both answer the same, and what was said to the server is kept.
func TestIncidentOfServer(t *testing.T) {
	defer goleak.VerifyNone(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	path := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf("listen: %s\nstreams: {flights: {window: 1m}}\ndetectors: [{name: traffic}]\n", free.Addr())
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := weir.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	storeIncident(t, c.Store)

	weirPrints := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(append(args, "-c", path), strings.NewReader(""), &stdout, &stderr); code != exitOK {
			t.Fatalf("weir %v: exit code %d: %s", args, code, &stderr)
		}
		return stdout.String()
	}
	server := startServer(t, c)
	list := weirPrints("incident", "list")
	weirPrints("incident", "feedback", "traffic.0", "--true", "--note", "really")
	show := weirPrints("incident", "show", "traffic.0")
	silence := weirPrints("silence", "add", "detector=traffic", "--for", "1h")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := server.do(request, maxAnswer)
	if err != nil {
		t.Fatal(err)
	}
	for _, asked := range []string{`method="GET",route="/v1/incidents"`, `method="POST",route="/v1/incidents/{id}/feedback"`, `method="POST",route="/v1/silences"`} {
		if !strings.Contains(string(metrics), asked) {
			t.Errorf("the server was not asked: %s", asked)
		}
	}
	http.DefaultClient.CloseIdleConnections() // the command's, of this process
	server.end()

	if !strings.Contains(list, "traffic.0  firing") || !strings.Contains(show, "really") {
		t.Errorf("the server said:\n%s\n%s", list, show)
	}
	if again := weirPrints("incident", "list"); again != list {
		t.Errorf("the server said:\n%s\nthe store says:\n%s", list, again)
	}
	if again := weirPrints("incident", "show", "traffic.0"); again != show {
		t.Errorf("the server said:\n%s\nthe store says:\n%s", show, again)
	}
	id := strings.Fields(strings.Split(silence, "\n")[1])[0]
	weirPrints("silence", "delete", id)
	if left := weirPrints("silence", "list"); left != "No silences.\n" {
		t.Errorf("left are:\n%s", left)
	}
}

// storeIncident puts one incident into a store.
func storeIncident(t *testing.T, path string) {
	t.Helper()
	bucket, err := store.OpenDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	inc := weir.Incident{
		ID: "traffic.0", Detector: "traffic", Stream: "flights", Value: "count", State: weir.Firing, Severity: weir.Warning,
		Since: now.Add(-2 * time.Minute), Opened: now.Add(-time.Minute), Updated: now.Add(-time.Minute), Recorded: now, Members: 1,
	}
	log := incident.NewLog(bucket, []incident.Ref{{Stream: "flights", Detector: "traffic"}}, incident.Options{})
	_, mine, err := log.Append(t.Context(), &incident.Batch{
		Stream: "flights", Detector: "traffic", From: inc.Since, To: inc.Opened, Recorded: now, Records: []incident.Record{{Incident: inc}},
	})
	if err != nil || !mine {
		t.Fatalf("mine %v, %v", mine, err)
	}
}
