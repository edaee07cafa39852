package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
)

// Progress is how far a load is.
type Progress struct {
	Bytes, Total     int64 // of the files, as they are on disk
	Events, Rejected int64
	ByReason         map[string]int64
	Overflow         int64 // events counted under weir.Other
}

func progressOf(t *tally) Progress {
	p := Progress{Events: t.events, Overflow: t.overflow, ByReason: t.rejectedByName()}
	for _, n := range p.ByReason {
		p.Rejected += n
	}
	return p
}

// Load reads files to their end, as many at a time as there are CPUs, and
// stores what they hold. report is called now and then, and at the end. A file
// that was loaded before goes on where that ended, so loading it again adds
// nothing.
func (n *Node) Load(ctx context.Context, stream string, paths []string, report func(Progress)) error {
	s := n.streams[stream].stream
	group, loading := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	var logs []*fileLog
	var workers []*worker
	seen := make(map[string]string)
	for _, path := range paths {
		partition, err := FilePartition(path)
		if err != nil {
			return err
		}
		if earlier, twice := seen[partition]; twice {
			return fmt.Errorf("load: %s and %s are one file", earlier, path)
		}
		seen[partition] = path
		log := newFileLog(path, false, s.MaxLine, n.logger, n.now)
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		log.size.Store(info.Size())
		logs = append(logs, log)
		w := n.worker(s, partition, log, n.options.Interval)
		w.stopAtEnd = true
		workers = append(workers, w)
	}
	progress := func() Progress {
		var t tally
		for _, w := range workers {
			s := w.snapshot()
			t.add(&s.tally)
		}
		p := progressOf(&t)
		for _, l := range logs {
			p.Bytes += l.read.Load()
			p.Total += l.size.Load()
		}
		return p
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, w := range workers {
			group.Go(func() error {
				if loading.Err() != nil {
					return nil
				}
				return n.work(loading, w)
			})
		}
		group.Wait()
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			report(progress())
		case <-done:
			report(progress())
			return errors.Join(group.Wait(), ctx.Err())
		}
	}
}

// LoadReader reads NDJSON to its end and stores what it holds, by way of the
// journal: a pipe cannot be read again, so it is made durable first, and is
// counted each time it is sent.
func (n *Node) LoadReader(ctx context.Context, stream string, in io.Reader, report func(Progress)) error {
	r, ok := n.streams[stream]
	if !ok {
		return fmt.Errorf("load into %q: %w", stream, weir.ErrUnknownStream)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := n.run(ctx, func(ctx context.Context, group *errgroup.Group) error {
		workers, err := n.pushedWorkers(ctx, r.stream)
		if err != nil {
			return err
		}
		for _, w := range workers {
			group.Go(func() error { return n.work(ctx, w) })
		}
		group.Go(func() error {
			defer stop()
			if err := n.copyStdin(ctx, r.stream, in); err != nil {
				return err
			}
			return stopped(ctx, n.Drain(ctx, stream))
		})
		group.Go(func() error {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					t := r.tally()
					report(progressOf(&t))
				case <-ctx.Done():
					return nil
				}
			}
		})
		return nil
	})
	t := r.tally()
	report(progressOf(&t))
	return err
}

// tally is what the stream's workers have read, those that ended included.
func (r *running) tally() tally {
	r.mu.Lock()
	workers, total := slices.Clone(r.workers), r.ended
	r.mu.Unlock()
	for _, w := range workers {
		s := w.snapshot()
		total.add(&s.tally)
	}
	return total
}
