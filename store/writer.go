package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"syscall"
	"time"

	"github.com/weir-stream/weir"
)

// Position is where a partition's chain ends, and what its owner goes on from.
// Offset Next of the chain is offset Next-Shift of the log.
type Position struct {
	Next      int64
	Log       string // "" until the first segment names it
	Shift     int64
	Tail      []byte
	Watermark int64 // NoWatermark before the first event
}

// Draft is a segment to be appended. Of its metadata the writer sets Format,
// ID, Stream, Definition, Partition, Writer and Written.
//
// Cells yields the segment's cells in batches that are sorted one after the
// other. It is read once, and nil for a gap. A chain goes on in another log, or
// at another shift, only behind a gap.
type Draft struct {
	Meta  SegmentMeta
	Cells iter.Seq[*weir.Cells]
}

// What callers of a writer decide on.
var (
	// ErrLeftLog says that a chain would return to a log that it left. What its
	// offsets mean would be ambiguous, so the partition takes nothing more.
	ErrLeftLog = errors.New("the chain has left this log and cannot return to it")

	// ErrUnsettled says that a put was neither confirmed nor refuted. Append
	// again with the same From, possibly with more, or take over again.
	ErrUnsettled = errors.New("it is not known whether the segment is stored")
)

// Writer appends to the chain of one partition. It is not for concurrent use:
// one put is in flight at a time, and the next begins where the last one,
// whoever it was from, is known to end.
type Writer struct {
	catalog   *Catalog
	partition string
	name      string // of this process, for those who read the metadata
	position  Position
	owned     bool          // position is the end of the chain, as far as this writer knows
	pause     time.Duration // before the second try of a put
	log       *slog.Logger
}

// NewWriter returns a writer that must take over before it appends. The name
// says in the metadata who wrote a segment.
func NewWriter(catalog *Catalog, partition, name string) *Writer {
	return &Writer{
		catalog: catalog, partition: partition, name: name, pause: firstPause,
		log: catalog.log.With("partition", partition),
	}
}

// Position returns where the next segment begins, as far as this writer knows.
func (w *Writer) Position() Position { return w.position }

// Takeover finds the chain's end. What was read of the log before may be kept
// only if it begins there, in the same log with the same shift.
func (w *Writer) Takeover(ctx context.Context) (Position, error) {
	w.owned = false
	snapshot, err := w.catalog.Refresh(ctx)
	if err != nil {
		return Position{}, fmt.Errorf("take over partition %s: %w", w.partition, err)
	}
	chain := snapshot.Chain(w.partition)
	if chain == nil {
		empty := newChain(w.partition, snapshot.Manifest)
		chain = &empty
	}
	if chain.Broken != nil {
		return Position{}, fmt.Errorf("take over partition %s: %w", w.partition, chain.Broken)
	}
	// The last segments may have been put by a process that died before it made
	// them durable. What follows makes the log forget their events.
	if err := syncFolder(ctx, w.catalog.bucket, segmentFolder(w.catalog.stream.Name, w.partition)); err != nil {
		return Position{}, fmt.Errorf("take over partition %s: %w", w.partition, err)
	}
	w.position, w.owned = chain.position(), true
	return w.position, nil
}

// Append puts the segment at the end of the chain and returns the position
// behind what is then stored there: the draft, or what another owner put first.
//
// It reports kept if the chain goes on exactly where the draft ends, in the same
// log with the same shift, and behind the same place of it where the tail names
// one. What was read beyond the draft can then be kept;
// otherwise everything in memory must be dropped, and the log be read from the
// returned position. A draft that is not at the writer's position is refused.
//
// Append tries until it knows what is stored or the context ends. After an error
// that is not ErrUnsettled the writer must take over again.
func (w *Writer) Append(ctx context.Context, draft Draft) (Position, bool, error) {
	if err := w.check(&draft.Meta); err != nil {
		return w.position, false, fmt.Errorf("append to partition %s: %w", w.partition, err)
	}
	stream := w.catalog.stream
	meta := draft.Meta
	meta.Format, meta.ID, meta.Stream, meta.Partition = formatVersion, newID(), stream.Name, w.partition
	meta.Definition, meta.Hash = w.catalog.definition, w.catalog.definitionHash
	meta.Writer, meta.Written = w.name, w.catalog.now().UTC()
	data, err := EncodeSegment(stream, meta, draft.Cells)
	if err != nil {
		return w.position, false, fmt.Errorf("append to partition %s: %w", w.partition, err)
	}
	position, kept, err := w.append(ctx, &meta, data)
	if err != nil {
		return w.position, false, fmt.Errorf("append %s: %w", SegmentName(stream.Name, w.partition, meta.From), err)
	}
	return position, kept, nil
}

func (w *Writer) append(ctx context.Context, meta *SegmentMeta, data []byte) (Position, bool, error) {
	name := SegmentName(meta.Stream, w.partition, meta.From)
	stored, err := w.settle(ctx, name, meta, data)
	if err != nil {
		return w.position, false, err
	}
	void, err := w.void(ctx, name, meta.From)
	if err != nil {
		return w.position, false, fmt.Errorf("%w: validate against the newest manifest: %w", ErrUnsettled, err)
	}
	if void {
		// Compaction took the name while this writer slept, and its put went
		// where nobody looks. The truth is at the end of the chain.
		w.log.Warn("segment put behind the frontier of compaction, reading the log again", "segment", name)
		position, err := w.Takeover(ctx)
		return position, false, err
	}
	if err := w.catalog.adopt(ctx, stored); err != nil {
		w.owned = false
		return w.position, false, err
	}
	m := &stored.Meta
	w.position = Position{Next: m.To, Log: m.Log, Shift: m.Shift, Tail: m.Tail, Watermark: m.Watermark}
	kept := m.To == meta.To && m.Log == meta.Log && m.Shift == meta.Shift && bytes.Equal(m.Tail, meta.Tail)
	if m.ID != meta.ID {
		w.log.Info("another owner's segment is stored", "segment", name, "to", m.To, "kept", kept, "writer", m.Writer)
	}
	return w.position, kept, nil
}

// settle puts the segment and returns what is stored under its name, whoever
// put it.
func (w *Writer) settle(ctx context.Context, name string, meta *SegmentMeta, data []byte) (*SegmentRef, error) {
	for wait := w.pause; ; wait = min(2*wait, longestPause) {
		putErr := w.catalog.bucket.Put(ctx, name, data)
		if putErr == nil {
			return &SegmentRef{Name: name, Size: int64(len(data)), Meta: *meta}, nil
		}
		if errors.Is(putErr, ErrSync) {
			return nil, putErr
		}
		stored, getErr := w.readBack(ctx, name)
		switch {
		case getErr == nil:
			return stored, nil
		case errors.Is(getErr, ErrSync), errors.Is(getErr, ErrDamaged):
			return nil, getErr
		}
		w.catalog.retries.Add(1)
		about := []any{"segment", name, "again_in", wait, "err", putErr}
		if !errors.Is(getErr, ErrNotFound) {
			about = append(about, "read", getErr)
		}
		if errors.Is(putErr, syscall.ENOSPC) {
			about = append(about, "advice", "make room: until then, what is not stored waits in memory and in its log")
		}
		w.log.Warn("a segment could not be put, trying again", about...)
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("%w: put: %w; read back: %w", ErrUnsettled, putErr, getErr)
		}
	}
}

// void reports whether the newest manifest speaks for the offset already, so that
// a segment there does not count.
func (w *Writer) void(ctx context.Context, name string, offset int64) (bool, error) {
	for wait := w.pause; ; wait = min(2*wait, longestPause) {
		void, err := w.catalog.behindFrontier(ctx, w.partition, offset)
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return void, err
		}
		w.catalog.retries.Add(1)
		w.log.Warn("a segment could not be validated, trying again", "segment", name, "again_in", wait, "err", err)
		if pause(ctx, wait) != nil {
			return false, err
		}
	}
}

// readBack returns what is stored under the name, and makes it durable: its
// putter may not have.
func (w *Writer) readBack(ctx context.Context, name string) (*SegmentRef, error) {
	ref, err := w.catalog.readRef(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := syncFolder(ctx, w.catalog.bucket, segmentFolder(w.catalog.stream.Name, w.partition)); err != nil {
		return nil, err
	}
	return ref, nil
}

// check refuses what would break the chain.
func (w *Writer) check(m *SegmentMeta) error {
	at := w.position
	switch {
	case !w.owned:
		return errors.New("the writer has not taken over")
	case m.From != at.Next:
		return fmt.Errorf("the draft begins at %d, the chain ends at %d", m.From, at.Next)
	case m.To <= m.From:
		return fmt.Errorf("the draft covers offsets [%d, %d)", m.From, m.To)
	case m.Watermark < at.Watermark:
		return fmt.Errorf("the watermark would fall from %d to %d", at.Watermark, m.Watermark)
	case m.Gap != nil && m.Events != 0:
		return fmt.Errorf("a gap with %d events", m.Events)
	case m.Gap == nil && at.Log != "" && (m.Log != at.Log || m.Shift != at.Shift):
		return fmt.Errorf("the draft is of log %q shifted by %d, the chain of log %q shifted by %d", m.Log, m.Shift, at.Log, at.Shift)
	case m.Log == "":
		return errors.New("the draft does not name its log")
	}
	// A writer that is behind its chain loses the race, whatever it would change to.
	chain := w.catalog.Snapshot().Chain(w.partition)
	if chain != nil && chain.End == at.Next && m.Log != at.Log && slices.Contains(chain.Left, m.Log) {
		return fmt.Errorf("%w: %q", ErrLeftLog, m.Log)
	}
	return nil
}

// String describes the position in one line.
func (p Position) String() string {
	return fmt.Sprintf("offset %d of the chain, %d of log %q", p.Next, p.Next-p.Shift, p.Log)
}

// Equal reports whether both positions are the same place of the same log.
func (p Position) Equal(q Position) bool {
	return p.Next == q.Next && p.Log == q.Log && p.Shift == q.Shift && bytes.Equal(p.Tail, q.Tail) && p.Watermark == q.Watermark
}

// A put that fails is tried again after a pause, each time twice as long.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = 5 * time.Second
)

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
