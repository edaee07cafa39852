package main

import (
	"maps"
	"slices"

	"github.com/weir-stream/weir/anomaly"
)

// detectors build the detector of a file. All they are told of it are the
// distance of its rows, in seconds, and how many are for learning.
var detectors = map[string]func(stepSeconds int64, learning int) (anomaly.Detector, error){
	"seasonal": func(stepSeconds int64, learning int) (anomaly.Detector, error) {
		day := max(int(86400/stepSeconds), anomaly.NoSeason)
		return anomaly.NewSeasonal(anomaly.SeasonalConfig{Periods: []int{day}, Warmup: learning})
	},
	"seasonal-auto": func(_ int64, learning int) (anomaly.Detector, error) {
		return anomaly.NewSeasonal(anomaly.SeasonalConfig{Warmup: learning})
	},
}

func detectorNames() []string { return slices.Sorted(maps.Keys(detectors)) }

// detect scores the rows of a file from 0 to 1. Rows that are not anomalous,
// or silenced, are 0.
func detect(f *file, build func(int64, int) (anomaly.Detector, error)) ([]float64, error) {
	step := f.step()
	d, err := build(step, probation(len(f.rows)))
	if err != nil {
		return nil, err
	}
	scores := make([]float64, len(f.rows))
	for i, r := range f.rows {
		p := anomaly.Point{Step: (r.stamp - f.rows[0].stamp + step/2) / step, Value: r.value}
		if e := d.Score(p); e.Anomalous {
			scores[i] = scale(e.Score)
		}
		d.Learn(p)
	}
	return scores, nil
}

// scale brings a score to where the benchmark wants it.
func scale(score float64) float64 { return min(score/100, 1) }
