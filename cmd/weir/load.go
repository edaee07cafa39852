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
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/store"
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
from its beginning. A load that was interrupted goes on where it stopped.

With - it reads standard input, which has no identity: what is sent twice is
counted twice.`,
		Example: `  weir load -c weir.yaml access.ndjson.gz
  weir load -c weir.yaml --stream flights flights-*.ndjson.gz
  kubectl logs deploy/shop | weir load -c weir.yaml -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			c, err := load(config)
			if err != nil {
				return err
			}
			if stream, err = theStream(cmd, c, stream); err != nil {
				return err
			}
			if slices.Contains(files, "-") && len(files) > 1 {
				return usagef(cmd, "standard input (-) is loaded alone, not with files")
			}
			l := loader{config: c, stream: stream, out: cmd.OutOrStdout(), status: cmd.ErrOrStderr()}
			if files[0] == "-" {
				return l.reader(cmd.Context(), cmd.InOrStdin())
			}
			return l.files(cmd.Context(), files)
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

// loader reads into a stream and says what became of it.
type loader struct {
	config      *weir.Config
	stream      string
	out, status io.Writer
}

// rooms opens the store, which must be one that refuses to overwrite.
func (l *loader) rooms(ctx context.Context) (*rooms, error) {
	if l.config.Cache != nil {
		l.config.Cache.Disk = nil // a server may hold it, and loading reads little
	}
	r, err := openRooms(ctx, l.config, slog.New(slog.NewTextHandler(l.status, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err == nil && l.config.Remote() {
		if err = store.Probe(ctx, r.bucket); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, err
}

// files loads files to their end.
func (l *loader) files(ctx context.Context, files []string) (err error) {
	r, err := l.rooms(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	from := fmt.Sprintf("%d files", len(files))
	if len(files) == 1 {
		from = "1 file"
	}
	err = l.watch(from, func(report func(ingest.Progress)) error {
		return r.node(nil, nil).Load(ctx, l.stream, files, report)
	})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return errors.New("interrupted; what was read is stored, and the same command goes on from there")
	}
	return err
}

// reader loads standard input, by way of the journal.
func (l *loader) reader(ctx context.Context, in io.Reader) (err error) {
	r, err := l.rooms(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	j, err := r.journal(l.stream)
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("%w; push to the server that runs instead: curl --data-binary @- %s/v1/streams/%s/events",
			err, reachable(l.config.Listen), l.stream)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	err = l.watch("standard input", func(report func(ingest.Progress)) error {
		return r.node(j, nil).LoadReader(ctx, l.stream, in, report)
	})
	if err == nil && ctx.Err() != nil {
		return errors.New("interrupted; what was read is counted, the rest of standard input is not")
	}
	return err
}

// watch shows the progress of a load, and at the end what it did.
func (l *loader) watch(from string, load func(report func(ingest.Progress)) error) error {
	bar := newBar(l.status)
	begun := time.Now()
	var last ingest.Progress
	err := load(func(p ingest.Progress) {
		last = p
		bar.show(p, time.Since(begun))
	})
	bar.clear()
	took := time.Since(begun)
	fmt.Fprintf(l.out, "%s: %s events from %s in %s, %s events/s\n", l.stream, grouped(last.Events), from,
		took.Round(time.Millisecond), grouped(int64(float64(last.Events)/max(took.Seconds(), 1e-9))))
	if last.Rejected > 0 {
		fmt.Fprintf(l.out, "%s rejected:\n", grouped(last.Rejected))
		for _, reason := range slices.Sorted(maps.Keys(last.ByReason)) {
			fmt.Fprintf(l.out, "  %-16s %s\n", reason, grouped(last.ByReason[reason]))
		}
	}
	if last.Overflow > 0 {
		fmt.Fprintf(l.out, "%s counted under %q, the budget of series (max_series) being spent\n", grouped(last.Overflow), weir.Other)
	}
	return err
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
	if b.on == nil {
		return
	}
	if p.Total > 0 {
		b.on.ChangeMax64(max(p.Total, p.Bytes))
	}
	b.on.Describe(fmt.Sprintf("%s events, %s/s", grouped(p.Events), grouped(int64(float64(p.Events)/took.Seconds()))))
	_ = b.on.Set64(p.Bytes)
}

func (b bar) clear() {
	if b.on != nil {
		_ = b.on.Clear()
	}
}
