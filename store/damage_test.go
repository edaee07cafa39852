package store_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

// smallSegment is a whole segment of a few kilobytes.
func smallSegment(t testing.TB, rng *rand.Rand, workload storetest.Workload) (*weir.Stream, store.SegmentMeta, []byte, *weir.Cells) {
	stream := flights()
	cells := storetest.Cells(rng, stream, workload)
	meta := metaOf(stream, "0", 0, 10)
	return stream, meta, encode(t, stream, meta, cells), cells
}

// readAll opens the stored bytes, reads every measure, and checks the rest.
func readAll(bucket *storetest.Memory, stream *weir.Stream, name string, data []byte) (*weir.Cells, error) {
	bucket.Overwrite(name, data)
	segment, err := store.OpenSegment(context.Background(), bucket, name)
	if err != nil {
		return nil, err
	}
	cells, err := segment.Cells(context.Background(), stream, everything(stream))
	if err != nil {
		return nil, err
	}
	return cells, segment.Verify(context.Background())
}

func mustBeDamaged(t *testing.T, what string, at int, name string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), name) {
		t.Fatalf("%s at byte %d: %v", what, at, err)
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	rng := seeded(t)
	stream, meta, data, cells := smallSegment(t, rng, storetest.Workload{Series: 3, Windows: 2, Events: 2, Start: 1e18})
	name := store.SegmentName(meta.Stream, meta.Partition, meta.From)
	bucket := new(storetest.Memory)
	got, err := readAll(bucket, stream, name, data)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, cells, got)
	flip := func(bit int) {
		data[bit/8] ^= 1 << (bit % 8)
		_, err := readAll(bucket, stream, name, data)
		mustBeDamaged(t, "a flipped bit", bit/8, name, err)
		data[bit/8] ^= 1 << (bit % 8)
	}
	for i := range data {
		flip(8*i + rng.IntN(8))
	}
	for range 2000 {
		flip(rng.IntN(8 * len(data)))
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	stream, meta, data, _ := smallSegment(t, seeded(t), storetest.Workload{Series: 3, Windows: 2, Events: 2, Start: 1e18})
	name := store.SegmentName(meta.Stream, meta.Partition, meta.From)
	bucket := new(storetest.Memory)
	for n := range data {
		_, err := readAll(bucket, stream, name, data[:n])
		mustBeDamaged(t, "cut", n, name, err)
	}
	for _, more := range []string{"\x00", "PAR1", string(data)} {
		_, err := readAll(bucket, stream, name, append(slices.Clone(data), more...))
		if more == string(data) {
			continue // a whole segment behind another's bytes: it may be either
		}
		mustBeDamaged(t, "longer", len(data), name, err)
	}
}

// Bytes that rot, are swapped, overwritten, cut out or doubled in a segment of
// many blocks.
func TestMutilationsAreFound(t *testing.T) {
	rng := seeded(t)
	stream, meta, data, cells := smallSegment(t, rng, storetest.Workload{Series: 100, Windows: 50, Events: 5, Start: 1e18})
	name := store.SegmentName(meta.Stream, meta.Partition, meta.From)
	bucket := new(storetest.Memory)
	if len(data) < 1<<20 {
		t.Fatalf("%d bytes are too few", len(data))
	}
	for range 150 {
		spoiled := slices.Clone(data)
		at, n := rng.IntN(len(data)), 1+rng.IntN(100_000)
		end := min(at+n, len(data))
		switch rng.IntN(5) {
		case 0:
			spoiled[at] ^= byte(1 + rng.IntN(255))
		case 1:
			clear(spoiled[at:end])
		case 2:
			spoiled = slices.Delete(spoiled, at, end)
		case 3:
			spoiled = slices.Insert(spoiled, at, data[at:end]...)
		case 4:
			to := rng.IntN(len(data) - (end - at) + 1)
			copy(spoiled[to:], data[at:end])
		}
		if bytes.Equal(spoiled, data) {
			continue
		}
		got, err := readAll(bucket, stream, name, spoiled)
		mustBeDamaged(t, "a mutilation", at, name, err)
		if got != nil {
			mustEqual(t, cells, got) // only what we do not read is damaged
		}
	}
}

// A segment that stands under another's name is not believed.
func TestMisplacedSegmentIsFound(t *testing.T) {
	stream, _, data, _ := smallSegment(t, seeded(t), storetest.Workload{Series: 1, Windows: 1, Events: 1})
	for _, name := range []string{
		store.SegmentName(stream.Name, "0", 1),
		store.SegmentName(stream.Name, "1", 0),
		store.SegmentName("other", "0", 0),
	} {
		_, err := readAll(new(storetest.Memory), stream, name, data)
		mustBeDamaged(t, "misplaced", 0, name, err)
	}
}

// What is only read in part is only checked in part: damage costs the questions
// that meet it and no others, until it is found and quarantined.
func TestDamageElsewhereDoesNotMatter(t *testing.T) {
	stream, meta, data, cells := smallSegment(t, seeded(t), storetest.Workload{Series: 100, Windows: 50, Events: 5, Start: 1e18})
	name := store.SegmentName(meta.Stream, meta.Partition, meta.From)
	bucket := new(storetest.Memory)
	data[len(data)/2] ^= 1 // the middle is sketches
	bucket.Overwrite(name, data)
	segment, err := store.OpenSegment(context.Background(), bucket, name)
	if err != nil {
		t.Fatal(err)
	}
	sel := weir.Selection{From: 0, To: 2e18}
	got, err := segment.Cells(context.Background(), stream, sel)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, pick(cells, sel), got)
	if _, err := segment.Cells(context.Background(), stream, everything(stream)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("all of it: %v", err)
	}
}

func FuzzOpenSegment(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	stream, meta, data, _ := smallSegment(f, rng, storetest.Workload{Series: 2, Windows: 2, Events: 2, Start: 1e18})
	name := store.SegmentName(meta.Stream, meta.Partition, meta.From)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(data[len(data)/2:])
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := readAll(new(storetest.Memory), stream, name, data); err != nil && !errors.Is(err, store.ErrDamaged) {
			t.Errorf("bytes that are no segment: %v", err)
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	text, err := store.EncodeManifest(&store.Manifest{
		Format: 1, ID: "a", N: 1, Partitions: map[string]store.ManifestPartition{"0": {Frontier: 5, Log: "l"}},
		Blocks: []store.Block{{Name: "b", Width: 1, Events: 2}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := store.DecodeManifest(text)
		if err != nil {
			return
		}
		if _, err := store.EncodeManifest(m); err != nil {
			t.Errorf("a manifest that was read cannot be written: %v", err)
		}
	})
}
