package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
	"github.com/weir-stream/weir/store/storetest/s3test"
)

// Azure's client reads its credentials once.
func TestMain(m *testing.M) {
	os.Setenv("AZURE_STORAGE_ACCOUNT", "account")
	os.Setenv("AZURE_STORAGE_KEY", "c2VjcmV0")
	os.Exit(m.Run())
}

// quick is a policy for servers that are near and fail often.
var quick = policy{patience: 400 * time.Millisecond, rate: 1 << 30, attempts: 4, first: time.Millisecond, longest: 4 * time.Millisecond}

// open opens a store in the server at the endpoint.
func open(t *testing.T, endpoint, prefix string) *Bucket {
	t.Helper()
	s3test.Setenv(t)
	b, err := Open(t.Context(), s3test.Location(endpoint, prefix))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// inMemory is a bucket that, like GCS and Azure, does not read ends.
func inMemory(t *testing.T, prefix string) *Bucket {
	blobs := memblob.OpenBucket(nil)
	b := newBucket(service{
		blobs:  blobs,
		absent: func(_ operation, err error) bool { return gcerrors.Code(err) == gcerrors.NotFound },
		close:  blobs.Close,

		status:     func(error) int { return 0 },
		startAfter: func(func(any) bool, string) {},
		version:    func(*blob.Reader) string { return "" },
	}, prefix)
	t.Cleanup(func() { b.Close() })
	return b
}

func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for name, server := range s3test.Servers(t) {
		t.Run(name, func(t *testing.T) { storetest.Contract(t, open(t, s3test.Serve(t, server), s3test.Prefix())) })
	}
	t.Run("without a prefix", func(t *testing.T) {
		storetest.Contract(t, open(t, s3test.Serve(t, s3test.New(t, s3test.Kept)), ""))
	})
	t.Run("without ends", func(t *testing.T) { storetest.Contract(t, inMemory(t, "prefix")) })
}

// Stores under different prefixes of a bucket do not see each other.
func TestPrefixesAreApart(t *testing.T) {
	endpoint := s3test.Serve(t, s3test.New(t, s3test.Kept))
	a, b := open(t, endpoint, "/a"), open(t, endpoint, "/b")
	if err := a.Put(t.Context(), "x/1", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(t.Context(), "x/1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the other prefix: %v", err)
	}
	for name, err := range b.List(t.Context(), "", "") {
		t.Errorf("the other prefix lists %q, %v", name, err)
	}
}

// A listing longer than a page goes on where the page ended, and one from the
// middle asks for no page before it.
func TestLongListing(t *testing.T) {
	for name, server := range s3test.Servers(t) {
		t.Run(name, func(t *testing.T) { testLongListing(t, server) })
	}
}

func testLongListing(t *testing.T, server http.Handler) {
	var pages atomic.Int64
	proxy := &s3test.Proxy{Server: server, OnRequest: func(r *http.Request) s3test.Fault {
		if r.URL.Query().Has("list-type") {
			pages.Add(1)
		}
		return s3test.Pass
	}}
	b := open(t, s3test.Serve(t, proxy), s3test.Prefix())
	const names = 2*pageNames + 10
	for i := range names {
		if err := b.Put(t.Context(), fmt.Sprintf("s/%019d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ after, pages int }{{-1, 3}, {0, 3}, {pageNames, 2}, {names - 3, 1}, {names, 1}} {
		after := ""
		if c.after >= 0 {
			after = fmt.Sprintf("s/%019d", c.after)
		}
		pages.Store(0)
		next := c.after + 1
		for name, err := range b.List(t.Context(), "s/", after) {
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("s/%019d", next); name != want {
				t.Fatalf("after %q: %q, want %q", after, name, want)
			}
			next++
		}
		if n := int(pages.Load()); next != max(names, c.after+1) || n != c.pages {
			t.Errorf("after %q: up to %d of %d in %d pages, want %d", after, next, names, n, c.pages)
		}
	}
}

// What is read of an object, however it was opened, is what was put.
func TestReadAt(t *testing.T) {
	for _, size := range []int{0, 1, 100, openedBytes - 1, openedBytes, openedBytes + 1, 3*openedBytes + 17} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		buckets := map[string]*Bucket{"without ends": inMemory(t, "")}
		for name, server := range s3test.Servers(t) {
			buckets[name] = open(t, s3test.Serve(t, server), s3test.Prefix())
		}
		for what, b := range buckets {
			if err := b.Put(t.Context(), "o", data); err != nil {
				t.Fatal(err)
			}
			o, err := b.Open(t.Context(), "o")
			if err != nil {
				t.Fatalf("%s, %d bytes: %v", what, size, err)
			}
			o.Close()
			again := o.(store.Reopener).Reopen(t.Context())
			if o, err = b.Open(t.Context(), "o"); err != nil {
				t.Fatal(err)
			}
			for _, object := range []store.Object{o, again} {
				if object.Size() != int64(size) {
					t.Errorf("%s: size %d, want %d", what, object.Size(), size)
				}
				for _, r := range [][2]int{{0, size}, {size / 2, 10}, {max(size-32<<10, 0), 32 << 10}, {size, 1}, {size + 5, 1}, {0, 0}} {
					p := make([]byte, r[1])
					n, err := object.ReadAt(p, int64(r[0]))
					want := data[min(r[0], size):min(r[0]+r[1], size)]
					if !bytes.Equal(p[:n], want) || (n < len(p)) != errors.Is(err, io.EOF) {
						t.Errorf("%s, %d bytes, [%d, +%d): %d bytes, %v", what, size, r[0], r[1], n, err)
					}
				}
			}
		}
	}
}

// Opening a segment's file and reading its end is one request.
func TestOpeningBringsTheEnd(t *testing.T) {
	var mu sync.Mutex
	var requests []string
	proxy := &s3test.Proxy{Server: s3test.New(t, s3test.Kept), OnRequest: func(r *http.Request) s3test.Fault {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.Method+" "+r.Header.Get("Range"))
		return s3test.Pass
	}}
	b := open(t, s3test.Serve(t, proxy), "")
	const size = 300_000
	if err := b.Put(t.Context(), "o", make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	requests = nil
	o, err := b.Open(t.Context(), "o")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 32<<10), size-32<<10); err != nil {
		t.Fatal(err)
	}
	if len(requests) != 1 || requests[0] != fmt.Sprintf("GET bytes=-%d", openedBytes) {
		t.Errorf("requests: %q", requests)
	}
}

// A parameter of the URL that s3blob reads itself survives that its client is
// made anew.
func TestParametersReachTheService(t *testing.T) {
	var mu sync.Mutex
	var encryption, agent string
	proxy := &s3test.Proxy{Server: s3test.New(t, s3test.Kept), OnRequest: func(r *http.Request) s3test.Fault {
		mu.Lock()
		defer mu.Unlock()
		encryption, agent = r.Header.Get("X-Amz-Server-Side-Encryption"), r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
		return s3test.Pass
	}}
	s3test.Setenv(t)
	b, err := Open(t.Context(), s3test.Location(s3test.Serve(t, proxy), "")+"&ssetype=aws:kms&kmskeyid=key")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Put(t.Context(), "o", nil); err != nil {
		t.Fatal(err)
	}
	if encryption != "aws:kms" || agent != "key" {
		t.Errorf("encryption %q, key %q", encryption, agent)
	}
}

func TestOpenRefuses(t *testing.T) {
	s3test.Setenv(t)
	for location, want := range map[string]string{
		"s3://b?regoin=x":  "regoin",
		"s3:///p":          "bucket",
		"ftp://b":          "wants s3://",
		"s3://b?x=%zz":     "open object store",
		"gs://b?made=up":   "made",
		"azblob://b?x=1":   "open object store",
		"s3://b?role=role": "role",
	} {
		b, err := Open(t.Context(), location)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", location, b, err)
		}
	}
}

func TestNamesThatAreNone(t *testing.T) {
	b := inMemory(t, "")
	for _, name := range []string{"", "/a", "a/", "a//b", "../a", "a/.."} {
		if err := b.Put(context.Background(), name, nil); err == nil {
			t.Errorf("put %q succeeded", name)
		}
		if _, err := b.Open(context.Background(), name); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("open %q: %v", name, err)
		}
	}
}

// The probe finds servers that ignore the condition of a put, of any size.
func TestProbeFindsLiars(t *testing.T) {
	for _, conditions := range []s3test.Conditions{s3test.AllIgnored, s3test.SmallOnly} {
		b := open(t, s3test.Serve(t, s3test.New(t, conditions)), "")
		if err := store.Probe(t.Context(), b); err == nil || !strings.Contains(err.Error(), "not refused") {
			t.Errorf("conditions %d: %v", conditions, err)
		}
	}
}
