package main

import (
	"math"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/anomaly"
)

// seasonalOptions are the flags of detect seasonal.
type seasonalOptions struct {
	period         string
	direction      string
	maxAnoms       float64
	alpha          float64
	threshold      string
	onlyLast       string
	longterm       bool
	piecewiseWeeks int
	longtermPeriod int
	expected       bool
	online         onlineOptions
}

func newDetectSeasonal() *cobra.Command {
	var o seasonalOptions
	cmd := &cobra.Command{
		Use:   "seasonal FILE.csv",
		Short: "Finds the values that do not fit the season",
		Long: `Seasonal finds values that are too high or too low for their hour of the day or
day of the week.

With -o json the answer is {"index": [...], "timestamp": [...], "value": [...],
"expected": [...]}, where index counts the rows of values from 1. esd gives its
answers as the R package AnomalyDetection does: in its order, and the expected
values cut to whole numbers.`,
		Example: `  weir detect seasonal visits.csv
  weir detect seasonal visits.csv --direction pos --only-last day -o json
  weir detect seasonal visits.csv --period 168 --max-anoms 0.05 -o plot --out visits.png
  weir detect seasonal year.csv --longterm --piecewise-weeks 4 --expected`,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.period, "period", "auto", "`rows` of a season; auto tells it from the timestamps")
	flags.StringVar(&o.direction, "direction", "both", "`side` to look at: both, pos (too high) or neg (too low)")
	flags.Float64Var(&o.maxAnoms, "max-anoms", 0.02, "largest `share` of the rows that may be anomalies, up to 0.49")
	flags.Float64Var(&o.alpha, "alpha", 0.05, "`level` of the test: the chance of an anomaly in noise")
	flags.StringVar(&o.threshold, "threshold", "none",
		"keep what reaches a `height` of the daily or seasonal peaks: none, med_max, p95 or p99")
	flags.StringVar(&o.onlyLast, "only-last", "", "keep what is in the last `part`: day or hr (--period auto), or period")
	flags.BoolVar(&o.longterm, "longterm", false, "look at pieces of a few weeks by themselves (--period auto)")
	flags.IntVar(&o.piecewiseWeeks, "piecewise-weeks", 2, "`weeks` of a piece, with --longterm")
	flags.IntVar(&o.longtermPeriod, "longterm-period", 0, "look at pieces of so many `rows` by themselves (--period N)")
	flags.BoolVar(&o.expected, "expected", false, "print what was expected, and the band, in the table too")
	o.online.bind(cmd, anomaly.DefaultThreshold)
	d := &detection[*anomalies]{methods: []method[*anomalies]{
		{
			name:    "esd",
			summary: "S-H-ESD on the whole series, as the R package AnomalyDetection does it",
			flags: []string{"period", "direction", "max-anoms", "alpha", "threshold", "only-last",
				"longterm", "piecewise-weeks", "longterm-period", "expected"},
			find: o.esd,
		},
		{
			name:    "online",
			summary: "one pass in bounded memory, as the service does it",
			flags:   append([]string{"period", "direction", "expected"}, onlineFlags...),
			find:    o.findOnline,
		},
	}}
	d.bind(cmd)
	return cmd
}

// esd finds anomalies by S-H-ESD: by timestamps, as AnomalyDetectionTs, or with
// a given period, as AnomalyDetectionVec.
func (o *seasonalOptions) esd(cmd *cobra.Command, s *series) (*anomalies, error) {
	e, err := o.seasonalESD(cmd)
	if err != nil {
		return nil, err
	}
	var result *anomaly.ESDResult
	if o.period == "auto" {
		if s.time == nil {
			if s.notTimes != nil {
				return nil, s.notTimes
			}
			return nil, s.mistake(s.line[0], "there are no timestamps to tell the period from; give it with --period N")
		}
		result, err = e.DetectTimes(s.time, s.value)
	} else {
		result, err = e.Detect(s.value)
	}
	if err != nil {
		return nil, err
	}
	found := &anomalies{
		period: result.Period, showExpected: o.expected,
		forecast: result.Expected, lower: result.Lower, upper: result.Upper,
	}
	for _, a := range result.Anomalies {
		found.rows = append(found.rows, a.Index)
		found.expected = append(found.expected, math.Trunc(a.Expected))
	}
	return found, nil
}

// seasonalESD makes the detector that the flags describe.
func (o *seasonalOptions) seasonalESD(cmd *cobra.Command) (e anomaly.SeasonalESD, err error) {
	auto := o.period == "auto"
	choose(&err, cmd, "direction", o.direction, &e.Tails, map[string]anomaly.Tails{
		"both": anomaly.BothTails, "pos": anomaly.UpperTail, "neg": anomaly.LowerTail})
	choose(&err, cmd, "threshold", o.threshold, &e.Floor, map[string]anomaly.Floor{
		"none": anomaly.NoFloor, "None": anomaly.NoFloor,
		"med_max": anomaly.MedianOfPeaks, "p95": anomaly.P95OfPeaks, "p99": anomaly.P99OfPeaks})
	choose(&err, cmd, "only-last", o.onlyLast, &e.Last, map[string]anomaly.Last{
		"": anomaly.LastAll, "day": anomaly.LastDay, "hr": anomaly.LastHour, "period": anomaly.LastPeriod})
	if err != nil {
		return e, err
	}
	if !auto {
		if e.Period, err = strconv.Atoi(o.period); err != nil || e.Period < 2 {
			return e, usagef(cmd, "--period %q is neither auto nor a number of rows from 2 on", o.period)
		}
	}
	flags := cmd.Flags()
	switch {
	case !(o.maxAnoms >= 0 && o.maxAnoms <= 0.49):
		return e, usagef(cmd, "--max-anoms %v is not between 0 and 0.49", o.maxAnoms)
	case !(o.alpha > 0 && o.alpha < 1):
		return e, usagef(cmd, "--alpha %v is not between 0 and 1", o.alpha)
	case auto && e.Last == anomaly.LastPeriod:
		return e, usagef(cmd, "--only-last period needs --period N; with timestamps it is day or hr")
	case !auto && (e.Last == anomaly.LastDay || e.Last == anomaly.LastHour):
		return e, usagef(cmd, "--only-last %s needs --period auto; with --period N it is period", o.onlyLast)
	case !auto && o.longterm:
		return e, usagef(cmd, "--longterm needs --period auto; with --period N it is --longterm-period N")
	case auto && flags.Changed("longterm-period"):
		return e, usagef(cmd, "--longterm-period needs --period N; with timestamps it is --longterm")
	case flags.Changed("piecewise-weeks") && !o.longterm:
		return e, usagef(cmd, "--piecewise-weeks needs --longterm")
	case o.piecewiseWeeks < 1:
		return e, usagef(cmd, "--piecewise-weeks %d is not at least 1", o.piecewiseWeeks)
	case flags.Changed("longterm-period") && o.longtermPeriod < 1:
		return e, usagef(cmd, "--longterm-period %d is not at least 1", o.longtermPeriod)
	}
	e.Alpha = o.alpha
	e.MaxShare = max(o.maxAnoms, math.SmallestNonzeroFloat64) // 0 leaves one anomaly, as in the package
	if o.longterm {
		e.PieceWeeks = o.piecewiseWeeks
	}
	e.PieceRows = o.longtermPeriod
	return e, nil
}

// choose sets a value by the word that a flag was given, and the error, if there
// is none yet, where there is no such word.
func choose[V any](err *error, cmd *cobra.Command, flag, word string, value *V, words map[string]V) {
	v, ok := words[word]
	if !ok && *err == nil {
		*err = usagef(cmd, "--%s %q is none; see the help for those there are", flag, word)
	}
	*value = v
}
