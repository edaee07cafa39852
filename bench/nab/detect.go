package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weir-stream/weir/anomaly"
)

// detectors build the detector of a file. All they are told of it are the
// distance of its rows, in seconds, and how many are for learning.
var detectors = map[string]func(stepSeconds int64, learning int, threshold float64) (anomaly.Detector, error){
	"seasonal": func(stepSeconds int64, learning int, threshold float64) (anomaly.Detector, error) {
		day := max(int(86400/stepSeconds), anomaly.NoSeason)
		return anomaly.NewSeasonal(anomaly.SeasonalConfig{Periods: []int{day}, Warmup: learning, Threshold: threshold})
	},
	"seasonal-auto": func(_ int64, learning int, threshold float64) (anomaly.Detector, error) {
		return anomaly.NewSeasonal(anomaly.SeasonalConfig{Warmup: learning, Threshold: threshold})
	},
}

func detectorNames() []string { return slices.Sorted(maps.Keys(detectors)) }

// fittedThresholds are those tried when the threshold is to be fitted, the
// detectors' own among them. After an alarm a detector is silent for a while, so
// what it would have said at another threshold has to be asked of it, not read
// off its scores.
func fittedThresholds() []float64 {
	thresholds := []float64{anomaly.DefaultThreshold}
	for t := 1.6; t < 4.55; t += 0.1 {
		thresholds = append(thresholds, t)
	}
	return thresholds
}

// alarm is the score of a row that is flagged; others have 0.
const alarm = 1

// detectAll scores the rows of all files.
func detectAll(files []*file, name string, threshold float64) ([][]float64, error) {
	scores := make([][]float64, len(files))
	for k, f := range files {
		var err error
		if scores[k], err = detect(f, name, threshold); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return scores, nil
}

func detect(f *file, name string, threshold float64) ([]float64, error) {
	step := f.step()
	d, err := detectors[name](step, probation(len(f.rows)), threshold)
	if err != nil {
		return nil, err
	}
	scores := make([]float64, len(f.rows))
	for i, r := range f.rows {
		p := anomaly.Point{Step: (r.stamp - f.rows[0].stamp + step/2) / step, Value: r.value}
		if d.Score(p).Anomalous {
			scores[i] = alarm
		}
		d.Learn(p)
	}
	return scores, nil
}
