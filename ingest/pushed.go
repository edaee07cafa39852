package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/store"
)

// pushedLog is a partition of the journal. The journal is told where the chain
// ends and numbers on from there, so chain and journal mostly count alike. Only
// where a journal with events of its own meets the chain of another is there a
// shift.
type pushedLog struct {
	journal   *journal.Journal
	stream    string
	partition int
	now       func() time.Time

	reader *journal.Reader
	shift  int64 // chain offset = journal offset + shift
	at     int64 // chain offset of the next batch
	start  int64 // journal offset at which the log was found to begin; 0 until a hole was met
}

const (
	pushedPrefix = "push:"
	idleInterval = time.Second // an idle partition says so this often
)

func pushedPartition(n int) string { return pushedPrefix + strconv.Itoa(n) }

// pushedNumber is the inverse of pushedPartition.
func pushedNumber(partition string) (int, bool) {
	digits, ok := strings.CutPrefix(partition, pushedPrefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil
}

func (l *pushedLog) Open(_ context.Context, at store.Position) (Start, error) {
	l.Close()
	first := max(l.start, l.committed()) // what the journal can still give
	start := Start{From: at.Next, Log: l.journal.ID(), Shift: at.Shift}
	gap := func(reason store.GapReason, from int64) {
		start.From = from
		start.Gap = &store.GapMeta{Reason: reason, WatermarkBefore: at.Watermark, Noticed: l.now().UTC()}
	}
	switch {
	case at.Log != "" && at.Log != start.Log:
		gap(store.GapNewLog, at.Next+1)
		if start.Shift = 0; l.journal.End(l.stream, l.partition) > 0 {
			start.Shift = start.From - first
		}
	case at.Log == "" && first > at.Next:
		gap(store.GapStart, first)
	case first+at.Shift > at.Next:
		gap(store.GapRetention, first+at.Shift)
	}
	l.at, l.shift = start.From, start.Shift
	if err := l.journal.Advance(l.stream, l.partition, l.at-l.shift); err != nil {
		return Start{}, err
	}
	r, err := l.journal.Reader(l.stream, l.partition)
	if err != nil {
		return Start{}, err
	}
	l.reader = r
	return start, r.SeekTo(l.at - l.shift)
}

// committed is the journal's own word for what it need not keep any more.
func (l *pushedLog) committed() int64 {
	for _, p := range l.journal.Stats().Streams[l.stream].Partitions {
		if p.Partition == l.partition {
			return p.Committed
		}
	}
	return 0
}

func (l *pushedLog) Next(ctx context.Context, _ []byte) (Batch, error) {
	waiting, cancel := context.WithTimeout(ctx, idleInterval)
	defer cancel()
	b, err := l.reader.Next(waiting)
	switch {
	case err == nil:
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		since, idle := l.reader.Idle(l.at - l.shift)
		return Batch{From: l.at, To: l.at, Arrival: since, Idle: idle}, nil
	default:
		return Batch{}, fmt.Errorf("read the journal of %s, partition %d, at %d: %w", l.stream, l.partition, l.at, err)
	}
	from := b.From + b.Skip
	if from+l.shift > l.at { // the files before it are gone
		l.start = from
		return Batch{}, errMoved
	}
	l.at = b.To + l.shift
	return Batch{From: from + l.shift, To: l.at, Data: b.Data, Arrival: b.Arrival, Skip: int(b.Skip), Lines: true}, nil
}

func (l *pushedLog) Committed(to int64) { l.journal.Committed(l.stream, l.partition, to-l.shift) }

func (l *pushedLog) End() int64 { return l.journal.End(l.stream, l.partition) + l.shift }

func (l *pushedLog) Close() error {
	if l.reader == nil {
		return nil
	}
	err := l.reader.Close()
	l.reader = nil
	return err
}

// pushError says what the journal refused in the words that other rooms know.
func pushError(err error) error {
	var behind *journal.BehindError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &behind):
		return &weir.ErrBehind{Reason: behind.Error(), RetryAfter: behind.RetryAfter}
	case errors.Is(err, journal.ErrNotReady):
		return &weir.ErrBehind{Reason: "the stream is still starting", RetryAfter: time.Second}
	case errors.Is(err, journal.ErrKeyReused):
		return fmt.Errorf("%w: %w", weir.ErrKeyReused, err)
	case errors.Is(err, journal.ErrClosed), errors.Is(err, journal.ErrFailed):
		return fmt.Errorf("%w: %w", weir.ErrStopping, err)
	}
	return err
}
