package sketch

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// -update writes what this version encodes over testdata/v1. Do so only before
// version 1 has been released: afterwards these bytes are what others have stored.
var update = flag.Bool("update", false, "rewrite testdata/v1")

// goldenSketches are small sketches of every kind and form.
func goldenSketches() map[string][]byte {
	rng := rand.New(rand.NewPCG(20, 26))
	values := func(n int, f func() float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = f()
		}
		return v
	}
	lognormal := func() float64 { return math.Exp(rng.NormFloat64()) }
	cents := func() float64 { return math.Round(100*lognormal()) / 100 }
	whole := func() float64 { return math.Round(30 * lognormal()) }
	hashes := func(n int) []uint64 {
		h := make([]uint64, n)
		for i := range h {
			h[i] = HashString(3, strconv.Itoa(i))
		}
		return h
	}
	hll := func(p, n int) []byte {
		s := NewHLL(p, 3)
		for _, h := range hashes(n) {
			s.AddHash(h)
		}
		return s.AppendBinary(nil)
	}
	digest := func(v ...[]float64) []byte {
		t := NewTDigest(50)
		t.AddValues(v[0])
		for _, more := range v[1:] {
			if err := t.MergeBinary(AppendTDigest(nil, 50, more)); err != nil {
				panic(err)
			}
		}
		return t.AppendBinary(nil)
	}
	top := func(slots, items int) []byte {
		s := NewTop(slots)
		for i := range items {
			s.Add("GET /path/"+strconv.Itoa(i), uint64(1+1000/(i+1)))
		}
		return s.AppendBinary(nil)
	}
	frequency := func(items int) []byte {
		s := NewFrequency(0.1, 0.1, 3)
		for i, h := range hashes(items) {
			s.AddHash(h, uint64(1+100/(i+1)))
		}
		return s.AppendBinary(nil)
	}
	theta := func(items int) []byte {
		s := NewTheta(32, 3)
		for _, h := range hashes(items) {
			s.AddHash(h)
		}
		return s.AppendBinary(nil)
	}
	reservoir := NewReservoir(5)
	for i, h := range hashes(50) {
		reservoir.Add(h, 1+float64(i%3), []byte("event "+strconv.Itoa(i)))
	}
	moments := new(Moments)
	moments.AddValues(values(30, cents))
	return map[string][]byte{
		"hll-empty":           hll(14, 0),
		"hll-fixed":           hll(14, 20),
		"hll-deltas":          hll(14, 200),
		"hll-dense":           hll(8, 2000),
		"hll-dense-4":         hll(4, 200),
		"tdigest-empty":       AppendTDigest(nil, 100, nil),
		"tdigest-decimals":    AppendTDigest(nil, 100, values(40, cents)),
		"tdigest-raw":         AppendTDigest(nil, 100, values(20, lognormal)),
		"tdigest-raw-weights": AppendTDigest(nil, 100, []float64{math.Pi, math.Pi, -math.E}),
		"tdigest-gaps":        digest(values(3000, lognormal)),
		"tdigest-gaps-merged": digest(values(3000, lognormal), values(1000, lognormal)),
		"tdigest-grid":        digest(values(3000, whole)),
		"tdigest-grid-merged": digest(values(3000, whole), values(1000, whole)),
		"tdigest-wide":        digest(values(300, func() float64 { return 1e250 * lognormal() })),
		"tdigest-wide-merged": digest(values(300, lognormal), values(300, func() float64 { return 1e250 * lognormal() })),
		"ddsketch-empty":      AppendDDSketch(nil, 5, nil),
		"ddsketch-exact":      AppendDDSketch(nil, 5, values(40, cents)),
		"ddsketch-buckets":    AppendDDSketch(nil, 5, values(300, func() float64 { return cents() - 1 })),
		"ddsketch-collapsed":  AppendDDSketch(nil, 8, values(300, func() float64 { return math.Exp(50 * rng.NormFloat64()) })),
		"top-exact":           top(20, 15),
		"top-dropped":         top(8, 100),
		"frequency-exact":     frequency(10),
		"frequency-rows":      frequency(500),
		"moments-empty":       new(Moments).AppendBinary(nil),
		"moments":             moments.AppendBinary(nil),
		"theta-exact":         theta(20),
		"theta":               theta(1000),
		"reservoir":           reservoir.AppendBinary(nil),
	}
}

// TestGolden reads the encodings of every released version and holds what they
// say against what they said then.
func TestGolden(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	index := filepath.Join(dir, "index.json")
	if *update {
		want := map[string]Description{}
		for name, data := range goldenSketches() {
			if err := os.WriteFile(filepath.Join(dir, name+".sketch"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			d, err := Info(data)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want[name] = d
		}
		text, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(index, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]Description
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	made := goldenSketches()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		data, err := os.ReadFile(filepath.Join(dir, name+".sketch"))
		if err != nil {
			t.Fatal(err)
		}
		is, err := Info(data)
		if err != nil {
			t.Errorf("%s no longer decodes: %v", name, err)
			continue
		}
		was := want[name]
		is.MemoryBytes = was.MemoryBytes // is free to change
		if diff := cmp.Diff(was, is); diff != "" {
			t.Errorf("%s says something else now:\n%s", name, diff)
		}
		s, _ := Decode(data)
		if !bytes.Equal(s.AppendBinary(nil), data) {
			t.Errorf("%s is encoded differently now", name)
		}
		if !bytes.Equal(made[name], data) {
			t.Errorf("%s is made differently now: the same input gives other bytes", name)
		}
	}
	if len(want) != len(made) {
		t.Errorf("%d sketches in %s, %d are made", len(want), index, len(made))
	}
}
