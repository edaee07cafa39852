package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/watch"
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/sketch"
	"github.com/weir-stream/weir/store"
)

func newInspect() *cobra.Command {
	var cells int
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Prints any file that Weir writes: segment, manifest, journal, sketch, incident",
		Long: `Inspect says what a file is and prints what is in it. It reads only, so it may
look at the files of a server that runs. A file that is damaged makes it fail.`,
		Example: `  weir inspect weir-data/flights/segment/push%3A0/0000000000000000000
  weir inspect weir-data/_journal/00000007
  weir inspect --cells 100 weir-data/flights/segment/*/*`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var failures []error
			for i, file := range files {
				out := cmd.OutOrStdout()
				if len(files) > 1 {
					if i > 0 {
						fmt.Fprintln(out)
					}
					fmt.Fprintf(out, "%s:\n", file)
				}
				if err := inspect(cmd.Context(), out, file, cells); err != nil {
					failures = append(failures, fmt.Errorf("inspect: %w", err))
				}
			}
			return errors.Join(failures...)
		},
	}
	cmd.Flags().IntVar(&cells, "cells", 5, "how many `cells` of a segment to print")
	return cmd
}

// maxInspected bounds the files that are read whole: manifests and sketches.
const maxInspected = 256 << 20

// A journal is a folder of files that are named by their number, and two that
// say whose it is.
var journalFile = regexp.MustCompile(`^([0-9]{8}|IDENTITY|LOCK)$`)

// Incidents, feedback, silences and what webhooks were told are JSON.
var watched = regexp.MustCompile(`/(incident|feedback)/[^/]+/[0-9]{19}$|(^|/)(_silence|~notify)/`)

// inspect prints one file. What it is shows in its first bytes, but for a
// journal's file, which its name tells.
func inspect(ctx context.Context, out io.Writer, path string, cells int) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory; name a file in it", path)
	}
	head := make([]byte, min(info.Size(), 16))
	if _, err := io.ReadFull(file, head); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("PAR1")):
		return inspectSegment(ctx, out, path, cells)
	case journalFile.MatchString(filepath.Base(path)):
		return journal.Describe(path, out)
	case info.Size() > maxInspected:
		return fmt.Errorf("%s: %s is more than any sketch or manifest has", path, weir.Size(info.Size()))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("{")) && watched.MatchString(filepath.ToSlash(path)):
		var text bytes.Buffer
		if err := json.Indent(&text, data, "", "  "); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		_, err := text.WriteTo(out)
		return err
	case bytes.HasPrefix(head, []byte("{")):
		m, err := store.DecodeManifest(data)
		if err != nil {
			return fmt.Errorf("%s is JSON and no manifest: %w", path, err)
		}
		return describeManifest(out, m)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}): // a frame of zstd
		if err := watch.DescribeState(out, data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	if err := describeSketch(out, data); err != nil {
		return fmt.Errorf("%s is no segment, manifest or journal, and no sketch: %w", path, err)
	}
	return nil
}

// inspectSegment prints what a segment covers and its first cells.
func inspectSegment(ctx context.Context, out io.Writer, path string, cells int) error {
	segment, err := store.OpenFile(path)
	if err != nil {
		return err
	}
	meta := segment.Meta()
	def := &meta.Definition
	fmt.Fprintf(out, "%v\n", &meta)
	field := func(name, format string, args ...any) {
		fmt.Fprintf(out, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	field("format", "%d, %s bytes, id %s", meta.Format, grouped(segment.Size()), meta.ID)
	field("log", "%s, shift %d", meta.Log, meta.Shift)
	if meta.Watermark != store.NoWatermark {
		field("watermark", "%s", timeOf(meta.Watermark))
	}
	if gap := meta.Gap; gap != nil {
		field("gap", "%s, noticed %s", gap.Reason, gap.Noticed.UTC().Format(time.RFC3339Nano))
	}
	if meta.Events > 0 {
		field("events", "%d, from %s to %s", meta.Events, timeOf(meta.MinTime), timeOf(meta.MaxTime))
	}
	for reason, n := range meta.Rejected {
		field("rejected", "%d %s", n, reason)
	}
	field("written", "%s by %s", meta.Written.UTC().Format(time.RFC3339Nano), meta.Writer)
	field("definition", "%s: windows of %s, seed %d", def.Hash(), weir.FormatDuration(def.Window), def.Seed)
	stream := &weir.Stream{Name: meta.Stream, Window: def.Window, Seed: def.Seed, Measures: def.Measures}
	for _, d := range def.Dimensions {
		stream.Dimensions = append(stream.Dimensions, weir.Dimension(d))
		field("dimension", "%s of %s", d.Name, d.Field)
	}
	wanted := make([]bool, len(def.Measures))
	for i, m := range def.Measures {
		wanted[i] = true
		field("measure", "%s: %v of %s", m.Name, m.Kind, m.Field)
	}
	field("cells", "%d", segment.Rows())

	// All of it is read, and so checked, however little is printed: also the
	// columns that are there for other programs.
	if err := segment.Verify(ctx); err != nil {
		return err
	}
	read, err := segment.Cells(ctx, stream, weir.Selection{From: math.MinInt64, To: math.MaxInt64, Measures: wanted})
	if err != nil {
		return err
	}
	for series, from := range read.Starts[:len(read.Starts)-1] {
		for row := from; row < read.Starts[series+1] && row < cells; row++ {
			fmt.Fprintln(out)
			if err := describeCell(out, stream, read, series, row); err != nil {
				return err
			}
		}
	}
	if left := read.Rows() - cells; left > 0 {
		fmt.Fprintf(out, "\nand %d more cells (--cells)\n", left)
	}
	return nil
}

// describeCell prints a cell, a measure a line.
func describeCell(out io.Writer, s *weir.Stream, c *weir.Cells, series, row int) error {
	fmt.Fprintf(out, "  %s", timeOf(c.Window[row]))
	for i, d := range s.Dimensions {
		fmt.Fprintf(out, " %s=%q", d.Name, c.Series[series][i])
	}
	fmt.Fprintf(out, ": %d events\n", c.Count[row])
	for i, m := range s.Measures {
		column := &c.Measures[i]
		if !column.Present {
			continue
		}
		fmt.Fprintf(out, "    %-12s", m.Name)
		if m.Kind.Numeric() {
			fmt.Fprintf(out, " %d values, sum %v", column.Values[row], column.Sum[row])
			if column.Values[row] > 0 {
				fmt.Fprintf(out, ", min %v, max %v", column.Min[row], column.Max[row])
			}
		}
		if len(column.Sketch) > 0 && len(column.Sketch[row]) > 0 {
			decoded, err := sketch.Decode(column.Sketch[row])
			if err != nil {
				return fmt.Errorf("measure %s: %w", m.Name, err)
			}
			fmt.Fprintf(out, " [%d bytes] %v", len(column.Sketch[row]), decoded)
		}
		fmt.Fprintln(out)
	}
	return nil
}

func describeManifest(out io.Writer, m *store.Manifest) error {
	text, err := store.EncodeManifest(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "manifest %d: %d blocks, %d events\n%s\n", m.N, len(m.Blocks), m.Events, text)
	return err
}

// describeSketch prints a sketch and what it answers.
func describeSketch(out io.Writer, data []byte) error {
	s, err := sketch.Decode(data)
	if err != nil {
		return err
	}
	info, err := sketch.Info(data)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n  %-10s %s\n  %-10s %d bytes, %d in memory\n", info.Text, "encoding", info.Encoding, "size", info.Bytes, info.MemoryBytes)
	estimate := func(name string, e sketch.Estimate) {
		fmt.Fprintf(out, "  %-10s %-12.6g [%.6g, %.6g]\n", name, e.Value, e.Lower, e.Upper)
	}
	switch s := s.(type) {
	case sketch.Quantiles:
		for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1} {
			estimate(fmt.Sprintf("p%g", 100*q), s.Quantile(q, confidenceOfSketch))
		}
	case interface{ Estimate(float64) sketch.Estimate }: // of how many different items
		estimate("distinct", s.Estimate(confidenceOfSketch))
	case *sketch.Top:
		for _, item := range s.Items(10) {
			fmt.Fprintf(out, "  %-10d [%d, %d]  %q\n", item.Count, item.Lower, item.Upper, item.Item)
		}
	}
	return nil
}

func timeOf(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
