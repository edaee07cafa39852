package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/watch"
)

func newBacktest() *cobra.Command {
	var config, detector, from, to, form string
	cmd := &cobra.Command{
		Use:   "backtest",
		Short: "Runs a detector over what is stored, as if it had been there",
		Long: `Backtest runs a detector of the configuration over the windows that are stored,
by the code that runs live: it lists the incidents that it would have opened, and
how many a week that is. Nothing is kept and nobody is told, so a definition can
be tried before it is deployed.

The detector learns from the oldest window on, also when only later ones are
asked for.`,
		Example: `  weir backtest -c weir.yaml --detector traffic
  weir backtest -c weir.yaml --detector traffic --from 2026-11-01T00:00:00Z -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if form != "table" && form != "json" {
				return usagef(cmd, "-o %s: it is table or json", form)
			}
			c, err := load(config)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(c.Detectors, func(d *weir.DetectorConfig) bool { return d.Name == detector })
			if i < 0 {
				return usagef(cmd, "--detector %q: the configuration has %s", detector, listed(detectorNames(c)))
			}
			begin, err := parseTime(cmd, "from", from)
			if err != nil {
				return err
			}
			end, err := parseTime(cmd, "to", to)
			if err != nil {
				return err
			}
			report, err := backtest(cmd.Context(), cmd.ErrOrStderr(), c, c.Detectors[i], begin, end)
			if err != nil {
				return err
			}
			if form == "json" {
				return writeBacktestJSON(cmd.OutOrStdout(), report)
			}
			return writeBacktest(cmd.OutOrStdout(), report)
		},
	}
	configFlag(cmd, &config)
	cmd.Flags().StringVar(&detector, "detector", "", "the detector's name")
	cmd.Flags().StringVar(&from, "from", "", "the first window, such as 2026-11-01T00:00:00Z (default the oldest)")
	cmd.Flags().StringVar(&to, "to", "", "the end of the last window (default the newest)")
	cmd.Flags().StringVarP(&form, "output", "o", "table", "table or json")
	must(cmd.MarkFlagRequired("detector"))
	must(cmd.RegisterFlagCompletionFunc("detector", completeFrom(&config, detectorNames)))
	return cmd
}

func detectorNames(c *weir.Config) []string {
	names := make([]string, 0, len(c.Detectors))
	for _, d := range c.Detectors {
		names = append(names, d.Name)
	}
	return names
}

// listed writes names for a sentence.
func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func parseTime(cmd *cobra.Command, flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef(cmd, "--%s %q: it wants a time such as 2026-11-01T00:00:00Z, or a day", flag, text)
}

func backtest(ctx context.Context, stderr io.Writer, c *weir.Config, d *weir.DetectorConfig, from, to time.Time) (_ *watch.Report, err error) {
	if _, err := os.Stat(c.Store); !c.Remote() && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no store in %s; load or serve something first", c.Store)
	}
	if c.Cache != nil {
		c.Cache.Disk = nil // a server may hold it
	}
	r, err := openRooms(ctx, c, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	progress := func(float64) {}
	if isTerminal(stderr) {
		bar := progressbar.NewOptions64(1000, progressbar.OptionSetWriter(stderr), progressbar.OptionSetWidth(20),
			progressbar.OptionSetDescription("judging windows"), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		progress = func(done float64) { _ = bar.Set64(int64(1000 * done)) }
		defer func() { _ = bar.Clear() }()
	}
	return watch.Backtest(ctx, d, r.catalogs[d.Stream], from, to, progress)
}

// The most that a table lists; JSON has them all.
const backtestRows = 50

func writeBacktest(w io.Writer, r *watch.Report) error {
	fmt.Fprintf(w, "%s, %s to %s: %d windows, %d series, %d incidents, %.2g a week\n", r.Detector,
		r.From.Format(time.RFC3339), r.To.Format(time.RFC3339), r.Windows, r.Series, len(r.Incidents), r.PerWeek)
	if len(r.Plot) > 0 {
		fmt.Fprintln(w)
		s := &series{}
		var marked []int
		for i, p := range r.Plot {
			s.label, s.value = append(s.label, p.Time.Format("2006-01-02T15:04")), append(s.value, p.Value)
			if p.Anomalous {
				marked = append(marked, i)
			}
		}
		if label := (&weir.IncidentSeries{By: r.PlotBy}).Label(); label != "" {
			fmt.Fprintln(w, label)
		}
		drawSeries(w, &detectOutput{to: w, series: s, width: terminalWidth(w), colour: isTerminal(w)}, marked)
	}
	if len(r.Incidents) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := &textTable{right: []bool{false, false, true, false, true, false}}
	t.add("incident", "since", "lasted", "severity", "score", "what")
	for _, i := range r.Incidents[:min(len(r.Incidents), backtestRows)] {
		lasted := "still open"
		if i.State == weir.Resolved {
			lasted = weir.FormatDuration(i.Resolved.Sub(i.Since))
		}
		score := 0.0
		if len(i.Series) > 0 {
			score = i.Series[0].Score
		}
		t.add(i.ID, i.Since.Format("2006-01-02T15:04:05"), lasted, string(i.Severity), fmt.Sprintf("%.1f", score), i.Summary)
	}
	t.write(w)
	if more := len(r.Incidents) - backtestRows; more > 0 {
		fmt.Fprintf(w, "and %d more; -o json has them all\n", more)
	}
	return nil
}

func writeBacktestJSON(w io.Writer, r *watch.Report) error {
	type point struct {
		T         time.Time   `json:"t"`
		Value     weir.Number `json:"value"`
		Expected  weir.Number `json:"expected"`
		Lower     weir.Number `json:"lower"`
		Upper     weir.Number `json:"upper"`
		Score     weir.Number `json:"score"`
		Anomalous bool        `json:"anomalous,omitempty"`
	}
	out := struct {
		Detector  string            `json:"detector"`
		From      time.Time         `json:"from"`
		To        time.Time         `json:"to"`
		Windows   int               `json:"windows"`
		Series    int               `json:"series"`
		PerWeek   float64           `json:"incidents_per_week"`
		Incidents []weir.Incident   `json:"incidents"`
		PlotBy    map[string]string `json:"points_of,omitempty"`
		Plot      []point           `json:"points"`
	}{r.Detector, r.From, r.To, r.Windows, r.Series, r.PerWeek, append([]weir.Incident{}, r.Incidents...), r.PlotBy, []point{}}
	for _, p := range r.Plot {
		out.Plot = append(out.Plot, point{p.Time, weir.Number(p.Value), weir.Number(p.Expected), weir.Number(p.Lower), weir.Number(p.Upper),
			weir.Number(p.Score), p.Anomalous})
	}
	return json.NewEncoder(w).Encode(out)
}
