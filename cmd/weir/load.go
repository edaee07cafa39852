package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest"
)

func newLoad() *cobra.Command {
	var config, stream string
	cmd := &cobra.Command{
		Use:   "load FILE...",
		Short: "Ingests files to their end, without a server",
		Long: `Load reads files of one JSON object a line (gzip when the name ends in .gz),
several at a time on several CPUs, and stores their cells.

A file is known by its path. Loading it again adds nothing; when it has grown,
what is new is added; when another file has taken its place, that one is read
from its beginning. A load that was interrupted goes on where it stopped.`,
		Example: `  weir load -c weir.yaml access.ndjson.gz
  weir load -c weir.yaml --stream flights flights-*.ndjson.gz`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			c, err := weir.Load(config)
			if err != nil {
				return err
			}
			if stream, err = theStream(cmd, c, stream); err != nil {
				return err
			}
			return load(cmd.Context(), c, stream, files, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &config)
	cmd.Flags().StringVar(&stream, "stream", "", "`name` of the stream (default: the only one)")
	must(cmd.RegisterFlagCompletionFunc("stream", completeFrom(&config, streamNames)))
	return cmd
}

// theStream returns the name of the stream that was asked for, or of the only
// one that there is.
func theStream(cmd *cobra.Command, c *weir.Config, name string) (string, error) {
	names := streamNames(c)
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "":
		return "", usagef(cmd, "there are several streams; name one with --stream: %s", strings.Join(names, ", "))
	case !slices.Contains(names, name):
		return "", usagef(cmd, "there is no stream %q; there are: %s", name, strings.Join(names, ", "))
	}
	return name, nil
}

// load reads the files into the stream and says what became of them.
func load(ctx context.Context, c *weir.Config, stream string, files []string, out, status io.Writer) error {
	log := slog.New(slog.NewTextHandler(status, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r, err := openRooms(c, log)
	if err != nil {
		return err
	}
	bar := newBar(status)
	begun := time.Now()
	var last ingest.Progress
	err = r.node(nil).Load(ctx, stream, files, func(p ingest.Progress) {
		last = p
		bar.show(p, time.Since(begun))
	})
	bar.clear()
	summary(out, stream, len(files), last, time.Since(begun))
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return errors.New("interrupted; what was read is stored, and the same command goes on from there")
	}
	return err
}

// summary says what a load did.
func summary(out io.Writer, stream string, files int, p ingest.Progress, took time.Duration) {
	plural := "s"
	if files == 1 {
		plural = ""
	}
	fmt.Fprintf(out, "%s: %s events from %d file%s in %s, %s events/s\n", stream, grouped(p.Events), files, plural,
		took.Round(time.Millisecond), grouped(int64(float64(p.Events)/max(took.Seconds(), 1e-9))))
	if p.Rejected > 0 {
		fmt.Fprintf(out, "%s rejected:\n", grouped(p.Rejected))
		for _, reason := range slices.Sorted(maps.Keys(p.ByReason)) {
			fmt.Fprintf(out, "  %-16s %s\n", reason, grouped(p.ByReason[reason]))
		}
	}
	if p.Overflow > 0 {
		fmt.Fprintf(out, "%s counted under %q, the budget of series (max_series) being spent\n", grouped(p.Overflow), weir.Other)
	}
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct{ on *progressbar.ProgressBar }

func newBar(w io.Writer) bar {
	if !isTerminal(w) {
		return bar{}
	}
	return bar{progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)}
}

// show moves the bar. A bar that cannot be drawn is no reason to stop loading.
func (b bar) show(p ingest.Progress, took time.Duration) {
	if b.on == nil || p.Total == 0 {
		return
	}
	b.on.ChangeMax64(max(p.Total, p.Bytes, 1))
	b.on.Describe(fmt.Sprintf("%s events, %s/s", grouped(p.Events), grouped(int64(float64(p.Events)/took.Seconds()))))
	_ = b.on.Set64(p.Bytes)
}

func (b bar) clear() {
	if b.on != nil {
		_ = b.on.Clear()
	}
}
