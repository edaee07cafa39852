package api

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

const requestIDHeader = "X-Request-Id"

// StoreHeader names, opaquely, the store that a server answers from: who has a
// store of its own in mind knows by it whether it asks the right server.
const StoreHeader = "Weir-Store"

// requestIDKey is the context's key of a request's id.
type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// identify gives each request an id, or keeps the one that a proxy gave it.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !isRequestID(id) {
			id = rand.Text()
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// isRequestID keeps what strangers send out of logs unless it is short and plain.
func isRequestID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// tellStore says from which store is answered.
func (s *Server) tellStore(next http.Handler) http.Handler {
	if s.store == "" {
		return next
	}
	return middleware.SetHeader(StoreHeader, s.store)(next)
}

// observe counts, times and logs requests.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.metrics.inFlight.Inc()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			s.metrics.inFlight.Dec()
			elapsed := time.Since(start)
			// Patterns and methods are few; what strangers send is not a label.
			route := chi.RouteContext(r.Context()).RoutePattern()
			if route == "" || route == "/*" {
				route = "unmatched"
			}
			method := r.Method
			if !slices.Contains(methods, method) {
				method = "other"
			}
			status := ww.Status()
			if status == 0 {
				status = http.StatusOK // what net/http makes of a handler that writes nothing
			}
			s.metrics.request(route, method, status, elapsed)
			s.log.LogAttrs(r.Context(), slog.LevelDebug, "request",
				slog.String("request_id", requestID(r.Context())),
				slog.String("method", method), slog.String("path", r.URL.Path), slog.String("route", route),
				slog.Int("status", status), slog.Int("bytes", ww.BytesWritten()),
				slog.Duration("elapsed", elapsed), slog.String("remote", r.RemoteAddr))
		}()
		next.ServeHTTP(ww, r)
	})
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// rescue answers for a handler that panicked. What was already on its way is cut
// off, so that no one takes half an answer for a whole one.
func (s *Server) rescue(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			s.metrics.panics.Inc()
			s.log.LogAttrs(r.Context(), slog.LevelError, "handler panicked",
				slog.String("request_id", requestID(r.Context())), slog.String("path", r.URL.Path),
				slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			if ww.Status() != 0 {
				panic(http.ErrAbortHandler)
			}
			s.write(ww, r, internal.problem("the server failed; its log says why"))
		}()
		next.ServeHTTP(ww, r)
	})
}

// harden sets what keeps a browser from making more of an answer than data.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// sameOrigin refuses what a page of another site makes a browser send. The API
// asks nobody for a password, so being on the same machine must not be enough.
func (s *Server) sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, crossOrigin.problem("a page of another origin may not send this"))
	}))
	return protection.Handler(next)
}

// maxMistakes bounds how many mistakes of one request are listed.
const maxMistakes = 10

// checkQuery refuses parameters that the operation does not know, so that a
// misspelt one is never silently without effect, and those given twice.
func (s *Server) checkQuery(ctx huma.Context, next func(huma.Context)) {
	ctx = &statusContext{humaContext: ctx}
	r, w := humachi.Unwrap(ctx)
	if r.URL.RawQuery == "" {
		next(ctx)
		return
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.write(w, r, invalidRequest.problem("the query string can't be read: %v; encode %% as %%25, & as %%26, ; as %%3B", err))
		return
	}
	var known []string
	for _, p := range ctx.Operation().Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	p := invalidRequest.problem("")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(p.Errors) == maxMistakes {
			break
		}
		given := values[name]
		switch {
		case slices.Contains(known, name) && len(given) > 1:
			p.mistake("query", name, "", "it was given %d times; give it once, with commas between what it lists", len(given))
		case slices.Contains(known, name):
		case len(known) == 0:
			p.mistake("query", name, "", "unknown parameter; there are none in this query string")
		default:
			p.mistake("query", name, nearest(name, known), "unknown parameter; there are %s", strings.Join(known, ", "))
		}
	}
	if len(p.Errors) == 0 {
		next(ctx)
		return
	}
	p.Detail = p.summary()
	s.write(w, r, p)
}
