package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
)

// In a series with a strong season and little noise, what an operator would see
// is seen, again and again: those who watch withhold what is flagged from Learn,
// so no trouble hides the next one.
func TestTroublesDoNotHideTroubles(t *testing.T) {
	for _, kind := range []Kind{KindValue, KindCount} {
		d, err := NewSeasonal(SeasonalConfig{Periods: []int{120}, Kind: kind, Warmup: 360, Threshold: 4, Cooldown: -1})
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(7, 1))
		planted := map[int64]float64{600: 0.2, 660: 3, 720: 0.66, 790: 0, 870: 1.5} // for a few points from there
		factor := 1.0
		for i := int64(0); i < 960; i++ {
			if f, ok := planted[i]; ok {
				factor = f
			}
			if i%10 == 6 {
				factor = 1
			}
			const sd = 3.5
			p := Point{Step: i, Value: math.Floor(factor * (180 + 90*math.Sin(2*math.Pi*float64(i%120)/120) + sd*rng.NormFloat64()))}
			e := d.Score(p)
			if e.Score < 4 {
				d.Learn(p)
			}
			if _, begins := planted[i]; begins && e.Score < 4 {
				t.Errorf("%v: at %d, %.0f times what was expected, the score is %.2f, value %.0f, expected %.0f, band %.0f to %.0f",
					kind, i, factor, e.Score, e.Value, e.Expected, e.Lower, e.Upper)
			}
			// The band remembers the days before the season was known for longer than
			// one would like.
			if width := (e.Upper - e.Lower) / 2 / sd; i == 599 && width > 35 {
				t.Errorf("%v: after five seasons the band is %.0f to %.0f around %.0f, that is %.0f times the noise on either side", kind, e.Lower, e.Upper, e.Expected, width)
			}
		}
	}
}
