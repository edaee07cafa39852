package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"
)

// canned is a broker that answers every request with the same bytes.
type canned struct{ r io.Reader }

func (c canned) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c canned) Write(p []byte) (int, error) { return len(p), nil }

// framed puts a response's size and correlation before it.
func framed(body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))
	return append(binary.BigEndian.AppendUint32(b, 1), body...)
}

func respond(f *fetcher, version int16, wants []*want, raw []byte) error {
	x := &exchange{client: &client{}, api: apiFetch, rw: canned{bytes.NewReader(raw)}}
	r, err := x.send(apiFetch, version, version >= 12, func(w *requestWriter) { f.request(w, version, f.lane(0, false), topicID{}, wants) })
	if err != nil {
		return err
	}
	return f.response(r, version, topicID{}, wants)
}

// fetchResponse is what a broker of version 13 answers for two partitions.
func fetchResponse(records string) []byte {
	w := requestWriter{flexible: true}
	w.end()    // of the header
	w.int32(0) // throttled for
	w.int16(0)
	w.int32(0)
	w.count(1)
	w.id(topicID{})
	w.count(2)
	for _, p := range []int32{3, 5} {
		w.int32(p)
		w.int16(0)
		w.int64(10)
		w.int64(10)
		w.int64(2)
		w.count(1)
		w.int64(77)
		w.int64(8)
		w.end()
		w.int32(-1)
		w.string(records)
		w.end()
	}
	w.end()
	w.end()
	return w.b
}

func twoWants() []*want { return []*want{{partition: 3}, {partition: 5}} }

func TestFetchResponseIsTakenApart(t *testing.T) {
	f := newFetcher(&client{}, "t", time.Now)
	wants := twoWants()
	if err := respond(f, 13, wants, framed(fetchResponse("records"))); err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		if !w.answered || w.high != 10 || w.start != 2 || string(w.raw) != "records" || len(w.aborted) != 1 || w.aborted[0] != (abortedTxn{77, 8}) {
			t.Errorf("%+v", w)
		}
	}
	// A response that was cut off, or that goes on, is an error.
	whole := fetchResponse("records")
	for cut := range whole {
		if err := respond(f, 13, twoWants(), framed(whole[:cut])); err == nil {
			t.Fatalf("cut at %d of %d and taken", cut, len(whole))
		}
		if err := respond(f, 13, twoWants(), framed(whole)[:8+cut]); err == nil {
			t.Fatalf("ended at %d of %d and taken", cut, len(whole))
		}
	}
	if err := respond(f, 13, twoWants(), framed(append(whole, 0))); !errors.Is(err, errMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
	if err := respond(f, 13, []*want{{partition: 3}}, framed(whole)); !errors.Is(err, errMalformed) {
		t.Errorf("an answer that nobody asked for: %v", err)
	}
}

// Whatever a broker answers, nothing panics, and memory stays within what it
// sent.
func FuzzFetchResponse(f *testing.F) {
	f.Add(fetchResponse("records"), true)
	f.Add(fetchResponse(""), false)
	f.Fuzz(func(t *testing.T, body []byte, flexible bool) {
		version := int16(fetchWithoutIDs)
		if flexible {
			version = fetchByIDs
		}
		_ = respond(newFetcher(&client{}, "t", time.Now), version, twoWants(), framed(body))
	})
}
