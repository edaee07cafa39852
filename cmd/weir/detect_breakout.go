package main

import (
	"math"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/anomaly"
)

// breakoutOptions are the flags of detect breakout.
type breakoutOptions struct {
	minSize      int
	beta         float64
	percent      float64
	degree       int
	permutations int
	significance float64
	seed         uint64
	online       onlineOptions
}

func newDetectBreakout() *cobra.Command {
	var o breakoutOptions
	cmd := &cobra.Command{
		Use:   "breakout FILE.csv",
		Short: "Finds where the level changes",
		Long: `Breakout finds where the level of a series changes for good, jump or ramp, and
takes no single value for it.

With -o json the answer is {"loc": [...]}: each breakout as the number of rows
before it, as the R package BreakoutDetection gives it. For amoc there is "stat"
beside it, how large the change is, and "pvalue" if it may permute.`,
		Example: `  weir detect breakout latency.csv
  weir detect breakout latency.csv --min-size 60 --beta 0.002 -o json
  weir detect breakout latency.csv --method amoc --permutations 199`,
	}
	flags := cmd.Flags()
	flags.IntVar(&o.minSize, "min-size", 30, "fewest `rows` between breakouts")
	flags.Float64Var(&o.beta, "beta", 0.008, "what one more breakout must bring, a `penalty`")
	flags.Float64Var(&o.percent, "percent", 0, "by which `share` one more breakout must improve, in place of --beta")
	flags.IntVar(&o.degree, "degree", 1, "how the penalty grows with the breakouts: 0, 1 or 2, a `power`")
	flags.IntVar(&o.permutations, "permutations", 0, "`times` to shuffle, to see if a change is one")
	flags.Float64Var(&o.significance, "significance", 0.05, "`share` of the shuffles that may look as changed")
	flags.Uint64Var(&o.seed, "seed", 1, "`number` that the shuffles start from")
	o.online.bind(cmd, anomaly.DefaultBreakoutThreshold)
	d := &detection[*breakouts]{methods: []method[*breakouts]{
		{
			name:    "multi",
			summary: "EDM on the whole series, any number of breakouts",
			flags:   []string{"min-size", "beta", "percent", "degree"},
			find:    o.multi,
		},
		{
			name:    "amoc",
			summary: "EDM on the whole series, at most one breakout",
			flags: []string{"min-size", "permutations", "significance", "seed",
				"beta", "percent", "degree"}, // without a meaning, as in the package
			find: o.atMostOne,
		},
		{
			name:    "online",
			summary: "one pass in bounded memory, as the service does it",
			flags:   append([]string{"min-size"}, onlineFlags...),
			find:    o.findOnline,
		},
	}}
	d.bind(cmd)
	return cmd
}

func (o *breakoutOptions) multi(cmd *cobra.Command, s *series) (*breakouts, error) {
	e, err := o.eDivisive(cmd)
	if err != nil {
		return nil, err
	}
	switch {
	case o.degree < 0 || o.degree > 2:
		return nil, usagef(cmd, "--degree %d is not 0, 1 or 2", o.degree)
	case !(o.beta >= 0) || math.IsInf(o.beta, 0):
		return nil, usagef(cmd, "--beta %v is no penalty", o.beta)
	case !(o.percent >= 0) || math.IsInf(o.percent, 0):
		return nil, usagef(cmd, "--percent %v is no penalty", o.percent)
	}
	// When both are given, beta counts.
	e.Penalty = anomaly.BetaPenalty(o.beta, o.degree)
	if cmd.Flags().Changed("percent") && !cmd.Flags().Changed("beta") {
		e.Penalty = anomaly.PercentPenalty(o.percent, o.degree)
	}
	found := &breakouts{}
	found.loc, err = e.Multi(s.value)
	return found, err
}

func (o *breakoutOptions) atMostOne(cmd *cobra.Command, s *series) (*breakouts, error) {
	e, err := o.eDivisive(cmd)
	if err != nil {
		return nil, err
	}
	change, err := e.AtMostOne(s.value)
	if err != nil {
		return nil, err
	}
	found := &breakouts{stat: &change.Stat}
	if !math.IsNaN(change.P) {
		found.p = &change.P
	}
	// Of a series too short for two segments the package names the place 0.
	if change.At > 0 || len(s.value) < 2*o.minSize {
		found.loc = []int{change.At}
	}
	return found, nil
}

// eDivisive makes the detector that the flags describe, but for the penalty.
func (o *breakoutOptions) eDivisive(cmd *cobra.Command) (anomaly.EDivisive, error) {
	e := anomaly.EDivisive{MinSize: o.minSize, Permutations: o.permutations, Level: o.significance, Seed: o.seed}
	switch {
	case o.minSize < 2:
		return e, usagef(cmd, "--min-size %d is not at least 2", o.minSize)
	case o.permutations < 0:
		return e, usagef(cmd, "--permutations %d is not at least 0", o.permutations)
	case !(o.significance > 0 && o.significance < 1):
		return e, usagef(cmd, "--significance %v is not between 0 and 1", o.significance)
	}
	return e, nil
}
