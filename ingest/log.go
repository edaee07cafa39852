package ingest

import (
	"context"
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
	// there was nothing. io.EOF says that there will be nothing more.
	// buf may be used for the batch's data.
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

// Batch is a run of whole lines.
type Batch struct {
	From, To int64 // chain offsets
	Data     []byte
	Arrival  time.Time // when the events came in; of an idle batch, when the log was asked
	Tail     []byte    // of a file: hash of the 4 KiB before To
	Skip     int       // lines of Data that lie before From
	Lines    bool      // offsets count lines, not bytes
	Idle     bool      // the log holds nothing past To
}
