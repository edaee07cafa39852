package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/sketch"
)

func newSketch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sketch",
		Short: "Answers from a file that holds one sketch",
		Long: `Sketch answers from a file that holds one t-digest or DDSketch: ours, as a column
of a segment has it, or a t-digest of the Java reference, verbose or small.`,
		Example: `  weir sketch quantile --q 0.5,0.99 latency.tdigest
  weir sketch rank --x 10,250 latency.tdigest`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSketchQuantile(), newSketchRank())
	return cmd
}

func newSketchQuantile() *cobra.Command {
	var interpolation, output string
	var at numbers
	cmd := &cobra.Command{
		Use:   "quantile --q 0.5,0.99 FILE",
		Short: "The values that given shares of all values do not exceed",
		Example: `  weir sketch quantile --q 0.5,0.99 latency.tdigest
  weir sketch quantile --q 0.99 --interpolation reference -o json java.bytes`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, q := range at {
				if q < 0 || q > 1 {
					return usagef(cmd, "--q %v: a quantile is from 0 to 1; the 99th percentile is 0.99", q)
				}
			}
			d, err := readDistribution(args[0], interpolation)
			if err != nil {
				return err
			}
			return writeAnswers(cmd.OutOrStdout(), output, "q", at, d.quantile)
		},
	}
	cmd.Flags().Var(&at, "q", "`shares`, from 0 to 1, separated by commas")
	must(cmd.MarkFlagRequired("q"))
	distributionFlags(cmd, &interpolation, &output)
	return cmd
}

func newSketchRank() *cobra.Command {
	var interpolation, output string
	var at numbers
	cmd := &cobra.Command{
		Use:     "rank --x 10,250 FILE",
		Short:   "The shares of all values that do not exceed given values",
		Example: `  weir sketch rank --x 10,250 latency.tdigest`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := readDistribution(args[0], interpolation)
			if err != nil {
				return err
			}
			return writeAnswers(cmd.OutOrStdout(), output, "x", at, d.rank)
		},
	}
	cmd.Flags().Var(&at, "x", "`values`, separated by commas")
	must(cmd.MarkFlagRequired("x"))
	distributionFlags(cmd, &interpolation, &output)
	return cmd
}

func distributionFlags(cmd *cobra.Command, interpolation, output *string) {
	cmd.Flags().StringVar(interpolation, "interpolation", "ours", "`how` to read between centroids: ours, or reference, as the Java t-digest does")
	cmd.Flags().StringVarP(output, "output", "o", "table", "`form` of the answer: table or json")
	must(cmd.RegisterFlagCompletionFunc("interpolation", cobra.FixedCompletions([]string{"ours", "reference"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)))
}

// numbers is a flag of numbers separated by commas.
type numbers []float64

func (n *numbers) Set(text string) error {
	for _, word := range strings.Split(text, ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(word), 64)
		if err != nil || math.IsNaN(f) {
			return fmt.Errorf("%q is no number", word)
		}
		*n = append(*n, f)
	}
	return nil
}

func (n *numbers) String() string {
	words := make([]string, len(*n))
	for i, f := range *n {
		words[i] = strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strings.Join(words, ",")
}

func (n *numbers) Type() string { return "numbers" }

// distribution answers about the values behind a sketch.
type distribution struct {
	quantile, rank func(float64) sketch.Estimate
}

// confidenceOfSketch is that of the intervals printed, where a sketch has any.
const confidenceOfSketch = 0.95

func readDistribution(path, interpolation string) (*distribution, error) {
	if interpolation != "ours" && interpolation != "reference" {
		return nil, fmt.Errorf("--interpolation %s is neither ours nor reference", interpolation)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	decoded, err := sketch.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ours, ok := decoded.(sketch.Quantiles)
	if !ok {
		return nil, fmt.Errorf("%s holds a sketch that knows nothing of quantiles: %v", path, decoded)
	}
	if interpolation == "ours" {
		return &distribution{
			func(q float64) sketch.Estimate { return ours.Quantile(q, confidenceOfSketch) },
			func(x float64) sketch.Estimate { return ours.Rank(x, confidenceOfSketch) },
		}, nil
	}
	reference, err := sketch.DecodeJava(data) // its own bytes are read as it reads them itself
	if err != nil {
		digest, ok := decoded.(*sketch.TDigest)
		if !ok {
			return nil, fmt.Errorf("--interpolation reference reads a t-digest, and %s holds another sketch: %v", path, decoded)
		}
		reference = digest.Java()
	}
	alone := func(answer func(float64) float64) func(float64) sketch.Estimate {
		return func(at float64) sketch.Estimate {
			return sketch.Estimate{Value: answer(at), Lower: math.NaN(), Upper: math.NaN()}
		}
	}
	return &distribution{alone(reference.Quantile), alone(reference.Rank)}, nil
}

// writeAnswers prints {"value": […]}, or a table with the bounds.
func writeAnswers(out io.Writer, form, name string, at []float64, answer func(float64) sketch.Estimate) error {
	switch form {
	case "json":
		var answers struct {
			Value []*float64 `json:"value"` // null where there is none
		}
		for _, x := range at {
			v := answer(x).Value
			if math.IsNaN(v) || math.IsInf(v, 0) {
				answers.Value = append(answers.Value, nil)
				continue
			}
			answers.Value = append(answers.Value, &v)
		}
		return json.NewEncoder(out).Encode(answers)
	case "table":
		for _, x := range at {
			e := answer(x)
			bounds := ""
			if !math.IsNaN(e.Lower) {
				bounds = fmt.Sprintf("  [%.6g, %.6g]", e.Lower, e.Upper)
			}
			if _, err := fmt.Fprintf(out, "%s = %-8v %.6g%s\n", name, x, e.Value, bounds); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("--output %s is neither table nor json", form)
}
