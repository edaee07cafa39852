package journal

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

var update = flag.Bool("update", false, "write testdata of the present version")

// released writes a journal with one record of every kind.
func released(t *testing.T, dir string) {
	now := time.Unix(1_000_000_000, 0)
	opts := Options{Dir: dir, Streams: map[string]int{"web": 2}, SegmentSize: 32 << 10, Logger: quiet(), Now: func() time.Time { return now }}
	r := start(t, opts)
	r.push("k1", lines("first", 3))
	r.push("k2", lines("second", 40))
	r.push("", noise(seed(t), 32<<10)) // in the next file
	for p := range 2 {
		r.Committed("web", p, 40)
	}
	r.push("k3", lines("third", 50))
	r.shut()
}

// Files of every released version stay readable.
func TestReleasedFiles(t *testing.T) {
	if *update {
		dir := t.TempDir()
		released(t, dir)
		for _, name := range []string{"00000002", identityName} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join("testdata", "v1", name), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, v := range []string{"v1"} {
		path := filepath.Join("testdata", v, "00000002")
		var got bytes.Buffer
		if err := Describe(path, &got); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", v, "described.txt")
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Error(diff)
		}

		opts := defaults(filepath.Join(t.TempDir(), "copy"))
		opts.Now = func() time.Time { return time.Unix(1_000_000_001, 0) }
		copyDir(t, filepath.Join("testdata", v), opts.Dir)
		r := start(t, opts)
		if a := r.push("k2", lines("second", 40)); !a.Duplicate || a.Count != 40 {
			t.Errorf("%s: a key of a file that is gone: %+v", v, a)
		}
		if b := r.all(1, 40); len(b) != 1 || string(b[0].Data) != lines("third", 50) {
			t.Errorf("%s: %+v", v, b)
		}
		r.shut()
	}
}

func TestDescribe(t *testing.T) {
	opts := defaults(t.TempDir())
	r := start(t, opts)
	r.push("k", "a\nb\n")
	r.push("", "c\n")
	r.shut()
	name, data := lastFile(t, opts.Dir)
	path := filepath.Join(opts.Dir, name)
	data[20] ^= 1
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Describe(path, new(bytes.Buffer)); !errors.Is(err, errTorn) {
		t.Errorf("a damaged file: %v", err)
	}
	for name, want := range map[string]string{
		identityName: "identity of a journal: " + r.ID(),
		lockName:     fmt.Sprintf("taken last by \"process %d on", os.Getpid()),
	} {
		var text bytes.Buffer
		if err := Describe(filepath.Join(opts.Dir, name), &text); err != nil || !strings.Contains(text.String(), want) {
			t.Errorf("%s: %q, %v; want %q in it", name, &text, err, want)
		}
	}
	other := filepath.Join(t.TempDir(), "00000000")
	if err := os.WriteFile(other, []byte(`{"some":"JSON"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Describe(other, new(bytes.Buffer)); err == nil {
		t.Error("a file that is none of ours was described")
	}
}

func TestRecords(t *testing.T) {
	now := time.Unix(1e9, 1)
	for _, body := range []string{"x\n", lines("many", 1000)} {
		rec := encodeBatch("web", "key", xxh3.HashString128(body), 7, now, []byte(body))
		setHead(rec, 9, 8)
		setPlace(rec, 3, 1e17)
		h, err := decodeHead(rec)
		if err != nil || h != (head{kindBatch, len(rec), 9, 8}) {
			t.Fatalf("%+v, %v", h, err)
		}
		b, err := decodeBatch(rec)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.body(); err != nil || string(got) != body {
			t.Errorf("body %.50q, %v", got, err)
		}
		if got := fmt.Sprintf("%s %s %d %d %d %d", b.stream, b.key, b.partition, b.first, b.count, b.arrival.UnixNano()); got != "web key 3 100000000000000000 7 1000000000000000001" {
			t.Error(got)
		}
		for n := range batchSize + 6 {
			if _, err := decodeBatch(rec[:n]); err == nil {
				t.Errorf("a batch of %d bytes was decoded", n)
			}
		}
	}
	entries := []keyedEntry{{hashKey([]byte("k")), keyEntry{hash: hashKey([]byte("b")), arrival: 5, first: 6, partition: 7, count: 8}}}
	rec := encodeKeys("web", entries)
	setHead(rec, 2, 0)
	stream, got, err := decodeKeys(rec)
	if err != nil || string(stream) != "web" || len(got) != 1 || got[0] != entries[0] {
		t.Errorf("%s %+v %v", stream, got, err)
	}
}

func FuzzRecord(f *testing.F) {
	batch := encodeBatch("web", "key", xxh3.Uint128{}, 7, time.Unix(1e9, 0), []byte(lines("a", 100)))
	setHead(batch, 2, 1)
	keys := encodeKeys("web", make([]keyedEntry, 3))
	setHead(keys, 3, 1)
	f.Add(batch)
	f.Add(keys)
	f.Fuzz(func(t *testing.T, rec []byte) {
		if h, err := decodeHead(rec); err == nil && h.synced >= h.seq {
			t.Errorf("%+v", h)
		}
		if b, err := decodeBatch(rec); err == nil {
			if b.first < 0 || b.count < 1 || b.end() > maxOffset || len(b.stream) == 0 || b.size > MaxBody {
				t.Errorf("%+v", b)
			}
			if body, err := b.body(); err == nil && len(body) != b.size {
				t.Errorf("body of %d bytes, header says %d", len(body), b.size)
			}
		}
		if stream, entries, err := decodeKeys(rec); err == nil {
			again := encodeKeys(string(stream), entries)
			copy(again, rec[:headSize])
			if !bytes.Equal(again, rec) {
				t.Errorf("%x is encoded as %x", rec, again)
			}
		}
	})
}

// Any bytes in the place of a file either open, and read, or are refused.
func FuzzFile(f *testing.F) {
	for _, name := range []string{"00000002"} { // of every version
		data, err := os.ReadFile(filepath.Join("testdata", "v1", name))
		if err != nil {
			f.Fatal(err)
		}
		data = bytes.TrimRight(data, "\x00") // the padding of its last page
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	id, err := os.ReadFile(filepath.Join("testdata", "v1", identityName))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		opts := defaults(fastDir(t))
		err := errors.Join(os.WriteFile(filepath.Join(opts.Dir, identityName), id, 0o666), os.WriteFile(filepath.Join(opts.Dir, "00000000"), data, 0o666))
		if err != nil {
			t.Fatal(err)
		}
		j, err := Open(opts)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		for _, s := range j.Streams() {
			for _, p := range j.Partitions(s) {
				rd, err := j.Reader(s, p)
				if err != nil {
					t.Fatal(err)
				}
				for pos := int64(0); pos < j.End(s, p); {
					b, err := rd.Next(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					pos = b.To
				}
				if err := rd.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}
