package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Score and Learn of one point, at a period of 1,440 steps:
//
//	go test -run '^$' -bench 'Seasonal$|Breakout$|Threshold$|Rate$' -benchmem ./anomaly

func benchmarkDetector(b *testing.B, d Detector, err error) {
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	points := make([]Point, 14_400)
	for i := range points {
		points[i] = Point{Value: 100 + 40*math.Sin(2*math.Pi*float64(i)/1440) + 5*rng.NormFloat64()}
	}
	step := int64(0)
	next := func() {
		p := points[step%int64(len(points))]
		p.Step = step
		d.Score(p)
		d.Learn(p)
		step++
	}
	for range points {
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
	b.ReportMetric(float64(d.SizeBytes()), "B/state")
	b.ReportMetric(float64(len(d.AppendBinary(nil))), "B/encoded")
}

func BenchmarkSeasonal(b *testing.B) {
	d, err := NewSeasonal(SeasonalConfig{Periods: []int{1440}})
	benchmarkDetector(b, d, err)
}

func BenchmarkSeasonalDayAndWeek(b *testing.B) {
	d, err := NewSeasonal(SeasonalConfig{Periods: []int{1440, 10080}})
	benchmarkDetector(b, d, err)
}

func BenchmarkBreakout(b *testing.B) {
	d, err := NewBreakout(BreakoutConfig{Periods: []int{1440}})
	benchmarkDetector(b, d, err)
}

func BenchmarkThreshold(b *testing.B) {
	d, err := NewThreshold(ThresholdConfig{Lower: 0, Upper: 200})
	benchmarkDetector(b, d, err)
}

func BenchmarkRate(b *testing.B) {
	d, err := NewRateOfChange(RateConfig{Over: 60, Rise: 1, Relative: true})
	benchmarkDetector(b, d, err)
}
