package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/watch"
)

// newReplay is `weir incident replay`.
func newReplay() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Computes the scores of an incident again",
		Long: `Replay computes what led to an incident again, from the stored windows and by the
detector's definition of that time: the values, what was expected, and the scores
of the series that were the strangest when it was opened. It says whether they
are the same to the bit, and fails if they are not.`,
		Example: `  weir incident replay traffic.17 -c weir.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			detector, _, err := weir.ParseIncidentID(args[0])
			if err != nil {
				return usagef(cmd, "%v", err)
			}
			c, err := load(config)
			if err != nil {
				return err
			}
			return replay(cmd.Context(), cmd.OutOrStdout(), c, detector, args[0])
		},
	}
	configFlag(cmd, &config)
	return cmd
}

func replay(ctx context.Context, w io.Writer, c *weir.Config, detector, id string) (err error) {
	if _, err := os.Stat(c.Store); !c.Remote() && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no store in %s; load or serve something first", c.Store)
	}
	if c.Cache != nil {
		c.Cache.Disk = nil // a server may hold it
	}
	r, err := openRooms(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	log, _ := r.incidents()
	_, batches, err := log.Incident(ctx, id)
	if err != nil {
		return err
	}
	opened := batches[0]
	for _, b := range batches {
		if b.N < opened.N {
			opened = b
		}
	}
	catalog := r.catalogs[opened.Stream]
	if catalog == nil {
		return fmt.Errorf("incident %s is of stream %s, which the configuration does not have", id, opened.Stream)
	}
	series, err := watch.Replay(ctx, catalog, opened, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "incident %s, window %s to %s, definition %s, offsets %v\n\n", id, opened.From.Format(time.RFC3339), opened.To.Format(time.RFC3339),
		opened.Definition, opened.Offsets)
	t := &textTable{right: []bool{false, false, true, true, true, true, true, false}}
	t.add("series", "window", "value", "expected", "lower", "upper", "score", "is")
	differ := 0
	for _, s := range series {
		is := "the same"
		if !s.Same {
			differ++
			is = fmt.Sprintf("not what was stored: value %v, expected %v, score %v", s.Stored.Value, s.Stored.Expected, s.Stored.Score)
		}
		label := s.Again.Label()
		if label == "" {
			label = "all"
		}
		t.add(label, s.Again.Window.Format(time.RFC3339), shortNumber(float64(s.Again.Value)), shortNumber(float64(s.Again.Expected)),
			shortNumber(float64(s.Again.Lower)), shortNumber(float64(s.Again.Upper)), fmt.Sprintf("%.4f", s.Again.Score), is)
	}
	t.write(w)
	if differ > 0 {
		return fmt.Errorf("%d of %d series of incident %s are not what was stored: their windows have changed since, or are not kept any more", differ, len(series), id)
	}
	fmt.Fprintf(w, "\nAll %d are the same, to the bit.\n", len(series))
	return nil
}
