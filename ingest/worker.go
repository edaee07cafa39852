package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// worker runs one partition: it reads the log on from the end of the chain
// into its shard, and appends what the shard has built to the chain.
//
// Three goroutines: run owns the shard and answers for it; fetch reads ahead
// by a batch or two; put appends one frozen piece at a time. fetch and put
// end before run does.
type worker struct {
	node      *Node
	stream    *weir.Stream
	log       Log
	chain     *store.Writer
	shard     *shard
	logger    *slog.Logger
	asks      chan ask
	done      chan struct{} // closed when run has ended
	interval  time.Duration // between flushes
	stopAtEnd bool          // io.EOF ends the worker, not only its reading

	batches   chan fetched
	buffers   chan []byte    // free ones
	puts      chan putResult // of capacity 1
	flushSoon chan struct{}  // of capacity 1: the partition may move, so what is in memory is better stored
	putting   bool
	cancelPut context.CancelFunc
	began     bool
	idle      int64 // when the log was last found empty past active.to; 0 if it is not

	read   tally // by this process, whatever became of it
	stored tally // in segments of this process
	lost   int64 // times another writer was first

	mu     sync.Mutex
	status status // guarded by mu
}

// status is what others may know of a worker.
type status struct {
	weir.PartitionStatus
	tally         // read
	counted tally // stored, or in the shard
	cells   int
	bytes   int
	lost    int64
}

// tally counts events.
type tally struct {
	events, late, overflow, cut int64
	rejected                    [reasons]int64
}

func (t *tally) add(o *tally) {
	t.addGrowth(&tally{}, o)
}

// addGrowth counts what came between two states of another tally.
func (t *tally) addGrowth(before, after *tally) {
	t.events += after.events - before.events
	t.late += after.late - before.late
	t.overflow += after.overflow - before.overflow
	t.cut += after.cut - before.cut
	for i := range t.rejected {
		t.rejected[i] += after.rejected[i] - before.rejected[i]
	}
}

func (t *tally) rejectedByName() map[string]int64 {
	var m map[string]int64
	for r := NotJSON; r < reasons; r++ {
		if n := t.rejected[r]; n > 0 {
			if m == nil {
				m = make(map[string]int64)
			}
			m[r.String()] = n
		}
	}
	return m
}

type ask struct {
	sel   weir.Selection
	reply chan []weir.Piece // of capacity 1
}

type fetched struct {
	batch Batch
	err   error
}

type putResult struct {
	at    store.Position
	kept  bool
	err   error
	spent time.Duration
}

// stopGrace is how long a worker that was told to stop may take to append what
// it has built. What it does not manage is read from the log again.
const stopGrace = 20 * time.Second

func (w *worker) run(ctx context.Context) error {
	defer w.log.Close()
	for {
		again, err := w.session(ctx)
		if err != nil {
			return fmt.Errorf("partition %s of stream %s: %w", w.shard.partition, w.stream.Name, err)
		}
		if !again {
			return nil
		}
	}
}

// session reads from the chain's end until the worker stops, or until the
// chain turns out to be elsewhere: then again is true, and nothing built here
// is left.
func (w *worker) session(ctx context.Context) (again bool, err error) {
	type begun struct {
		at    store.Position
		start Start
		err   error
	}
	result := make(chan begun, 1)
	go func() {
		at, start, err := w.beginPatiently(ctx)
		result <- begun{at, start, err}
	}()
	var b begun
	for waiting := true; waiting; { // a log that is not there yet must not hold up answers
		select {
		case b = <-result:
			waiting = false
		case a := <-w.asks:
			a.reply <- nil
		}
	}
	if b.err != nil || b.start.Log == "" {
		return b.err == nil, stopped(ctx, b.err)
	}
	at, start := b.at, b.start
	w.started()
	w.shard.drop(start.From, start.Log, start.Shift, start.Tail, at.Watermark)
	w.idle = 0
	if start.From > 0 {
		w.log.Committed(start.From) // whoever stored the last segment may not have come to say so
	}

	fetching, stopFetching := context.WithCancel(ctx)
	w.batches = make(chan fetched)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.fetch(fetching)
	}()
	putting, cancelPut := context.WithCancel(context.WithoutCancel(ctx))
	w.cancelPut = cancelPut
	defer func() {
		stopFetching()
		<-ended
		cancelPut()
		if w.putting {
			<-w.puts
			w.putting = false
		}
	}()

	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	reading := true
	for {
		w.publish(at)
		batches := w.batches
		if !reading || w.putting && w.overdue() {
			batches = nil // the memory bound: one piece is being put, the next is as large as a piece may be
		}
		select {
		case f := <-batches:
			switch {
			case f.err == nil:
				w.take(f.batch)
				if w.overdue() {
					w.flush(putting)
				}
			case errors.Is(f.err, io.EOF) && w.stopAtEnd:
				return w.finish(ctx, putting, at)
			case errors.Is(f.err, io.EOF):
				reading = false
			case errors.Is(f.err, ErrMoved):
				if _, err := w.finish(ctx, putting, at); err != nil {
					return false, err
				}
				return ctx.Err() == nil, nil
			case ctx.Err() == nil: // what was read is good
				_, err := w.finish(ctx, putting, at)
				return false, errors.Join(f.err, err)
			}
		case <-tick.C:
			w.flush(putting)
		case <-w.flushSoon:
			w.flush(putting)
		case r := <-w.puts:
			if again, err := w.settle(&at, r); again || err != nil {
				return again, stopped(ctx, err)
			}
			if w.overdue() {
				w.flush(putting)
			}
		case a := <-w.asks:
			a.reply <- w.shard.live(a.sel, w.idle)
		case <-ctx.Done():
			return w.finish(ctx, putting, at)
		}
	}
}

// beginPatiently begins once the store is there to be asked. Partitions move
// while it is away, too, and a process that ended for that would hand its own to
// another one, which would end as well.
func (w *worker) beginPatiently(ctx context.Context) (store.Position, Start, error) {
	away := Trouble{Logger: w.logger}
	for {
		at, start, err := w.begin(ctx)
		if !errors.Is(err, store.ErrUnavailable) {
			away.Over()
			return at, start, err
		}
		if err := away.Wait(ctx, err); err != nil {
			return at, Start{}, err
		}
	}
}

// begin finds the end of the chain and opens the log there. Where events are
// missing, it puts a gap first. A start without a log means: begin again.
func (w *worker) begin(ctx context.Context) (store.Position, Start, error) {
	at, err := w.chain.Takeover(ctx)
	if err != nil {
		return at, Start{}, err
	}
	start, err := w.log.Open(ctx, at)
	if err != nil || start.Gap == nil {
		return at, start, err
	}
	meta := w.meta(at.Next, start.From, start.Log, start.Shift, start.Tail, at.Watermark)
	meta.Gap = start.Gap
	next, kept, err := w.chain.Append(ctx, store.Draft{Meta: meta})
	if err != nil || !kept {
		return next, Start{}, err
	}
	w.logger.Warn("events are missing", "reason", start.Gap.Reason, "from", at.Next, "to", start.From)
	return next, start, nil
}

// started tells the node, once, that this worker does not hold it up.
func (w *worker) started() {
	if !w.began {
		w.began = true
		w.node.starting.Add(-1)
	}
}

// live asks the worker for what it holds. One that has ended holds nothing.
func (w *worker) live(ctx context.Context, sel weir.Selection) ([]weir.Piece, error) {
	a := ask{sel: sel, reply: make(chan []weir.Piece, 1)}
	select {
	case w.asks <- a:
	case <-w.done:
		return nil, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("live cells of partition %s: %w", w.shard.partition, context.Cause(ctx))
	}
	return <-a.reply, nil
}

func (w *worker) snapshot() status {
	w.mu.Lock()
	s := w.status
	w.mu.Unlock()
	s.Lag = -1
	if end := w.log.End(); end >= 0 {
		s.Lag = max(0, end-s.Position)
	}
	return s
}

// take reads a batch into the shard and gives its buffer back.
func (w *worker) take(b Batch) {
	w.idle = 0
	if b.Idle {
		w.idle = b.Arrival.UnixNano()
		return
	}
	before := w.shard.active.tally
	w.shard.add(&b)
	w.read.addGrowth(&before, &w.shard.active.tally)
	switch {
	case b.Release != nil:
		b.Release()
	case !b.Lines: // the data of others is not ours to write over
		select {
		case w.buffers <- b.Data[:0]:
		default:
		}
	}
}

// overdue reports that the active piece is as large as a piece may be.
func (w *worker) overdue() bool { return w.shard.active.usedBytes() >= w.node.pieceBytes() }

// flush freezes what was built and puts it, beside the shard, unless a put is
// under way: a segment's name is known only when the one before it is settled.
func (w *worker) flush(ctx context.Context) {
	if w.putting || w.shard.active.empty() {
		return
	}
	p := w.shard.freeze(w.node.now())
	w.putting = true
	go func() {
		began := time.Now()
		at, kept, err := w.chain.Append(ctx, w.draft(p))
		w.puts <- putResult{at: at, kept: kept, err: err, spent: time.Since(began)}
	}()
}

const flushRows = 8192

func (w *worker) draft(p *piece) store.Draft {
	meta := w.meta(p.from, p.to, p.log, p.shift, p.tail, p.watermark)
	meta.Events, meta.Late, meta.Rejected = p.events, p.late, p.rejectedByName()
	if p.events > 0 {
		meta.MinTime, meta.MaxTime = p.minTime, p.maxTime
	}
	return store.Draft{Meta: meta, Cells: p.cellsOf(everything(w.stream), flushRows)}
}

func (w *worker) meta(from, to int64, log string, shift int64, tail []byte, watermark int64) store.SegmentMeta {
	return store.SegmentMeta{From: from, To: to, Log: log, Shift: shift, Tail: tail, Watermark: watermark}
}

// settle takes in how a put ended. The stored segment is the truth, whoever
// wrote it: what was built beside another one is dropped.
func (w *worker) settle(at *store.Position, r putResult) (again bool, err error) {
	w.putting = false
	switch {
	case errors.Is(r.err, store.ErrUnavailable) && !errors.Is(r.err, store.ErrUnsettled):
		w.logger.Warn("the chain is elsewhere, and cannot be found now; reading the log again from its end", "error", r.err)
		return true, nil
	case r.err != nil:
		return false, r.err
	}
	w.node.flushSeconds.Observe(r.spent.Seconds())
	if !r.kept {
		w.logger.Info("another writer was first; going on from its segment", "next", r.at.Next)
		w.lost++
		return true, nil
	}
	*at = r.at
	p := w.shard.frozen
	w.logger.Debug("flushed", "from", p.from, "to", p.to, "events", p.events, "cells", len(p.cells), "took", r.spent)
	w.stored.add(&p.tally)
	w.shard.release()
	w.log.Committed(r.at.Next)
	return false, nil
}

// finish puts what is left, within stopGrace once ctx is done.
func (w *worker) finish(ctx, putting context.Context, at store.Position) (again bool, err error) {
	if ctx.Err() != nil {
		defer time.AfterFunc(stopGrace, w.cancelPut).Stop()
	}
	for {
		w.flush(putting)
		w.publish(at)
		if !w.putting {
			return false, nil
		}
		select {
		case r := <-w.puts:
			if again, err := w.settle(&at, r); again || err != nil {
				return again && ctx.Err() == nil, err
			}
		case a := <-w.asks:
			a.reply <- w.shard.live(a.sel, w.idle)
		}
	}
}

// fetch reads batches ahead, and ends after an error.
func (w *worker) fetch(ctx context.Context) {
	for {
		var buf []byte
		select {
		case buf = <-w.buffers:
		default:
		}
		b, err := w.log.Next(ctx, buf)
		select {
		case w.batches <- fetched{b, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// publish makes the worker's state visible to others.
func (w *worker) publish(at store.Position) {
	p := w.shard.active
	s := status{PartitionStatus: weir.PartitionStatus{Partition: w.shard.partition, Committed: at.Next,
		Position: p.to}, tally: w.read, counted: w.stored, lost: w.lost}
	s.counted.add(&p.tally)
	s.cells, s.bytes = len(p.cells), p.usedBytes()
	if f := w.shard.frozen; f != nil {
		s.counted.add(&f.tally)
		s.cells += len(f.cells)
		s.bytes += f.size
	}
	if p.watermark != store.NoWatermark {
		s.Watermark = time.Unix(0, p.watermark).UTC()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = s
}

// stopped hides the error of work that was cut off because the worker stops.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
