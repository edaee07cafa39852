package incident

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// history is what is known of one detector's batches:
//
//	numbers   12 13 14 15 16 17 18 19 20        as listed
//	                      └─ folded from here ─ to the newest
//	entries   newest incident ... oldest of those folded
//
// Folding keeps the newest version of each incident, so batches may be folded in
// any order. The newest batch and those that its Open names are folded at
// once; older ones when somebody pages back to them.
type history struct {
	log  *Log
	ref  Ref
	gate chan struct{} // holds one token while a goroutine reads or writes the store for it

	mu      sync.Mutex // guards what follows
	loaded  bool
	looked  time.Time  // when the last look that succeeded began
	begun   int64      // looks
	done    int64      // the newest of them that succeeded
	tail    int64      // the newest number, -1 if there is none
	newest  int64      // the newest number of a batch that could be read, or -1
	numbers []int64    // those listed, ascending; at most Options.listed, the newest: older incidents are found by ID only
	trimmed bool       // there were more
	folded  int64      // all of numbers from here on are folded
	entries []entry    // newest first
	open    []Standing // as of newest
	swept   time.Time  // when it was last looked for what has expired
}

// entry is the newest version of an incident.
type entry struct {
	n        int64 // of the batch that opened it
	version  int64
	opened   int64 // Unix nanoseconds
	firing   bool
	incident *weir.Incident // nil if it has to be read; never changes
}

func newHistory(l *Log, ref Ref) *history {
	return &history{log: l, ref: ref, gate: make(chan struct{}, 1), tail: -1, newest: -1, folded: math.MaxInt64}
}

func sortHistories(list []*history) {
	slices.SortFunc(list, func(a, b *history) int { return strings.Compare(a.ref.Detector, b.ref.Detector) })
}

// enter waits for the token.
func (h *history) enter(ctx context.Context) error {
	select {
	case h.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *history) leave() { <-h.gate }

// next is the number of the next batch.
func (h *history) next() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tail + 1
}

// age says how long ago the store was looked into.
func (h *history) age() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.loaded {
		return math.MaxInt64
	}
	return h.log.now().Sub(h.looked)
}

func (h *history) standing() []Standing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open // replaced, never changed
}

// refresh looks for new batches unless that was done within maxAge. Those who
// ask at the same time share one look.
func (h *history) refresh(ctx context.Context, maxAge time.Duration) error {
	h.mu.Lock()
	fresh := h.loaded && maxAge > 0 && h.log.now().Sub(h.looked) < maxAge
	wanted := h.begun + 1
	h.mu.Unlock()
	if fresh {
		return nil
	}
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	h.mu.Lock()
	shared := h.done >= wanted
	h.mu.Unlock()
	if shared {
		return nil
	}
	return h.look(ctx)
}

// look lists what is new and folds it. The caller holds the token.
func (h *history) look(ctx context.Context) error {
	h.mu.Lock()
	h.begun++
	look, began, tail, loaded := h.begun, h.log.now(), h.tail, h.loaded
	h.mu.Unlock()

	numbers, err := h.list(ctx, tail)
	if err != nil {
		return fmt.Errorf("look for incidents of %s: %w", h.ref, err)
	}
	if loaded {
		err = h.forward(ctx, numbers)
	} else {
		err = h.load(ctx, numbers)
	}
	if err != nil {
		return fmt.Errorf("read the incidents of %s: %w", h.ref, err)
	}
	h.mu.Lock()
	h.looked, h.done = began, look
	h.mu.Unlock()
	return nil
}

// list returns the numbers of the batches after one, in order.
func (h *history) list(ctx context.Context, after int64) ([]int64, error) {
	folder := h.ref.folder()
	from := folder
	if after >= 0 {
		from = h.ref.name(after)
	}
	var numbers []int64
	for name, err := range h.log.bucket.List(ctx, folder, from) {
		if err != nil {
			return nil, err
		}
		n, err := h.ref.parse(name)
		if err != nil {
			h.log.report(&h.log.foreign, name, err)
			continue
		}
		if n <= after {
			return nil, fmt.Errorf("the store lists %s after %s", name, from)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// load begins with the newest batch that can be read, and those that tell of the
// incidents which it says are open.
func (h *history) load(ctx context.Context, numbers []int64) error {
	newest, open, told, err := h.readNewest(ctx, numbers)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range told {
		h.keep(&told[i])
	}
	if len(numbers) > 0 {
		h.tail = numbers[len(numbers)-1]
	}
	h.trimmed = len(numbers) > h.log.options.listed
	h.numbers = slices.Clone(numbers[max(0, len(numbers)-h.log.options.listed):])
	if newest != nil {
		for i := range newest.Records {
			h.keep(&newest.Records[i])
		}
		h.newest, h.folded, h.open = newest.N, newest.N, open
	}
	h.loaded = true
	h.log.feed.begin(h.ref, h.tail+1)
	return nil
}

// readNewest reads the newest batch that can be read, nil if there is none, and
// what is told of the incidents that it says are open. An incident that nothing
// can be read of is not open: it ends there.
func (h *history) readNewest(ctx context.Context, numbers []int64) (newest *Batch, open []Standing, told []Record, err error) {
	for _, n := range slices.Backward(numbers) {
		newest, err = h.readBatch(ctx, n)
		if !passable(err) {
			break
		}
		h.passOver(n, err)
		newest, err = nil, nil
	}
	if newest == nil || err != nil {
		return nil, nil, nil, err
	}
	for _, s := range newest.Open {
		b := newest
		if s.Version != newest.N {
			b, err = h.readBatch(ctx, s.Version)
		}
		if err == nil {
			if r := b.record(s.ID); r != nil {
				open, told = append(open, s), append(told, *r)
				continue
			}
			err = fmt.Errorf("%w: it does not tell of incident %s", errDamaged, s.ID)
		}
		if !passable(err) {
			return nil, nil, nil, err
		}
		h.passOver(s.Version, err)
		err = nil
	}
	return newest, open, told, nil
}

// forward folds batches that are new. A part may be done when it fails.
func (h *history) forward(ctx context.Context, numbers []int64) error {
	for chunk := range slices.Chunk(numbers, chunkBatches) {
		batches, err := h.readAll(ctx, chunk)
		if err != nil {
			return err
		}
		for i, b := range batches {
			if b == nil {
				h.skip(chunk[i], nil)
				continue
			}
			h.fold(b)
		}
	}
	return nil
}

// fold takes in a batch that is newer than all before.
func (h *history) fold(b *Batch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reach(b.N)
	for i := range b.Records {
		h.keep(&b.Records[i])
	}
	h.newest, h.open = b.N, b.Open
	h.folded = min(h.folded, b.N)
	h.log.feed.publish(h.ref, b)
}

// skip takes note of a number that tells nothing.
func (h *history) skip(n int64, err error) {
	if err != nil {
		h.log.report(&h.log.damaged, h.ref.name(n), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reach(n)
	h.folded = min(h.folded, n)
}

// reach adds a number at the end. The caller holds mu.
func (h *history) reach(n int64) {
	if n <= h.tail {
		panic(fmt.Sprintf("incident: batch %d of %s after batch %d", n, h.ref, h.tail))
	}
	h.tail = n
	h.numbers = append(h.numbers, n)
	if most := h.log.options.listed; len(h.numbers) > most {
		h.numbers = slices.Clone(h.numbers[len(h.numbers)-most*7/8:])
		h.trimmed = true
		h.entries = slices.DeleteFunc(h.entries, func(e entry) bool { return !e.firing && e.version < h.numbers[0] })
	}
}

// keep remembers the record if it is the newest version of its incident. The
// caller holds mu.
func (h *history) keep(r *Record) {
	n, err := h.ref.opened(r.ID)
	if err != nil {
		panic(fmt.Sprintf("incident: a batch was believed whose record says: %v", err))
	}
	i, found := slices.BinarySearchFunc(h.entries, n, byOpening)
	if found && h.entries[i].version >= r.Version {
		return
	}
	incident := r.Incident
	e := entry{n: n, version: r.Version, opened: r.Opened.UnixNano(), firing: r.State == weir.Firing, incident: &incident}
	held := h.log.options.held
	if found {
		h.entries[i] = e
	} else {
		h.entries = slices.Insert(h.entries, i, e)
		if len(h.entries) > held && !h.entries[held].firing {
			h.entries[held].incident = nil
		}
	}
	if i >= held && !e.firing {
		h.entries[i].incident = nil
	}
}

// extend folds some of the batches before those that are folded.
func (h *history) extend(ctx context.Context) error {
	if err := h.enter(ctx); err != nil {
		return err
	}
	defer h.leave()
	h.mu.Lock()
	end, _ := slices.BinarySearch(h.numbers, h.folded)
	chunk := slices.Clone(h.numbers[max(0, end-chunkBatches):end])
	h.mu.Unlock()
	if len(chunk) == 0 {
		return nil // somebody else did
	}
	batches, err := h.readAll(ctx, chunk)
	if err != nil {
		return fmt.Errorf("read earlier incidents of %s: %w", h.ref, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range slices.Backward(batches) {
		if b != nil {
			for i := range b.Records {
				h.keep(&b.Records[i])
			}
		}
	}
	h.folded = chunk[0]
	return nil
}

// openAll is Log.Open for one detector.
func (h *history) openAll(ctx context.Context) (int64, []Record, *Batch, error) {
	if err := h.enter(ctx); err != nil {
		return 0, nil, nil, err
	}
	defer h.leave()
	if err := h.look(ctx); err != nil {
		return 0, nil, nil, err
	}
	// What it builds on may have been put by a process that died before it made
	// it durable.
	if err := h.log.sync(ctx, h.ref.folder()); err != nil {
		return 0, nil, nil, err
	}
	h.mu.Lock()
	next, numbers := h.tail+1, slices.Clone(h.numbers)
	h.mu.Unlock()
	newest, open, told, err := h.readNewest(ctx, numbers)
	if err != nil || newest == nil {
		return next, nil, nil, err
	}
	h.mu.Lock()
	h.newest, h.open = newest.N, open
	h.mu.Unlock()
	h.expire(ctx)
	return next, told, newest, nil
}

// passable reports whether a batch can be passed over: it is no batch, or has
// been deleted.
func passable(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, store.ErrNotFound)
}

func (h *history) passOver(n int64, err error) {
	if errors.Is(err, errDamaged) {
		h.log.report(&h.log.damaged, h.ref.name(n), err)
	}
}
