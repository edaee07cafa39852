package sketch

import (
	"math"
	"math/big"
	"slices"

	"pgregory.net/rapid"
)

// The checks hold a sketch's estimates against the events themselves. Intervals
// that hold with a probability are asked for at one that no run will miss.
const surely = 1 - 1e-9

func checkDistinct(t *rapid.T, s Sketch, events []event) {
	different := map[int]bool{}
	for _, e := range events {
		different[e.item] = true
	}
	n := float64(len(different))
	var e Estimate
	switch s := s.(type) {
	case *HLL:
		e = s.Estimate(surely)
	case *Theta:
		e = s.Estimate(surely)
	}
	if n < e.Lower || n > e.Upper || s.Exact() && e.Value != n || e.Value < e.Lower || e.Value > e.Upper {
		t.Fatalf("%g different items, %v says %+v", n, s, e)
	}
}

func checkQuantiles(t *rapid.T, k Sketch, events []event) {
	s := k.(Quantiles)
	sorted := make([]float64, len(events))
	for i, e := range events {
		sorted[i] = e.value
	}
	slices.Sort(sorted)
	if int(s.Count()) != len(sorted) {
		t.Fatalf("%v of %d values", s, len(sorted))
	}
	if len(sorted) == 0 {
		if e := s.Quantile(0.5, 0.95); !math.IsNaN(e.Value) || !math.IsNaN(s.Min()) {
			t.Fatalf("%v without values says %v", s, e)
		}
		return
	}
	if s.Min() != sorted[0] || s.Max() != sorted[len(sorted)-1] {
		t.Fatalf("%v of values from %g to %g", s, sorted[0], sorted[len(sorted)-1])
	}
	var total uint64
	for _, b := range s.Histogram(50).Bins {
		total += b.Count
	}
	if int(total) != len(sorted) {
		t.Fatalf("histogram of %v sums to %d", s, total)
	}
	last := Estimate{math.Inf(-1), math.Inf(-1), math.Inf(-1)}
	for _, q := range []float64{0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1} {
		e := s.Quantile(q, 0.95)
		rank, part := quantilePlace(q, float64(len(sorted)))
		is := between(sorted[int(rank)-1], sorted[min(int(rank), len(sorted)-1)], part)
		if !(e.Lower <= e.Value && e.Value <= e.Upper) || e.Value < last.Value {
			t.Fatalf("%v says %+v of p%g after %+v", s, e, 100*q, last)
		}
		last = e
		if s.Exact() && e.Value != is {
			t.Fatalf("exact %v says %+v of p%g, not %g", s, e, 100*q, is)
		}
		if d, ok := k.(*DDSketch); ok {
			slack := math.Abs(is) * 1e-12
			if e.Lower > is+slack || e.Upper < is-slack {
				t.Fatalf("%v says %+v of p%g, which is %g", s, e, 100*q, is)
			}
			if math.Abs(e.Value-is) > d.Alpha()*math.Abs(is)+slack+math.SmallestNonzeroFloat64*64 && sameSign(sorted, rank) {
				t.Fatalf("%v says %g of p%g, which is %g: more than α=%g off", s, e.Value, 100*q, is, d.Alpha())
			}
		}
		if _, ok := k.(*TDigest); ok && len(sorted) > 200 {
			below, _ := slices.BinarySearch(sorted, e.Value)
			above, _ := slices.BinarySearch(sorted, math.Nextafter(e.Value, math.Inf(1)))
			n := float64(len(sorted))
			off := max(float64(below)/n-q, q-float64(above)/n, 0)
			// A value may be interpolated across a gap as wide as a centroid, here of
			// 2 sin(π/δ) √(q(1-q)) of all, and merging adds one of the same weight.
			if off > 0.13*math.Sqrt(q*(1-q))+2/n {
				t.Fatalf("%v says %+v of p%g, which is %g: off by %.4f of rank", s, e, 100*q, is, off)
			}
		}
	}
	for _, x := range []float64{sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1], 0, math.Inf(1), math.Inf(-1)} {
		e := s.Rank(x, 0.95)
		above, _ := slices.BinarySearch(sorted, math.Nextafter(x, math.Inf(1)))
		is := float64(above) / float64(len(sorted))
		if math.IsInf(x, 1) {
			is = 1
		}
		if !(e.Lower <= e.Value && e.Value <= e.Upper) || s.Exact() && e.Value != is {
			t.Fatalf("%v says %+v of the rank of %g, which is %g", s, e, x, is)
		}
	}
}

// sameSign reports whether the values between which a quantile is interpolated
// have one sign: across zero no relative error is bounded.
func sameSign(sorted []float64, rank float64) bool {
	a, b := sorted[int(rank)-1], sorted[min(int(rank), len(sorted)-1)]
	return a > 0 && b > 0 || a < 0 && b < 0 || a == b
}

func checkTop(t *rapid.T, k Sketch, events []event) {
	s := k.(*Top)
	counts := map[string]uint64{}
	for _, e := range events {
		counts[e.name()]++
	}
	if int(s.Total()) != len(events) {
		t.Fatalf("%v of %d events", s, len(events))
	}
	if limit := uint64(len(events) / (s.Slots() + 1)); s.Floor() > limit {
		t.Fatalf("%v: floor %d is above %d", s, s.Floor(), limit)
	}
	for item, is := range counts {
		e := s.Item(item)
		if is < e.Lower || is > e.Upper || s.Exact() && e.Count != is {
			t.Fatalf("%v says %+v of an item that occurred %d times", s, e, is)
		}
	}
	for _, e := range s.Items(math.MaxInt) {
		if counts[e.Item] == 0 {
			t.Fatalf("%v has %+v, which never occurred", s, e)
		}
	}
}

func checkFrequency(t *rapid.T, k Sketch, events []event) {
	s := k.(*Frequency)
	counts := map[int]uint64{}
	for _, e := range events {
		counts[e.item]++
	}
	if int(s.Total()) != len(events) {
		t.Fatalf("%v of %d events", s, len(events))
	}
	for item, n := range counts {
		is, e := float64(n), s.Estimate(event{item: item}.hash(), surely)
		if is < e.Lower || is > e.Upper || e.Value != e.Upper || s.Exact() && e.Value != is {
			t.Fatalf("%v says %+v of an item that occurred %g times", s, e, is)
		}
	}
	if e := s.Estimate(HashString(lawSeed, "never"), surely); e.Lower > 0 {
		t.Fatalf("%v says %+v of an item that never occurred", s, e)
	}
}

func checkMoments(t *rapid.T, k Sketch, events []event) {
	s := k.(*Moments)
	sum := new(big.Float).SetPrec(4000)
	size := 0.0
	for _, e := range events {
		sum.Add(sum, big.NewFloat(e.value))
		size += math.Abs(e.value)
	}
	if int(s.Count()) != len(events) {
		t.Fatalf("%v of %d values", s, len(events))
	}
	if is, _ := sum.Float64(); !math.IsInf(size, 0) && math.Abs(s.Sum()-is) > math.Abs(is)*0x1p-50+size*0x1p-90*float64(len(events)) {
		t.Fatalf("%v: sum %v, not %v", s, s.Sum(), is)
	}
	if len(events) > 1 && size > 1e-100 && size < 1e60 {
		mean := 0.0
		for _, e := range events {
			mean += e.value / float64(len(events))
		}
		m2 := 0.0
		for _, e := range events {
			m2 += (e.value - mean) * (e.value - mean) / float64(len(events))
		}
		if v := s.Variance(); math.Abs(v-m2) > 1e-6*m2+1e-25*size*size {
			t.Fatalf("%v: variance %v, not %v", s, v, m2)
		}
	}
}

func checkReservoir(t *rapid.T, k Sketch, events []event) {
	s := k.(*Reservoir)
	weights := map[string]float64{}
	for _, e := range events {
		weights[e.name()] = 1 + float64(e.item%5)
	}
	sample := s.Sample()
	if len(sample) > s.k || len(sample) != min(s.k, len(weights)) {
		t.Fatalf("%v of %d different events", s, len(weights))
	}
	for _, x := range sample {
		if weights[string(x.Event)] != x.Weight {
			t.Fatalf("%v holds %q of weight %g, not %g", s, x.Event, x.Weight, weights[string(x.Event)])
		}
	}
	if s.Exact() {
		e := s.Sum(func(Sampled) float64 { return 1 }, 0.95)
		if e != exactly(float64(len(weights))) {
			t.Fatalf("exact %v counts %v of %d", s, e, len(weights))
		}
	}
}
