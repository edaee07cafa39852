package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest/s3test"
)

// script is a proxy that does one fault after another to what comes, then none.
type script struct {
	s3test.Proxy

	mu       sync.Mutex
	faults   []s3test.Fault // guarded by mu
	requests int            // since play; guarded by mu
}

func newScript(server http.Handler) *script {
	s := &script{Proxy: s3test.Proxy{Server: server, Delay: 10 * time.Millisecond}}
	s.OnRequest = func(*http.Request) s3test.Fault {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests++
		if s.requests <= len(s.faults) {
			return s.faults[s.requests-1]
		}
		return s3test.Pass
	}
	return s
}

func (s *script) play(faults ...s3test.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.requests = faults, 0
}

// Whatever befalls one or two requests of an operation, the operation does what
// it is for.
func TestOperationsOutliveFaults(t *testing.T) {
	for name, server := range s3test.Servers(t) {
		t.Run(name, func(t *testing.T) { testOperationsOutliveFaults(t, server) })
	}
}

func testOperationsOutliveFaults(t *testing.T, server http.Handler) {
	proxy := newScript(server)
	b := open(t, s3test.Serve(t, proxy), s3test.Prefix())
	b.policy = quick
	large := bytes.Repeat([]byte("0123456789"), 50_000)
	ctx := t.Context()
	n := 0
	for first := range s3test.FaultsCount {
		for second := range s3test.FaultsCount {
			if first == s3test.Stalled && second != s3test.Pass || second == s3test.Stalled && first != s3test.CutAfter {
				continue // the same as others, and slow
			}
			n++
			name := fmt.Sprintf("folder%d/o", n)
			for _, op := range []struct {
				what string
				do   func() error
			}{
				{"put", func() error { return b.Put(ctx, name, large) }},
				{"put another", func() error {
					if err := b.Put(ctx, name, []byte("another")); !errors.Is(err, store.ErrExists) {
						return fmt.Errorf("it says %w", err)
					}
					return nil
				}},
				{"read", func() error {
					data, err := b.Read(ctx, name)
					if err == nil && !bytes.Equal(data, large) {
						err = fmt.Errorf("read %d bytes", len(data))
					}
					return err
				}},
				{"read absent", func() error {
					if _, err := b.Read(ctx, name+"x"); !errors.Is(err, store.ErrNotFound) {
						return fmt.Errorf("it says %w", err)
					}
					return nil
				}},
				{"open and read a part", func() error {
					o, err := b.Open(ctx, name)
					if err != nil {
						return err
					}
					p := make([]byte, 100_000)
					_, err = o.ReadAt(p, 1000)
					if err == nil && !bytes.Equal(p, large[1000:][:len(p)]) {
						err = errors.New("other bytes")
					}
					return err
				}},
				{"list", func() error {
					var names []string
					for name, err := range b.List(ctx, fmt.Sprintf("folder%d/", n), "") {
						if err != nil {
							return err
						}
						names = append(names, name)
					}
					if !slices.Equal(names, []string{name}) {
						return fmt.Errorf("it lists %q", names)
					}
					return nil
				}},
				{"delete", func() error { return b.Delete(ctx, name) }},
			} {
				proxy.play(first, second)
				if err := op.do(); err != nil {
					t.Errorf("%s, the first request %v, the second %v: %v", op.what, first, second, err)
				}
			}
		}
	}
	for _, outcome := range []outcome{outcomeOK, outcomeTaken, outcomeThrottled, outcomeSlow, outcomeFailed} {
		if count := testutil.ToFloat64(b.metrics.requests.WithLabelValues(string(opPut), string(outcome))); count < 3 {
			t.Errorf("%v puts were %s", count, outcome)
		}
	}
	if read := testutil.ToFloat64(b.metrics.read); read < float64(n*len(large)) {
		t.Errorf("%v bytes were read", read)
	}
}

// What does not pass is an error that means neither absent nor taken, after a
// bounded number of requests.
func TestFaultsThatLast(t *testing.T) {
	proxy := newScript(s3test.New(t, s3test.Kept))
	b := open(t, s3test.Serve(t, proxy), "")
	b.policy = policy{patience: 50 * time.Millisecond, rate: 1 << 30, attempts: 3, first: time.Millisecond, longest: time.Millisecond}
	for fault := s3test.Internal; fault < s3test.FaultsCount; fault++ {
		if fault == s3test.Late || fault == s3test.CutBody {
			continue // a put succeeds
		}
		proxy.play(slices.Repeat([]s3test.Fault{fault}, 100)...)
		err := b.Put(t.Context(), fmt.Sprint("o", int(fault)), []byte("data"))
		if err == nil || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("put, always %v: %v", fault, err)
		}
		proxy.mu.Lock()
		if n := proxy.requests; n < 1 || n > 3 { // one may be given up before it arrives
			t.Errorf("put, always %v: %d requests", fault, n)
		}
		proxy.mu.Unlock()
		if _, err := b.Read(t.Context(), "o"); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
			t.Errorf("read, always %v: %v", fault, err)
		}
	}
}

// A put that is refused while nothing can be read under the name is repeated:
// what stood there was deleted, or somebody else's put was under way and failed.
func TestRefusedAndAbsent(t *testing.T) {
	refusals := 0
	server := s3test.New(t, s3test.Kept)
	b := open(t, s3test.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && refusals > 0 {
			refusals--
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = w.Write([]byte("<Error><Code>PreconditionFailed</Code></Error>"))
			return
		}
		server.ServeHTTP(w, r)
	})), "")
	b.policy = quick
	refusals = quick.attempts - 1
	if err := b.Put(t.Context(), "o", []byte("data")); err != nil {
		t.Error(err)
	}
	refusals = 100
	if err := b.Put(t.Context(), "p", []byte("data")); err == nil || errors.Is(err, store.ErrExists) {
		t.Errorf("refused for good, and absent: %v", err)
	}
}

// The end of the context ends an operation at once, and is named.
func TestTheContextBoundsRepeating(t *testing.T) {
	for _, fault := range []s3test.Fault{s3test.SlowDown, s3test.Stalled} {
		proxy := newScript(s3test.New(t, s3test.Kept))
		proxy.play(slices.Repeat([]s3test.Fault{fault}, 100)...)
		b := open(t, s3test.Serve(t, proxy), "")
		b.policy = policy{patience: time.Minute, rate: 1, attempts: 1000, first: time.Minute, longest: time.Minute}
		reason := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, reason)
		defer cancel()
		begun := time.Now()
		if err := b.Put(ctx, "o", nil); !errors.Is(err, reason) {
			t.Errorf("%v: %v", fault, err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%v: it took %v", fault, took)
		}
	}
}

// Only the service's own word for an object is absence. Libraries say "not
// found" of a missing bucket, of access denied, and of hosts without an address.
func TestAbsentIsSaidByTheService(t *testing.T) {
	s3test.Setenv(t)
	answer := func(status int, contentType, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			if _, code, ok := strings.Cut(body, "<Code>"); ok {
				code, _, _ = strings.Cut(code, "<")
				w.Header().Set("x-ms-error-code", code)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	inXML := func(code string) string { return "<Error><Code>" + code + "</Code><Message>m</Message></Error>" }
	inJSON := func(code int) string { return fmt.Sprintf(`{"error": {"code": %d, "message": "m"}}`, code) }
	locate := map[string]func(endpoint *url.URL) string{
		"s3": func(u *url.URL) string { return s3test.Location(u.String(), "") },
		"gs": func(u *url.URL) string {
			t.Setenv("STORAGE_EMULATOR_HOST", u.Host)
			return "gs://bucket?anonymous=true"
		},
		"azblob": func(u *url.URL) string {
			return "azblob://container?protocol=http&localemu=true&domain=" + u.Host
		},
	}
	for _, c := range []struct {
		service string
		handler http.Handler
		absent  bool
	}{
		{"s3", answer(404, "application/xml", inXML("NoSuchKey")), true},
		{"s3", answer(404, "application/xml", inXML("NoSuchBucket")), false},
		{"s3", answer(403, "application/xml", inXML("AccessDenied")), false},
		{"s3", answer(404, "text/html", "<html>nothing here</html>"), false},
		{"s3", answer(403, "application/xml", inXML("ObjectNotInActiveTierError")), false},
		{"gs", answer(404, "application/json", inJSON(404)), true},
		{"gs", answer(403, "application/json", inJSON(403)), false},
		{"gs", answer(412, "application/json", inJSON(412)), false},
		{"azblob", answer(404, "application/xml", inXML("BlobNotFound")), true},
		{"azblob", answer(404, "application/xml", inXML("ContainerNotFound")), false},
		{"azblob", answer(403, "application/xml", inXML("AuthenticationFailed")), false},
	} {
		server := httptest.NewServer(c.handler)
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(t.Context(), locate[c.service](u))
		if err != nil {
			t.Fatal(err)
		}
		b.policy = quick
		b.policy.patience = 5 * time.Second
		_, openErr := b.Open(t.Context(), "o")
		_, readErr := b.Read(t.Context(), "o")
		for _, err := range []error{openErr, readErr} {
			if errors.Is(err, store.ErrNotFound) != c.absent || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: %v", c.service, err)
			}
		}
		b.Close()
		server.Close()
	}
	b, err := Open(t.Context(), "azblob://container?protocol=http&domain=nowhere.invalid")
	if err != nil {
		t.Fatal(err)
	}
	b.policy = quick
	if _, err := b.Read(t.Context(), "o"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a host without an address: %v", err)
	}
}
