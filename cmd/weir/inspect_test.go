package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
	"github.com/weir-stream/weir/store"
)

// No part of a segment rots unseen, not even the columns that this program
// writes for others and never asks for.
func TestInspectDamagedSegment(t *testing.T) {
	stream := &weir.Stream{Name: "web", Window: time.Minute, Measures: []weir.Measure{
		{Name: "ms", Kind: weir.Quantile, Field: "ms", Params: weir.Params{Sketch: weir.TDigest, Compression: 100}},
	}}
	const rows = 8000
	meta := store.SegmentMeta{
		Format: 1, ID: "id", Stream: stream.Name, Definition: store.DefinitionOf(stream), Partition: "p",
		To: rows, Log: "log", Events: rows, MaxTime: rows * int64(time.Minute),
	}
	random := rand.New(rand.NewPCG(1, 1))
	cells := &weir.Cells{Width: int64(time.Minute), Series: [][]string{{}}, Starts: []int{0, rows}, Measures: []weir.Column{{Present: true}}}
	for row := range int64(rows) {
		x, column := random.Float64(), &cells.Measures[0]
		cells.Window, cells.Count = append(cells.Window, row*cells.Width), append(cells.Count, 1)
		column.Values, column.Sum = append(column.Values, 1), append(column.Sum, x)
		column.Min, column.Max = append(column.Min, x), append(column.Max, x)
		column.Sketch = append(column.Sketch, sketch.AppendTDigest(nil, 100, []float64{x}))
	}
	data, err := store.EncodeSegment(stream, meta, func(yield func(*weir.Cells) bool) { yield(cells) })
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "segment")
	inspected := func(data []byte) error {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return inspect(t.Context(), io.Discard, path, 0)
	}
	if err := inspected(data); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(data); at += 4000 {
		damaged := bytes.Clone(data)
		damaged[at] ^= 1 << (at % 8)
		if inspected(damaged) == nil {
			t.Fatalf("byte %d of %d is damaged, and nothing was said", at, len(data))
		}
	}
}

// Sketches that were written to files are printed with what they answer, and
// no file makes inspect do worse than fail.
func TestInspectSketch(t *testing.T) {
	hll := sketch.NewHLL(14, 0)
	digest := sketch.NewTDigest(100)
	dd := sketch.NewDDSketch(5)
	top := sketch.NewTop(8)
	for _, item := range []string{"a", "b", "a"} {
		hll.AddHash(sketch.HashString(0, item))
		top.Add(item, 1)
	}
	for x := range 5 {
		digest.Add(float64(x))
		dd.Add(float64(x))
	}
	random := rand.New(rand.NewPCG(1, 1))
	for name, test := range map[string]struct {
		sketch sketch.Sketch
		want   string
	}{
		"distinct": {hll, "distinct   2 "},
		"t-digest": {digest, "p50        2 "},
		"ddsketch": {dd, "p50        2"},
		"top":      {top, `2          [2, 2]  "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sketch")
			encoded := test.sketch.AppendBinary(nil)
			if err := os.WriteFile(path, encoded, 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := inspect(t.Context(), &out, path, 0); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("printed:\n%swant %q in it", out.String(), test.want)
			}
			for range 200 {
				damaged := bytes.Clone(encoded)
				damaged[random.IntN(len(damaged))] ^= 1 << random.IntN(8)
				if err := os.WriteFile(path, damaged, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := inspect(t.Context(), &out, path, 0); err == nil {
					t.Errorf("a damaged sketch was printed: % x", damaged)
				}
			}
		})
	}
}
