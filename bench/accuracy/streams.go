package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// distribution makes n values from a seed, in order of arrival.
type distribution struct {
	name string
	make func(rng *rand.Rand, n int) []float64
}

func distributions() []distribution {
	each := func(f func(rng *rand.Rand) float64) func(*rand.Rand, int) []float64 {
		return func(rng *rand.Rand, n int) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = f(rng)
			}
			return v
		}
	}
	lognormal := func(rng *rand.Rand) float64 { return math.Exp(1.5 * rng.NormFloat64()) }
	return []distribution{
		{"uniform", each(func(rng *rand.Rand) float64 { return rng.Float64() })},
		{"lognormal", each(lognormal)},
		{"pareto", each(func(rng *rand.Rand) float64 { return math.Pow(1-rng.Float64(), -1/1.5) })},
		{"zipf", func(rng *rand.Rand, n int) []float64 {
			z := rand.NewZipf(rng, 1.1, 1, 1<<20)
			return each(func(*rand.Rand) float64 { return float64(z.Uint64()) })(rng, n)
		}},
		{"whole ms", each(func(rng *rand.Rand) float64 { return math.Round(40 * lognormal(rng)) })},
		{"sorted", func(rng *rand.Rand, n int) []float64 {
			v := each(lognormal)(rng, n)
			slices.Sort(v)
			return v
		}},
		{"reversed", func(rng *rand.Rand, n int) []float64 {
			v := each(lognormal)(rng, n)
			slices.Sort(v)
			slices.Reverse(v)
			return v
		}},
		{"bimodal", each(func(rng *rand.Rand) float64 {
			if rng.Float64() < 0.9 {
				return 5 * math.Exp(0.3*rng.NormFloat64())
			}
			return 500 * math.Exp(0.1*rng.NormFloat64())
		})},
		{"constant", each(func(*rand.Rand) float64 { return 42.5 })},
		{"signed", each(func(rng *rand.Rand) float64 { return 10*rng.NormFloat64() - 3 })},
		{"tiny", each(func(rng *rand.Rand) float64 { return 1e-200 * rng.ExpFloat64() })},
	}
}

// truth answers exactly from sorted values.
type truth []float64

func newTruth(values []float64) truth {
	t := slices.Clone(values)
	slices.Sort(t)
	return t
}

// quantile interpolates between order statistics, as the sketches define it.
func (t truth) quantile(q float64) float64 {
	place := q * float64(len(t)-1)
	i := int(place)
	j := min(i+1, len(t)-1)
	return t[i] + (t[j]-t[i])*(place-float64(i))
}

// rank returns the fractions of values below x and at most x.
func (t truth) rank(x float64) (below, atMost float64) {
	lo, _ := slices.BinarySearch(t, x)
	hi, _ := slices.BinarySearch(t, math.Nextafter(x, math.Inf(1)))
	return float64(lo) / float64(len(t)), float64(hi) / float64(len(t))
}

// rankError is how far q is from the ranks that x has; 0 if it is one of them.
func (t truth) rankError(q, x float64) float64 {
	below, atMost := t.rank(x)
	return max(below-q, q-atMost, 0)
}

func holds(lower, x, upper float64) bool {
	slack := 1e-12 * math.Abs(x) // of the truth's own interpolation
	return lower <= x+slack && x-slack <= upper
}
