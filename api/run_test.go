package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/api"
)

// running starts a server on a free port. What it returns ends it, and waits.
func running(t *testing.T, change func(*api.Options)) (address string, stop context.CancelFunc, ended chan error, j *journal) {
	t.Helper()
	j = &journal{}
	o := api.Options{Ingester: j, Registry: prometheus.NewRegistry(), Streams: newStreams(), Engine: engine(nil)}
	if change != nil {
		change(&o)
	}
	server, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	ended = make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	return listener.Addr().String(), stop, ended, j
}

// TestShutdown ends a server while a push becomes durable: it is acknowledged,
// those that follow on the same connection are not taken, and Run returns.
func TestShutdown(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	address, stop, ended, j := running(t, nil)
	j.hold = func(context.Context) error {
		close(entered)
		<-release
		return nil
	}
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	const request = "POST /v1/streams/flights/events HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}\n"
	io.WriteString(connection, request)
	<-entered
	stop()
	eventually(t, "the listener to close", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-ended:
		t.Fatalf("Run returned %v while a push was under way", err)
	default:
	}
	close(release)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || !response.Close {
		t.Errorf("got %s, close %v", response.Status, response.Close)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestNothingIsTakenWhileStopping asks the handler itself, since by then there
// are no new connections.
func TestNothingIsTakenWhileStopping(t *testing.T) {
	server, err := api.New(api.Options{Ingester: &journal{}, Streams: newStreams()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := server.Run(ctx, listener); err != nil {
		t.Fatal(err)
	}
	for _, request := range []*http.Request{
		httptest.NewRequest("POST", "/v1/streams/flights/events", strings.NewReader("{}\n")),
		httptest.NewRequest("GET", "/-/ready", nil),
	} {
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, request)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "urn:weir:problem:stopping") {
			t.Errorf("%s: got %d %s", request.URL, w.Code, w.Body)
		}
	}
}

func TestRunWithoutAListener(t *testing.T) {
	address, stop, ended, _ := running(t, nil)
	stop()
	<-ended
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	server, err := api.New(api.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context(), listener); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v", err)
	}
}

// TestGraceEnds has a handler that waits for the end of its request's context
// and a client that never ends its body: both are cut off when the grace is over,
// and nothing is left. The clock is the bubble's.
func TestGraceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := newPipeListener()
		cut := make(chan error, 2)
		var finished atomic.Int32
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer finished.Add(1)
			defer time.Sleep(time.Second) // some have to tidy up
			if r.URL.Path == "/slow-body" {
				_, err := io.ReadAll(r.Body)
				cut <- err
				return
			}
			<-r.Context().Done()
			cut <- r.Context().Err()
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- api.Serve(ctx, listener, handler, discard(), time.Hour) }()
		for _, path := range []string{"/waits", "/slow-body"} {
			client, err := listener.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			fmt.Fprintf(client, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12", path)
		}
		synctest.Wait()
		start := time.Now()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(start); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("the grace was %v", took)
		}
		if n := finished.Load(); n != 2 {
			t.Errorf("%d of 2 handlers had ended when Serve returned", n)
		}
		for range 2 {
			if err := <-cut; err == nil {
				t.Error("a request ended well")
			}
		}
	})
}
