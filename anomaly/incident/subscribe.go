package incident

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// ErrSlow says that a listener was behind by more changes than are kept for it.
var ErrSlow = errors.New("the listener is too slow: more incidents have changed than are kept for it")

// Change is an incident that changed.
type Change struct {
	// ID says how far a listener has come. Subscribe goes on after it, in any
	// process. It begins with the webhook-id of the change, "<ID>-<Version>", and
	// goes on with the next number of every other detector:
	//
	//	traffic.5-9,slower:17,users:0
	ID       string
	Incident weir.Incident
}

// Subscription is one listener. It belongs to one goroutine.
type Subscription struct {
	log     *Log
	at      int64         // in the feed
	next    map[Ref]int64 // of each detector, what was told: all batches before this one
	backlog []backlog     // what was missed, before the feed
}

// backlog is what a listener missed of one detector.
type backlog struct {
	h      *history
	after  int64  // batches after this one
	told   string // of the first of them, all records up to this incident
	before int64  // batches before this one; the feed has the others
	read   []change
}

// Subscribe listens for every change from now on, or from the change on that is
// named by the ID of an earlier one: a webhook-id alone will do, and says
// nothing of the other detectors. Each is told at least once, a detector's in
// order. While somebody listens, the store is looked into for what other nodes
// append. Close ends it.
func (l *Log) Subscribe(ctx context.Context, lastID string) (*Subscription, error) {
	resume, err := l.parsePosition(lastID)
	if err != nil {
		return nil, err
	}
	for _, h := range l.order {
		if err := h.refresh(ctx, l.options.MaxAge); err != nil {
			return nil, err
		}
	}
	s := &Subscription{log: l}
	s.at, s.next = l.feed.join()
	for _, h := range l.order {
		from, known := resume[h.ref]
		if !known || from.next >= s.next[h.ref] && from.told == "" {
			continue
		}
		after := from.next - 1
		if from.told != "" {
			after = from.batch - 1
		}
		s.backlog = append(s.backlog, backlog{h: h, after: after, told: from.told, before: s.next[h.ref]})
		s.next[h.ref] = after + 1
	}
	return s, nil
}

// Close ends the subscription.
func (s *Subscription) Close() { s.log.feed.part() }

// Next waits for the next change. It fails with ErrSlow if the listener has
// fallen behind too far: it is cut off, and can subscribe again from where it
// was. When ctx ends it returns its cause, and can be called again.
func (s *Subscription) Next(ctx context.Context) (Change, error) {
	for len(s.backlog) > 0 {
		c, err := s.backlog[0].take(ctx)
		if err != nil {
			return Change{}, err
		}
		if c != nil {
			return s.tell(c), nil
		}
		s.next[s.backlog[0].h.ref] = s.backlog[0].before
		s.backlog = s.backlog[1:]
	}
	for {
		c, wake, ok := s.log.feed.after(s.at)
		if !ok {
			s.log.slow.Add(1)
			return Change{}, ErrSlow
		}
		if c != nil {
			s.at++
			return s.tell(c), nil
		}
		timer := time.NewTimer(max(s.log.options.MaxAge, pollAtMost))
		select {
		case <-wake:
		case <-timer.C:
			s.log.poll(ctx)
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return Change{}, context.Cause(ctx)
		}
	}
}

// pollAtMost bounds the rate at which a listener looks into the store.
const pollAtMost = 10 * time.Millisecond

// poll looks for what other nodes have appended. A store that is away is asked
// again at the next poll.
func (l *Log) poll(ctx context.Context) {
	for _, h := range l.order {
		if err := h.refresh(ctx, l.options.MaxAge); err != nil && ctx.Err() == nil {
			l.log.Debug("new incidents could not be looked for", "detector", h.ref.String(), "err", err)
		}
	}
}

// tell says how far the listener has come with the change.
func (s *Subscription) tell(c *change) Change {
	if c.last {
		s.next[c.ref] = c.batch + 1
	}
	var id strings.Builder
	fmt.Fprintf(&id, "%s-%d", c.incident.ID, c.incident.Version)
	for _, h := range s.log.order {
		if h.ref != c.ref {
			fmt.Fprintf(&id, ",%s:%d", h.ref.Detector, s.next[h.ref])
		}
	}
	return Change{ID: id.String(), Incident: *c.incident}
}

// take returns the next change that was missed, or nil.
func (b *backlog) take(ctx context.Context) (*change, error) {
	for len(b.read) == 0 {
		if b.after+1 >= b.before {
			return nil, nil
		}
		batches, err := b.h.batches(ctx, b.after, chunkBatches)
		if err != nil {
			return nil, err
		}
		if len(batches) == 0 {
			return nil, nil
		}
		for _, batch := range batches {
			if batch.N >= b.before {
				break
			}
			skip := 0
			if b.told != "" && batch.N == b.after+1 {
				skip = 1 + slices.IndexFunc(batch.Records, func(r Record) bool { return r.ID == b.told })
			}
			for i := skip; i < len(batch.Records); i++ {
				incident := batch.Records[i].Incident
				b.read = append(b.read, change{b.h.ref, batch.N, i == len(batch.Records)-1, &incident})
			}
		}
		b.told = ""
		b.after = batches[len(batches)-1].N
	}
	c := b.read[0]
	b.read = b.read[1:]
	return &c, nil
}

// position is how far a listener has come with one detector.
type position struct {
	next  int64 // batches before it were told
	batch int64 // if told is set: of this batch, what stands up to told
	told  string
}

// ErrPosition is what Subscribe says of a position that is none.
var ErrPosition = errors.New("it is not the ID of a change, such as traffic.5-9")

const maxPositionBytes = 64 << 10

// parsePosition reads the ID of a change. Detectors that are no more are passed
// over, and those that are new begin at their beginning.
func (l *Log) parsePosition(text string) (map[Ref]position, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxPositionBytes {
		return nil, ErrPosition
	}
	refs := make(map[string]Ref, len(l.order))
	for _, h := range l.order {
		refs[h.ref.Detector] = h.ref
	}
	parts := strings.Split(text, ",")
	found := make(map[Ref]position, len(refs))
	for i, part := range parts {
		if i == 0 {
			id, number, ok := cutLast(part, "-")
			version, err := strconv.ParseInt(number, 10, 64)
			detector, opened, idErr := weir.ParseIncidentID(id)
			if !ok || err != nil || idErr != nil || version < opened || version > maxNumber {
				return nil, ErrPosition
			}
			if ref, known := refs[detector]; known {
				found[ref] = position{batch: version, told: id}
			}
			continue
		}
		detector, number, ok := strings.Cut(part, ":")
		next, err := strconv.ParseInt(number, 10, 64)
		if !ok || err != nil || next < 0 || next > maxNumber || detector == "" {
			return nil, ErrPosition
		}
		if ref, known := refs[detector]; known {
			if _, twice := found[ref]; twice {
				return nil, ErrPosition
			}
			found[ref] = position{next: next}
		}
	}
	if len(parts) > 1 {
		for _, ref := range refs {
			if _, known := found[ref]; !known {
				found[ref] = position{}
			}
		}
	}
	return found, nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}
