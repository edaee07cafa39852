// Package query answers questions about streams by merging cells.
//
// # The problem
//
// "How slow were flights from JFK, by day?" has no stored answer. What is
// stored are cells: sketches of one series in one window, in segments written
// by several owners, with the newest still in memory. Any answer is a selection
// of cells, merged.
//
// # The way of a question
//
//		text ─ Parse → Request ─ plan ─┬─ cover ──→ merger ──────→ evaluate → Answer → JSON, CSV, table
//		                               │  segments   slots:        merge the
//		             stream definition ┘  and live   group×bucket  sketches of each
//		                                  pieces                   point, ask them
//
//	  - A plan resolves names against the stream's definition and refuses what
//	    cannot be answered, with a [*ParamError] that says what could be.
//	  - A cover is a set of segments and live pieces that counts each event once:
//	    the rule that pieces connect to the chain's end is in [cover].
//	  - A merger adds up what is exact at once and holds sketches as bytes, so
//	    that each point is merged in one go, in an order that depends only on what
//	    is stored.
//
// # What is promised
//
// Counts, sums and extremes are exact for what the answer covers. Estimates
// carry bounds at the asked confidence. The answer says the range it used, the
// offsets it reached, its watermark, whether it is complete, and what was left
// out. The same stored cells give the same answer on any number of processors.
//
// What a question may use is bounded by [Limits]; each limit has its own error
// and its own counter.
//
// # Goroutines
//
// An [Engine] starts none of its own and serves any number of callers. Within
// Query, segments are read and points evaluated on up to GOMAXPROCS
// goroutines, all of which have ended when it returns. The one lock,
// Engine.mu, is held for moments and over no call.
package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// Catalog is what is stored of one stream. [*store.Catalog] is one.
type Catalog interface {
	Stream() *weir.Stream
	Snapshot() *store.Snapshot
	Refresh(ctx context.Context) (*store.Snapshot, error)
	Cells(ctx context.Context, ref *store.SegmentRef, sel weir.Selection) (*weir.Cells, error)
}

// Live answers with what owners have built and not yet shown to be stored. The
// pieces of one owner and partition stand together and in order.
type Live interface {
	Live(ctx context.Context, stream string, sel weir.Selection) ([]weir.Piece, error)
}

// Options of an engine. The zero value is ready to use.
type Options struct {
	Limits Limits           // bounds; 0 fields have defaults
	Now    func() time.Time // nil: time.Now

	// How old what is known of the store may be when a question is answered.
	// Writers of this process tell of what they store; what others do (a load,
	// an owner elsewhere) only a refresh finds. 0 means a second.
	MaxAge time.Duration
}

// Engine answers questions.
type Engine struct {
	catalogs []Catalog // sorted by the stream's name
	live     Live      // nil: what is stored is all there is
	now      func() time.Time
	limits   Limits
	maxAge   time.Duration
	counters counters

	mu    sync.Mutex
	idle  map[string]idleness         // by stream; guarded by mu
	shown map[string]map[string]int64 // by stream, offset that answers have reached of each partition; guarded by mu
}

// idleness is since when all partitions of a stream are known to be idle.
type idleness struct {
	largest int64 // watermark at that time
	since   time.Time
}

// New returns an engine over catalogs. Without live, every question refreshes
// its catalog first: nothing else would tell of new segments.
func New(catalogs []Catalog, live Live, o Options) *Engine {
	e := &Engine{
		catalogs: slices.Clone(catalogs), live: live, now: o.Now,
		limits: o.Limits.over(defaultLimits), maxAge: cmp.Or(o.MaxAge, time.Second), idle: make(map[string]idleness),
		shown: make(map[string]map[string]int64),
	}
	e.limits.Points = min(e.limits.Points, maxPoints)
	e.limits.Cells = min(e.limits.Cells, math.MaxInt32)
	if e.now == nil {
		e.now = time.Now
	}
	slices.SortFunc(e.catalogs, func(a, b Catalog) int { return compareNames(a, b) })
	return e
}

// maxPoints keeps slots in an int32.
const maxPoints = math.MaxInt32 / 4

// Counters returns what the engine did since it began.
func (e *Engine) Counters() Counters { return e.counters.read() }

// Query answers a question. Its error is a [*ParamError] if the question
// should be changed, a [*LimitError] if it asks for too much, and anything else
// if the store or a live owner failed.
func (e *Engine) Query(ctx context.Context, r Request) (*Answer, error) {
	e.counters.questions.Add(1)
	answer, err := e.answer(ctx, r)
	e.count(err)
	return answer, err
}

func (e *Engine) answer(ctx context.Context, r Request) (*Answer, error) {
	catalog, err := e.catalog(r.Stream)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(r, catalog.Stream(), e.limits)
	if err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeoutCause(ctx, p.limits.Time,
		exceeded(ErrTooLong, "no answer within %s; ask for a shorter range or fewer series", weir.FormatDuration(p.limits.Time)))
	defer cancel()
	a, err := e.ask(timed, catalog, p)
	if err != nil && timed.Err() != nil && ctx.Err() == nil {
		return nil, context.Cause(timed)
	}
	return a, err
}

// maxRestarts bounds how often a question begins again because a segment of its
// snapshot was deleted, replaced or found damaged.
const maxRestarts = 8

func (e *Engine) ask(ctx context.Context, catalog Catalog, p *plan) (*Answer, error) {
	refresh := e.live == nil
	for range maxRestarts {
		now := e.now()
		shown := e.shownOf(p.stream.Name) // before the cover is made, or a quicker question would count as the past
		c, err := e.cover(ctx, catalog, p, now, shown, refresh)
		if err != nil {
			return nil, err
		}
		s, notes, err := p.rangeOf(c, now)
		if err != nil {
			return nil, err
		}
		watermark, known := c.watermark(catalog.Stream().Time.Lateness, func(largest int64) time.Duration {
			return e.idleFor(p.stream.Name, largest, now)
		})
		missing := append(c.incomplete(s.read, s.to, watermark, known), c.behind(shown)...)
		if len(missing) == 0 && !refresh && e.tooOld(c.snapshot, s.to, p.stream, now) {
			refresh = true // a partition may have appeared since
			continue
		}
		m, err := e.merge(ctx, catalog, p, s, c)
		if errors.Is(err, store.ErrStale) && ctx.Err() == nil {
			e.counters.refreshes.Add(1)
			refresh = true
			continue
		} else if err != nil {
			return nil, err
		}
		series, err := m.evaluate(ctx)
		if err != nil {
			return nil, err
		}
		e.counters.cells.Add(m.cells)
		e.show(p.stream.Name, c)
		a := &Answer{
			Stream: p.stream.Name, From: time.Unix(0, s.from).UTC(), To: time.Unix(0, s.to).UTC(),
			Step: time.Duration(p.step), Window: time.Duration(p.window), Confidence: p.request.Confidence,
			Complete: len(missing) == 0,
			Offsets:  c.offsets(), By: p.request.By, Series: series,
		}
		a.Late, a.Rejected = c.exceptions(s.read, s.to)
		if known {
			a.Watermark = time.Unix(0, watermark).UTC()
		}
		a.Notes = slices.Concat(notes, missing, m.notes(), exceptionNotes(a.Late, a.Rejected))
		return a, nil
	}
	return nil, fmt.Errorf("answer a question about stream %s: its segments changed %d times meanwhile", p.stream.Name, maxRestarts)
}

// tooOld reports whether the snapshot was taken before it could know all
// partitions that have events before to, while one taken now could.
func (e *Engine) tooOld(s *store.Snapshot, to int64, stream *weir.Stream, now time.Time) bool {
	due := time.Unix(0, to).Add(stream.Time.Lateness)
	return s.Taken.Before(due) && !now.Before(due)
}

// cover connects what is stored to what is live. Live cells are asked for first:
// what an owner stores meanwhile is then in the snapshot, and its pieces of it
// are dropped. If an owner is ahead all the same, as one in another process may
// be, or if one does not answer or there is less than was shown before, as when an
// owner has stored what it had and is gone, the catalog is refreshed, once. It is
// refreshed, too, when it is old; if any of it fails, the old one answers and says
// so.
func (e *Engine) cover(ctx context.Context, catalog Catalog, p *plan, now time.Time, shown map[string]int64, refresh bool) (*cover, error) {
	var pieces []weir.Piece
	var liveErr error
	if e.live != nil {
		pieces, liveErr = e.live.Live(ctx, p.stream.Name, p.liveSelection(now))
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask for the live cells of stream %s: %w", p.stream.Name, context.Cause(ctx))
		}
	}
	snapshot := catalog.Snapshot()
	refresh = refresh || snapshot.Taken.IsZero()
	var oldErr error
	if !refresh && now.Sub(snapshot.Taken) >= e.maxAge {
		newer, err := catalog.Refresh(ctx)
		switch {
		case err == nil:
			snapshot = newer
		case ctx.Err() != nil:
			return nil, err
		default:
			oldErr = err
		}
	}
	needed := refresh // or else there is a snapshot that can answer
	for {
		if refresh {
			newer, err := catalog.Refresh(ctx)
			switch {
			case err == nil:
				snapshot = newer
			case needed || ctx.Err() != nil:
				return nil, err
			default:
				oldErr = err
			}
		}
		if m := snapshot.Manifest; m != nil && len(m.Blocks) > 0 {
			return nil, fmt.Errorf("manifest %d of stream %s lists %d blocks, which this program cannot read; use the one that made them",
				m.N, p.stream.Name, len(m.Blocks))
		}
		c := newCover(snapshot, pieces)
		c.liveErr, c.oldErr = liveErr, oldErr
		if refresh || !c.ahead && liveErr == nil && len(c.behind(shown)) == 0 {
			return c, nil
		}
		e.counters.refreshes.Add(1)
		refresh = true
	}
}

// merge reads and adds all batches of the cover, in waves: within one, segments
// are read beside one another; they are added in canonical order.
func (e *Engine) merge(ctx context.Context, catalog Catalog, p *plan, s span, c *cover) (*merger, error) {
	m := newMerger(p, s)
	sel := p.selection(s.kept, s.to)
	refs := c.segments(s.kept, s.to)
	wave := 4 * runtime.GOMAXPROCS(0)
	for len(refs) > 0 {
		now := refs[:min(wave, len(refs))]
		refs = refs[len(now):]
		read := make([]*weir.Cells, len(now))
		g, readCtx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i, ref := range now {
			g.Go(func() (err error) {
				read[i], err = catalog.Cells(readCtx, ref, sel)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, fmt.Errorf("read cells of stream %s: %w", p.stream.Name, err)
		}
		for _, cells := range read {
			if err := m.add(cells); err != nil {
				return nil, err
			}
			if err := m.relieve(ctx); err != nil {
				return nil, err
			}
		}
	}
	for i := range c.partitions {
		for _, piece := range c.partitions[i].pieces {
			if piece.Cells == nil {
				continue
			}
			if err := m.add(piece.Cells); err != nil {
				return nil, err
			}
			if err := m.relieve(ctx); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// idleFor returns for how long all partitions of the stream have been idle with
// that watermark, as far as this engine has seen.
func (e *Engine) idleFor(stream string, largest int64, now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, seen := e.idle[stream]
	if !seen || i.largest != largest || now.Before(i.since) {
		e.idle[stream] = idleness{largest: largest, since: now}
		return 0
	}
	return now.Sub(i.since)
}

// shownOf returns how far answers about a stream have come so far.
func (e *Engine) shownOf(stream string) map[string]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.shown[stream])
}

// show remembers how far an answer has come.
func (e *Engine) show(stream string, c *cover) {
	e.mu.Lock()
	defer e.mu.Unlock()
	shown := e.shown[stream]
	if shown == nil {
		shown = make(map[string]int64)
		e.shown[stream] = shown
	}
	for i := range c.partitions {
		p := &c.partitions[i]
		shown[p.name] = max(shown[p.name], p.end)
	}
}

func (e *Engine) catalog(name string) (Catalog, error) {
	var names []string
	for _, c := range e.catalogs {
		if c.Stream().Name == name {
			return c, nil
		}
		names = append(names, c.Stream().Name)
	}
	if name == "" {
		return nil, &ParamError{Param: "stream", Detail: "none is named; there are " + list(names), cause: weir.ErrUnknownStream}
	}
	return nil, &ParamError{
		Param: "stream", Detail: fmt.Sprintf("there is no stream %q; there are %s", name, list(names)),
		Suggestion: nearest(name, names), cause: weir.ErrUnknownStream,
	}
}

func (e *Engine) count(err error) {
	var bad *ParamError
	switch {
	case err == nil:
	case errors.As(err, &bad):
		e.counters.badParams.Add(1)
	case errors.Is(err, ErrTooManyCells):
		e.counters.tooManyCells.Add(1)
	case errors.Is(err, ErrTooManySeries):
		e.counters.tooManySeries.Add(1)
	case errors.Is(err, ErrTooManyPoints):
		e.counters.tooManyPoints.Add(1)
	case errors.Is(err, ErrTooMuchMemory):
		e.counters.tooMuchMemory.Add(1)
	case errors.Is(err, ErrTooLong):
		e.counters.tooLong.Add(1)
	default:
		e.counters.failed.Add(1)
	}
}
