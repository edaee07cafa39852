package incident

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/store"
)

// What callers of a log decide on.
var (
	// ErrUnknown says that there is no such detector or incident, or no more.
	ErrUnknown = errors.New("there is no such incident")

	// ErrTaken says that the number of a batch is taken by an object that cannot
	// be read as a batch: the next one has to be asked for.
	ErrTaken = errors.New("the number is taken by what is no batch")
)

// Options are what a log may be told. Zero means the default.
type Options struct {
	Keep   time.Duration // how long an incident is kept once it is resolved; 90 days
	MaxAge time.Duration // what is known of other nodes' batches may be so old; 2 s
	Logger *slog.Logger
	Now    func() time.Time

	held   int // resolved incidents held in memory of each detector; replaced by tests
	listed int // batches of each detector that can be paged through; replaced by tests
}

func (o Options) withDefaults() Options {
	o.Keep = cmp.Or(o.Keep, 90*24*time.Hour)
	o.MaxAge = cmp.Or(o.MaxAge, 2*time.Second)
	o.held = cmp.Or(o.held, 1000)
	o.listed = cmp.Or(o.listed, 1<<17)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Log is what is kept of the incidents of several detectors.
type Log struct {
	settler
	options   Options
	now       func() time.Time
	histories map[Ref]*history // never changes
	order     []*history       // the same, by detector

	feed feed

	appended, lost, slow      atomic.Int64
	expired, damaged, foreign atomic.Int64

	mu       sync.Mutex
	reported map[string]bool // names that were reported as damaged or foreign, at most maxReported; guarded by mu
}

// NewLog returns the log of these detectors. It reads and starts nothing.
func NewLog(bucket store.Bucket, detectors []Ref, o Options) *Log {
	o = o.withDefaults()
	l := &Log{
		settler:   settler{bucket: bucket, log: o.Logger},
		options:   o,
		now:       o.Now,
		histories: make(map[Ref]*history, len(detectors)),
		reported:  make(map[string]bool),
	}
	for _, ref := range detectors {
		if l.histories[ref] == nil {
			h := newHistory(l, ref)
			l.histories[ref] = h
			l.order = append(l.order, h)
		}
	}
	sortHistories(l.order)
	return l
}

func (l *Log) history(ref Ref) (*history, error) {
	if h := l.histories[ref]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("detector %s: %w", ref, ErrUnknown)
}

// Append stores the batch under its number, and returns what is then stored
// there: this batch, which is then mine, or the one that another node stored
// first. It tries until it knows which, or the context ends.
//
// A batch's number is the one after the last; ID, Format and Open are filled in.
// What it holds belongs to the log and its readers from then on, and changes no
// more.
// An error that wraps store.ErrSync must end the process. After any other one
// the owner must begin anew with Open: whether the batch is stored is not known.
func (l *Log) Append(ctx context.Context, b *Batch) (stored *Batch, mine bool, err error) {
	h, err := l.history(Ref{b.Stream, b.Detector})
	if err != nil {
		return nil, false, fmt.Errorf("append: %w", err)
	}
	stored, mine, err = h.append(ctx, b)
	if err != nil {
		return nil, false, fmt.Errorf("append %s: %w", h.ref.name(b.N), err)
	}
	return stored, mine, nil
}

// Open returns what the owner of a detector begins with: the number after the
// newest batch, the incidents that are firing, and the newest batch, nil if
// there is none. What it returns is durable.
func (l *Log) Open(ctx context.Context, ref Ref) (next int64, open []Record, last *Batch, err error) {
	h, err := l.history(ref)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("open: %w", err)
	}
	next, open, last, err = h.openAll(ctx)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("open the incidents of %s: %w", ref, err)
	}
	return next, open, last, nil
}

// MaxBatches is how many batches Batches returns at a time.
const MaxBatches = 1000

// Batches returns the batches of numbers greater than after, in order, at most
// [MaxBatches]: the rest is had by asking again after the last one. It looks
// into the store for new ones. What is damaged or expired is passed over.
func (l *Log) Batches(ctx context.Context, ref Ref, after int64) ([]*Batch, error) {
	h, err := l.history(ref)
	if err != nil {
		return nil, fmt.Errorf("batches: %w", err)
	}
	if err := h.refresh(ctx, 0); err != nil {
		return nil, err
	}
	return h.batches(ctx, after, MaxBatches)
}

// append is Append for one detector.
func (h *history) append(ctx context.Context, given *Batch) (*Batch, bool, error) {
	if err := h.enter(ctx); err != nil {
		return nil, false, err
	}
	defer h.leave()

	// Numbers are free again once expiry has deleted them. A node that slept so
	// long must not take one: it looks first, unless it has looked lately.
	if h.age() > min(h.log.options.Keep/2, maxBlind) || given.N != h.next() {
		if err := h.look(ctx); err != nil {
			return nil, false, err
		}
	}
	switch next := h.next(); {
	case given.N < next:
		stored, err := h.readBatch(ctx, given.N)
		if errors.Is(err, errDamaged) || errors.Is(err, store.ErrNotFound) {
			return nil, false, fmt.Errorf("%w: %w", ErrTaken, err)
		}
		if err == nil {
			err = h.log.sync(ctx, h.ref.name(given.N))
		}
		if err != nil {
			return nil, false, err
		}
		h.log.lost.Add(1)
		return stored, false, nil
	case given.N > next:
		return nil, false, fmt.Errorf("the number after the newest batch is %d", next)
	}

	b := *given
	b.Format, b.ID = formatVersion, rand.Text()
	b.Open = after(h.standing(), b.Records)
	data, err := b.encode()
	if err != nil {
		return nil, false, err
	}
	found, err := h.log.settle(ctx, h.ref.name(b.N), data)
	if err != nil {
		return nil, false, err
	}
	stored, mine := &b, bytes.Equal(found, data)
	if !mine {
		if stored, err = decodeBatch(h.ref, b.N, found); err != nil {
			h.skip(b.N, err)
			return nil, false, fmt.Errorf("%w: %w", ErrTaken, err)
		}
	}
	h.fold(stored)
	if mine {
		h.log.appended.Add(1)
		h.expire(ctx)
	} else {
		h.log.lost.Add(1)
		h.log.log.Info("another node has stored a batch of incidents first", "batch", h.ref.name(b.N))
	}
	return stored, mine, nil
}

// maxBlind bounds how long a node appends without having looked.
const maxBlind = time.Hour

// maxReported bounds the names that are known to have been reported. What is
// found beyond is counted each time it is found, and not logged.
const maxReported = 1000

// report says once that an object is passed over, and counts it.
func (l *Log) report(counter *atomic.Int64, name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reported[name] {
		return
	}
	counter.Add(1)
	if len(l.reported) >= maxReported {
		return
	}
	l.reported[name] = true
	l.log.Warn("an object among the incidents is passed over", "object", name, "err", err)
}

// Detectors returns the detectors whose incidents the log keeps, by name.
func (l *Log) Detectors() []Ref {
	refs := make([]Ref, len(l.order))
	for i, h := range l.order {
		refs[i] = h.ref
	}
	return refs
}
