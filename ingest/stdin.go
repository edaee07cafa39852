package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/weir-stream/weir"
)

// copyStdin pushes NDJSON from a reader into the journal until it ends, with one
// record a block. The reader is not closed: a read that never returns ends with
// the process.
func (n *Node) copyStdin(ctx context.Context, s *weir.Stream, in io.Reader) error {
	type block struct {
		data []byte
		err  error
	}
	blocks := make(chan block)
	go func() {
		lines := lineReader{r: in, maxLine: s.MaxLine, eager: true}
		for {
			data, _, err := lines.next(nil)
			if errors.Is(err, io.EOF) && len(data) == 0 && lines.pending() > 0 {
				data = lines.rest // the last line needs no newline, and a torn one is rejected
				lines.rest, lines.long = nil, 0
			}
			select {
			case blocks <- block{data, err}:
			case <-ctx.Done():
				return
			}
			if err != nil && len(data) == 0 {
				return
			}
		}
	}()
	for {
		select {
		case b := <-blocks:
			if len(b.data) > 0 {
				if err := n.pushPatiently(ctx, s.Name, b.data); err != nil {
					return err
				}
				continue
			}
			if errors.Is(b.err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read standard input: %w", b.err)
		case <-ctx.Done():
			return nil
		}
	}
}

// pushPatiently waits while the shards are behind.
func (n *Node) pushPatiently(ctx context.Context, stream string, data []byte) error {
	data, events := dropBlank(data)
	if events == 0 {
		return nil
	}
	for {
		_, err := n.options.Journal.Append(ctx, stream, "", data, events)
		err = pushError(err)
		var behind *weir.ErrBehind
		if !errors.As(err, &behind) {
			if err != nil && ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-time.After(min(max(behind.RetryAfter, 10*time.Millisecond), 100*time.Millisecond)):
		case <-ctx.Done():
			return nil
		}
	}
}

// dropBlank leaves out blank lines, since offsets count lines, and counts the
// others.
func dropBlank(data []byte) ([]byte, int) {
	events, kept := 0, data[:0]
	for line := range bytes.Lines(data) {
		if skipSpace(line, 0) < len(line) {
			kept = append(kept, line...)
			events++
		}
	}
	return kept, events
}

// Drain waits until the shards have read all that the stream's logs hold.
func (n *Node) Drain(ctx context.Context, stream string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := n.Status(stream)
		if err != nil {
			return err
		}
		if n.Ready() == nil && !slices.ContainsFunc(s.Partitions, func(p weir.PartitionStatus) bool { return p.Lag != 0 }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
