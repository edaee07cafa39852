package sketch

import "testing"

func BenchmarkMicro(b *testing.B) {
	t := NewTDigest(100)
	t.AddValues(benchValues(1 << 20))
	t.Shrink()
	var cs []centroid
	for i := range 40 {
		for _, c := range t.cs {
			c.mean *= 1 + float64(i)/1000
			cs = append(cs, c)
		}
	}
	cs = cs[:4000]
	work, spare := make([]centroid, len(cs)), make([]centroid, len(cs))
	b.Run("sort4000", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			copy(work, cs)
			work, spare = sortByMean(work, spare)
		}
	})
	b.Run("compress4000", func(b *testing.B) {
		copy(work, cs)
		work, spare = sortByMean(work, spare)
		cs = append([]centroid(nil), work...)
		n := 0.0
		for _, c := range cs {
			n += c.weight()
		}
		defer cpuPerOp(b)()
		for b.Loop() {
			copy(work, cs)
			compress(work, n, 500)
		}
	})
	v := benchValues(128)
	w := make([]float64, 128)
	b.Run("sort128", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			copy(w, v)
			sortFloats(w)
		}
	})
	one := append([]centroid(nil), t.cs...)
	dst := make([]centroid, 0, 300)
	b.Run("join128", func(b *testing.B) {
		sortFloats(v)
		defer cpuPerOp(b)()
		for b.Loop() {
			dst = newCaps(t.weight+128, 100).join(dst[:0], one, v, 0)
		}
	})
	b.Run("join2", func(b *testing.B) {
		defer cpuPerOp(b)()
		for b.Loop() {
			dst = newCaps(t.weight, 100).join(dst[:0], one, nil, 0)
		}
	})
}
