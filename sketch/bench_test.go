package sketch

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// go test ./sketch -run '^$' -bench . -benchtime 200ms -count 5

func benchValues(n int) []float64 {
	rng := rand.New(rand.NewPCG(7, 7))
	v := make([]float64, n)
	for i := range v {
		v[i] = math.Exp(rng.NormFloat64() * 1.5)
	}
	return v
}

func rounded(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = math.Round(x*1000) / 1000
	}
	return out
}

func benchHashes(n int) []uint64 {
	rng := rand.New(rand.NewPCG(8, 8))
	v := make([]uint64, n)
	for i := range v {
		v[i] = rng.Uint64()
	}
	return v
}

// BenchmarkCellEncode is what a flush pays for a cell of 15 events.
func BenchmarkCellEncode(b *testing.B) {
	const n = 15
	hashes := benchHashes(n * 64)
	tokens := make([]uint32, len(hashes))
	for i, h := range hashes {
		tokens[i] = Token(h)
	}
	items := make([]TopItem, n*64)
	for i := range items {
		items[i] = TopItem{Item: "/path/" + strconv.Itoa(int(hashes[i]%20000)), Count: 1}
	}
	dst := make([]byte, 0, 4096)
	b.Run("hll", func(b *testing.B) {
		var work [n]uint32
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			copy(work[:], tokens[i%64*n:])
			dst = AppendHLL(dst[:0], 14, 0, work[:])
		}
	})
	for name, values := range map[string][]float64{"tdigest": rounded(benchValues(n * 64)), "tdigest-float": benchValues(n * 64)} {
		b.Run(name, func(b *testing.B) {
			var work [n]float64
			defer cpuPerOp(b)()
			for i := 0; b.Loop(); i++ {
				copy(work[:], values[i%64*n:])
				dst = AppendTDigest(dst[:0], 100, work[:])
			}
		})
	}
	rounds := rounded(benchValues(n * 64))
	b.Run("ddsketch", func(b *testing.B) {
		var work [n]float64
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			copy(work[:], rounds[i%64*n:])
			dst = AppendDDSketch(dst[:0], 5, work[:])
		}
	})
	b.Run("top", func(b *testing.B) {
		var work [n]TopItem
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			copy(work[:], items[i%64*n:])
			dst = AppendTop(dst[:0], 64, work[:])
		}
	})
	b.Run("frequency", func(b *testing.B) {
		var work [n]uint64
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			copy(work[:], hashes[i%64*n:])
			dst = AppendFrequency(dst[:0], .001, .01, 0, work[:])
		}
	})
}

func BenchmarkMergeBinary(b *testing.B) {
	for _, n := range []int{4, 15, 84, 1000, 20000} {
		const cells = 64
		var enc [4][cells][]byte
		for c := range cells {
			rng := rand.New(rand.NewPCG(uint64(c), 8))
			var tokens []uint32
			var values []float64
			counts := map[string]uint64{}
			for range n {
				tokens = append(tokens, Token(rng.Uint64()))
				values = append(values, math.Round(math.Exp(rng.NormFloat64()*1.5)*1000)/1000)
				counts["/path/"+strconv.Itoa(int(rng.ExpFloat64()*1000))]++
			}
			var items []TopItem
			for k, v := range counts {
				items = append(items, TopItem{Item: k, Count: v})
			}
			enc[0][c] = AppendHLL(nil, 14, 0, tokens)
			enc[1][c] = AppendTDigest(nil, 100, append([]float64(nil), values...))
			enc[2][c] = AppendDDSketch(nil, 5, values)
			enc[3][c] = AppendTop(nil, 64, items)
		}
		for k, s := range []Sketch{NewHLL(14, 0), NewTDigest(100), NewDDSketch(5), NewTop(1024)} {
			b.Run([]string{"hll", "tdigest", "ddsketch", "top"}[k]+"/"+strconv.Itoa(n), func(b *testing.B) {
				defer cpuPerOp(b)()
				for i := 0; b.Loop(); i++ {
					if err := s.MergeBinary(enc[k][i%cells]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	hashes, values := benchHashes(1<<16), benchValues(1<<16)
	b.Run("hll", func(b *testing.B) {
		h := NewHLL(14, 0)
		b.ReportAllocs()
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			h.AddHash(hashes[i&(1<<16-1)])
		}
	})
	b.Run("tdigest", func(b *testing.B) {
		t := NewTDigest(100)
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			t.Add(values[i&(1<<16-1)])
		}
	})
	b.Run("ddsketch", func(b *testing.B) {
		d := NewDDSketch(5)
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			d.Add(values[i&(1<<16-1)])
		}
	})
	b.Run("frequency", func(b *testing.B) {
		f := NewFrequency(.001, .01, 0)
		rng := rand.New(rand.NewPCG(1, 2))
		z := rand.NewZipf(rng, 1.1, 1, 1<<20)
		keys := make([]uint64, 1<<16)
		for i := range keys {
			keys[i] = HashString(0, strconv.Itoa(int(z.Uint64())))
		}
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			f.AddHash(keys[i&(1<<16-1)], 1)
		}
	})
	b.Run("top", func(b *testing.B) {
		f := NewTop(128)
		rng := rand.New(rand.NewPCG(1, 2))
		z := rand.NewZipf(rng, 1.1, 1, 1<<20)
		keys := make([]string, 1<<16)
		for i := range keys {
			keys[i] = strconv.Itoa(int(z.Uint64()))
		}
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			f.Add(keys[i&(1<<16-1)], 1)
		}
	})
	b.Run("moments", func(b *testing.B) {
		m := new(Moments)
		defer cpuPerOp(b)()
		for i := 0; b.Loop(); i++ {
			m.Add(values[i&(1<<16-1)])
		}
	})
}

func BenchmarkEstimate(b *testing.B) {
	h, t, d := NewHLL(14, 0), NewTDigest(100), NewDDSketch(5)
	for _, x := range benchHashes(1 << 20) {
		h.AddHash(x)
	}
	t.AddValues(benchValues(1 << 20))
	d.AddValues(benchValues(1 << 20))
	t.Settle()
	b.Run("hll", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			h.Estimate(.95)
		}
	})
	for name, s := range map[string]Quantiles{"tdigest": t, "ddsketch": d} {
		b.Run(name+"-3", func(b *testing.B) {
			defer cpuPerOp(b)()
			for b.Loop() {
				s.Quantile(.5, .95)
				s.Quantile(.9, .95)
				s.Quantile(.99, .95)
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	h, h2 := NewHLL(14, 0), NewHLL(14, 0)
	for _, x := range benchHashes(1 << 17) {
		h.AddHash(x)
		h2.AddHash(x * 0x9E3779B97F4A7C15)
	}
	b.Run("hll-dense", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			h.Merge(h2)
		}
	})
	t, t2, d, d2 := NewTDigest(100), NewTDigest(100), NewDDSketch(5), NewDDSketch(5)
	t2.AddValues(benchValues(1 << 20))
	d2.AddValues(benchValues(1 << 20))
	t2.Shrink()
	b.Run("tdigest", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			t.Merge(t2)
		}
	})
	b.Run("ddsketch", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			d.Merge(d2)
		}
	})
}
