package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/weir-stream/weir/store"
)

// Log is one partition of a log: ordered, replayable, read by one shard. It
// translates between its own offsets and those of the chain, which go on when
// the log behind them is replaced.
type Log interface {
	// Open says how the log goes on from the end of the chain. It is called
	// again whenever the chain turns out to be elsewhere.
	Open(ctx context.Context, at store.Position) (Start, error)

	// Next returns the batch that begins where the last one ended, or, where
	// Open began. It waits for one, but not long: an idle batch says that
	// there was nothing. io.EOF says that there will be nothing more, ErrMoved
	// that Open must be called again. buf may be used for the batch's data.
	Next(ctx context.Context, buf []byte) (Batch, error)

	// Committed tells that the chain reaches the offset.
	Committed(to int64)

	// End is the offset behind the last event of the log, -1 when unknown.
	End() int64

	Close() error
}

// Start is how a log goes on.
type Start struct {
	From  int64 // chain offset of the first batch
	Log   string
	Shift int64 // chain offset = log offset + shift
	Tail  []byte

	// Gap, when set, must become part of the chain first: [chain's end, From).
	Gap *store.GapMeta
}

// Batch is a run of events: whole lines, or, where Records is set, records.
type Batch struct {
	From, To int64 // chain offsets
	Data     []byte
	Arrival  time.Time // when the events came in; of an idle batch, when the log was asked
	Tail     []byte    // of a file: hash of the 4 KiB before To
	Skip     int       // lines of Data that lie before From
	Lines    bool      // offsets count lines, not bytes
	Idle     bool      // the log holds nothing past To

	// Records of a log whose events have offsets, times and keys of their own.
	// They lie in Data, in the order of their offsets, which may have holes; a
	// run of records may also be empty, and To past From all the same.
	Records []Record
	Headers []Header // of all records, one after the other

	// Release, when set, takes the memory of the batch back.
	Release func()
}

// Record is an event in a batch. It has no pointers: a batch of thousands is
// nothing to the garbage collector.
type Record struct {
	Offset  int64 // chain offset
	Millis  int64 // what the log says of its time, Unix milliseconds; negative where it says nothing
	Key     Span
	Value   Span
	Headers [2]uint32 // those of the record: Batch.Headers[from:to]
}

// Header is a name and a value that came beside a record's value.
type Header struct{ Name, Value Span }

// Span is where bytes lie in a batch's data. It tells bytes that are missing
// from none.
type Span struct {
	At  uint32
	Len int32 // -1 where they are missing
}

// Missing is the span of what is not there.
var Missing = Span{Len: -1}

// In gives the bytes in data, nil where they are missing.
func (s Span) In(data []byte) []byte {
	if s.Len < 0 {
		return nil
	}
	return data[s.At : s.At+uint32(s.Len)]
}

// ErrMoved says that the log cannot go on at the chain's end, because another
// stands in its place or because what comes next is gone. The worker stores
// what it has and opens the log again.
var ErrMoved = errors.New("the log does not go on where it was read to")
