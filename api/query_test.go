package api_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
)

// asking makes a server whose engine answers by a function.
func asking(t *testing.T, answer engine, limits api.Limits) *bench {
	return newBench(t, func(o *api.Options) { o.Engine, o.Limits = answer, limits })
}

func TestQueryReachesTheEngine(t *testing.T) {
	var got query.Request
	b := asking(t, func(_ context.Context, q query.Request) (*query.Answer, error) {
		got = q
		return answer(), nil
	}, api.Limits{})
	values := url.Values{
		"stream": {"flights"}, "select": {`count, delay.p99,destination.frequency("A,B")`}, "by": {"origin"},
		"where": {`origin=~"J.*" and distance>500`}, "from": {"2001-01-01T00:00:00Z"}, "to": {"2001-01-02"},
		"step": {"1h"}, "window": {"24h"}, "confidence": {"0.9"},
	}
	body := map[string]any{"confidence": 0.9}
	for name, value := range values {
		if name != "confidence" {
			body[name] = value[0]
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	for method, ask := range map[string]func() reply{
		"GET": func() reply { return b.do("GET", "/v1/query?"+values.Encode(), nil) },
		"POST": func() reply {
			return b.do("POST", "/v1/query", strings.NewReader(string(text)), "Content-Type", "application/json")
		},
	} {
		got = query.Request{}
		r := ask()
		if r.status != http.StatusOK || r.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: got %d %s", method, r.status, r.body)
		}
		var columns []string
		for _, e := range got.Select {
			columns = append(columns, e.String())
		}
		want := []string{"flights", "count|delay.p99|destination.frequency(\"A,B\")", "origin", values["where"][0],
			"2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z", "1h0m0s", "24h0m0s", "0.9"}
		have := []string{got.Stream, strings.Join(columns, "|"), strings.Join(got.By, ","), got.Where.String(),
			got.From.String(), got.To.String(), got.Step.String(), got.Window.String(), fmt.Sprint(got.Confidence)}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: the engine was asked -want +got:\n%s", method, diff)
		}
		var back map[string]any
		if err := json.Unmarshal([]byte(r.body), &back); err != nil || back["stream"] != "flights" {
			t.Errorf("%s: answer %s: %v", method, r.body, err)
		}
	}
}

func TestQueryTimeZoneWithItsPlusLost(t *testing.T) {
	var from string
	b := asking(t, func(_ context.Context, q query.Request) (*query.Answer, error) {
		from = q.From.String()
		return answer(), nil
	}, api.Limits{})
	if r := b.do("GET", "/v1/query?stream=flights&select=count&from=2001-01-01T02:00:00+02:00", nil); r.status != http.StatusOK || from != "2001-01-01T00:00:00Z" {
		t.Errorf("got %d %s, from %s", r.status, r.body, from)
	}
}

func TestQueryForms(t *testing.T) {
	b := newBench(t, nil)
	const ask = "/v1/query?stream=flights&select=count,delay.p99&by=origin&step=1h"
	const csv = "origin,t,count,delay.p99,delay.p99_lower,delay.p99_upper\n" +
		"JFK,2001-01-01T00:00:00Z,84,129.4,127,131\nJFK,2001-01-01T01:00:00Z,33,93,91,97\n"
	for _, test := range []struct{ path, accept, media string }{
		{ask, "", "application/json"},
		{ask, "*/*", "application/json"},
		{ask, "text/html", "application/json"},
		{ask, "text/csv", "text/csv; charset=utf-8"},
		{ask, "application/json;q=0.5, text/csv", "text/csv; charset=utf-8"},
		{ask + "&format=csv", "application/json", "text/csv; charset=utf-8"},
		{ask + "&format=json", "text/csv", "application/json"},
	} {
		r := b.do("GET", test.path, nil, "Accept", test.accept)
		if r.status != http.StatusOK || r.header.Get("Content-Type") != test.media {
			t.Errorf("%+v: got %d %s", test, r.status, r.header.Get("Content-Type"))
		}
		if strings.HasPrefix(test.media, "text/csv") && r.body != csv {
			t.Errorf("%+v: got\n%s", test, r.body)
		}
	}
	r := b.do("POST", "/v1/query", strings.NewReader(`{"stream":"flights","select":"count","format":"csv"}`), "Content-Type", "application/json")
	if r.body != csv {
		t.Errorf("POST: got %d %s", r.status, r.body)
	}
}

func TestQueryCompressed(t *testing.T) {
	b := newBench(t, nil)
	const path = "/v1/query?stream=flights&select=count"
	plain := b.do("GET", path, nil, "Accept-Encoding", "identity")
	r := b.do("GET", path, nil, "Accept-Encoding", "gzip")
	if r.header.Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(r.header.Values("Vary"), ","), "Accept-Encoding") {
		t.Fatalf("got headers %v", r.header)
	}
	z, err := gzip.NewReader(strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(z)
	if err != nil || string(read) != plain.body {
		t.Errorf("got %q, %v, want %q", read, err, plain.body)
	}
}

func TestQueryMistakes(t *testing.T) {
	b := newBench(t, nil)
	get := func(q string) reply { return b.do("GET", "/v1/query?"+q, nil) }
	post := func(body string) reply {
		return b.do("POST", "/v1/query", strings.NewReader(body), "Content-Type", "application/json")
	}
	for _, test := range []struct {
		name                       string
		r                          reply
		parameter, in, says, meant string
	}{
		{"misspelt", get("stream=flights&selct=count"), "selct", "query", "unknown parameter", "select"},
		{"unknown", get("stream=flights&select=count&colour=blue"), "colour", "query", "there are stream, select", ""},
		{"missing", get("stream=flights"), "select", "query", "required", ""},
		{"twice", get("stream=flights&select=count&select=rate"), "select", "query", "2 times", ""},
		{"too long", get("stream=" + strings.Repeat("x", 300) + "&select=count"), "stream", "query", "length <= 256", ""},
		{"format", get("stream=flights&select=count&format=xml"), "format", "query", "json, csv", ""},
		{"the engine's", get("stream=flights&select=count&step=fast"), "step", "query", "fast", ""},
		{"confidence", get("stream=flights&select=count&confidence=2"), "confidence", "query", "between 0 and 1", ""},
		{"query string of a POST", b.do("POST", "/v1/query?stream=flights", strings.NewReader("{}"), "Content-Type", "application/json"), "stream", "query", "unknown parameter", ""},
		{"misspelt in a body", post(`{"stream":"flights","select":"count","stp":"1h"}`), "stp", "body", "unexpected property", "step"},
		{"missing in a body", post(`{"stream":"flights"}`), "body", "body", "select", ""},
		{"type in a body", post(`{"stream":"flights","select":["count"]}`), "select", "body", "expected string", ""},
		{"confidence in a body", post(`{"stream":"flights","select":"count","confidence":1.5}`), "confidence", "body", "< 1", ""},
		{"the engine's in a body", post(`{"stream":"flights","select":"count","from":"teatime"}`), "from", "body", "teatime", ""},
		{"parameter of a list of streams", b.do("GET", "/v1/streams?name=flights", nil), "name", "query", "there are none", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := b.problem(test.r, http.StatusBadRequest, "invalid-request")
			if len(p.Errors) == 0 {
				t.Fatalf("got %+v", p)
			}
			e := p.Errors[0]
			if e.Parameter != test.parameter || e.In != test.in || !strings.Contains(e.Message, test.says) || e.Suggestion != test.meant {
				t.Errorf("got %+v, want %+v", e, test)
			}
			if !strings.Contains(p.Detail, test.says) || test.meant != "" && !strings.Contains(p.Detail, fmt.Sprintf("did you mean %q?", test.meant)) {
				t.Errorf("the detail is %q", p.Detail)
			}
		})
	}
	t.Run("escapes", func(t *testing.T) {
		b.problem(get("stream=flights&select=%zz"), http.StatusBadRequest, "invalid-request")
	})
	t.Run("no JSON", func(t *testing.T) {
		b.problem(post(`{"stream":`), http.StatusBadRequest, "invalid-request")
	})
	t.Run("no body", func(t *testing.T) {
		b.problem(post(""), http.StatusBadRequest, "invalid-request")
	})
	t.Run("media type", func(t *testing.T) {
		r := b.do("POST", "/v1/query", strings.NewReader("stream=flights"), "Content-Type", "application/x-www-form-urlencoded")
		b.problem(r, http.StatusUnsupportedMediaType, "unsupported-media-type")
	})
	t.Run("large body", func(t *testing.T) {
		b.problem(post(`{"stream":"`+strings.Repeat("x", 300<<10)+`"}`), http.StatusRequestEntityTooLarge, "body-too-large")
	})
	t.Run("many mistakes", func(t *testing.T) {
		var q strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&q, "x%d=1&", i)
		}
		if p := b.problem(get(q.String()), http.StatusBadRequest, "invalid-request"); len(p.Errors) != 10 {
			t.Errorf("%d mistakes are listed", len(p.Errors))
		}
	})
	if got := b.metric(`weir_query_duration_seconds_count{outcome="answered"}`); got != "0" {
		t.Errorf("%s queries were answered", got)
	}
}

func TestQueryErrorsOfTheEngine(t *testing.T) {
	for _, test := range []struct {
		err     error
		status  int
		name    string
		outcome string
	}{
		{&query.ParamError{Param: "by", Detail: "no such dimension", Suggestion: "origin"}, 400, "invalid-request", "refused"},
		{fmt.Errorf("ask: %w", &query.LimitError{Limit: query.ErrTooManyCells, Detail: "over 5"}), 422, "query-limit", "refused"},
		{&query.LimitError{Limit: query.ErrTooManySeries, Detail: "over 5"}, 422, "query-limit", "refused"},
		{&query.LimitError{Limit: query.ErrTooLong, Detail: "over 5s"}, 504, "query-timeout", "timed_out"},
		{weir.ErrUnknownStream, 404, "unknown-stream", "refused"},
		{errors.New("open /secret/segment: gone"), 500, "internal", "failed"},
	} {
		b := asking(t, func(context.Context, query.Request) (*query.Answer, error) { return nil, test.err }, api.Limits{})
		r := b.do("GET", "/v1/query?stream=flights&select=count", nil, "Accept", "text/csv")
		p := b.problem(r, test.status, test.name)
		if strings.Contains(r.body, "secret") {
			t.Errorf("the answer tells of the server: %s", r.body)
		}
		var param *query.ParamError
		if errors.As(test.err, &param) && (p.Errors[0].Parameter != "by" || p.Errors[0].Suggestion != "origin") {
			t.Errorf("got %+v", p)
		}
		if got := b.metric(`weir_query_duration_seconds_count{outcome="` + test.outcome + `"}`); got != "1" {
			t.Errorf("%v: outcome %s was counted %s times", test.err, test.outcome, got)
		}
	}
}

func TestQueryTakesTooLong(t *testing.T) {
	b := asking(t, func(ctx context.Context, _ query.Request) (*query.Answer, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("read segment: %w", ctx.Err())
	}, api.Limits{QueryTime: 20 * time.Millisecond})
	p := b.problem(b.do("GET", "/v1/query?stream=flights&select=count", nil), http.StatusGatewayTimeout, "query-timeout")
	if !strings.Contains(p.Detail, "20ms") {
		t.Errorf("%q does not name the limit", p.Detail)
	}
}

func TestQueryAbandoned(t *testing.T) {
	asked := make(chan struct{})
	b := asking(t, func(ctx context.Context, _ query.Request) (*query.Answer, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}, api.Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", b.URL+"/v1/query?stream=flights&select=count", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		cancel()
	}()
	if response, err := b.Client().Do(r); err == nil {
		response.Body.Close()
		t.Fatalf("got %s", response.Status)
	}
	eventually(t, "the query to end", func() bool { return b.metric(`weir_query_duration_seconds_count{outcome="abandoned"}`) == "1" })
}

// TestQueryTurns has one query run and one wait; the third is sent away.
func TestQueryTurns(t *testing.T) {
	free := make(chan struct{})
	b := asking(t, func(ctx context.Context, _ query.Request) (*query.Answer, error) {
		select {
		case <-free:
			return answer(), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, api.Limits{Queries: 1, QueryQueue: 1})
	const path = "/v1/query?stream=flights&select=count"
	done := make(chan reply, 2)
	go func() { done <- b.do("GET", path, nil) }()
	go func() { done <- b.do("GET", path, nil) }()
	eventually(t, "one query to wait", func() bool { return b.metric("weir_query_waiting") == "1" })
	r := b.do("GET", path, nil)
	b.problem(r, http.StatusTooManyRequests, "behind")
	if r.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
	}
	close(free)
	for range 2 {
		if r := <-done; r.status != http.StatusOK {
			t.Errorf("got %d %s", r.status, r.body)
		}
	}
	if got := b.metric("weir_query_waiting"); got != "0" {
		t.Errorf("%s queries wait in the end", got)
	}
}

// TestAnswerCutOff has a client that leaves in the middle of a long answer,
// which is nobody's failure.
func TestAnswerCutOff(t *testing.T) {
	long := answer()
	for range 100_000 { // more than what sockets hold
		long.Series = append(long.Series, long.Series[0])
	}
	b := asking(t, func(context.Context, query.Request) (*query.Answer, error) { return long, nil }, api.Limits{})
	r, err := http.NewRequestWithContext(t.Context(), "GET", b.URL+"/v1/query?stream=flights&select=count", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity") // so that it is long on the wire as well
	response, err := b.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(response.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	response.Body.Close() // more is on its way, so this closes the connection
	eventually(t, "the answer to be cut off", func() bool { return strings.Contains(b.log.String(), "answer cut off") })
	if got := b.metric("weir_http_panics_total"); got != "0" {
		t.Errorf("weir_http_panics_total is %q", got)
	}
}
