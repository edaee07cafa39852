package sketch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestManyCells merges 200,000 cells of 15 values each from their bytes, as a
// query over a long range does: p1 to p99.9 stay within half a point of rank,
// and the truth within the interval.
func TestManyCells(t *testing.T) {
	const cells, perCell = 200_000, 15
	for name, value := range map[string]func(rng *rand.Rand, cell int) float64{
		"lognormal": func(rng *rand.Rand, cell int) float64 { return math.Exp(1.5 * rng.NormFloat64()) },
		"drifting":  func(rng *rand.Rand, cell int) float64 { return float64(cell) + 1000*rng.NormFloat64() },
		"bimodal": func(rng *rand.Rand, cell int) float64 {
			if rng.Float64() < 0.85 {
				return 5 * math.Exp(0.3*rng.NormFloat64())
			}
			return 500 * math.Exp(0.1*rng.NormFloat64())
		},
		"whole ms": func(rng *rand.Rand, cell int) float64 { return math.Round(40 * math.Exp(1.5*rng.NormFloat64())) },
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 15))
			all := make([]float64, 0, cells*perCell)
			merged := NewTDigest(DefaultCompression)
			var data []byte
			for cell := range cells {
				for range perCell {
					all = append(all, value(rng, cell))
				}
				data = AppendTDigest(data[:0], DefaultCompression, slices.Clone(all[len(all)-perCell:]))
				if err := merged.MergeBinary(data); err != nil {
					t.Fatal(err)
				}
			}
			merged.Settle()
			stored := new(TDigest)
			if err := stored.UnmarshalBinary(merged.AppendBinary(nil)); err != nil {
				t.Fatal(err)
			}
			slices.Sort(all)
			for _, q := range []float64{0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999} {
				rank, part := quantilePlace(q, float64(len(all)))
				is := between(all[int(rank)-1], all[int(rank)], part)
				for state, d := range map[string]*TDigest{"merged": merged, "stored": stored} {
					e := d.Quantile(q, 0.95)
					below, _ := slices.BinarySearch(all, e.Value)
					above, _ := slices.BinarySearch(all, math.Nextafter(e.Value, math.Inf(1)))
					off := max(float64(below)/float64(len(all))-q, q-float64(above)/float64(len(all)), 0)
					t.Logf("%s p%g: %g, is %g, off by %.3f %% of rank", state, 100*q, e.Value, is, 100*off)
					if off > 0.005 {
						t.Errorf("%s p%g is %+v, not %g: off by %.4f of rank", state, 100*q, e, is, off)
					}
					if is < e.Lower || is > e.Upper {
						t.Errorf("%s p%g is %g, outside of %+v", state, 100*q, is, e)
					}
				}
			}
		})
	}
}
