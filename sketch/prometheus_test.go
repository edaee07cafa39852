package sketch

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// TestNativeHistogram observes the same values in Prometheus' own client and in
// a DDSketch: buckets agree, values on their bounds included, both ways.
func TestNativeHistogram(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for scale := MinScale; scale <= MaxScale; scale++ {
		client := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "h", NativeHistogramZeroThreshold: prometheus.NativeHistogramZeroThresholdZero,
			NativeHistogramBucketFactor: math.Exp2(math.Exp2(-float64(scale))) * (1 + 1e-12),
		})
		d := NewDDSketch(scale)
		sum := 0.0
		observe := func(x float64) {
			client.Observe(x)
			d.Add(x)
			sum += x
		}
		for range 2000 {
			observe(math.Exp(rng.NormFloat64()))
			observe(-math.Exp(2 * rng.NormFloat64()))
		}
		observe(0)
		for i := -200; i <= 200; i++ { // bounds, and their neighbours
			bound := bucketBound(i, int8(min(scale, 5)))
			observe(bound)
			observe(math.Nextafter(bound, 0))
			observe(-math.Nextafter(bound, math.MaxFloat64))
		}
		var m dto.Metric
		if err := client.Write(&m); err != nil {
			t.Fatal(err)
		}
		w := m.Histogram
		if int(w.GetSchema()) != scale {
			t.Fatalf("the client chose schema %d, not %d", w.GetSchema(), scale)
		}
		want := &NativeHistogram{
			Schema: w.GetSchema(), Count: w.GetSampleCount(), Sum: sum, ZeroCount: w.GetZeroCount(),
			PositiveDeltas: w.PositiveDelta, NegativeDeltas: w.NegativeDelta,
		}
		is := d.NativeHistogram(sum)
		// The client bridges short gaps with empty buckets: compare as sketches.
		want.PositiveSpans, want.NegativeSpans = spansOf(w.PositiveSpan), spansOf(w.NegativeSpan)
		a, err := FromNativeHistogram(want)
		if err != nil {
			t.Fatal(err)
		}
		b, err := FromNativeHistogram(is)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a.NativeHistogram(sum), b.NativeHistogram(sum)); diff != "" {
			t.Fatalf("scale %d, client against ours:\n%s", scale, diff)
		}
		if diff := cmp.Diff(is, b.NativeHistogram(sum)); diff != "" {
			t.Fatalf("scale %d, there and back:\n%s", scale, diff)
		}
	}
}

func spansOf(list []*dto.BucketSpan) []BucketSpan {
	var spans []BucketSpan
	for _, s := range list {
		spans = append(spans, BucketSpan{Offset: s.GetOffset(), Length: s.GetLength()})
	}
	return spans
}
