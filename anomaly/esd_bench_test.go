package anomaly

import "testing"

// Over the 14,398 points of the reference's raw data, with 2, 10 and 49 % of
// them allowed to be anomalies:
//
//	go test -run '^$' -bench 'SeasonalESD|STL' -benchmem ./anomaly
func BenchmarkSeasonalESD(b *testing.B) {
	_, y := referenceSeries(b, "inputs/twitter_raw_data.csv")
	for _, c := range []struct {
		name string
		SeasonalESD
	}{
		{"share=0.02", SeasonalESD{Period: 1440, MaxShare: 0.02}},
		{"share=0.10", SeasonalESD{Period: 1440, MaxShare: 0.10}},
		{"share=0.49", SeasonalESD{Period: 1440, MaxShare: 0.49}},
		{"share=0.02,moments", SeasonalESD{Period: 1440, MaxShare: 0.02, Moments: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Detect(y); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSTL(b *testing.B) {
	_, y := referenceSeries(b, "inputs/twitter_raw_data.csv")
	for _, c := range []struct {
		name string
		STL
	}{
		{"periodic", STL{Period: 1440}},
		{"periodic,robust", STL{Period: 1440, Robust: true}},
		{"window=7,robust", STL{Period: 1440, Seasonal: Loess{Window: 7}, Robust: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Decompose(y); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
