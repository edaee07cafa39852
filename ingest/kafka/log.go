package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/store"
)

// partitionLog is one partition of a topic, as a log. It is known by the
// topic's ID: one of the same name that was made anew is another log.
//
// Nothing that a broker says or fails to say ends it. It waits, tells once what
// it waits for, and goes on.
type partitionLog struct {
	fetcher   *fetcher
	partition int
	committed func(partition int, next int64)
	logger    *slog.Logger
	now       func() time.Time

	id       topicID
	at       int64 // chain offset of the next batch
	shift    int64 // chain offset = log offset + shift
	want     *want // nil after an error
	maxBytes int32
	hot      bool // the last fetch brought something
	moved    int  // times in a row that nothing could be read where Open began
	reader   batchReader
	layout   layout
	trouble  ingest.Trouble
	free     chan *memory

	lag atomic.Pointer[Lag]
}

// Lag is how a partition's reading stands, in offsets of its topic.
type Lag struct {
	Next, Start, End int64 // next to be read; where the log begins and ends
	Read             int64 // time of the newest record read, Unix milliseconds; 0 before the first
	shift            int64
}

// memory is what a batch lies in, between the log and the shard.
type memory struct {
	batch   ingest.Batch
	release func()
}

const (
	batchBytes  = 1 << 20 // of a batch handed out, unless one record batch is larger
	memoryBytes = 8 << 20 // more is not kept for the next batch
	batchesOut  = 3       // handed out and not yet released; more are left to the garbage collector
)

func newPartitionLog(f *fetcher, partition int, headers bool, committed func(int, int64), logger *slog.Logger) *partitionLog {
	logger = logger.With("topic", f.topic, "kafka_partition", partition)
	return &partitionLog{fetcher: f, partition: partition, committed: committed, now: f.now, logger: logger,
		maxBytes: partitionBytes, reader: batchReader{headers: headers}, free: make(chan *memory, batchesOut),
		trouble: ingest.Trouble{Logger: logger}}
}

// Open finds where the log goes on. It waits until the topic is there.
func (l *partitionLog) Open(ctx context.Context, at store.Position) (ingest.Start, error) {
	l.want, l.hot = nil, false
	l.reader.reset(nil, 0, nil)
	if l.moved > 1 {
		if err := l.trouble.Wait(ctx, errors.New("the log has the next offset, and yet does not give it")); err != nil {
			return ingest.Start{}, err
		}
	}
	var shrunk int // times in a row that the log was found to end before what was read
	for {
		lay, is, err := l.find(ctx)
		if err == nil {
			start, sure := l.start(lay.id, at, is)
			if shrunk++; sure || shrunk > 4 {
				l.id, l.at, l.shift, l.layout = lay.id, start.From, start.Shift, lay
				l.lag.Store(&Lag{Next: l.at - l.shift, Start: is.start, End: is.end, shift: l.shift})
				return start, nil
			}
			err = errors.New("the log ends before what was read of it; asking again")
		}
		if err := l.trouble.Wait(ctx, err); err != nil {
			return ingest.Start{}, err
		}
	}
}

// find asks for the topic's ID and the log's bounds, both of the same topic.
func (l *partitionLog) find(ctx context.Context) (layout, bounds, error) {
	lay, err := l.fetcher.layout(ctx, l.now())
	if err != nil {
		return lay, bounds{}, err
	}
	leader, err := lay.leader(l.partition)
	if err != nil {
		return lay, bounds{}, fmt.Errorf("topic %s, partition %d: %w", l.fetcher.topic, l.partition, err)
	}
	is, err := l.fetcher.client.bounds(ctx, leader, l.fetcher.topic, l.partition)
	if err != nil {
		return lay, is, err
	}
	again, err := l.fetcher.layout(ctx, l.now())
	if err == nil && again.id != lay.id {
		err = errors.New("the topic was made anew meanwhile")
	}
	return lay, is, err
}

// start joins the log to the chain. It is not sure when the log seems to have
// lost its end: a new leader may need a moment.
func (l *partitionLog) start(id topicID, at store.Position, is bounds) (start ingest.Start, sure bool) {
	start = ingest.Start{From: at.Next, Log: id.String(), Shift: at.Shift}
	gap := func(reason store.GapReason, to int64) {
		start.From = to
		start.Gap = &store.GapMeta{Reason: reason, WatermarkBefore: at.Watermark, Noticed: l.now().UTC()}
	}
	next := at.Next - at.Shift
	switch {
	case at.Log == "":
		start.Shift = at.Next
		if is.start > 0 {
			gap(store.GapStart, at.Next+is.start)
		}
	case at.Log != start.Log:
		gap(store.GapNewLog, at.Next+1)
		start.Shift = start.From - is.start
	case next < is.start:
		gap(store.GapRetention, is.start+at.Shift)
	case next > is.end:
		gap(store.GapLogShrank, at.Next+1)
		start.Shift = start.From - is.end
		return start, false
	}
	return start, true
}

// Next returns the next records.
func (l *partitionLog) Next(ctx context.Context, _ []byte) (ingest.Batch, error) {
	for {
		var err error
		if l.reader.more() {
			var b ingest.Batch
			if b, err = l.records(); err == nil {
				l.trouble.Over()
				return b, nil
			}
			l.reader.reset(nil, l.reader.next, nil) // it may have been the wire: ask again
		} else {
			var b ingest.Batch
			var again bool
			if b, again, err = l.fetch(ctx); err == nil && !again {
				return b, nil
			}
		}
		if err != nil {
			if errors.Is(err, ingest.ErrMoved) || ctx.Err() != nil {
				return ingest.Batch{}, err
			}
			if err := l.trouble.Wait(ctx, err); err != nil {
				return ingest.Batch{}, err
			}
		}
	}
}

// records takes a batch out of the response.
func (l *partitionLog) records() (ingest.Batch, error) {
	m := l.memory()
	b := &m.batch
	b.Data, b.Records, b.Headers = b.Data[:0], b.Records[:0], b.Headers[:0]
	if err := l.reader.read(b, l.shift, batchBytes); err != nil {
		m.release()
		return ingest.Batch{}, err
	}
	b.From, b.To, b.Arrival, b.Release = l.at, l.reader.next+l.shift, l.want.sent, m.release
	l.at = b.To
	lag := *l.lag.Load()
	lag.Next = l.reader.next
	if n := len(b.Records); n > 0 {
		lag.Read = b.Records[n-1].Millis
	}
	l.lag.Store(&lag)
	return *b, nil
}

func (l *partitionLog) memory() *memory {
	select {
	case m := <-l.free:
		return m
	default:
	}
	m := &memory{batch: ingest.Batch{Records: []ingest.Record{}}}
	m.release = func() {
		if cap(m.batch.Data) > memoryBytes {
			return
		}
		select {
		case l.free <- m:
		default:
		}
	}
	return m
}

// fetch asks the leader. The answer is a batch that says that there is nothing,
// or again: then there are records to be read, or something else to be tried.
func (l *partitionLog) fetch(ctx context.Context) (b ingest.Batch, again bool, err error) {
	leader, err := l.layout.leader(l.partition)
	if err != nil {
		return b, true, l.ask(ctx, err)
	}
	w := l.want
	if w == nil {
		w = &want{partition: int32(l.partition), done: make(chan error, 1)}
	}
	l.want = nil
	w.id, w.offset, w.maxBytes, w.answered = l.id, l.at-l.shift, l.maxBytes, false
	if err := l.fetcher.lane(leader, l.hot).fetch(ctx, w); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			return b, true, nil // it was another's fetch that was cut off
		}
		return b, true, l.ask(ctx, err)
	}
	l.want = w
	switch w.code {
	case 0:
		l.moved = 0
	case kafkago.OffsetOutOfRange:
		l.moved++
		return b, true, fmt.Errorf("topic %s, partition %d, offset %d is not there: %w",
			l.fetcher.topic, l.partition, w.offset, ingest.ErrMoved)
	default:
		return b, true, l.ask(ctx, fmt.Errorf("fetch topic %s, partition %d, at %d: %w", l.fetcher.topic, l.partition, w.offset, w.code))
	}
	if !w.byID { // it may be another topic's
		if err := l.same(ctx); err != nil {
			return b, true, err
		}
	}
	l.lag.Store(&Lag{Next: w.offset, Start: w.start, End: w.high, Read: l.lag.Load().Read, shift: l.shift})
	l.reader.reset(w.raw, w.offset, w.aborted)
	l.hot = len(w.raw) > 0
	if l.reader.more() {
		return b, true, nil
	}
	if l.hot { // the first batch did not fit
		if l.maxBytes >= partitionMost {
			return b, true, fmt.Errorf("topic %s, partition %d: the batch at %d is over %d MiB",
				l.fetcher.topic, l.partition, w.offset, partitionMost>>20)
		}
		l.maxBytes *= 2
		return b, true, nil
	}
	l.trouble.Over()
	return ingest.Batch{From: l.at, To: l.at, Arrival: w.sent, Idle: w.offset >= w.high}, false, nil
}

// ask finds out what a failure means: perhaps another broker leads by now, or
// another topic has the name. It returns the failure, for the next try to wait
// a little.
func (l *partitionLog) ask(ctx context.Context, failure error) error {
	if err := l.same(ctx); err != nil {
		if errors.Is(err, ingest.ErrMoved) || ctx.Err() != nil {
			return err
		}
		return errors.Join(failure, err)
	}
	return failure
}

// same looks at the topic again, and is ErrMoved if it is not the one that is
// being read.
func (l *partitionLog) same(ctx context.Context) error {
	lay, err := l.fetcher.layout(ctx, l.now())
	if err != nil {
		return err
	}
	if lay.code == kafkago.UnknownTopicOrPartition || lay.exists() && lay.id != l.id {
		return fmt.Errorf("topic %s is gone or was made anew: %w", l.fetcher.topic, ingest.ErrMoved)
	}
	l.layout = lay
	return nil
}

// Committed tells the group how far segments speak.
func (l *partitionLog) Committed(to int64) { l.committed(l.partition, to-l.shift) }

// End is the chain offset at which the log ended when it was last asked.
func (l *partitionLog) End() int64 {
	lag := l.lag.Load()
	if lag == nil {
		return -1
	}
	return lag.End + lag.shift
}

// Close gives back what the log holds.
func (l *partitionLog) Close() error {
	l.reader.codecs.close()
	l.want = nil
	return nil
}
