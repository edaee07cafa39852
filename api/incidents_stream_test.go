package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/store/storetest"
)

// listener is a client of the stream of incidents that knows nothing but lines.
type listener struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

func listen(t *testing.T, address, query string, headers ...string) *listener {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	connection.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(connection, "GET /v1/incidents/stream%s HTTP/1.1\r\nHost: x\r\n%s\r\n", query, strings.Join(append(headers, ""), "\r\n"))
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("got %s as %s: %s", response.Status, response.Header.Get("Content-Type"), body)
	}
	l := &listener{connection, t, bufio.NewReader(response.Body)}
	if first := l.event(); first["retry"] == "" {
		t.Fatalf("the stream begins with %v", first)
	}
	return l
}

// event reads the fields of the next event, or nil at the end.
func (l *listener) event() map[string]string {
	l.t.Helper()
	event := map[string]string{}
	for {
		line, err := l.lines.ReadString('\n')
		if err == io.EOF && len(event) == 0 {
			return nil
		}
		if err != nil {
			l.t.Fatalf("after %v: %v", event, err)
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return event
		}
		name, value, _ := strings.Cut(line, ":")
		event[name] = strings.TrimPrefix(value, " ")
	}
}

// expect reads an event of that version of an incident.
func (l *listener) expect(want string) string {
	l.t.Helper()
	event := l.event()
	var inc weir.Incident
	if err := json.Unmarshal([]byte(event["data"]), &inc); err != nil || event["event"] != "incident" {
		l.t.Fatalf("want %s, got %v", want, event)
	}
	if got := fmt.Sprintf("%s-%d", inc.ID, inc.Version); got != want || !strings.HasPrefix(event["id"], want) {
		l.t.Fatalf("want %s, got %v", want, event)
	}
	return event["id"]
}

// TestIncidentStream listens with a raw client: to what this node appends and
// another does, again after a lost connection, through a filter, and until the
// server ends.
func TestIncidentStream(t *testing.T) {
	bucket := new(storetest.Memory)
	w, other := newWatch(t, bucket), newWatch(t, bucket)
	w.append(traffic, states{0: weir.Firing})
	address, stop, ended, _ := running(t, func(o *api.Options) {
		o.Incidents, o.Logger = w, slog.New(slog.DiscardHandler)
	})

	l := listen(t, address, "")
	only := listen(t, address, "?detector=slower&match=origin=O1")
	w.append(traffic, states{0: weir.Resolved, 1: weir.Firing})
	l.expect("traffic.0-1")
	middle := l.expect("traffic.1-1")
	other.append(slower, states{0: weir.Firing})
	last := l.expect("slower.0-0")
	other.append(slower, states{1: weir.Firing})
	only.expect("slower.1-1")
	l.expect("slower.1-1")
	l.Close()

	again := listen(t, address, "", "Last-Event-ID: "+last)
	again.expect("slower.1-1")
	again.Close()
	again = listen(t, address, "", "Last-Event-ID: "+middle)
	again.expect("slower.0-0")
	again.expect("slower.1-1")
	again.Close()
	alone := listen(t, address, "", "Last-Event-ID: traffic.0-1") // a webhook-id
	alone.expect("traffic.1-1")

	stop()
	for _, l := range []*listener{only, alone} {
		if event := l.event(); event["event"] != "end" || event["data"] != "the server is shutting down" {
			t.Errorf("the stream ends with %v", event)
		}
		if event := l.event(); event != nil {
			t.Errorf("after the end there is %v", event)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestIncidentStreamRefuses(t *testing.T) {
	b, _ := newIncidentBench(t)
	for _, id := range []string{"7", "traffic.1", "traffic.1-0", "traffic.0-0,slower", "traffic.0-0,slower:-1", "traffic.0-0,traffic:3", "x"} {
		p := b.problem(b.do("GET", "/v1/incidents/stream", nil, "Last-Event-ID", id), http.StatusBadRequest, "invalid-request")
		if len(p.Errors) != 1 || p.Errors[0].Parameter != "Last-Event-ID" {
			t.Errorf("%s: got %+v", id, p)
		}
	}
	if r := b.do("HEAD", "/v1/incidents/stream", nil); r.status != http.StatusOK {
		t.Errorf("HEAD: %d", r.status)
	}
	address := strings.TrimPrefix(b.URL, "http://")
	first, second := listen(t, address, ""), listen(t, address, "")
	b.problem(b.do("GET", "/v1/incidents/stream", nil), http.StatusTooManyRequests, "behind")
	first.Close()
	eventually(t, "a place to be free", func() bool {
		r := b.do("HEAD", "/v1/incidents/stream", nil)
		return r.status == http.StatusOK
	})
	second.Close()
	b.server.Drain()
	b.problem(b.do("GET", "/v1/incidents/stream", nil), http.StatusServiceUnavailable, "stopping")
}

// recorder is a client that takes all it is sent, and says how often it was
// flushed.
type recorder struct {
	header  http.Header
	takes   func() // called before each write, if set
	mu      sync.Mutex
	body    strings.Builder
	flushed int
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}

func (r *recorder) Write(data []byte) (int, error) {
	if r.takes != nil {
		r.takes()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(data)
}

func (r *recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushed++
}

// TestHeartbeat waits in silence. The stream shows that it is alive, sees what
// another node appends within seconds, and ends with the request.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := new(storetest.Memory)
		node := func() *watch {
			return &watch{incident.NewLog(bucket, []incident.Ref{traffic}, incident.Options{}), t}
		}
		server, err := api.New(api.Options{Incidents: node()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		client := &recorder{header: http.Header{}}
		left := make(chan struct{})
		go func() {
			defer close(left)
			server.Handler().ServeHTTP(client, httptest.NewRequestWithContext(ctx, "GET", "/v1/incidents/stream", nil))
		}()
		time.Sleep(32 * time.Second)
		synctest.Wait()
		heartbeat := ": still here\n\n"
		if got, want := client.body.String(), "retry: 2000\n\n"+heartbeat+heartbeat; got != want || client.flushed != 3 {
			t.Errorf("after 32 s: %q, flushed %d times", got, client.flushed)
		}
		node().append(traffic, states{0: weir.Firing})
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := client.body.String(); !strings.Contains(got, "id: traffic.0-0\nevent: incident\ndata: {") {
			t.Errorf("3 s later: %q", got)
		}
		leave()
		<-left
	})
}

// TestSlowListener takes nothing while more changes than are kept for it. It is
// told why it is cut off.
func TestSlowListener(t *testing.T) {
	w := newWatch(t, new(storetest.Memory))
	server, err := api.New(api.Options{Incidents: w})
	if err != nil {
		t.Fatal(err)
	}
	waits, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	client := &recorder{header: http.Header{}, takes: func() {
		once.Do(func() { close(waits) })
		<-release
	}}
	left := make(chan struct{})
	go func() {
		defer close(left)
		server.Handler().ServeHTTP(client, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/incidents/stream", nil))
	}()
	<-waits
	for n := range int64(1100) {
		w.appendAt(slower, n, states{0: weir.Firing})
	}
	close(release)
	<-left
	if got := client.body.String(); got != "retry: 2000\n\nevent: end\ndata: "+incident.ErrSlow.Error()+"\n\n" {
		t.Errorf("got %q", got)
	}
}
