// Package ingest takes events from their logs to segments: it decodes them,
// keeps their cells, and appends what it has built to the chain of each
// partition.
//
//	push ──→ journal ──┐
//	stdin ─→ journal ──┼─→ Log ─→ worker ─┬─ decode ─→ shard ─→ piece ─┬─→ segment [from, to)
//	file ──────────────┤                  └─ asks ←── live cells ──────┘
//	Source (Kafka, …) ─┘
//
// # Guarantee
//
// A crash loses only memory: the log is read again from the end of the chain.
// No event is lost, and none is counted twice, because a piece either becomes
// the segment named by its first offset or is dropped.
//
// # Cost
//
// One goroutine owns a shard, and on the way of an event nothing is shared,
// locked or allocated. Fields are read without building anything from the
// JSON; a small cell is a log of 16-byte records in memory without pointers
// (see piece); sketches are encoded straight from that log when a piece is
// flushed.
//
// # Bounds
//
//	memory      a piece holds at most Options.Memory / workers / 2 and is then
//	            put; while one is being put and the next is full, reading stops
//	series      Stream.MaxSeries; over it, events count under weir.Other
//	a line      Stream.MaxLine; over it, it is rejected
//	a value     MaxValue; a longer dimension rejects its event, a longer top
//	            item is cut
//	rejects     the newest 100 of a stream are kept to be looked at
//
// Each has its counter in the metrics.
//
// # Goroutines
//
// Run starts, for each partition, the three of worker, and those of the
// journal, and returns when all have ended. There are no locks beyond single
// fields: a worker's status, the sample of rejects.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/store"
)

// Options of a node.
type Options struct {
	Name     string // of this process, for those who read the metadata
	Streams  []*weir.Stream
	Catalogs map[string]*store.Catalog // by stream
	Journal  *journal.Journal          // nil if nothing is pushed
	Sources  map[string]Source         // of streams whose logs are shared with other processes
	Memory   int64                     // bytes, of all cells not yet in segments
	Interval time.Duration             // between flushes, at least; see Node.interval
	Stdin    io.Reader
	Logger   *slog.Logger
	Now      func() time.Time
}

// Node runs the partitions of this process.
type Node struct {
	name         string
	options      Options
	logger       *slog.Logger
	now          func() time.Time
	flushSeconds prometheus.Histogram
	streams      map[string]*running
	workers      atomic.Int64
	stopping     atomic.Bool
	leaving      context.Context // done once Leave is called
	leave        context.CancelFunc
	left         chan struct{} // closed when nothing of a shared source is read any more
	starting     atomic.Int64  // workers that have not found the end of their chain, and Run itself
}

// running is what a node keeps of a stream.
type running struct {
	stream  *weir.Stream
	budget  budget
	rejects rejects

	mu      sync.Mutex
	workers []*worker // guarded by mu
	ended   tally     // of workers that have ended; guarded by mu
}

// New returns a node that does nothing yet.
func New(o Options) *Node {
	n := &Node{name: o.Name, options: o, logger: o.Logger, now: o.Now, streams: make(map[string]*running), left: make(chan struct{})}
	n.leaving, n.leave = context.WithCancel(context.Background())
	n.starting.Store(1)
	if n.now == nil {
		n.now = time.Now
	}
	if n.logger == nil {
		n.logger = slog.New(slog.DiscardHandler)
	}
	n.flushSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "weir_flush_duration_seconds", Help: "Time from freezing a shard's cells to having them stored as a segment.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)})
	for _, s := range o.Streams {
		n.streams[s.Name] = &running{stream: s, budget: budget{limit: int64(s.MaxSeries)}}
	}
	return n
}

// pieceBytes is how large a piece may grow: each worker can have two.
func (n *Node) pieceBytes() int {
	return int(n.options.Memory / max(1, n.workers.Load()) / 2)
}

// Leave stops reading the sources that are shared with other processes, stores
// what was read of them, and gives their partitions up. Live still answers
// meanwhile, and all that was read is stored before another process goes on: no
// answer falls. Run, which goes on with the other sources, must have been
// called, or be about to be.
func (n *Node) Leave(ctx context.Context) error {
	n.leave()
	select {
	case <-n.left:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leave the partitions shared with others: %w", context.Cause(ctx))
	}
}

// Run reads all sources until ctx is done, and then stores what is in memory.
// It is called once.
func (n *Node) Run(ctx context.Context) error {
	sharing, stopSharing := context.WithCancel(ctx)
	defer stopSharing()
	defer context.AfterFunc(n.leaving, stopSharing)()
	var shares sync.WaitGroup
	shares.Add(1) // until all have begun
	go func() {
		shares.Wait()
		close(n.left)
	}()
	defer func() { <-n.left }()
	return n.run(ctx, func(ctx context.Context, group *errgroup.Group) error {
		defer shares.Done()
		for _, s := range n.options.Streams {
			workers, err := n.pushedWorkers(ctx, s)
			if err != nil {
				return err
			}
			if s.Source.Kind == weir.File {
				w, err := n.fileWorker(s)
				if err != nil {
					return err
				}
				workers = append(workers, w)
			}
			for _, w := range workers {
				group.Go(func() error { return n.work(ctx, w) })
			}
			if source := n.options.Sources[s.Name]; source != nil {
				shares.Add(1)
				group.Go(func() error {
					defer shares.Done()
					own, stop := context.WithCancel(ctx)
					defer stop()
					defer context.AfterFunc(sharing, stop)()
					return n.share(own, s, source)
				})
			}
			if s.Source.Kind == weir.Stdin && n.options.Stdin != nil {
				group.Go(func() error { return n.copyStdin(ctx, s, n.options.Stdin) })
			}
		}
		return nil
	})
}

// run owns the journal while what begin starts in the group runs.
func (n *Node) run(ctx context.Context, begin func(context.Context, *errgroup.Group) error) error {
	journalCtx, stopJournal := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJournal()
	journalDone := make(chan error, 1)
	group, ctx := errgroup.WithContext(ctx)
	if j := n.options.Journal; j == nil {
		journalDone <- nil
	} else {
		failed := make(chan error, 1)
		go func() {
			err := j.Run(journalCtx)
			failed <- err
			journalDone <- err
		}()
		group.Go(func() error { // what fails here fails the workers too, but this says why
			select {
			case err := <-failed:
				return err
			case <-ctx.Done():
				return nil
			}
		})
	}
	err := begin(ctx, group)
	if err != nil {
		group.Go(func() error { return err })
	}
	n.starting.Add(-1)
	context.AfterFunc(ctx, func() { n.stopping.Store(true) })
	err = group.Wait()
	n.stopping.Store(true)
	stopJournal()
	if late := <-journalDone; err == nil {
		err = late
	}
	return err
}

// fileWorker makes the worker of a stream's file.
func (n *Node) fileWorker(s *weir.Stream) (*worker, error) {
	partition, err := FilePartition(s.Source.Path)
	if err != nil {
		return nil, err
	}
	log := newFileLog(s.Source.Path, true, s.MaxLine, n.logger, n.now)
	w := n.worker(s, partition, log, n.interval(s))
	w.stopAtEnd = log.compressed()
	return w, nil
}

// pushedWorkers makes the workers of a stream's partitions in the journal: those
// of its configuration, and those that finish what an earlier one left behind.
func (n *Node) pushedWorkers(ctx context.Context, s *weir.Stream) ([]*worker, error) {
	if n.options.Journal == nil {
		if !s.Source.Kind.Journaled() {
			return nil, nil
		}
		return nil, fmt.Errorf("stream %s is pushed, and there is no journal", s.Name)
	}
	numbers := n.options.Journal.Partitions(s.Name)
	if s.Source.Kind.Journaled() {
		snapshot, err := n.options.Catalogs[s.Name].Refresh(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range snapshot.Chains { // their idle claims are needed for the watermark
			if i, ok := pushedNumber(c.Partition); ok && !slices.Contains(numbers, i) {
				numbers = append(numbers, i)
			}
		}
	}
	var workers []*worker
	for _, i := range numbers {
		log := &pushedLog{journal: n.options.Journal, stream: s.Name, partition: i, now: n.now}
		workers = append(workers, n.worker(s, pushedPartition(i), log, n.interval(s)))
	}
	return workers, nil
}

// interval between flushes is at least a window, since a window that is flushed
// in parts makes as many cells, but of long windows no more than a minute: until
// a flush, the journal holds the events, and a crash reads them again.
func (n *Node) interval(s *weir.Stream) time.Duration {
	return max(n.options.Interval, min(s.Window, time.Minute))
}

func (n *Node) worker(s *weir.Stream, partition string, log Log, interval time.Duration) *worker {
	r := n.streams[s.Name]
	n.starting.Add(1)
	return &worker{node: n, stream: s, log: log, interval: interval,
		chain:  store.NewWriter(n.options.Catalogs[s.Name], partition, n.name),
		shard:  newShard(partition, s, &r.budget, &r.rejects),
		logger: n.logger.With("stream", s.Name, "partition", partition),
		asks:   make(chan ask), done: make(chan struct{}),
		buffers: make(chan []byte, 2), puts: make(chan putResult, 1), flushSoon: make(chan struct{}, 1)}
}

// work runs a worker and lets others see it while it runs.
func (n *Node) work(ctx context.Context, w *worker) error {
	r := n.streams[w.stream.Name]
	n.workers.Add(1)
	r.mu.Lock()
	r.workers = append(r.workers, w)
	r.mu.Unlock()
	defer func() {
		w.started()
		close(w.done)
		n.workers.Add(-1)
		r.mu.Lock()
		r.workers = slices.DeleteFunc(r.workers, func(o *worker) bool { return o == w })
		r.ended.add(&w.read)
		r.mu.Unlock()
		r.budget.used.Add(-int64(w.shard.series.len()))
	}()
	return w.run(ctx)
}

// Ready tells whether every partition has found where its chain ends, and what
// is missing otherwise.
func (n *Node) Ready() error {
	if n.starting.Load() > 0 {
		return errors.New("partitions are still finding where their chains end")
	}
	return nil
}

// Push appends a batch of NDJSON to the journal and returns once it is durable.
func (n *Node) Push(ctx context.Context, stream, key string, ndjson []byte, events int) (weir.Ack, error) {
	r, ok := n.streams[stream]
	switch {
	case !ok:
		return weir.Ack{}, fmt.Errorf("push to %q: %w", stream, weir.ErrUnknownStream)
	case r.stream.Source.Kind != weir.Push:
		return weir.Ack{}, fmt.Errorf("push to %q: %w", stream, weir.ErrNotPushed)
	case n.stopping.Load():
		return weir.Ack{}, fmt.Errorf("push to %q: %w", stream, weir.ErrStopping)
	}
	ack, err := n.options.Journal.Append(ctx, stream, key, ndjson, events)
	if err != nil {
		return weir.Ack{}, fmt.Errorf("push to %q: %w", stream, pushError(err))
	}
	return weir.Ack{Partition: pushedPartition(ack.Partition), Offset: ack.First, Events: int(ack.Count), Duplicate: ack.Duplicate}, nil
}

// Live asks every shard of the stream for what it holds of the selection. It
// returns what came before ctx was done, and an error that names what did not.
func (n *Node) Live(ctx context.Context, stream string, sel weir.Selection) ([]weir.Piece, error) {
	r, ok := n.streams[stream]
	if !ok {
		return nil, fmt.Errorf("live cells of %q: %w", stream, weir.ErrUnknownStream)
	}
	r.mu.Lock()
	workers := slices.Clone(r.workers)
	r.mu.Unlock()
	replies := make([][]weir.Piece, len(workers))
	var group errgroup.Group
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for i, w := range workers {
		group.Go(func() (err error) {
			replies[i], err = w.live(ctx, sel)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(replies...), err
}

// Rejected gives what the decoder refused since the process began.
func (n *Node) Rejected(stream string) (weir.Rejects, error) {
	r, ok := n.streams[stream]
	if !ok {
		return weir.Rejects{}, fmt.Errorf("rejected events of %q: %w", stream, weir.ErrUnknownStream)
	}
	return r.rejects.read(), nil
}

// Status tells how far the partitions of a stream that this process runs are.
// Its events are those that are in memory or were stored by this process.
func (n *Node) Status(stream string) (weir.Status, error) {
	r, ok := n.streams[stream]
	if !ok {
		return weir.Status{}, fmt.Errorf("status of %q: %w", stream, weir.ErrUnknownStream)
	}
	r.mu.Lock()
	workers := slices.Clone(r.workers)
	r.mu.Unlock()
	var out weir.Status
	for _, w := range workers {
		s := w.snapshot()
		out.Events += s.counted.events
		for _, n := range s.counted.rejected {
			out.Rejected += n
		}
		if out.Watermark.IsZero() || s.Watermark.Before(out.Watermark) {
			out.Watermark = s.Watermark
		}
		out.Partitions = append(out.Partitions, s.PartitionStatus)
	}
	return out, nil
}
