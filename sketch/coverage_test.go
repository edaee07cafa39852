package sketch

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestCoverage holds stated intervals against the truth over many seeds: they
// must cover it at least as often as they say, less what chance explains. The
// table of all sketches and distributions is printed by bench/accuracy.
func TestCoverage(t *testing.T) {
	const seeds = 400
	confidences := []float64{0.5, 0.9, 0.95, 0.99}
	for name, trial := range map[string]func(rng *rand.Rand) (truth float64, estimate func(confidence float64) Estimate){
		"hll p=8, 5000": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewHLL(8, 0)
			for range 5000 {
				s.AddHash(rng.Uint64())
			}
			return 5000, s.Estimate
		},
		"hll p=12, 2000": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewHLL(12, 0)
			for range 2000 {
				s.AddHash(rng.Uint64())
			}
			return 2000, s.Estimate
		},
		"hll p=4, 1000": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewHLL(4, 0)
			for range 1000 {
				s.AddHash(rng.Uint64())
			}
			return 1000, s.Estimate
		},
		"hll p=18, tokens": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewHLL(18, 0)
			for range 50_000 {
				s.AddHash(rng.Uint64())
			}
			return 50_000, s.Estimate
		},
		"theta": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewTheta(100, 0)
			for range 3000 {
				s.AddHash(rng.Uint64())
			}
			return 3000, s.Estimate
		},
		"theta intersection": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			a, b := NewTheta(200, 0), NewTheta(200, 0)
			for i := range 4000 {
				h := rng.Uint64()
				if i < 2500 {
					a.AddHash(h)
				}
				if i >= 2000 {
					b.AddHash(h)
				}
			}
			both, err := a.Intersect(b)
			if err != nil {
				t.Fatal(err)
			}
			return 500, both.Estimate
		},
		"theta difference": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			a, b := NewTheta(200, 0), NewTheta(200, 0)
			for i := range 4000 {
				h := rng.Uint64()
				a.AddHash(h)
				if i < 3000 {
					b.AddHash(h)
				}
			}
			only, err := a.Subtract(b)
			if err != nil {
				t.Fatal(err)
			}
			return 1000, only.Estimate
		},
		"frequency": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewFrequency(0.1, 0.1, 0)
			for range 3000 {
				s.AddHash(rng.Uint64N(500)<<40*0x9E3779B97F4A7C15, 1)
			}
			for range 30 {
				s.AddHash(0xABCD<<48, 1)
			}
			return 30, func(c float64) Estimate { return s.Estimate(0xABCD<<48, c) }
		},
		"reservoir": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s, sum := NewReservoir(200), 0.0
			for i := range 5000 {
				s.Add(rng.Uint64(), float64(1+i%7), nil)
				sum += float64(1 + i%7)
			}
			return sum, func(c float64) Estimate {
				return s.Sum(func(e Sampled) float64 { return e.Weight }, c)
			}
		},
		"t-digest p90 of shards": func(rng *rand.Rand) (float64, func(float64) Estimate) {
			s := NewTDigest(100)
			var all []float64
			for range 16 {
				part := make([]float64, 700)
				for i := range part {
					part[i] = math.Exp(rng.NormFloat64())
				}
				all = append(all, part...)
				if err := s.MergeBinary(AppendTDigest(nil, 100, part)); err != nil {
					t.Fatal(err)
				}
			}
			sortFloats(all)
			rank, part := quantilePlace(0.9, float64(len(all)))
			return between(all[int(rank)-1], all[int(rank)], part), func(c float64) Estimate { return s.Quantile(0.9, c) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			held := make([]int, len(confidences))
			for seed := range seeds {
				truth, estimate := trial(rand.New(rand.NewPCG(uint64(seed), 9)))
				for i, c := range confidences {
					if e := estimate(c); e.Lower <= truth && truth <= e.Upper {
						held[i]++
					}
				}
			}
			for i, c := range confidences {
				covered := float64(held[i]) / seeds
				chance := 3 * math.Sqrt(c*(1-c)/seeds)
				t.Logf("stated %.2f, covered %.3f", c, covered)
				if covered < c-chance {
					t.Errorf("intervals stated at %.2f cover %.3f of %d seeds", c, covered, seeds)
				}
			}
		})
	}
}
