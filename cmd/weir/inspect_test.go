package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/sketch"
)

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
