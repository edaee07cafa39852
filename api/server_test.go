package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
)

func TestStreams(t *testing.T) {
	b := newBench(t, nil)
	var got struct{ Streams []api.StreamInfo }
	r := b.do("GET", "/v1/streams", nil)
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || len(got.Streams) != 2 {
		t.Fatalf("got %d %s: %v", r.status, r.body, err)
	}
	var raw struct{ Streams []json.RawMessage }
	if err := json.Unmarshal([]byte(r.body), &raw); err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"flights","source":"push","time":{"field":"time","format":"rfc3339","lateness":"10s"},"window":"1h",` +
		`"dimensions":[{"name":"origin","field":"origin"}],` +
		`"measures":[{"name":"delay","kind":"quantile","field":"delay","params":{"sketch":"tdigest","compression":100}},` +
		`{"name":"destination","kind":"distinct","field":"destination","params":{"precision":14}}],` +
		`"retention":[{"window":"1h","keep":"14d"}],"max_series":100,"select":["count","delay.p99"],` +
		`"watermark":"2001-01-01T00:00:00Z","oldest":null,"newest":null,"events":9,"rejected":{"bad_time":2,"not_json":1},"segments":1,` +
		`"partitions":[{"partition":"3","counted":9,"committed":1,"position":0,"lag":null,"watermark":null},` +
		`{"partition":"4","counted":8,"committed":null,"position":null,"lag":null,"watermark":null}],` +
		`"gaps":[{"partition":"4","from":8,"to":null,"reason":"damaged","since":"1970-01-01T00:00:00Z","until":"1970-01-01T00:00:00Z"}]}`
	if diff := cmp.Diff(want, string(raw.Streams[0])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.Streams[1].Source != "file" || got.Streams[1].Path != "web.ndjson" {
		t.Errorf("got %+v", got.Streams[1])
	}
}

func TestRejected(t *testing.T) {
	b := newBench(t, nil)
	r := b.do("GET", "/v1/streams/flights/rejected", nil)
	const want = `{"stream":"flights","total":3,"reasons":{"bad_time":2,"not_json":1},"sample":[` +
		`{"reason":"not_json","line":"tru","partition":"3","offset":7,"time":"1970-01-01T00:00:05Z"}]}` + "\n"
	if diff := cmp.Diff(want, r.body); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p := b.problem(b.do("GET", "/v1/streams/flight/rejected", nil), http.StatusNotFound, "unknown-stream")
	if p.Errors[0].Suggestion != "flights" {
		t.Errorf("got %+v", p)
	}
}

func TestHealth(t *testing.T) {
	starting := errors.New("3 partitions are still starting")
	b := newBench(t, func(o *api.Options) { o.Ready = func() error { return starting } })
	if r := b.do("GET", "/-/healthy", nil); r.status != http.StatusOK {
		t.Errorf("healthy: %d %s", r.status, r.body)
	}
	if p := b.problem(b.do("GET", "/-/ready", nil), http.StatusServiceUnavailable, "not-ready"); !strings.Contains(p.Detail, "3 partitions") {
		t.Errorf("got %+v", p)
	}
	starting = nil
	if r := b.do("GET", "/-/ready", nil); r.status != http.StatusOK {
		t.Errorf("ready: %d %s", r.status, r.body)
	}
}

func TestNoSuchRoute(t *testing.T) {
	b := newBench(t, nil)
	if p := b.problem(b.do("GET", "/v1/querry", nil), http.StatusNotFound, "not-found"); !strings.Contains(p.Detail, "did you mean /v1/query?") {
		t.Errorf("got %+v", p)
	}
	if p := b.problem(b.do("GET", "/favicon.ico", nil), http.StatusNotFound, "not-found"); !strings.Contains(p.Detail, "/openapi.yaml") {
		t.Errorf("got %+v", p)
	}
	r := b.do("DELETE", "/v1/query", nil)
	b.problem(r, http.StatusMethodNotAllowed, "method-not-allowed")
	if got := r.header.Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow is %q", got)
	}
	if r := b.do("HEAD", "/-/healthy", nil); r.status != http.StatusOK || r.body != "" {
		t.Errorf("HEAD: %d %q", r.status, r.body)
	}
	b.do("BREW", "/v1/query", nil)
	if got := b.metric(`weir_http_requests_total{code="405",method="other",route="unmatched"}`); got != "1" {
		t.Errorf("a strange method was counted %q times as other", got)
	}
}

func TestCrossOrigin(t *testing.T) {
	b := newBench(t, nil)
	b.problem(b.push("{}\n", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, "cross-origin")
	b.problem(b.push("{}\n", "Origin", "https://evil.example"), http.StatusForbidden, "cross-origin")
	if r := b.push("{}\n", "Origin", b.URL); r.status != http.StatusOK {
		t.Errorf("a page of ours: %d %s", r.status, r.body)
	}
}

func TestHeaders(t *testing.T) {
	b := newBench(t, nil)
	r := b.do("GET", "/v1/streams", nil)
	for name, want := range map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		"Cache-Control":           "no-store",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := b.do("GET", "/", nil, "X-Request-Id", "a-b_c.9").header.Get("X-Request-Id"); got != "a-b_c.9" {
		t.Errorf("a plain request id became %q", got)
	}
	for _, id := range []string{"", "a b", strings.Repeat("x", 65), `{"a"}`} {
		if got := b.do("GET", "/", nil, "X-Request-Id", id).header.Get("X-Request-Id"); got == id || got == "" {
			t.Errorf("request id %q became %q", id, got)
		}
	}
	if !strings.Contains(b.log.String(), `"level":"DEBUG","msg":"request","request_id":"a-b_c.9","method":"GET","path":"/","route":"unmatched","status":404`) {
		t.Errorf("the request is not in the log:\n%s", b.log)
	}
}

func TestPanics(t *testing.T) {
	b := asking(t, func(context.Context, query.Request) (*query.Answer, error) { panic("the secret is out") }, api.Limits{})
	r := b.do("GET", "/v1/query?stream=flights&select=count", nil)
	b.problem(r, http.StatusInternalServerError, "internal")
	if strings.Contains(r.body, "secret") || !strings.Contains(b.log.String(), "the secret is out") {
		t.Errorf("answer %s, log %s", r.body, b.log)
	}
	if got := b.metric("weir_http_panics_total"); got != "1" {
		t.Errorf("weir_http_panics_total is %q", got)
	}
	if got := b.metric("weir_http_requests_in_flight"); got != "1" { // the one that asks
		t.Errorf("weir_http_requests_in_flight is %q", got)
	}
	if r := b.push("{}\n"); r.status != http.StatusOK {
		t.Errorf("after a panic: %d %s", r.status, r.body)
	}
}

// TestPanicInTheMiddle has an answer that can't be written to its end: the client
// must not take its beginning for all of it.
func TestPanicInTheMiddle(t *testing.T) {
	broken := answer()
	broken.Series = append(broken.Series, query.Series{}) // without a value of its dimension
	b := asking(t, func(context.Context, query.Request) (*query.Answer, error) { return broken, nil }, api.Limits{})
	for _, encoding := range []string{"identity", "gzip"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", b.URL+"/v1/query?stream=flights&select=count", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", encoding)
		response, err := b.Client().Do(r)
		if err != nil {
			continue // cut off before the first byte
		}
		read, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err == nil {
			t.Errorf("%s: half an answer looks whole: %q", encoding, read)
		}
	}
	if got := b.metric("weir_http_panics_total"); got != "2" {
		t.Errorf("weir_http_panics_total is %q", got)
	}
}

// TestOpenAPI checks that the document parses, in both forms to the same, that
// each of its operations is routed, and that what it says of answers is so.
func TestOpenAPI(t *testing.T) {
	b := newBench(t, nil)
	var fromJSON, fromYAML map[string]any
	if err := json.Unmarshal([]byte(b.do("GET", "/openapi.json", nil).body), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(b.do("GET", "/openapi.yaml", nil).body), &fromYAML); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	fromYAML = nil
	if err := json.Unmarshal(again, &fromYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
		t.Errorf("JSON and YAML differ:\n%s", diff)
	}

	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
			RequestBody *struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal(again, &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Errorf("version %q", document.OpenAPI)
	}
	var operations []string
	for path, methods := range document.Paths {
		for method, operation := range methods {
			operations = append(operations, strings.ToUpper(method)+" "+path)
			if operation.OperationID == "" || len(operation.Responses) == 0 {
				t.Errorf("%s %s is documented as %+v", method, path, operation)
			}
			r := b.do(strings.ToUpper(method), strings.ReplaceAll(path, "{stream}", "flights"), strings.NewReader(""))
			if r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed {
				t.Errorf("%s %s is documented and answers %d", method, path, r.status)
			}
		}
	}
	want := []string{
		"DELETE /v1/silences/{id}",
		"GET /-/healthy", "GET /-/ready", "GET /metrics", "GET /openapi.json", "GET /openapi.yaml",
		"GET /v1/deliveries", "GET /v1/incidents", "GET /v1/incidents/stream", "GET /v1/incidents/{id}",
		"GET /v1/query", "GET /v1/silences", "GET /v1/streams", "GET /v1/streams/{stream}/rejected",
		"POST /v1/deliveries/{webhook}/{id}/redeliver", "POST /v1/incidents/{id}/feedback",
		"POST /v1/query", "POST /v1/silences", "POST /v1/streams/{stream}/events",
	}
	if diff := cmp.Diff(want, sorted(operations)); diff != "" {
		t.Errorf("operations -want +got:\n%s", diff)
	}
	if push := document.Paths["/v1/streams/{stream}/events"]["post"]; push.RequestBody == nil || push.RequestBody.Content["application/x-ndjson"] == nil {
		t.Errorf("the body of a push is not documented: %+v", push)
	}

	for path, request := range map[string]string{
		"/v1/query":                     "/v1/query?stream=flights&select=count",
		"/v1/streams":                   "/v1/streams",
		"/v1/streams/{stream}/rejected": "/v1/streams/flights/rejected",
		"/-/ready":                      "/-/ready",
	} {
		b.checkSchema(path, "200", "application/json", b.do("GET", request, nil).body)
	}
	b.checkSchema("/v1/query", "400", "application/problem+json", b.do("GET", "/v1/query?selct=count", nil).body)
}

// checkSchema holds an answer of GET path against what the document says of it.
func (b *bench) checkSchema(path, status, media, answer string) {
	b.t.Helper()
	document := b.server.Huma().OpenAPI()
	response := document.Paths[path].Get.Responses[status]
	if response == nil || response.Content[media] == nil {
		b.t.Fatalf("%s: no %s as %s is documented", path, status, media)
	}
	var value any
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		b.t.Fatalf("%s: %v in %s", path, err, answer)
	}
	result := &huma.ValidateResult{}
	huma.Validate(document.Components.Schemas, response.Content[media].Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, value, result)
	for _, err := range result.Errors {
		b.t.Errorf("%s: the answer is not as documented: %v\n%s", path, err, answer)
	}
}

func TestMetricsRefuseASecondServer(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := api.New(api.Options{Registry: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.New(api.Options{Registry: registry}); err == nil {
		t.Error("two servers share a registry")
	}
}

func TestAdmin(t *testing.T) {
	w := httptest.NewRecorder()
	api.Admin().ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/goroutine?debug=1", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "goroutine profile") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// halfBroken is an engine that cannot tell of one stream.
type halfBroken struct{ engine }

func (e halfBroken) Info(ctx context.Context, stream string) (*query.Info, error) {
	if stream == "weblog" {
		return nil, errors.New("disk on fire")
	}
	return e.engine.Info(ctx, stream)
}

func TestStreamsDespiteOne(t *testing.T) {
	b := newBench(t, func(o *api.Options) { o.Engine = halfBroken{o.Engine.(engine)} })
	r := b.do("GET", "/v1/streams", nil)
	var got struct{ Streams []api.StreamInfo }
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != http.StatusOK || len(got.Streams) != 2 {
		t.Fatalf("got %d %s, %v", r.status, r.body, err)
	}
	if good := got.Streams[0]; good.Name != "flights" || good.Error != "" || good.Events != 9 {
		t.Errorf("the stream that can be read: %+v", good)
	}
	if bad := got.Streams[1]; bad.Name != "weblog" || bad.Error == "" || bad.Window != "1m" || strings.Contains(r.body, "on fire") {
		t.Errorf("the one that cannot: %+v", bad)
	}
	if !strings.Contains(b.log.String(), "disk on fire") {
		t.Error("the log does not say why")
	}
	b.checkSchema("/v1/streams", "200", "application/json", r.body)
}
