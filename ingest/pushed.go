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

// pushedLog is a partition of the journal. Journal and chain count alike: the
// journal is told where the chain ends, and numbers on from there, so the shift
// is always 0.
type pushedLog struct {
	journal   *journal.Journal
	stream    string
	partition int
	now       func() time.Time

	reader *journal.Reader
	at     int64
	start  int64 // where the log was found to begin, if it is past the chain's end
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
	start := Start{From: at.Next, Log: l.journal.ID()}
	gap := func(reason store.GapReason, to int64) {
		start.From = to
		start.Gap = &store.GapMeta{Reason: reason, WatermarkBefore: at.Watermark, Noticed: l.now().UTC()}
	}
	switch {
	case at.Log != "" && at.Log != start.Log:
		gap(store.GapNewLog, max(at.Next+1, l.start))
	case l.start > at.Next && at.Log == "":
		gap(store.GapStart, l.start)
	case l.start > at.Next:
		gap(store.GapRetention, l.start)
	}
	if err := l.journal.Advance(l.stream, l.partition, start.From); err != nil {
		return Start{}, err
	}
	r, err := l.journal.Reader(l.stream, l.partition)
	if err != nil {
		return Start{}, err
	}
	l.reader, l.at = r, start.From
	return start, r.SeekTo(start.From)
}

func (l *pushedLog) Next(ctx context.Context, _ []byte) (Batch, error) {
	waiting, cancel := context.WithTimeout(ctx, idleInterval)
	defer cancel()
	b, err := l.reader.Next(waiting)
	switch {
	case err == nil:
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		since, idle := l.reader.Idle(l.at)
		return Batch{From: l.at, To: l.at, Arrival: since, Idle: idle}, nil
	default:
		return Batch{}, fmt.Errorf("read the journal of %s, partition %d, at %d: %w", l.stream, l.partition, l.at, err)
	}
	if from := b.From + b.Skip; from > l.at { // the files before it are gone
		l.start = from
		return Batch{}, errMoved
	}
	l.at = b.To
	return Batch{From: b.From + b.Skip, To: b.To, Data: b.Data, Arrival: b.Arrival, Skip: int(b.Skip), Lines: true}, nil
}

func (l *pushedLog) Committed(to int64) { l.journal.Committed(l.stream, l.partition, to) }

func (l *pushedLog) End() int64 { return l.journal.End(l.stream, l.partition) }

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
