// Package journal is the embedded durable log behind HTTP push and stdin. A
// pushed batch is acknowledged once it is on disk, is handed to the shards in
// order, and goes away once the segments that hold its events are stored.
//
// # Idea
//
// One log for all streams and partitions, so that one fsync makes everything
// durable that was pushed while the one before it ran:
//
//	Append ─┐ check key, choose partition,               ┌─→ acknowledge
//	Append ─┤ pack (each caller by itself)               │
//	Append ─┴─→ pending ─→ owner: number, write, fsync ──┴─→ tail in memory ─→ Reader, one a partition
//	                         │ rotate, delete files                               ↑ when behind, and after a restart
//	                         └─→ 00000007 00000008 00000009 ──────────────────────┘
//
// The files are those of prometheus/tsdb/wlog: pages, checksums, torn writes.
// Ours is only the payload of a record (record.go draws it): one pushed batch.
// Offsets count events, from 0 in every partition, and never come twice.
//
// # Guarantees
//
//   - An acknowledged batch is on disk, and is read back, whole and in order,
//     until [Journal.Committed] has passed it. Nothing is handed to a reader
//     before it is on disk.
//   - A batch repeated with its idempotency key is acknowledged as it was the
//     first time and not logged again: while the first is still being written,
//     after a restart, and after its file is gone. What bounds this is
//     Options.KeyTTL and Options.MaxKeys.
//   - Any failure to write, sync, or delete ends [Journal.Run] with [ErrFailed].
//     The process must end then: after a failed fsync nobody knows what the disk
//     holds, and only opening the journal anew builds on firm ground.
//   - A batch that was not acknowledged may or may not be in the log.
//
// # Opening
//
// What a file shows after a crash may be in the page cache and not on disk. So
// [Open] copies the good records of the last file into a new one, syncs it and
// puts it in the old one's place before it builds on them. Where reading stops
// early, the rest was torn by the crash and was never acknowledged, unless a
// later record says that everything before it was on disk: that is damage, as
// is any bad record in another file, and the journal refuses to open. One case
// cannot be told apart: damage to the very last group that was written.
//
// # What it will not do
//
// It is read by one process, on one machine, from local disks. It does not
// replicate. It trusts its caller that what [Journal.Committed] passes is
// stored durably, and that the body holds as many events as was said.
//
// # Goroutines and locks
//
// Open starts none. Run is the owner of the log: it alone writes, syncs,
// rotates and deletes; wlog keeps one goroutine more, which ends with Run.
// Journal.mu guards all that is shared, and is never held over a system call.
package journal

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/zeebo/xxh3"
)

// Errors that a caller decides on.
var (
	// ErrFailed: a write, fsync or delete failed. The process must end.
	ErrFailed = errors.New("journal failed")
	// ErrClosed: the journal has stopped, or is stopping.
	ErrClosed = errors.New("journal closed")
	// ErrLocked: another process has the journal open.
	ErrLocked = errors.New("journal in use")
	// ErrCorrupt: a record that must be good is not.
	ErrCorrupt = errors.New("journal corrupt")
	// ErrBehind: the readers are too far behind; see [BehindError].
	ErrBehind = errors.New("journal behind")
	// ErrNotReady: no partition of the stream was told its chain's end yet.
	ErrNotReady = errors.New("journal not ready")
	// ErrKeyReused: the idempotency key came before, with another body.
	ErrKeyReused = errors.New("idempotency key reused with another body")
	// ErrInvalid: a batch that no retry will make acceptable.
	ErrInvalid = errors.New("invalid batch")
)

// Options of a journal. Zero values stand for the defaults.
type Options struct {
	// Dir holds the journal and nothing else. It is made when absent.
	Dir string

	// Streams are the streams that may be appended to, with their number of
	// partitions. What the log holds of others is still served.
	Streams map[string]int

	// SegmentSize is the size at which a new file is begun, in bytes, default
	// 64 MiB. Space is given back file by file.
	SegmentSize int

	// KeyTTL is how long an idempotency key is remembered, default 24h.
	KeyTTL time.Duration

	// MaxKeys bounds the keys remembered a stream, default 1,048,576, about
	// 150 bytes each. Over it, the oldest are forgotten and counted.
	MaxKeys int

	// MaxBehind bounds the bytes of a partition that its reader has not taken
	// yet, default 64 MiB. When all partitions of a stream are over it, Append
	// refuses with ErrBehind.
	MaxBehind int64

	// MaxTail bounds the bytes of a partition kept in memory for its reader,
	// default 16 MiB. What is over it is read back from disk.
	MaxTail int64

	// Logger defaults to slog.Default().
	Logger *slog.Logger

	// Now is the clock that stamps arrivals and ages keys, default time.Now.
	Now func() time.Time
}

const (
	maxPartitions = 1 << 16
	maxOffset     = 1e18 // names in the store have 19 digits
	maxStreamName = 255
)

// Journal is the log. Its methods may be called from any goroutine.
type Journal struct {
	opts Options
	log  *slog.Logger
	id   string
	lock fileutil.Releaser
	sync func(*os.File) error // of files and directories; tests put faults here

	seq   uint64 // of the last record; the owner's, once Run has begun
	wake  chan struct{}
	ended chan struct{} // closed once nothing will be written any more

	mu       sync.Mutex // guards all below
	running  bool
	closing  bool  // no new batches, those admitted are still written
	err      error // why it ended
	streams  map[string]*stream
	files    []*file    // oldest first; the last one is written to
	pending  []*request // for the owner, in order of arrival
	truncate bool       // for the owner: a committed offset has moved
	counts   counters
}

// file is one wlog segment.
type file struct {
	index int
	size  int64
	keys  []streamKey // told of by this file, and perhaps by a later one too
}

type streamKey struct {
	stream *stream
	id     keyID
}

// request is an append under way. Who appends owns it until it is pending, the
// owner of the log until done is closed.
type request struct {
	stream    *stream
	partition *partition
	keyed     bool
	id        keyID
	hash      xxh3.Uint128
	arrival   time.Time
	count     int64
	body      []byte
	rec       []byte

	place *list.Element // in stream.inWork

	done chan struct{} // closed when ack and err are final
	ack  Ack
	err  error
}

// Ack says where a batch is in the log.
type Ack struct {
	Partition int
	First     int64 // offset of the first event
	Count     int64 // events
	Duplicate bool  // the key was known: the batch is where an earlier push put it
}

// ID is the identity of this log, made with the directory.
func (j *Journal) ID() string { return j.id }

// Append logs one batch and returns once it is on disk. The body is NDJSON, one
// event a line; the journal keeps it, so the caller must not change it any
// more, whatever is returned. An empty key means that a repetition is a new
// batch. An error of the context leaves open whether the batch is logged: to
// find out, push it again with the same key.
func (j *Journal) Append(ctx context.Context, stream, key string, body []byte, events int) (Ack, error) {
	switch {
	case events < 1 || int64(events) > 1<<32-1:
		return Ack{}, fmt.Errorf("%w: %d events", ErrInvalid, events)
	case len(body) == 0 || len(body) > MaxBody:
		return Ack{}, fmt.Errorf("%w: body of %d bytes, at most %d", ErrInvalid, len(body), MaxBody)
	case len(key) > MaxKey:
		return Ack{}, fmt.Errorf("%w: idempotency key of %d bytes, at most %d", ErrInvalid, len(key), MaxKey)
	}
	if err := context.Cause(ctx); err != nil {
		return Ack{}, fmt.Errorf("journal: append to %q, not logged: %w", stream, err)
	}
	r := &request{
		keyed: key != "",
		id:    xxh3.HashString128(key),
		hash:  xxh3.Hash128(body),
		count: int64(events),
		body:  body,
		done:  make(chan struct{}),
	}
	twin, err := j.admit(stream, r)
	if err != nil {
		return Ack{}, err
	}
	if twin == nil {
		r.rec = encodeBatch(stream, key, r.hash, events, r.arrival, body)
		j.submit(r)
		twin = r
	}
	select {
	case <-twin.done:
	case <-ctx.Done():
		return Ack{}, fmt.Errorf("journal: append to %q, outcome unknown: %w", stream, context.Cause(ctx))
	}
	ack := twin.ack
	ack.Duplicate = ack.Duplicate || twin != r
	return ack, twin.err
}

// admit stamps the request and finds it a partition, or returns the request to
// wait for in its stead: one under way, or one that is done already.
func (j *Journal) admit(name string, r *request) (*request, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.err != nil:
		return nil, j.err
	case j.closing:
		return nil, ErrClosed
	}
	s := j.streams[name]
	if s == nil || s.configured == 0 {
		return nil, fmt.Errorf("%w: unknown stream %q", ErrInvalid, name)
	}
	r.arrival = j.opts.Now()
	if r.keyed {
		if first := s.flying[r.id]; first != nil {
			return first, s.duplicate(first.hash, r.hash)
		}
		if e, ok := s.keys.lookup(r.id, r.arrival); ok {
			r.ack = e.ack()
			close(r.done)
			return r, s.duplicate(e.hash, r.hash)
		}
	}
	p, err := s.choose(int64(len(r.body)), j.opts.MaxBehind)
	if err != nil {
		return nil, err
	}
	r.stream, r.partition = s, p
	s.enter(r)
	return nil, nil
}

// submit hands the request to the owner of the log.
func (j *Journal) submit(r *request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		j.settle(r, j.err)
		return
	}
	j.pending = append(j.pending, r)
	j.poke()
}

// settle ends a request. The caller holds mu.
func (j *Journal) settle(r *request, err error) {
	r.err = err
	r.stream.leave(r)
	close(r.done)
}

// poke wakes the owner of the log.
func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Streams returns the streams of the options and of the log, sorted. One that
// is no longer configured must be drained, or its events given up by calling
// Advance with [Journal.End] for each partition: until then its files stay, and
// with them all later ones.
func (j *Journal) Streams() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return sortedKeys(j.streams)
}

// Partitions returns the partitions to serve, ascending: the configured ones,
// those that Advance made, and those of the log that are not drained.
func (j *Journal) Partitions(stream string) []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.streams[stream]
	if s == nil {
		return nil
	}
	var list []int
	for _, i := range sortedKeys(s.partitions) {
		if p := s.partitions[i]; i < s.configured || p.ready || p.committed < p.end {
			list = append(list, i)
		}
	}
	return list
}

// End returns the offset after the last event of a partition that is on disk.
func (j *Journal) End(stream string, partition int) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.streams[stream]; s != nil && s.partitions[partition] != nil {
		return s.partitions[partition].end
	}
	return 0
}

// Close releases the directory. Call it when Run has ended, or was never begun.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running {
		return errors.New("journal: close: Run has not ended")
	}
	j.end(ErrClosed)
	if j.lock == nil {
		return nil
	}
	lock := j.lock
	j.lock = nil
	if err := lock.Release(); err != nil {
		return fmt.Errorf("journal: release %s: %w", j.opts.Dir, err)
	}
	return nil
}

// end refuses all that is to come, and gives up what is pending. The caller
// holds mu.
func (j *Journal) end(err error) {
	if j.err != nil {
		return
	}
	j.err = err
	close(j.ended)
	for _, r := range j.pending {
		j.settle(r, err)
	}
	j.pending = nil
}
