package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
)

const cannedAnswer = `{"stream": "web", "from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "confidence": 0.95,
 "watermark": null, "complete": false, "notes": [], "offsets": {}, "rejected": {},
 "series": [{"by": {}, "t": ["2026-03-01T00:00:00Z"], "values": {"count": {"value": [42]}}}]}`

// A configuration leads to the server that it describes, when one listens.
func TestAskConfigured(t *testing.T) {
	var asked *http.Request
	var store string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.Header().Set(api.StoreHeader, store)
		fmt.Fprint(w, cannedAnswer)
	}))
	defer server.Close()
	config := filepath.Join(t.TempDir(), "weir.yaml")
	text := fmt.Sprintf("listen: %s\nstreams: {web: {}}\n", server.Listener.Addr())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := weir.Load(config)
	if err != nil {
		t.Fatal(err)
	}
	store = storeID(c)
	var stderr bytes.Buffer
	q := query.Text{Stream: "web", Select: "count", Where: `a = "b & c"`, From: "-1h"}
	answer, err := askConfigured(t.Context(), &stderr, config, true, "127.0.0.1:1", q)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Series[0].Columns[0].Value[0]; got != 42 {
		t.Errorf("count is %v, want what the server said, 42", got)
	}
	if asked.FormValue("where") != q.Where || asked.FormValue("from") != q.From || asked.FormValue("by") != "" {
		t.Errorf("the server was asked %s", asked.URL)
	}
	if _, err := askConfigured(t.Context(), &stderr, filepath.Join(t.TempDir(), "weir.yaml"), false, server.URL, q); err != nil {
		t.Errorf("without a configuration the fallback is asked: %v", err)
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr %q", &stderr)
	}

	// The server of another store, or what is no Weir at all, is not believed.
	if err := os.Mkdir(c.Store, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, store = range []string{"", "another"} {
		stderr.Reset()
		answer, err := askConfigured(t.Context(), &stderr, config, true, "127.0.0.1:1", query.Text{Stream: "web", Select: "count"})
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.Series[0].Columns[0].Value[0]; got != 0 || !strings.Contains(stderr.String(), "does not serve the store") {
			t.Errorf("count is %v, want 0 of the empty store; stderr %q", got, &stderr)
		}
	}
}

// What a server refuses with is passed on; what is no Weir is said to be so.
func TestServerErrors(t *testing.T) {
	for _, test := range []struct {
		name, body, want string
		status           int
	}{
		{"problem", `{"title": "Invalid request", "detail": "select: no such thing", "errors": []}`, "select: no such thing", 400},
		{"title only", `{"title": "Behind"}`, "Behind", 429},
		{"another server", "<html>not found</html>", "not how Weir answers", 404},
		{"no answer", "ok", "answer of http://127.0.0.1", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			}))
			defer server.Close()
			_, err := askServer(t.Context(), server.URL, query.Text{Stream: "web", Select: "count"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8080":   "127.0.0.1:8080",
		":8080":            "127.0.0.1:8080",
		"0.0.0.0:8080":     "127.0.0.1:8080",
		"[::]:8080":        "127.0.0.1:8080",
		"weir.example:80":  "weir.example:80",
		"192.168.1.7:8080": "192.168.1.7:8080",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("reachable(%q) = %q, want %q", listen, got, want)
		}
	}
}
