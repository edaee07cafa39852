package anomaly

import (
	"math/rand/v2"
	"testing"
)

// Over 8,000 points of noise with a shift of half its deviation every 500:
//
//	go test -run '^$' -bench EDivisive -benchmem ./anomaly
func BenchmarkEDivisive(b *testing.B) {
	random := rand.New(rand.NewPCG(8000, 1))
	y := make([]float64, 8000)
	for i := range y {
		y[i] = random.NormFloat64() + 0.5*float64(i/500%3)
	}
	_, scribe := referenceSeries(b, "inputs/twitter_scribe.csv")
	for _, c := range []struct {
		name string
		y    []float64
		find func(EDivisive, []float64) error
		EDivisive
	}{
		{"multi,points=8000", y, multi, EDivisive{}},
		{"multi,percent,points=8000", y, multi, EDivisive{Penalty: PercentPenalty(0.25, 1)}},
		{"amoc,points=8000", y, atMostOne, EDivisive{}},
		{"multi,scribe,points=160", scribe, multi, EDivisive{MinSize: 24, Penalty: BetaPenalty(0.001, 1)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.find(c.EDivisive, c.y); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func multi(e EDivisive, y []float64) error {
	_, err := e.Multi(y)
	return err
}

func atMostOne(e EDivisive, y []float64) error {
	_, err := e.AtMostOne(y)
	return err
}
