// Package s3test has an S3 server in the process for tests, and a proxy that
// does to requests what networks and overloaded servers do.
package s3test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// BucketName is the one bucket of a server.
const BucketName = "weir"

// Setenv gives S3 clients credentials that the server accepts, and keeps them
// from looking for others.
func Setenv(t testing.TB) {
	for key, value := range map[string]string{
		"AWS_ACCESS_KEY_ID":           "weir",
		"AWS_SECRET_ACCESS_KEY":       "secretsecret",
		"AWS_SESSION_TOKEN":           "",
		"AWS_CONFIG_FILE":             "/nonexistent",
		"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
		"AWS_EC2_METADATA_DISABLED":   "true",
	} {
		t.Setenv(key, value)
	}
}

// Location returns the URL of a store in the bucket of a server.
func Location(endpoint, prefix string) string {
	return "s3://" + BucketName + prefix + "?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(endpoint)
}

// Serve serves a handler until the test ends, and returns its address.
func Serve(t testing.TB, handler http.Handler) (endpoint string) {
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections() // of clients that hang on purpose
		server.Close()
	})
	return server.URL
}

// Servers returns the servers to test against, by name: one in the process and,
// where WEIR_S3_ENDPOINT has the address of another, that one. It accepts the
// credentials of Setenv and has the bucket, whose contents are to be left alone:
// tests keep to a Prefix.
func Servers(t testing.TB) map[string]http.Handler {
	servers := map[string]http.Handler{"in the process": New(t, Kept)}
	if endpoint := os.Getenv("WEIR_S3_ENDPOINT"); endpoint != "" {
		target, err := url.Parse(endpoint)
		if err != nil {
			t.Fatalf("WEIR_S3_ENDPOINT: %v", err)
		}
		transport := new(http.Transport)
		t.Cleanup(transport.CloseIdleConnections)
		servers["at "+endpoint] = &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		}}
	}
	return servers
}

// Prefix returns one that nothing is stored under.
func Prefix() string { return "/" + rand.Text() }

// Conditions says which conditional puts a server keeps.
type Conditions int

// Servers, from good to bad.
const (
	Kept       Conditions = iota
	SmallOnly             // those of objects sent in parts are ignored
	AllIgnored            // every put overwrites
)

// New returns an S3 server with an empty bucket.
func New(t testing.TB, conditions Conditions) http.Handler {
	backend := s3mem.New()
	if err := backend.CreateBucket(BucketName); err != nil {
		t.Fatal(err)
	}
	s := &server{backend: backend, conditions: conditions}
	s.next = gofakes3.New(backend, gofakes3.WithTimeSkewLimit(0)).Server()
	return s
}

// server keeps the condition of an upload in parts, which the library does not.
type server struct {
	backend    *s3mem.Backend
	conditions Conditions
	next       http.Handler

	mu sync.Mutex // held by conditional requests, so that they are one after the other
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("If-None-Match") == "*" {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch completes := r.Method == http.MethodPost; {
		case s.conditions == AllIgnored:
			r.Header.Del("If-None-Match")
		case completes && s.conditions == Kept:
			key := r.URL.Path[len("/"+BucketName+"/"):]
			if _, err := s.backend.HeadObject(BucketName, key); err == nil {
				fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
				return
			}
		}
	}
	s.next.ServeHTTP(w, r)
}

// fail answers as S3 does.
func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>` + code + `</Code><Message>a test said so</Message></Error>`))
}
