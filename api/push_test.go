package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
)

func zipped(parts ...string) string {
	var b bytes.Buffer
	for _, part := range parts { // each a member of its own
		z := gzip.NewWriter(&b)
		io.WriteString(z, part)
		z.Close()
	}
	return b.String()
}

func TestPushForms(t *testing.T) {
	b := newBench(t, nil)
	const ndjson, array = "application/x-ndjson", "application/json"
	for _, test := range []struct {
		name, contentType, body string
		lines                   []string
	}{
		{"lines", ndjson, "{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}},
		{"the last line may lack its end", ndjson, "{\"a\":1}\n{\"a\":2}", []string{`{"a":1}`, `{"a":2}`}},
		{"blank lines and carriage returns", ndjson, "\r\n{\"a\":1}\r\n \t\n\n{\"a\":2}\r\n\n", []string{`{"a":1}`, `{"a":2}`}},
		{"a bad line is the decoder's business", ndjson, "{\"a\":\n{\"a\":2}\n", []string{`{"a":`, `{"a":2}`}},
		{"an array in lines is a bad line", ndjson, "[1]\n", []string{`[1]`}},
		{"a charset", ndjson + "; charset=utf-8", "{}\n", []string{`{}`}},
		{"a byte order mark", ndjson, "\ufeff{}\n", []string{`{}`}},
		{"array", array, `[{"a":1},{"a":2}]`, []string{`{"a":1}`, `{"a":2}`}},
		{"line breaks inside", array, "\n[\n  {\n\"a\": [1,\r\n2]\n},\n\n{\"b\":\"x\\ny,]\"}\n]\n", []string{`{ "a": [1,  2] }`, `{"b":"x\ny,]"}`}},
		{"a bad element is the decoder's business", array, `[tru, {"a":1 2}, {"b":[}}, 1]`, []string{`tru`, `{"a":1 2}`, `{"b":[}}`, `1`}},
		{"escapes", array, `["\"]", "\\", {"\\\"":"[{,"}]`, []string{`"\"]"`, `"\\"`, `{"\\\"":"[{,"}`}},
		{"an object", array, "{\n\"a\":{\"b\":1}}\n", []string{`{ "a":{"b":1}}`}},
		{"no type: lines", "", "{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}},
		{"no type: array", "", " [{\"a\":\n1}]", []string{`{"a": 1}`}},
		{"no type: an object over lines", "", "{\n\"a\":1\n}", []string{`{ "a":1 }`}},
		{"no type: a bad first line", "", "{\"a\":\n{\"a\":2}", []string{`{"a":`, `{"a":2}`}},
		{"what curl says", "application/x-www-form-urlencoded", "{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, compressed := range []string{"no", "gzip", "gzip, unsaid"} {
				b.journal.forget()
				var headers []string
				if test.contentType != "" {
					headers = append(headers, "Content-Type", test.contentType)
				}
				body := test.body
				if compressed != "no" {
					half := len(body) / 2
					body = zipped(body[:half], body[half:])
				}
				if compressed == "gzip" {
					headers = append(headers, "Content-Encoding", "gzip")
				}
				r := b.push(body, headers...)
				want := fmt.Sprintf(`{"accepted":%d,"partition":"3","offset":0,"duplicate":false}`+"\n", len(test.lines))
				if r.status != http.StatusOK || r.body != want {
					t.Errorf("compressed %s: got %d %s, want %s", compressed, r.status, r.body, want)
				}
				if diff := cmp.Diff(test.lines, b.journal.lines); diff != "" {
					t.Errorf("compressed %s: lines, -want +got:\n%s", compressed, diff)
				}
			}
		})
	}
}

func TestPushOfNothing(t *testing.T) {
	b := newBench(t, nil)
	for _, contentType := range []string{"application/x-ndjson", "application/json", ""} {
		for _, body := range []string{"", "\n \r\n", "[]", "[ \n]"} {
			if contentType == "application/x-ndjson" && strings.HasPrefix(body, "[") {
				continue
			}
			r := b.push(body, "Content-Type", contentType)
			if want := `{"accepted":0,"duplicate":false}` + "\n"; r.status != http.StatusOK || r.body != want {
				t.Errorf("%q as %q: got %d %s, want %s", body, contentType, r.status, r.body, want)
			}
		}
	}
	if len(b.journal.lines) > 0 {
		t.Errorf("the ingester was given %q", b.journal.lines)
	}
}

func TestPushOfBrokenArrays(t *testing.T) {
	b := newBench(t, nil)
	for body, want := range map[string]string{
		`[{"a":1}`:           "not closed",
		`[{"a":1`:            "not closed",
		`[{"a":"1]`:          "not closed",
		`[{"a":"\`:           "not closed",
		`[`:                  "not closed",
		`[1,]`:               "byte 3: expected an element",
		`[,1]`:               "byte 1: expected an element",
		`[1,,2]`:             "byte 3: expected an element",
		`[1}]`:               "unexpected }",
		`[1] 2`:              "byte 4: there is more after the array",
		"[\"a\nb\"]":         `byte 3: a line break inside a string`,
		"[\"a\\\nb\"]":       `byte 4: a line break inside a string`,
		`{"a":1`:             "not closed",
		"{\"a\":1}\n{\"a\":": "application/x-ndjson",
		`{"a":1}{"a":2}`:     "byte 7: there is more after the first JSON value",
		`true`:               "neither an array of events nor one event",
	} {
		p := b.problem(b.push(body, "Content-Type", "application/json"), http.StatusBadRequest, "invalid-body")
		if !strings.Contains(p.Detail, want) || len(p.Errors) != 1 || p.Errors[0].In != "body" {
			t.Errorf("%q: got %+v, want %q", body, p, want)
		}
	}
	if len(b.journal.lines) > 0 {
		t.Errorf("the ingester was given %q", b.journal.lines)
	}
}

func TestPushRefused(t *testing.T) {
	b := newBench(t, func(o *api.Options) { o.Limits.Body = 1000 })
	events := func(path string, body string, headers ...string) reply {
		return b.do("POST", "/v1/streams/"+path+"/events", strings.NewReader(body), headers...)
	}
	t.Run("unknown stream", func(t *testing.T) {
		p := b.problem(events("flihgts", "{}"), http.StatusNotFound, "unknown-stream")
		if p.Errors[0].Suggestion != "flights" || !strings.Contains(p.Detail, `did you mean "flights"?`) {
			t.Errorf("got %+v", p)
		}
	})
	t.Run("stream of files", func(t *testing.T) {
		p := b.problem(events("weblog", "{}"), http.StatusConflict, "not-pushed")
		if !strings.Contains(p.Detail, "reads its events from file") {
			t.Errorf("got %+v", p)
		}
	})
	t.Run("content type", func(t *testing.T) {
		r := b.push("a,b\n", "Content-Type", "text/csv")
		b.problem(r, http.StatusUnsupportedMediaType, "unsupported-media-type")
		if r.header.Get("Accept-Post") == "" {
			t.Error("no Accept-Post")
		}
	})
	t.Run("content encoding", func(t *testing.T) {
		r := b.push("{}", "Content-Encoding", "br")
		b.problem(r, http.StatusUnsupportedMediaType, "unsupported-media-type")
		if r.header.Get("Accept-Encoding") != "gzip" {
			t.Error("no Accept-Encoding")
		}
	})
	t.Run("long key", func(t *testing.T) {
		p := b.problem(b.push("{}", "Idempotency-Key", strings.Repeat("k", 256)), http.StatusBadRequest, "invalid-request")
		if p.Errors[0].Parameter != "Idempotency-Key" || p.Errors[0].In != "header" {
			t.Errorf("got %+v", p)
		}
	})
	t.Run("not gzip", func(t *testing.T) {
		whole := zipped(`{"a":1}`)
		for _, body := range []string{"{}", "", whole[:5], whole[:len(whole)-3], whole[:12] + "\xff\xff" + whole[14:], whole + "rubbish"} {
			b.problem(b.push(body, "Content-Encoding", "gzip"), http.StatusBadRequest, "invalid-body")
		}
	})
	t.Run("too large", func(t *testing.T) {
		line := strings.Repeat("x", 999) + "\n"
		if r := b.push(line); r.status != http.StatusOK {
			t.Errorf("a body at the limit: %d %s", r.status, r.body)
		}
		for name, r := range map[string]reply{
			"announced":   b.push(line + "x"),
			"unannounced": b.do("POST", "/v1/streams/flights/events", io.MultiReader(strings.NewReader(line), strings.NewReader("x"))),
			"gzip bomb":   b.push(zipped(strings.Repeat("x", 100<<10)), "Content-Encoding", "gzip"),
			"empty gzip":  b.do("POST", "/v1/streams/flights/events", io.MultiReader(strings.NewReader(strings.Repeat(zipped(""), 1000))), "Content-Encoding", "gzip"),
		} {
			p := b.problem(r, http.StatusRequestEntityTooLarge, "body-too-large")
			if !strings.Contains(p.Detail, "1000B") {
				t.Errorf("%s: %q does not name the limit", name, p.Detail)
			}
		}
	})
	t.Run("too large, before it is sent", func(t *testing.T) {
		connection, err := net.Dial("tcp", b.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		io.WriteString(connection, "POST /v1/streams/flights/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("got %s", response.Status)
		}
	})
	if got := b.metric(`weir_push_refused_total{problem="body-too-large"}`); got != "5" {
		t.Errorf("weir_push_refused_total is %q, want 5", got)
	}
	if got := b.metric(`weir_push_memory_bytes`); got != "0" {
		t.Errorf("weir_push_memory_bytes is %q after all pushes have ended", got)
	}
}

func TestPushTwice(t *testing.T) {
	b := newBench(t, nil)
	for i, want := range []string{
		`{"accepted":1,"partition":"3","offset":0,"duplicate":false}`,
		`{"accepted":1,"partition":"3","offset":0,"duplicate":true}`,
	} {
		if r := b.push("{}\n", "Idempotency-Key", "k"); r.status != http.StatusOK || strings.TrimSpace(r.body) != want {
			t.Errorf("push %d: got %d %s, want %s", i, r.status, r.body, want)
		}
	}
	p := b.problem(b.push("{\"a\":1}\n", "Idempotency-Key", "k"), http.StatusUnprocessableEntity, "key-reused")
	if p.Errors[0].Parameter != "Idempotency-Key" {
		t.Errorf("got %+v", p)
	}
	if got := b.metric(`weir_push_events_total{stream="flights"}`); got != "1" {
		t.Errorf("weir_push_events_total is %q, want 1", got)
	}
}

func TestPushErrorsOfTheIngester(t *testing.T) {
	b := newBench(t, nil)
	for _, test := range []struct {
		err        error
		status     int
		name       string
		retryAfter string
	}{
		{&weir.ErrBehind{Reason: "12MiB wait for partition 3", RetryAfter: 1500 * time.Millisecond}, 429, "behind", "2"},
		{fmt.Errorf("push: %w", &weir.ErrBehind{Reason: "x"}), 429, "behind", "1"},
		{fmt.Errorf("push: %w", weir.ErrStopping), 503, "stopping", "1"},
		{weir.ErrUnknownStream, 404, "unknown-stream", ""},
		{weir.ErrNotPushed, 409, "not-pushed", ""},
		{errors.New("write /secret/path: disk on fire"), 500, "internal", ""},
	} {
		b.journal.err = test.err
		r := b.push("{}\n", "X-Request-Id", "look-me-up")
		b.problem(r, test.status, test.name)
		if got := r.header.Get("Retry-After"); got != test.retryAfter {
			t.Errorf("%v: Retry-After is %q, want %q", test.err, got, test.retryAfter)
		}
		if strings.Contains(r.body, "secret") {
			t.Errorf("the answer tells of the server: %s", r.body)
		}
		if test.status == 500 && !(strings.Contains(b.log.String(), "disk on fire") && strings.Contains(b.log.String(), "look-me-up")) {
			t.Errorf("the log does not say what failed: %s", b.log)
		}
	}
}

// TestPushMemory has clients that send half of a body and wait. What they hold
// is bounded, what they announced but did not send is not held, and whoever
// comes too late is told to come again.
func TestPushMemory(t *testing.T) {
	b := newBench(t, func(o *api.Options) { o.Limits.Body, o.Limits.PushMemory = 1<<20, 2<<20 })
	half := bytes.Repeat([]byte("x"), 400<<10)
	start := func() (*io.PipeWriter, chan reply) {
		r, w := io.Pipe()
		done := make(chan reply, 1)
		go func() { done <- b.do("POST", "/v1/streams/flights/events", r) }()
		return w, done
	}
	var clients []*io.PipeWriter
	var replies []chan reply
	for range 3 { // 512 KiB of memory each
		w, done := start()
		w.Write(half)
		clients, replies = append(clients, w), append(replies, done)
	}
	eventually(t, "three bodies to arrive", func() bool {
		return b.metric("weir_push_memory_bytes") == strconv.FormatFloat(3*512<<10, 'g', -1, 64)
	})
	w, done := start()
	go func() {
		w.Write(half) // growing to 512 KiB needs the old 256 as well
		w.Close()
	}()
	refused := <-done
	b.problem(refused, http.StatusTooManyRequests, "behind")
	if refused.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", refused.header.Get("Retry-After"))
	}
	if r := b.push("{}\n"); r.status != http.StatusOK {
		t.Errorf("a small body finds no room: %d %s", r.status, r.body)
	}
	for i, w := range clients {
		w.Close()
		if r := <-replies[i]; r.status != http.StatusOK {
			t.Errorf("a slow client got %d %s", r.status, r.body)
		}
	}
	if got := b.metric("weir_push_memory_bytes"); got != "0" {
		t.Errorf("weir_push_memory_bytes is %s in the end", got)
	}
}

func TestPushTooSlow(t *testing.T) {
	b := newBench(t, func(o *api.Options) { o.Limits.BodyTime = 50 * time.Millisecond })
	for _, headers := range [][]string{nil, {"Content-Encoding", "gzip"}} {
		r, w := io.Pipe()
		go io.WriteString(w, zipped(`{"a":1}`)[:12])
		b.problem(b.do("POST", "/v1/streams/flights/events", r, headers...), http.StatusRequestTimeout, "body-timeout")
		w.Close()
	}
}

// TestPushOutlastsItsDeadline is a push whose body came in time and whose fsync
// takes longer than bodies may.
func TestPushOutlastsItsDeadline(t *testing.T) {
	b := newBench(t, func(o *api.Options) { o.Limits.BodyTime = 20 * time.Millisecond })
	b.journal.hold = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
			return nil
		}
	}
	if r := b.push("{}\n"); r.status != http.StatusOK {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

func TestPushAbandoned(t *testing.T) {
	b := newBench(t, nil)
	entered := make(chan struct{})
	b.journal.hold = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", b.URL+"/v1/streams/flights/events", strings.NewReader("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-entered
		cancel()
	}()
	if response, err := b.Client().Do(r); err == nil {
		response.Body.Close()
		t.Fatalf("got %s", response.Status)
	}
	eventually(t, "the push to end", func() bool { return b.metric(`weir_push_refused_total{problem="cancelled"}`) == "1" })
}

// Run: go test -bench Push -run '^$' ./api
func BenchmarkPush(b *testing.B) {
	var body bytes.Buffer
	const events = 10_000
	for i := range events {
		fmt.Fprintf(&body, `{"time":"2001-01-01T00:00:00.%03dZ","service":"checkout","region":"eu-west-1","user":"u%07d","latency_ms":%d.25}`+"\n", i%1000, i*7919, i%500)
	}
	for name, encoded := range map[string]string{"": body.String(), "gzip": zipped(body.String())} {
		b.Run("encoding="+name, func(b *testing.B) {
			server, err := api.New(api.Options{Streams: newStreams(), Ingester: nowhere{}})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(body.Len()))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("POST", "/v1/streams/flights/events", strings.NewReader(encoded))
				r.Header.Set("Content-Encoding", name)
				w := httptest.NewRecorder()
				if server.Handler().ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// nowhere is an ingester that forgets at once.
type nowhere struct{ api.Ingester }

func (nowhere) Push(context.Context, string, string, []byte, int) (weir.Ack, error) {
	return weir.Ack{}, nil
}

func TestPushAtOnce(t *testing.T) {
	b := newBench(t, nil)
	const clients, pushes = 8, 25
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			for i := range pushes {
				body, headers := fmt.Sprintf("[{\"n\":\"%d/%d\"},\n{}]", client, i), []string{"Content-Type", "application/json"}
				if i%2 == 0 {
					body, headers = zipped(body), append(headers, "Content-Encoding", "gzip")
				}
				if r := b.push(body, headers...); r.status != http.StatusOK {
					t.Errorf("client %d: got %d %s", client, r.status, r.body)
				}
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, line := range b.journal.lines {
		seen[line] = true
	}
	if len(b.journal.lines) != 2*clients*pushes || len(seen) != clients*pushes+1 {
		t.Errorf("%d lines arrived, %d of them different", len(b.journal.lines), len(seen))
	}
	if got := b.metric("weir_push_memory_bytes"); got != "0" {
		t.Errorf("weir_push_memory_bytes is %s in the end", got)
	}
}
