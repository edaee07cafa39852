package main

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/anomaly"
)

// onlineOptions are the flags of the method online, which reads a series once,
// as the service does.
type onlineOptions struct {
	score  float64
	warmup int
}

var onlineFlags = []string{"score", "warmup"}

// bind adds the flags, with the score that is wanted by default.
func (o *onlineOptions) bind(cmd *cobra.Command, score float64) {
	cmd.Flags().Float64Var(&o.score, "score", score, "of --method online: report what is as rare as one in 10^`score` points")
	cmd.Flags().IntVar(&o.warmup, "warmup", 0, "of --method online: `rows` to learn from before any is reported; 0 chooses")
}

func (o *onlineOptions) validate(cmd *cobra.Command) error {
	switch {
	case !(o.score > 0) || math.IsInf(o.score, 0):
		return usagef(cmd, "--score %v is not a positive number", o.score)
	case o.warmup < 0:
		return usagef(cmd, "--warmup %d is not at least 0", o.warmup)
	}
	return nil
}

// findOnline finds anomalies by the one-pass detector.
func (o *seasonalOptions) findOnline(cmd *cobra.Command, s *series) (*anomalies, error) {
	if err := o.online.validate(cmd); err != nil {
		return nil, err
	}
	sides := map[string][]anomaly.Direction{"both": {anomaly.Up, anomaly.Down, anomaly.Level}, "pos": {anomaly.Up}, "neg": {anomaly.Down}}
	wanted, ok := sides[o.direction]
	if !ok {
		return nil, usagef(cmd, "--direction %q is none; it is both, pos or neg", o.direction)
	}
	steps, width := stepsOf(s)
	config := anomaly.SeasonalConfig{Threshold: o.online.score, Warmup: warmupFor(o.online.warmup, len(s.value))}
	if o.period != "auto" {
		period, err := strconv.Atoi(o.period)
		if err != nil || period < 1 {
			return nil, usagef(cmd, "--period %q is neither auto nor a number of rows from 1 on", o.period)
		}
		config.Periods = []int{period}
	} else {
		config.Periods = periodsOf(width, len(s.value))
	}
	d, err := anomaly.NewSeasonal(config)
	if err != nil {
		return nil, err
	}
	found := &anomalies{showExpected: o.expected}
	for i, v := range s.value {
		p := anomaly.Point{Step: steps[i], Value: v}
		e := d.Score(p)
		d.Learn(p)
		found.forecast = append(found.forecast, e.Expected)
		found.lower, found.upper = append(found.lower, e.Lower), append(found.upper, e.Upper)
		if e.Anomalous && slices.Contains(wanted, e.Direction) {
			found.rows = append(found.rows, i)
			found.expected = append(found.expected, e.Expected)
		}
	}
	if period := d.Period(); period > anomaly.NoSeason {
		found.period = period
	}
	return found, nil
}

// findOnline finds changes of the level by the one-pass detector.
func (o *breakoutOptions) findOnline(cmd *cobra.Command, s *series) (*breakouts, error) {
	if err := o.online.validate(cmd); err != nil {
		return nil, err
	}
	config := anomaly.BreakoutConfig{Threshold: o.online.score, Warmup: warmupFor(o.online.warmup, len(s.value))}
	if cmd.Flags().Changed("min-size") {
		config.MinSize = o.minSize
	}
	d, err := anomaly.NewBreakout(config)
	if err != nil {
		return nil, err
	}
	found := &breakouts{}
	for i, v := range s.value {
		p := anomaly.Point{Step: int64(i), Value: v}
		if e := d.Score(p); e.Anomalous && (len(found.loc) == 0 || int(e.Began) > found.loc[len(found.loc)-1]) {
			found.loc = append(found.loc, int(e.Began))
		}
		d.Learn(p)
	}
	return found, nil
}

// warmupFor is the warm-up that was asked for, or one that leaves a short
// series most of its rows; 0 leaves it to the detector.
func warmupFor(asked, rows int) int {
	const usual = 600
	if asked > 0 || rows >= 4*usual {
		return asked
	}
	return max(rows*15/100, 16)
}

// stepsOf numbers the rows by their times, if they have any, and tells the
// distance of two; rows without are a step apart.
func stepsOf(s *series) ([]int64, time.Duration) {
	steps := make([]int64, len(s.value))
	var gaps []int64
	for i := range steps {
		steps[i] = int64(i)
		if s.time != nil && i > 0 && s.time[i] > s.time[i-1] {
			gaps = append(gaps, s.time[i]-s.time[i-1])
		}
	}
	if len(gaps) == 0 {
		return steps, 0
	}
	slices.Sort(gaps)
	width := gaps[len(gaps)/2]
	for i := range steps {
		steps[i] = (s.time[i] - s.time[0] + width/2) / width
	}
	return steps, time.Duration(width)
}

// periodsOf are a day and a week in steps, as far as the rows hold several of
// them; without times a period is looked for.
func periodsOf(width time.Duration, rows int) []int {
	const day = 24 * time.Hour
	if width <= 0 {
		return nil
	}
	var periods []int
	for _, season := range []time.Duration{day, 7 * day} {
		if n := int(season / width); n > 1 && rows >= 3*n {
			periods = append(periods, n)
		}
	}
	return periods
}
