package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir"
)

// ErrStale says that a segment of the snapshot is no longer what it was:
// compaction deleted it, another took its name, or it was found damaged and is
// now quarantined. Refresh and ask again.
var ErrStale = errors.New("the snapshot is out of date")

// Catalog knows what is stored of one stream. It starts empty: refresh it.
type Catalog struct {
	bucket  Bucket
	stream  *weir.Stream
	log     *slog.Logger
	now     func() time.Time
	opened  *segmentCache
	current atomic.Pointer[Snapshot] // replaced only by who holds turn
	retries atomic.Int64             // puts of segments that had to be tried again

	definition     Definition // of the stream as it is now
	definitionHash string

	turn     chan struct{} // a semaphore of one, so that waiting ends with the context
	mu       sync.Mutex
	begun    uint64                // refreshes begun; guarded by mu
	finished uint64                // the newest of those that finished; guarded by mu
	defined  map[string]Definition // by hash, at most maxDefined: segments share them; guarded by mu
}

// maxDefined bounds the definitions that are shared. There are as many as the
// stream was changed; beyond the bound, sharing begins anew.
const maxDefined = 64

// NewCatalog returns a catalog that has seen nothing yet.
func NewCatalog(bucket Bucket, stream *weir.Stream, log *slog.Logger) *Catalog {
	c := &Catalog{
		bucket: bucket,
		stream: stream,
		log:    log.With("stream", stream.Name),
		now:    time.Now,
		opened: newSegmentCache(openedBytes),
		turn:   make(chan struct{}, 1),

		definition: DefinitionOf(stream),
		defined:    make(map[string]Definition),
	}
	c.definitionHash = c.definition.Hash()
	c.current.Store(&Snapshot{})
	return c
}

// Snapshot returns what the last refresh found, and what writers of this
// process have appended since.
func (c *Catalog) Snapshot() *Snapshot { return c.current.Load() }

// Stream returns the definition that cells are read by.
func (c *Catalog) Stream() *weir.Stream { return c.stream }

// CacheStats returns how the cache of opened segments fares.
func (c *Catalog) CacheStats() CacheStats { return c.opened.stats() }

// Refresh returns a snapshot of what is stored now. Segments that are known are
// not read again. It never returns a snapshot older than one it returned
// before; where the store itself went back, it fails and the last snapshot
// stands.
//
// Callers that wait for a refresh under way share the next one.
func (c *Catalog) Refresh(ctx context.Context) (*Snapshot, error) {
	c.mu.Lock()
	asked := c.begun
	c.mu.Unlock()
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()

	c.mu.Lock()
	if c.finished > asked {
		c.mu.Unlock()
		return c.current.Load(), nil
	}
	c.begun++
	mine := c.begun
	c.mu.Unlock()

	snapshot, err := c.refresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("refresh the catalog of stream %s: %w", c.stream.Name, err)
	}
	c.current.Store(snapshot)
	c.mu.Lock()
	c.finished = mine
	c.mu.Unlock()
	return snapshot, nil
}

func (c *Catalog) lock(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Catalog) unlock() { <-c.turn }

// Cells returns the selected cells of a segment of a snapshot. An error that is
// ErrStale asks for a refresh, after which the question can be put again.
func (c *Catalog) Cells(ctx context.Context, ref *SegmentRef, sel weir.Selection) (*weir.Cells, error) {
	segment, err := c.open(ctx, ref)
	var cells *weir.Cells
	if err == nil {
		cells, err = segment.Cells(ctx, c.stream, sel)
	}
	switch {
	case err == nil:
		return cells, nil
	case errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("%w: %w", ErrStale, err)
	case !errors.Is(err, ErrDamaged):
		return nil, err
	}
	// Damaged, or another segment that a late put left under the name?
	c.opened.remove(ref)
	again, readErr := c.readRef(ctx, ref.Name)
	switch {
	case readErr == nil && again.Meta.ID != ref.Meta.ID, errors.Is(readErr, ErrNotFound):
		return nil, fmt.Errorf("%w: %s is another segment now", ErrStale, ref.Name)
	case readErr != nil && !errors.Is(readErr, ErrDamaged):
		return nil, readErr
	}
	if err := c.quarantine(ctx, ref, err); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrStale, err)
}

// open returns the segment that the reference is of, from the cache if it can.
func (c *Catalog) open(ctx context.Context, ref *SegmentRef) (*Segment, error) {
	if s := c.opened.find(ref); s != nil {
		return s, nil
	}
	s, err := OpenSegment(ctx, c.bucket, ref.Name)
	if err != nil {
		return nil, err
	}
	if s.meta.ID != ref.Meta.ID {
		return nil, fmt.Errorf("%w: %s is another segment now", ErrStale, ref.Name)
	}
	c.opened.add(s)
	return s, nil
}

// readRef reads what is stored under the name of a segment.
func (c *Catalog) readRef(ctx context.Context, name string) (*SegmentRef, error) {
	s, err := OpenSegment(ctx, c.bucket, name)
	if err != nil {
		return nil, err
	}
	s.meta.Definition = c.share(&s.meta)
	c.opened.add(s)
	return &SegmentRef{Name: name, Size: s.size, Meta: s.meta}, nil
}

// share returns the definition of a segment, in memory that others use too.
func (c *Catalog) share(m *SegmentMeta) Definition {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.defined[m.Hash]
	if !ok {
		if len(c.defined) >= maxDefined {
			clear(c.defined)
		}
		d = m.Definition
		c.defined[m.Hash] = d
	}
	return d
}

// adopt adds what a writer found or put at the end of a chain, so that the next
// question sees it without a refresh.
func (c *Catalog) adopt(ctx context.Context, ref *SegmentRef) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	snapshot := c.current.Load()
	chain := snapshot.Chain(ref.Meta.Partition)
	if chain == nil {
		empty := newChain(ref.Meta.Partition, snapshot.Manifest)
		chain = &empty
	}
	if chain.End != ref.Meta.From {
		return nil // a refresh was faster
	}
	if err := chain.accepts(&ref.Meta); err != nil {
		return err
	}
	next := *chain
	next.add(ref)
	c.current.Store(snapshot.with(next))
	return nil
}

// quarantine leaves a segment that cannot be read out of the snapshot, and a
// gap in its place.
func (c *Catalog) quarantine(ctx context.Context, ref *SegmentRef, reason error) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	snapshot := c.current.Load()
	chain := snapshot.Chain(ref.Meta.Partition)
	if chain == nil {
		return nil
	}
	next, found := chain.without(ref, reason.Error())
	if !found {
		return nil // somebody else was faster
	}
	c.logLost(ref.Name, GapDamaged, reason.Error())
	changed := snapshot.with(next)
	changed.Quarantined = append(changed.Quarantined[:len(changed.Quarantined):len(changed.Quarantined)], Quarantined{
		Name: ref.Name, Partition: ref.Meta.Partition, From: ref.Meta.From, To: ref.Meta.To,
		Reason: reason.Error(), Noticed: c.now(),
	})
	c.current.Store(changed)
	return nil
}

func (c *Catalog) logLost(name string, reason GapReason, detail string) {
	c.log.Error("a segment is left out of answers", "segment", name, "reason", reason, "detail", detail)
}

// behindFrontier reports whether the newest manifest speaks for the offset.
func (c *Catalog) behindFrontier(ctx context.Context, partition string, offset int64) (bool, error) {
	known := c.current.Load().Manifest
	n, err := newestManifest(ctx, c.bucket, c.stream.Name, known.number())
	if err != nil {
		return false, err
	}
	for n != known.number() {
		m, err := readManifest(ctx, c.bucket, c.stream.Name, n)
		if errors.Is(err, ErrNotFound) { // a newer one stands in its place
			if n, err = newestManifest(ctx, c.bucket, c.stream.Name, n); err != nil {
				return false, err
			}
			if m, err = readManifest(ctx, c.bucket, c.stream.Name, n); err != nil {
				return false, err
			}
		}
		if err != nil {
			return false, err
		}
		known = m
	}
	return offset < known.frontier(partition), nil
}
