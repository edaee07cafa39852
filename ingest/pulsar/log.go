package pulsar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/store"
)

// partitionLog is one partition of a topic, as a log. The log's name is that of
// a numbering: it lasts as long as each message can be seen to follow another.
//
// Nothing that a broker says or fails to say ends it. It waits, tells once what
// it waits for, and goes on.
type partitionLog struct {
	client       *client
	topic        string // of the one partition
	headers      bool
	acknowledged func(topic string, to place)
	now          func() time.Time
	logger       *slog.Logger

	at      int64 // chain offset of the next message
	shift   int64 // chain offset = offset in the numbering + shift
	last    mark  // what at is behind of
	seen    place // the last message received: last, or one behind it that is not counted
	holes   []hole
	trouble ingest.Trouble

	stream  *stream          // nil: to be opened at last
	pending pulsargo.Message // received, and not yet looked at
	quiet   time.Time        // since when the stream gives nothing, though there is something
	free    chan *memory

	chunked atomic.Int64 // messages passed over since they came in chunks
	looked  atomic.Int64 // times that the last message was looked at again
	lag     atomic.Pointer[Lag]

	mu       sync.Mutex
	progress []progress // guarded by mu; where batches ended
}

// hole is two messages that do not adjoin by their places.
type hole struct{ from, to place }

// progress is an offset, and up to where messages before it can be acknowledged.
type progress struct {
	to int64
	is place
}

// Lag is how a partition's reading stands.
type Lag struct {
	End  int64 // chain offset behind the last message if all is read, -1 if there is more
	Read int64 // when the newest message read was published, Unix milliseconds; 0 before the first
}

const (
	pollLimit  = 500 * time.Millisecond // for a message, before the broker is asked whether there is one
	quietLimit = 30 * time.Second       // for a message that the broker says is there
	progresses = 10_000                 // kept between two segments
)

func newPartitionLog(c *client, config *Config, topic string, acknowledged func(string, place)) *partitionLog {
	logger := config.Logger.With("topic", topic)
	l := &partitionLog{client: c, topic: topic, headers: config.Headers, acknowledged: acknowledged, now: config.Now,
		logger: logger, trouble: ingest.Trouble{Logger: logger}, free: make(chan *memory, batchesOut)}
	l.lag.Store(&Lag{End: -1})
	return l
}

// Open finds where the log goes on.
func (l *partitionLog) Open(ctx context.Context, at store.Position) (ingest.Start, error) {
	l.forget()
	last, err := decodeMark(at.Tail)
	if err != nil {
		return ingest.Start{}, fmt.Errorf("go on with topic %s at offset %d of the chain: %w", l.topic, at.Next, err)
	}
	if at.Log == "" {
		l.begin(at.Next, at.Next, mark{})
		return ingest.Start{From: at.Next, Log: rand.Text(), Shift: at.Next}, nil
	}
	for sure := false; ; {
		reason, from, err := l.find(ctx, last)
		switch {
		case err == nil && reason == "":
			l.begin(at.Next, at.Shift, last)
			return ingest.Start{From: at.Next, Log: at.Log, Shift: at.Shift, Tail: at.Tail}, nil
		case err == nil && sure:
			return l.skip(at, reason, from), nil
		case err == nil:
			sure, err = true, fmt.Errorf("the message at %v is not there any more; asking again", last)
			l.forget()
		}
		if err := l.trouble.Wait(ctx, err); err != nil {
			return ingest.Start{}, err
		}
	}
}

// begin takes a position up, with a stream that is there or none.
func (l *partitionLog) begin(at, shift int64, last mark) {
	l.at, l.shift, l.last, l.holes = at, shift, last, nil
	l.seen = place{}
	if !last.next {
		l.seen = last.place
	}
	l.trouble.Over()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = l.progress[:0]
	l.note(at, last)
}

// skip begins another numbering behind a gap.
func (l *partitionLog) skip(at store.Position, reason store.GapReason, from mark) ingest.Start {
	start := ingest.Start{From: at.Next + 1, Log: rand.Text(), Shift: at.Next + 1,
		Gap: &store.GapMeta{Reason: reason, WatermarkBefore: at.Watermark, Noticed: l.now().UTC()}}
	l.begin(start.From, start.Shift, from)
	start.Tail = from.encode()
	return start
}

// find opens a stream at the mark. The message there must be the same as ever.
// If it is not, find says why that may be, and from where to go on.
func (l *partitionLog) find(ctx context.Context, last mark) (lost store.GapReason, from mark, err error) {
	l.forget()
	if l.stream, err = l.client.open(ctx, l.topic, last.place); err != nil || !last.known() {
		return "", last, err
	}
	l.looked.Add(1)
	for began := l.now(); ; {
		m, err := l.poll(ctx)
		if err != nil {
			return "", last, err
		}
		if m == nil {
			end, err := l.stream.last(ctx)
			switch {
			case err != nil:
				return "", last, err
			case end.ledger < last.ledger || end.ledger == last.ledger && end.entry < last.entry:
				l.forget()
				return store.GapLogShrank, mark{place: end}, nil
			case l.now().Sub(began) > quietLimit:
				return "", last, fmt.Errorf("the topic ends with %v, and yet nothing comes from %v on", end, last)
			}
			continue
		}
		is, sum := placeOf(m.ID()), sumOf(m)
		switch order := is.compare(last.place); {
		case order < 0: // of the same batch
			continue
		case order > 0:
			l.pending = m
			return store.GapRetention, mark{place: is, sum: sum, next: true}, nil
		case last.sum != 0 && sum != last.sum: // surely another topic's, which begins elsewhere
			l.forget()
			return store.GapNewLog, mark{}, nil
		case last.next:
			l.pending = m
		}
		return "", last, nil
	}
}

// poll waits a while for a message; nil says that none came.
func (l *partitionLog) poll(ctx context.Context) (pulsargo.Message, error) {
	if m := l.pending; m != nil {
		l.pending = nil
		return m, nil
	}
	waiting, cancel := context.WithTimeout(ctx, pollLimit)
	defer cancel()
	m, err := l.stream.next(waiting)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return m, err
}

// forget gives the stream up: reading goes on behind the last message.
func (l *partitionLog) forget() {
	if l.stream != nil {
		l.stream.close()
	}
	l.stream, l.pending, l.quiet = nil, nil, time.Time{}
	l.seen = place{}
	if !l.last.next {
		l.seen = l.last.place
	}
}

// Next returns the next messages.
func (l *partitionLog) Next(ctx context.Context, _ []byte) (ingest.Batch, error) {
	for {
		b, again, err := l.read(ctx)
		switch {
		case err == nil && !again:
			l.trouble.Over()
			return b, nil
		case err == nil:
			continue
		case errors.Is(err, ingest.ErrMoved), ctx.Err() != nil:
			return ingest.Batch{}, err
		}
		l.forget()
		if errors.Is(err, errUntrusted) || errors.Is(err, errHole) {
			continue // the next stream tells whether there is any trouble
		}
		if err := l.trouble.Wait(ctx, err); err != nil {
			return ingest.Batch{}, err
		}
	}
}

// read takes messages out of the stream, or finds that there are none. It may
// have to be called again.
func (l *partitionLog) read(ctx context.Context) (b ingest.Batch, again bool, err error) {
	if l.stream == nil {
		reason, _, err := l.find(ctx, l.last)
		if err != nil {
			return b, true, err
		}
		if reason != "" {
			return b, true, fmt.Errorf("topic %s: the message at %v is not there any more: %w", l.topic, l.last, ingest.ErrMoved)
		}
	}
	asked := l.now()
	first, err := l.poll(ctx)
	if err != nil {
		return b, true, err
	}
	if first == nil {
		return l.idle(ctx)
	}
	l.quiet = time.Time{}
	b, err = l.collect(ctx, first)
	b.Arrival = asked
	if len(b.Records) > 0 {
		return b, false, nil // an error comes again
	}
	return b, true, err
}

// idle asks the broker whether there is really nothing.
func (l *partitionLog) idle(ctx context.Context) (b ingest.Batch, again bool, err error) {
	b = ingest.Batch{From: l.at, To: l.at, Arrival: l.now(), Tail: l.last.encode()}
	end, err := l.stream.last(ctx)
	if err != nil {
		return b, true, err
	}
	at := l.seen
	switch {
	case !end.known(), at.known() && (end.ledger < at.ledger || end.ledger == at.ledger && end.entry <= at.entry) && at.batch+1 == at.size:
		b.Idle = true
		l.lag.Store(&Lag{End: l.at, Read: l.lag.Load().Read})
		l.quiet = time.Time{}
	case l.quiet.IsZero():
		l.quiet = b.Arrival
	case b.Arrival.Sub(l.quiet) > quietLimit:
		return b, true, fmt.Errorf("the topic ends with %v, and yet nothing comes behind %v", end, at)
	}
	return b, false, nil
}

// accept reports whether the message is the next one that counts. An error says
// that it cannot be told from this stream.
func (l *partitionLog) accept(m pulsargo.Message) (bool, error) {
	is := placeOf(m.ID())
	if l.seen.known() {
		if is.compare(l.seen) <= 0 {
			return false, nil // again
		}
		if h := (hole{l.seen, is}); !l.seen.before(is) && !slices.Contains(l.holes, h) {
			l.holes = append(l.holes, h)
			return false, errHole
		}
	}
	l.seen = is
	if m.ID().BatchIdx() < 0 {
		if l.chunked.Add(1) == 1 {
			l.logger.Warn("messages that came in chunks are passed over; this is the first", "at", is)
		}
		return false, nil
	}
	l.holes = nil
	return true, nil
}

// errHole says that the next message does not adjoin: it must be seen again,
// behind the last.
var errHole = errors.New("the next message does not adjoin")

// note keeps up to where what is before the offset can be acknowledged: all but
// the entry of the last message, which the next owner looks for. It is called
// with mu held.
func (l *partitionLog) note(to int64, last mark) {
	if last.entry == 0 {
		return // the entry before it is in another ledger, nobody knows where
	}
	if len(l.progress) == progresses {
		l.progress = l.progress[:progresses-1]
	}
	l.progress = append(l.progress, progress{to, place{ledger: last.ledger, entry: last.entry - 1, size: 1}})
}

// Committed acknowledges what segments speak for.
func (l *partitionLog) Committed(to int64) {
	l.mu.Lock()
	var is place
	n := 0
	for _, p := range l.progress {
		if p.to > to {
			break
		}
		is = p.is
		n++
	}
	l.progress = slices.Delete(l.progress, 0, n)
	l.mu.Unlock()
	if is.known() {
		l.acknowledged(l.topic, is)
	}
}

// End is the chain offset behind the last message, if all has been read.
func (l *partitionLog) End() int64 { return l.lag.Load().End }

// Close gives up the reader.
func (l *partitionLog) Close() error {
	l.forget()
	return nil
}
