package store_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/store"
	"pgregory.net/rapid"
)

func TestSegmentNames(t *testing.T) {
	for _, c := range []struct {
		stream, partition string
		from              int64
		want              string
	}{
		{"flights", "3", 512, "flights/segment/3/0000000000000000512"},
		{"flights", "/data/2001.ndjson", 0, "flights/segment/%2Fdata%2F2001.ndjson/0000000000000000000"},
		{"a/b", "..", math.MaxInt64, "a%2Fb/segment/%2E./9223372036854775807"},
		{"s", "", 1, "s/segment/%/0000000000000000001"},
		{"s", "segment", 1, "s/segment/segment/0000000000000000001"},
	} {
		if got := store.SegmentName(c.stream, c.partition, c.from); got != c.want {
			t.Errorf("SegmentName(%q, %q, %d) = %q, want %q", c.stream, c.partition, c.from, got, c.want)
		}
	}
}

// Any names make one segment name and no other, and one that a directory takes.
func TestSegmentNamesComeBack(t *testing.T) {
	d, err := store.OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[/.%~a]{0,20}`), rapid.StringMatching(`[a/é]{150,900}`))
		stream, partition := text.Draw(t, "stream"), text.Draw(t, "partition")
		from := rapid.Int64Range(0, math.MaxInt64).Draw(t, "from")
		name := store.SegmentName(stream, partition, from)
		s, p, f, err := store.ParseSegmentName(name)
		if err != nil || s != stream || p != partition || f != from {
			t.Fatalf("%q came back as %q %q %d, %v", name, s, p, f, err)
		}
		for component := range strings.SplitSeq(name, "/") {
			if len(component) > 255 {
				t.Fatalf("%q has a component of %d bytes", name, len(component))
			}
		}
		if len(name) > 3000 {
			return // a path of more than 4096 bytes is none
		}
		if err := d.Put(context.Background(), name, nil); err != nil {
			t.Fatal(err)
		}
		streams, err := store.Streams(context.Background(), d)
		if err != nil || !slices.Contains(streams, stream) {
			t.Fatalf("streams are %q, %v, without %q", streams, err, stream)
		}
		if err := d.Delete(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParseSegmentName(f *testing.F) {
	f.Add("flights/segment/3/0000000000000000512")
	f.Add("%/segment/%2F/0000000000000000000")
	f.Add("a~/b/segment/c/0000000000000000000")
	f.Fuzz(func(t *testing.T, name string) {
		stream, partition, from, err := store.ParseSegmentName(name)
		if err == nil && store.SegmentName(stream, partition, from) != name {
			t.Errorf("%q reads as %q %q %d, which is written %q", name, stream, partition, from, store.SegmentName(stream, partition, from))
		}
	})
}
