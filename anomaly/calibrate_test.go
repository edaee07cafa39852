package anomaly

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
)

// seed of the random tests; WEIR_SEED takes one back.
func seed(t testing.TB) uint64 {
	if s := os.Getenv("WEIR_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		return n
	}
	return 20260101
}

// generator makes the noise of a series about a mean.
type generator struct {
	name  string
	kind  Kind
	value func(rng *rand.Rand, mean float64, state *float64) float64
}

var generators = []generator{
	{"Gaussian", KindValue, func(rng *rand.Rand, mean float64, _ *float64) float64 {
		return mean + 5*rng.NormFloat64()
	}},
	{"heavy tails", KindValue, func(rng *rand.Rand, mean float64, _ *float64) float64 {
		// Student's t with 3 degrees of freedom.
		square := 0.0
		for range 3 {
			z := rng.NormFloat64()
			square += z * z
		}
		return mean + 5*rng.NormFloat64()/math.Sqrt(square/3)
	}},
	{"autocorrelated", KindValue, func(rng *rand.Rand, mean float64, state *float64) float64 {
		*state = 0.8**state + 0.6*rng.NormFloat64()
		return mean + 5**state
	}},
	{"counts", KindCount, func(rng *rand.Rand, mean float64, _ *float64) float64 {
		return poisson(rng, mean/10)
	}},
}

// poisson draws by inversion, which serves means up to a few hundred.
func poisson(rng *rand.Rand, mean float64) float64 {
	u, n := rng.Float64(), 0.0
	for p := math.Exp(-mean); u > p && n < 1000; {
		u -= p
		n++
		p *= mean / n
	}
	return n
}

const (
	testPeriod = 96
	testPoints = 6000
)

// generatedMean is the mean of a generated series: two humps a day, or a saw tooth,
// or a square wave, by its number.
func generatedMean(series, i int) float64 {
	at := float64(i%testPeriod) / testPeriod
	switch series % 3 {
	case 0:
		return 100 + 40*math.Sin(2*math.Pi*at) + 15*math.Sin(4*math.Pi*at)
	case 1:
		return 60 + 80*at
	}
	if at < 0.4 {
		return 60
	}
	return 120
}

func generate(g generator, series int, rng *rand.Rand) []float64 {
	values := make([]float64, testPoints)
	state := 0.0
	for i := range values {
		values[i] = g.value(rng, generatedMean(series, i), &state)
	}
	return values
}

// alarms are the points at which a detector speaks.
func alarms(d Detector, values []float64) []int {
	var at []int
	for i, v := range values {
		p := Point{Step: int64(i), Value: v}
		if d.Score(p).Anomalous {
			at = append(at, i)
		}
		d.Learn(p)
	}
	return at
}

// calibrationSeries is how many of the thousand are run: all when WEIR_FULL is set, as by
// make calibrate-detect.
func calibrationSeries() int {
	if os.Getenv("WEIR_FULL") != "" {
		return 1000
	}
	return 48
}

// TestFalseAlarmsAreAsPromised runs the detector over generated seasonal series
// in which nothing happens, and counts its alarms.
func TestFalseAlarmsAreAsPromised(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 1))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	n := calibrationSeries() / len(generators)
	fmt.Fprintf(w, "%d series, seed %d; alarms in 10,000 points\nnoise\tthreshold\tpromised\talarms\tof a tenth of the series\n", n*len(generators), seed(t))
	for _, g := range generators {
		for _, threshold := range []float64{DefaultThreshold, 3, 3.5} {
			promise := 1e4 * math.Pow(10, -threshold)
			total, points := 0, 0
			var each []float64
			for series := range n {
				d, err := NewSeasonal(SeasonalConfig{Periods: []int{testPeriod}, Kind: g.kind, Threshold: threshold})
				if err != nil {
					t.Fatal(err)
				}
				found := len(alarms(d, generate(g, series, rng)))
				total += found
				points += testPoints - d.config.Warmup
				each = append(each, 1e4*float64(found)/float64(testPoints-d.config.Warmup))
			}
			rate := 1e4 * float64(total) / float64(points)
			slices.Sort(each)
			fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.1f or more\n", g.name, threshold, promise, rate, each[len(each)*9/10])
			if rate > 2*promise || rate < promise/2 {
				if threshold > DefaultThreshold && os.Getenv("WEIR_FULL") == "" {
					continue // too few alarms to tell
				}
				t.Errorf("%s: %.1f alarms in 10,000 points, promised are %.1f", g.name, rate, promise)
			}
		}
	}
}

// TestPlantedAnomaliesAreFound plants one anomaly a series and looks for the
// first alarm in it.
func TestPlantedAnomaliesAreFound(t *testing.T) {
	rng := rand.New(rand.NewPCG(seed(t), 2))
	// Sizes are in scatters of the Gaussian series, which is 5.
	plants := []struct {
		name   string
		length int // points in which an alarm counts
		recall float64
		add    func(i int) float64
	}{
		{"spike of 8", 3, 0.7, func(i int) float64 { return pick(i == 0, 40) }},
		{"drop of 4 for 12", 24, 0.8, func(i int) float64 { return pick(i < 12, -20) }},
		{"shift of 3", 48, 0.8, func(int) float64 { return 15 }},
		{"ramp of 6 in 48", 96, 0.8, func(i int) float64 { return min(float64(i)/48, 1) * 30 }},
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	n := max(calibrationSeries()/4, 24)
	fmt.Fprintln(w, "planted\trecall\tmedian delay")
	for _, plant := range plants {
		var delays []int
		for series := range n {
			values := generate(generators[0], series, rng)
			at := testPoints/2 + rng.IntN(testPeriod)
			for i := at; i < testPoints; i++ {
				values[i] += plant.add(i - at)
			}
			d, err := NewSeasonal(SeasonalConfig{Periods: []int{testPeriod}})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range alarms(d, values) {
				if a >= at && a < at+plant.length {
					delays = append(delays, a-at)
					break
				}
			}
		}
		recall := float64(len(delays)) / float64(n)
		slices.Sort(delays)
		if recall < plant.recall {
			t.Errorf("%s: recall %.2f, want %.2f", plant.name, recall, plant.recall)
		}
		if len(delays) > 0 {
			fmt.Fprintf(w, "%s\t%.2f\t%d\n", plant.name, recall, delays[len(delays)/2])
		}
	}
}

func pick(yes bool, x float64) float64 {
	if yes {
		return x
	}
	return 0
}
