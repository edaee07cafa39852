package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/store/storetest/s3test"
)

const objectsConfig = `
store: %s
cache: {memory: 1MiB, disk: {path: blocks, size: 1MiB}}
listen: %s
flush: {interval: 20ms}
journal: {path: journal}
streams:
  numbers:
    time: {field: t, format: unix_ms}
    window: 1s
    dimensions: [kind]
    measures:
      n: {quantile: n, distinct: n}
`

// The program keeps its segments in an object store: what it loads, and what is
// pushed to it, is there for a process that has nothing else.
func TestObjectStore(t *testing.T) {
	bin := program(t)
	s3test.Setenv(t)
	for name, handler := range s3test.Servers(t) {
		t.Run(name, func(t *testing.T) { testObjectStore(t, bin, s3test.Serve(t, handler)) })
	}
}

func testObjectStore(t *testing.T, bin, endpoint string) {
	location := s3test.Location(endpoint, s3test.Prefix())
	s := &server{t: t, bin: bin}
	s.dir, s.url = objectsNode(t, location)
	const events = 20_000
	var lines strings.Builder
	for i := range events {
		fmt.Fprintf(&lines, `{"t": %d, "kind": "k%d", "n": %d}`+"\n", 1_000_000_000_000+i, i%7, i)
	}
	file := filepath.Join(s.dir, "numbers.ndjson")
	if err := os.WriteFile(file, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	weir := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := weir(s.dir, "load", file); !strings.HasPrefix(out, "numbers: 20,000 events from 1 file") {
		t.Errorf("load says %s", out)
	}
	if out := weir(s.dir, "load", file); !strings.HasPrefix(out, "numbers: 0 events from 1 file") {
		t.Errorf("loading it again says %s", out)
	}
	ask := func(dir, want string) {
		t.Helper()
		out := weir(dir, "query", "--select", "count,n.sum,n.max", "-o", "csv")
		if row := strings.Split(strings.TrimSpace(out), "\n"); !strings.HasSuffix(row[len(row)-1], want) {
			t.Errorf("the answer is %s, want %s", out, want)
		}
	}
	ask(s.dir, fmt.Sprintf(",%d,%d,%d", events, events*(events-1)/2, events-1))

	s.start()
	s.awaitReady()
	push(t, s.url, `{"t": 1000000030000, "kind": "pushed", "n": 1000000}`)
	s.stop()
	want := fmt.Sprintf(",%d,%d,%d", events+1, events*(events-1)/2+1_000_000, 1_000_000)
	s.start()
	s.awaitReady()
	for range 2 {
		ask(s.dir, want) // of the server
	}
	metrics := fetch(t, s.url+"/metrics")
	for _, m := range []string{`weir_object_store_requests_total{operation="put",outcome="taken"}`, `weir_block_cache_hits_total{level="memory"}`} {
		if !strings.Contains(metrics, m) {
			t.Errorf("the metrics have no %s", m)
		}
	}
	s.stop()
	if out := s.output.String(); strings.Contains(out, "multipart") {
		t.Errorf("a client's own log is shown: %s", out)
	}

	// Another node, with nothing but the configuration.
	other, _ := objectsNode(t, location)
	ask(other, want)
}

// objectsNode returns a directory with a configuration, and its server's URL.
func objectsNode(t *testing.T, location string) (dir, url string) {
	t.Helper()
	dir = t.TempDir()
	address := freeAddress(t)
	if err := os.WriteFile(filepath.Join(dir, "weir.yaml"), fmt.Appendf(nil, objectsConfig, location, address), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, "http://" + address
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func push(t *testing.T, server, lines string) {
	t.Helper()
	resp, err := http.Post(server+"/v1/streams/numbers/events", "application/x-ndjson", strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("push: %s\n%s", resp.Status, body)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A store that overwrites is refused before anything is written to it, and one
// that cannot be reached is named.
func TestObjectStoreThatIsNoGood(t *testing.T) {
	bin := program(t)
	s3test.Setenv(t)
	for what, c := range map[string]struct {
		endpoint, want string
	}{
		"overwrites": {s3test.Serve(t, s3test.New(t, s3test.AllIgnored)), "was not refused"},
		"is nowhere": {"http://127.0.0.1:1", "connection refused"},
	} {
		dir, _ := objectsNode(t, s3test.Location(c.endpoint, ""))
		for _, command := range [][]string{{"serve"}, {"load", "weir.yaml"}} {
			cmd := exec.Command(bin, command...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%s, %s: %v\n%s", what, command[0], err, out)
			}
		}
	}
}

// A server that is told to stop while it still tries its store ends at once, and
// in order.
func TestStoppedWhileTheStoreIsTried(t *testing.T) {
	bin := program(t)
	s3test.Setenv(t)
	tried := make(chan struct{}, 100)
	proxy := &s3test.Proxy{Server: s3test.New(t, s3test.Kept), OnRequest: func(*http.Request) s3test.Fault {
		tried <- struct{}{}
		return s3test.Stalled
	}}
	s := &server{t: t, bin: bin}
	s.dir, s.url = objectsNode(t, s3test.Location(s3test.Serve(t, proxy), ""))
	s.start()
	<-tried
	s.stop()
}
