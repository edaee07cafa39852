package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/anomaly"
)

func newDetect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "detect",
		Short: "Finds anomalies and breakouts in a file",
		Long: `Detect looks for what is unusual in a series: single values with seasonal,
changes of the level with breakout. The series is a CSV file of one column, of
values, or of two, of timestamps and values, with a header or without.`,
		Example: `  weir detect seasonal visits.csv
  weir detect breakout latency.csv -o plot --out latency.png`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef(cmd, "there is no weir detect %s; it is seasonal or breakout", args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newDetectSeasonal(), newDetectBreakout())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

// method is a way of finding something, a value of --method.
type method[F any] struct {
	name    string
	summary string
	// flags are those it takes beside the ones of all methods. One given to
	// another method is an error, so that none is ignored in silence.
	flags []string
	find  func(*cobra.Command, *series) (F, error)
}

// detection is what the subcommands share.
type detection[F findings] struct {
	methods []method[F]
	name    string // of the method
	output  string
	out     string // the file of a plot
}

// findings are what a method found, and can be shown.
type findings interface {
	writeJSON(out *detectOutput) error
	writeTable(out *detectOutput) error
	writePlot(out *detectOutput, path string) error
}

// bind gives the command its flags and what it does.
func (d *detection[F]) bind(cmd *cobra.Command) {
	var names, summaries []string
	for _, m := range d.methods {
		names = append(names, m.name)
		summaries = append(summaries, fmt.Sprintf("  %-7s %s", m.name, m.summary))
	}
	cmd.Long += "\n\nMethods:\n" + strings.Join(summaries, "\n")
	cmd.Args = cobra.ExactArgs(1)
	flags := cmd.Flags()
	flags.StringVar(&d.name, "method", d.methods[0].name, "how to look: `one` of "+strings.Join(names, ", "))
	flags.StringVarP(&d.output, "output", "o", "table", "`form` of the answer: table, json or plot")
	flags.StringVar(&d.out, "out", "", "`file` of the plot, .png or .svg")
	must(cmd.RegisterFlagCompletionFunc("method", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "plot"}, cobra.ShellCompDirectiveNoFileComp)))
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return d.run(cmd, args[0]) }
}

func (d *detection[F]) run(cmd *cobra.Command, path string) error {
	at := slices.IndexFunc(d.methods, func(m method[F]) bool { return m.name == d.name })
	if at < 0 {
		return usagef(cmd, "there is no method %q here; see --method in the help", d.name)
	}
	chosen := d.methods[at]
	for _, other := range d.methods {
		for _, flag := range other.flags {
			if cmd.Flags().Changed(flag) && !slices.Contains(chosen.flags, flag) {
				return usagef(cmd, "--%s is not for --method %s", flag, chosen.name)
			}
		}
	}
	switch {
	case !slices.Contains([]string{"table", "json", "plot"}, d.output):
		return usagef(cmd, "--output %q is not one of table, json, plot", d.output)
	case d.output == "plot" && !slices.Contains([]string{"png", "svg"}, plotForm(d.out)):
		return usagef(cmd, "a plot needs a file: --out FILE.png or --out FILE.svg")
	case d.output != "plot" && d.out != "":
		return usagef(cmd, "--out is for -o plot")
	}
	s, err := readSeries(path, cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("detect: %w", err)
	}
	found, err := chosen.find(cmd, s)
	if err != nil {
		var usage *usageError
		if errors.As(err, &usage) {
			return err
		}
		return fmt.Errorf("detect: %w", s.locate(err))
	}
	out := &detectOutput{to: cmd.OutOrStdout(), series: s, width: terminalWidth(cmd.OutOrStdout()), colour: isTerminal(cmd.OutOrStdout())}
	switch d.output {
	case "json":
		return found.writeJSON(out)
	case "plot":
		return found.writePlot(out, d.out)
	}
	return found.writeTable(out)
}

// locate puts the line in front of an error about an observation, or about a
// series that ends too soon.
func (s *series) locate(err error) error {
	var observation *anomaly.ObservationError
	switch {
	case errors.As(err, &observation) && observation.Index < len(s.line):
		return s.mistake(s.line[observation.Index], "%v", err)
	case errors.Is(err, anomaly.ErrPeriods):
		return s.mistake(s.line[len(s.line)-1], "the series ends here: %v", err)
	}
	return fmt.Errorf("%s: %w", s.path, err)
}
