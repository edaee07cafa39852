// Command nab scores the one-pass detectors on the Numenta Anomaly Benchmark.
//
//	go run ./bench/nab --data DIR [--detector seasonal] [--threshold fit|default] [--files]
//
// DIR holds data/CATEGORY/NAME.csv and labels/combined_windows.json. A detector
// has one configuration for all files: the season is a day, and the warm-up the
// rows the benchmark sets aside for learning. Three lines are printed, one for
// each of the benchmark's profiles, and the table of published detectors where
// DIR has a baselines.json.
//
// The threshold is the detector's own, or the best of thirty for the very files
// it is scored on, which is the benchmark's rule and flatters everybody.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/weir-stream/weir/anomaly"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "nab:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("nab", flag.ContinueOnError)
	dir := flags.String("data", "", "folder of the benchmark's files and labels")
	name := flags.String("detector", "seasonal", "detector: "+strings.Join(detectorNames(), ", "))
	threshold := flags.String("threshold", "fit", "fit, or default for the detector's own")
	half := flags.String("half", "", "a or b: every other file only, in the order of their names")
	perFile := flags.Bool("files", false, "print each file's raw score at the standard profile")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return fmt.Errorf("--data names no folder")
	}
	if *threshold != "fit" && *threshold != "default" {
		return fmt.Errorf("--threshold %q: want fit or default", *threshold)
	}
	if _, ok := detectors[*name]; !ok {
		return fmt.Errorf("--detector %q: want one of %s", *name, strings.Join(detectorNames(), ", "))
	}
	files, err := load(*dir)
	if err != nil {
		return err
	}
	if files, err = halve(files, *half); err != nil {
		return err
	}
	thresholds := []float64{anomaly.DefaultThreshold}
	if *threshold == "fit" {
		thresholds = fittedThresholds()
	}
	best, scores, err := fitDetector(files, *name, thresholds)
	if err != nil {
		return err
	}
	var row [3]float64
	for i, p := range profiles {
		row[i] = best[i].normalised(p)
		fmt.Fprintf(out, "%s %.2f\n", p.label, row[i])
		if i == 0 && *perFile {
			fmt.Fprintf(out, "  threshold %.1f\n", best[i].threshold)
			printFiles(out, files, scores)
		}
	}
	if *half != "" {
		return nil
	}
	return compare(out, filepath.Join(*dir, "baselines.json"), *name+", "+*threshold, row)
}

// fitDetector finds the best of the thresholds for each profile, and what the
// detector says at the one for the first.
func fitDetector(files []*file, name string, thresholds []float64) (best [3]result, first [][]float64, err error) {
	for _, t := range thresholds {
		scores, err := detectAll(files, name, t)
		if err != nil {
			return best, nil, err
		}
		for i, p := range profiles {
			r, _ := at(files, scores, p, alarm)
			r.threshold = t
			if t == thresholds[0] || r.raw > best[i].raw {
				best[i] = r
				if i == 0 {
					first = scores
				}
			}
		}
	}
	return best, first, nil
}

// halve leaves every other file, for choosing a configuration on some and
// confirming it on others.
func halve(files []*file, half string) ([]*file, error) {
	first := 0
	switch half {
	case "":
		return files, nil
	case "a":
	case "b":
		first = 1
	default:
		return nil, fmt.Errorf("--half %q: want a or b", half)
	}
	var some []*file
	for k := first; k < len(files); k += 2 {
		some = append(some, files[k])
	}
	return some, nil
}

func printFiles(out io.Writer, files []*file, scores [][]float64) {
	for k, f := range files {
		r, t := at(files[k:k+1], scores[k:k+1], profiles[0], alarm)
		fmt.Fprintf(out, "  %6.2f of %d, %d false alarms  %s\n", r.raw, r.windows, t.fp, f.name)
	}
}

// compare prints the row among those of published detectors.
func compare(out io.Writer, path, name string, row [3]float64) error {
	raw, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var published map[string]map[string]struct{ Score float64 }
	if err := json.Unmarshal(raw, &published); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	type line struct {
		name   string
		scores [3]float64
	}
	lines := []line{{name, row}}
	for detector, byProfile := range published {
		l := line{name: "  " + detector}
		for i, p := range profiles {
			l.scores[i] = byProfile[p.name].Score
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int {
		if a.scores[0] != b.scores[0] {
			if a.scores[0] > b.scores[0] {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ndetector\tstandard\tlow FP\tlow FN\t")
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t\n", l.name, l.scores[0], l.scores[1], l.scores[2])
	}
	return w.Flush()
}
