package incident

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// Filter says which incidents are wanted. What is zero does not matter.
type Filter struct {
	Stream   string
	Detector string
	State    weir.IncidentState
	Severity weir.Severity
	Since    time.Time // opened at or after it, event time
	Until    time.Time // opened before it
	Labels   []Matcher // that one of its series matches

	Limit int    // at most MaxPage; zero is 100
	Page  string // where to go on, as the page before said
}

// MaxPage is how many incidents a page may have.
const MaxPage = 1000

// maxExamined bounds the incidents that are looked at for one page. A page can
// be short of what was asked for, and even empty, and still not the last.
const maxExamined = 5000

// ErrPage says that the place to go on at is none.
var ErrPage = errors.New("it is no place to go on at, such as an earlier page named")

// wants reports whether the incident is wanted.
func (f *Filter) wants(incident *weir.Incident, labels Matchers) bool {
	return (f.Stream == "" || incident.Stream == f.Stream) &&
		(f.Detector == "" || incident.Detector == f.Detector) &&
		(f.State == "" || incident.State == f.State) &&
		(f.Severity == "" || incident.Severity == f.Severity) &&
		(f.Since.IsZero() || !incident.Opened.Before(f.Since)) &&
		(f.Until.IsZero() || incident.Opened.Before(f.Until)) &&
		labels.matchesAny(incident)
}

// Match returns what says whether an incident is wanted.
func (f Filter) Match() (func(*weir.Incident) bool, error) {
	labels, err := compile(f.Labels)
	if err != nil {
		return nil, err
	}
	return func(incident *weir.Incident) bool { return f.wants(incident, labels) }, nil
}

// List returns the incidents that the filter wants, those opened last first, and
// where to go on if there may be more. Pages do not shift as new incidents come:
// each goes on behind the last incident of the one before.
func (l *Log) List(ctx context.Context, f Filter) (found []weir.Incident, next string, err error) {
	labels, err := compile(f.Labels)
	if err != nil {
		return nil, "", fmt.Errorf("list incidents: %w", err)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, MaxPage)
	at := place{opened: math.MaxInt64}
	if f.Page != "" {
		if at, err = parsePlace(f.Page); err != nil {
			return nil, "", err
		}
	}
	pagers, err := l.pagers(ctx, &f, at)
	if err != nil {
		return nil, "", err
	}
	cutoff := l.now().Add(-l.options.Keep) // what is older will be deleted when its time comes
	for examined := 0; ; examined++ {
		best, err := newestOf(ctx, pagers)
		if err != nil {
			return nil, "", err
		}
		if best == nil {
			return found, "", nil
		}
		if len(found) == limit || examined == maxExamined {
			return found, at.String(), nil
		}
		e := best.head
		at = place{e.opened, best.h.ref.Detector, e.n}
		incident, err := best.take(ctx, limit-len(found))
		if err != nil {
			return nil, "", err
		}
		if incident != nil && (incident.State == weir.Firing || !incident.Recorded.Before(cutoff)) && f.wants(incident, labels) {
			found = append(found, *incident)
		}
	}
}

// pagers begin at the place in each detector that the filter wants.
func (l *Log) pagers(ctx context.Context, f *Filter, at place) ([]*pager, error) {
	var pagers []*pager
	for _, h := range l.order {
		if f.Stream != "" && h.ref.Stream != f.Stream || f.Detector != "" && h.ref.Detector != f.Detector {
			continue
		}
		if err := h.refresh(ctx, l.options.MaxAge); err != nil {
			return nil, err
		}
		p := &pager{h: h, firing: f.State == weir.Firing, below: math.MaxInt64, since: math.MinInt64}
		if !f.Since.IsZero() {
			p.since = f.Since.UnixNano()
		}
		until := int64(math.MaxInt64)
		if !f.Until.IsZero() {
			until = f.Until.UnixNano()
		}
		p.skip = func(e *entry) bool {
			return e.opened >= until || !at.before(place{e.opened, h.ref.Detector, e.n})
		}
		pagers = append(pagers, p)
	}
	return pagers, nil
}

// pager goes through a detector's incidents, the newest first.
type pager struct {
	h      *history
	firing bool              // only those
	below  int64             // those opened by batches before this one
	since  int64             // it ends with what was opened before
	skip   func(*entry) bool // what comes before its first

	head  *entry
	ended bool
	read  map[int64]*weir.Incident // by the batch that opened it: read ahead
}

// newestOf returns the pager whose head was opened last, or nil at the end.
func newestOf(ctx context.Context, pagers []*pager) (*pager, error) {
	var best *pager
	for _, p := range pagers {
		if err := p.fill(ctx); err != nil {
			return nil, err
		}
		if p.head != nil && (best == nil || p.place().before(best.place())) {
			best = p
		}
	}
	return best, nil
}

func (p *pager) place() place { return place{p.head.opened, p.h.ref.Detector, p.head.n} }

// fill finds the head.
func (p *pager) fill(ctx context.Context) error {
	for p.head == nil && !p.ended {
		e, earlier := p.h.newestBelow(p.below, p.firing, p.skip)
		switch {
		case e != nil && e.opened < p.since:
			p.ended = true
		case e != nil:
			p.head, p.below, p.skip = e, e.n, nil
		case !earlier:
			p.ended = true
		default:
			if err := p.h.extend(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// newestBelow returns the newest entry that was opened before a batch and is not
// to be skipped. If there is none, it says whether earlier batches may tell.
func (h *history) newestBelow(below int64, firing bool, skip func(*entry) bool) (*entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	earlier := len(h.numbers) > 0 && h.numbers[0] < h.folded
	i, _ := slices.BinarySearchFunc(h.entries, below-1, byOpening)
	for ; i < len(h.entries); i++ {
		e := h.entries[i]
		if earlier && !firing && e.n < h.folded {
			return nil, true // others may come between
		}
		if firing && !e.firing || skip != nil && skip(&e) {
			continue
		}
		return &e, false
	}
	return nil, earlier && !firing // all that fire are known
}

// byOpening orders entries, the newest first.
func byOpening(e entry, n int64) int {
	switch {
	case e.n > n:
		return -1
	case e.n < n:
		return 1
	}
	return 0
}

// take returns the head's incident, or nil if it is gone, and goes on. Ahead is
// how many more may be wanted.
func (p *pager) take(ctx context.Context, ahead int) (*weir.Incident, error) {
	e := p.head
	p.head = nil
	if e.incident != nil {
		return e.incident, nil
	}
	if p.read[e.n] == nil {
		if err := p.readAhead(ctx, e.n, min(ahead, chunkBatches)); err != nil {
			return nil, err
		}
	}
	return p.read[e.n], nil
}

// readAhead reads the incident and those that follow it, so many together.
func (p *pager) readAhead(ctx context.Context, from int64, count int) error {
	h := p.h
	h.mu.Lock()
	var wanted []entry
	i, _ := slices.BinarySearchFunc(h.entries, from, byOpening)
	for ; i < len(h.entries) && len(wanted) < count; i++ {
		if h.entries[i].incident == nil {
			wanted = append(wanted, h.entries[i])
		}
	}
	h.mu.Unlock()
	numbers := make([]int64, len(wanted))
	for i, e := range wanted {
		numbers[i] = e.version
	}
	batches, err := h.readAll(ctx, numbers)
	if err != nil {
		return fmt.Errorf("read incidents of %s: %w", h.ref, err)
	}
	p.read = make(map[int64]*weir.Incident, len(wanted))
	for i, b := range batches {
		if b == nil {
			continue
		}
		if r := b.record(weir.IncidentID(h.ref.Detector, wanted[i].n)); r != nil {
			incident := r.Incident
			p.read[wanted[i].n] = &incident
		}
	}
	return nil
}

// place is where an incident stands in a list.
type place struct {
	opened   int64 // Unix nanoseconds
	detector string
	n        int64
}

// before reports whether p stands before q: the one opened later comes first.
func (p place) before(q place) bool {
	if p.opened != q.opened {
		return p.opened > q.opened
	}
	if p.detector != q.detector {
		return p.detector < q.detector
	}
	return p.n > q.n
}

// String writes the place so that nobody is led to take it apart.
func (p place) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%s.%d", p.opened, p.detector, p.n))
}

func parsePlace(text string) (place, error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) > 1024 {
		return place{}, ErrPage
	}
	parts := strings.Split(string(data), ".")
	if len(parts) != 3 {
		return place{}, ErrPage
	}
	p := place{detector: parts[1]}
	var err1, err2 error
	p.opened, err1 = strconv.ParseInt(parts[0], 10, 64)
	p.n, err2 = strconv.ParseInt(parts[2], 10, 64)
	if err1 != nil || err2 != nil || p.n < 0 || p.detector == "" || p.String() != text {
		return place{}, ErrPage
	}
	return p, nil
}
