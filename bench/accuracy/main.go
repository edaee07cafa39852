// Command accuracy measures how far every sketch is off, and how often the
// truth lies in the interval it states.
//
//	go run ./bench/accuracy [-seeds 40] [-n 100000]
//
// Each row is many seeds of one distribution; "merged" rows spread the values
// over 64 sketches that are encoded and merged from their bytes. Coverage is of
// intervals stated at 95 %.
package main

import (
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
)

func main() {
	seeds := flag.Int("seeds", 40, "seeds of each row")
	n := flag.Int("n", 100_000, "values of each stream")
	flag.Parse()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	table := func(title string, rows func(w *tabwriter.Writer)) {
		fmt.Fprintf(w, "%s\n\n", title)
		rows(w)
		w.Flush()
		fmt.Fprintln(w)
	}
	table("Quantiles: error of rank in points of percent (mean, worst) and of value in percent (mean), coverage in percent",
		func(w *tabwriter.Writer) { quantiles(w, *seeds, *n) })
	table("Ranks: error in points of percent, coverage in percent",
		func(w *tabwriter.Writer) { ranks(w, *seeds, *n) })
	table("Distinct: root mean square and mean of the relative error in percent, coverage in percent",
		func(w *tabwriter.Writer) { distinct(w, *seeds) })
	table("Heavy items, Zipf: recall of the top ten, error of the ten in percent, bounds that hold in percent",
		func(w *tabwriter.Writer) { top(w, *seeds, *n) })
	table("Frequency of 1,000 random items, Zipf: error in percent of the total (mean, worst), coverage in percent",
		func(w *tabwriter.Writer) { frequency(w, *seeds, *n) })
}
