package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/weir-stream/weir/sketch"
)

const (
	shards     = 64
	confidence = 0.95
)

// build adds values to one sketch, or spreads them over shards that merge.
func build(fresh func() sketch.Quantiles, values []float64, how string) sketch.Quantiles {
	whole := fresh()
	count := shards
	switch how {
	case "cells":
		count = len(values)/15 + 1
	case "one":
		whole.AddValues(slices.Clone(values))
		whole.Settle()
		return whole
	}
	parts := make([][]float64, count)
	for i, x := range values {
		parts[i%count] = append(parts[i%count], x)
	}
	for _, part := range parts {
		s := fresh()
		s.AddValues(part)
		must(whole.MergeBinary(s.AppendBinary(nil)))
	}
	whole.Settle()
	return whole
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func quantileSketches() map[string]func() sketch.Quantiles {
	return map[string]func() sketch.Quantiles{
		"t-digest": func() sketch.Quantiles { return sketch.NewTDigest(sketch.DefaultCompression) },
		"ddsketch": func() sketch.Quantiles { return sketch.NewDDSketch(sketch.DefaultScale) },
	}
}

// tally gathers errors and coverage.
type tally struct {
	n, held             int
	sum, squares, worst float64
	signed, relative    float64
}

func (t *tally) add(err float64, held bool) {
	t.n++
	if held {
		t.held++
	}
	t.sum += math.Abs(err)
	t.signed += err
	t.squares += err * err
	t.worst = max(t.worst, math.Abs(err))
}

func (t *tally) mean() float64     { return t.sum / float64(t.n) }
func (t *tally) rms() float64      { return math.Sqrt(t.squares / float64(t.n)) }
func (t *tally) bias() float64     { return t.signed / float64(t.n) }
func (t *tally) coverage() float64 { return 100 * float64(t.held) / float64(t.n) }

// ways of a stream into a sketch: one sketch adds all, 64 shards add a share
// each, or cells of 15 values each.
var ways = []string{"one", "shards", "cells"}

var asked = []float64{0.01, 0.1, 0.5, 0.9, 0.99, 0.999}

func quantiles(w io.Writer, seeds, n int) {
	fmt.Fprint(w, "sketch\tvalues\tmerged\t")
	for _, q := range asked {
		fmt.Fprintf(w, "p%g rank mean\tworst\tvalue\tcovered\t", 100*q)
	}
	fmt.Fprintln(w)
	for _, name := range []string{"t-digest", "ddsketch"} {
		fresh := quantileSketches()[name]
		for _, d := range distributions() {
			for _, merged := range ways {
				tallies := make([]tally, len(asked))
				for seed := range seeds {
					values := d.make(rand.New(rand.NewPCG(uint64(seed), 1)), n)
					exact := newTruth(values)
					s := build(fresh, values, merged)
					for i, q := range asked {
						e, is := s.Quantile(q, confidence), exact.quantile(q)
						tallies[i].add(100*exact.rankError(q, e.Value), holds(e.Lower, is, e.Upper))
						if is != 0 {
							tallies[i].relative += 100 * math.Abs(e.Value-is) / math.Abs(is)
						}
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%v\t", name, d.name, merged)
				for i := range tallies {
					t := &tallies[i]
					fmt.Fprintf(w, "%.3f\t%.3f\t%.2f\t%.1f\t", t.mean(), t.worst, t.relative/float64(t.n), t.coverage())
				}
				fmt.Fprintln(w)
			}
		}
	}
}

func ranks(w io.Writer, seeds, n int) {
	fmt.Fprintln(w, "sketch\tvalues\tmerged\tmean\tworst\tcovered\t")
	for _, name := range []string{"t-digest", "ddsketch"} {
		fresh := quantileSketches()[name]
		for _, d := range distributions() {
			for _, merged := range ways {
				var t tally
				for seed := range seeds {
					rng := rand.New(rand.NewPCG(uint64(seed), 2))
					values := d.make(rng, n)
					exact := newTruth(values)
					s := build(fresh, values, merged)
					for range 20 {
						x := values[rng.IntN(n)]
						e := s.Rank(x, confidence)
						_, is := exact.rank(x)
						t.add(100*(e.Value-is), holds(e.Lower, is, e.Upper))
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%.3f\t%.1f\t\n", name, d.name, merged, t.mean(), t.worst, t.coverage())
			}
		}
	}
}

func distinct(w io.Writer, seeds int) {
	fmt.Fprintln(w, "precision\titems\tmerged\trms\tbias\tcovered at 90 %\t95 %\t99 %\t")
	for _, p := range []int{6, 10, 14} {
		for _, n := range []int{10, 1_000, 20_000, 100_000, 1_000_000} {
			for _, merged := range []bool{false, true} {
				var t [3]tally
				for seed := range 5 * seeds {
					if n == 1_000_000 && seed >= seeds {
						break
					}
					e := countDistinct(p, n, uint64(seed), merged)
					for i, confidence := range []float64{0.90, 0.95, 0.99} {
						x := e.Estimate(confidence)
						t[i].add(100*(x.Value/float64(n)-1), holds(x.Lower, float64(n), x.Upper))
					}
				}
				fmt.Fprintf(w, "%d\t%d\t%v\t%.3f\t%+.3f\t%.1f\t%.1f\t%.1f\t\n",
					p, n, merged, t[0].rms(), t[0].bias(), t[0].coverage(), t[1].coverage(), t[2].coverage())
			}
		}
	}
}

func countDistinct(p, n int, seed uint64, merged bool) *sketch.HLL {
	parts := []*sketch.HLL{sketch.NewHLL(p, seed)}
	if merged {
		for range shards {
			parts = append(parts, sketch.NewHLL(p, seed))
		}
	}
	var item [8]byte
	for i := range n {
		for k := range item {
			item[k] = byte(i >> (8 * k))
		}
		parts[i%len(parts)].AddHash(sketch.Hash(seed, item[:]))
	}
	for _, part := range parts[1:] {
		must(parts[0].MergeBinary(part.AppendBinary(nil)))
	}
	return parts[0]
}

func zipfItems(seed uint64, n int) []string {
	z := rand.NewZipf(rand.New(rand.NewPCG(seed, 3)), 1.1, 1, 1<<20)
	items := make([]string, n)
	for i := range items {
		items[i] = "item-" + strconv.FormatUint(z.Uint64(), 10)
	}
	return items
}

func top(w io.Writer, seeds, n int) {
	fmt.Fprintln(w, "slots\tmerged\trecall\terror\tworst\tbounds hold\t")
	for _, slots := range []int{64, 128, 1024} {
		for _, merged := range []bool{false, true} {
			var t, recall tally
			for seed := range seeds {
				items := zipfItems(uint64(seed), n)
				counts := map[string]uint64{}
				parts := []*sketch.Top{sketch.NewTop(slots)}
				if merged {
					for range shards {
						parts = append(parts, sketch.NewTop(slots))
					}
				}
				for i, item := range items {
					counts[item]++
					parts[i%len(parts)].Add(item, 1)
				}
				for _, part := range parts[1:] {
					must(parts[0].MergeBinary(part.AppendBinary(nil)))
				}
				order := make([]string, 0, len(counts))
				for item := range counts {
					order = append(order, item)
				}
				slices.SortFunc(order, func(a, b string) int { return int(counts[b]) - int(counts[a]) })
				tenth := counts[order[9]]
				for _, item := range parts[0].Items(10) {
					is := counts[item.Item]
					recall.add(0, is >= tenth)
					t.add(100*(float64(item.Count)/float64(is)-1), item.Lower <= is && is <= item.Upper)
				}
			}
			fmt.Fprintf(w, "%d\t%v\t%.1f\t%.3f\t%.3f\t%.1f\t\n", slots, merged, recall.coverage(), t.mean(), t.worst, t.coverage())
		}
	}
}

func frequency(w io.Writer, seeds, n int) {
	fmt.Fprintln(w, "epsilon\tmerged\tmean\tworst\tcovered\t")
	for _, epsilon := range []float64{0.01, 0.001} {
		for _, merged := range []bool{false, true} {
			var t tally
			for seed := range seeds {
				items := zipfItems(uint64(seed), n)
				counts := map[string]uint64{}
				parts := []*sketch.Frequency{sketch.NewFrequency(epsilon, 0.01, 0)}
				if merged {
					for range shards {
						parts = append(parts, sketch.NewFrequency(epsilon, 0.01, 0))
					}
				}
				for i, item := range items {
					counts[item]++
					parts[i%len(parts)].AddHash(sketch.HashString(0, item), 1)
				}
				for _, part := range parts[1:] {
					must(parts[0].MergeBinary(part.AppendBinary(nil)))
				}
				rng := rand.New(rand.NewPCG(uint64(seed), 4))
				for range 1000 {
					item := items[rng.IntN(n)]
					is := float64(counts[item])
					e := parts[0].Estimate(sketch.HashString(0, item), confidence)
					t.add(100*(e.Value-is)/float64(n), holds(e.Lower, is, e.Upper))
				}
			}
			fmt.Fprintf(w, "%g\t%v\t%.4f\t%.4f\t%.1f\t\n", epsilon, merged, t.mean(), t.worst, t.coverage())
		}
	}
}
