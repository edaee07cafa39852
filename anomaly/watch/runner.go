package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
)

// runner keeps the machine of one detector in step with what is stored. After
// an error it has none, and begins again from the store.
type runner struct {
	def     *definition
	catalog query.Catalog
	keeper  *keeper                 // nil: nothing is kept, as in a backtest
	found   func(b *incident.Batch) // or nil
	tell    func(ctx context.Context, r *weir.Incident, hooks []string) error
	mute    func(ctx context.Context, r *weir.Incident, now time.Time) (string, error)
	logger  *slog.Logger
	now     func() time.Time
	counts  *counts
	turn    time.Duration // after which advance leaves the rest for later; 0: never

	machine *machine
	behind  bool              // there are closed windows left to be judged
	past    []*incident.Batch // in order: what came of windows that are judged again
	number  int64             // of the next batch, when the past was read
	saved   time.Time         // when the state was
	warned  bool              // that there are too many series
}

// errBehind says that another process has judged further windows.
var errBehind = errors.New("another process is ahead")

// begin builds the machine from what is kept.
func (r *runner) begin(ctx context.Context, snapshot *store.Snapshot) error {
	oldest, any := oldestEvent(snapshot)
	if !any {
		return nil
	}
	m := newMachine(r.def, weir.WindowStart(oldest, r.def.width))
	r.past = nil
	if r.keeper != nil {
		kept, err := r.keeper.load(ctx, r.def)
		if err != nil {
			return err
		}
		if kept.machine != nil {
			m = kept.machine
		}
		m.silent = kept.judged
		batches, number, err := r.keeper.batches(ctx, r.def, m.number)
		if err != nil {
			return err
		}
		r.number = number
		r.past = batches
		for _, b := range batches {
			m.silent = max(m.silent, b.To.UnixNano())
		}
		if n := len(batches); n > 0 { // whoever stored it may have died before telling
			if err := r.tellAll(ctx, batches[n-1]); err != nil {
				return err
			}
		}
		r.saved = r.now()
	}
	r.machine = m
	return nil
}

// oldestEvent is the time of the oldest event that is stored.
func oldestEvent(s *store.Snapshot) (oldest int64, any bool) {
	return firstEvent(s, math.MinInt64)
}

// firstEvent is a time not after the first event that is stored of those from a
// time on: segments know the first of theirs.
func firstEvent(s *store.Snapshot, from int64) (first int64, any bool) {
	first = math.MaxInt64
	for i := range s.Chains {
		for _, segment := range s.Chains[i].Segments {
			if m := &segment.Meta; m.Events > 0 && m.MaxTime >= from {
				first, any = min(first, max(m.MinTime, from)), true
			}
		}
	}
	return first, any
}

const (
	mostWindows = 1024    // judged of one answer
	mostPoints  = 200_000 // likewise, by the series known before

	// An answer of several windows has at most so many points, also where it has
	// more series than were known: a machine that begins knows none.
	mostAnswered = 10 * mostPoints
)

// advance judges the windows that end by the watermark: all, or as many as there
// is time for in a turn.
func (r *runner) advance(ctx context.Context, snapshot *store.Snapshot, watermark int64) error {
	if r.machine == nil {
		if err := r.begin(ctx, snapshot); err != nil || r.machine == nil {
			return err
		}
	}
	err := r.catchUp(ctx, snapshot, watermark)
	if err != nil {
		r.machine, r.behind = nil, false
		return err
	}
	if r.keeper != nil && r.now().Sub(r.saved) >= saveEvery {
		return r.save(ctx)
	}
	return nil
}

func (r *runner) catchUp(ctx context.Context, snapshot *store.Snapshot, watermark int64) error {
	r.behind = false
	turn := r.now()
	for m := r.machine; m.next+r.def.width <= watermark; {
		if r.turn > 0 && r.now().Sub(turn) >= r.turn {
			r.behind = true
			return nil
		}
		if len(m.series) == 0 && len(m.open) == 0 { // nobody is missed
			first, any := firstEvent(snapshot, m.next)
			if !any {
				m.next = weir.WindowStart(watermark, r.def.width)
				return nil
			}
			if m.next = max(m.next, weir.WindowStart(first, r.def.width)); m.next+r.def.width > watermark {
				return nil
			}
		}
		most := max(1, min(mostWindows, mostPoints/(len(m.series)+1)))
		n, at := stretch(snapshot, m.next, r.def.width, watermark, most)
		began := r.now()
		view := freeze(r.catalog, snapshot, at)
		readings, err := r.def.values(ctx, view, m.next, n, r.def.where)
		for tooMuch := (*query.LimitError)(nil); n > 1 && errors.As(err, &tooMuch); { // there are more series than so far
			n = (n + 1) / 2
			readings, err = r.def.values(ctx, view, m.next, n, r.def.where)
		}
		if err != nil {
			return err
		}
		for i := range n {
			left := m.left
			if err := r.window(ctx, readings, i, at, view); err != nil {
				return err
			}
			r.counts.judged(r.def.config.Name, len(m.series), m.left-left, m.next)
		}
		r.counts.spent(r.def.config.Name, r.now().Sub(began))
		if m.left > 0 && !r.warned {
			r.warned = true
			r.logger.Warn("there are more series than the detector watches; further ones are left out", "detector", r.def.config.Name, "max_series", r.def.config.MaxSeries)
		}
	}
	return nil
}

// window judges one window, and stores and tells what it changed.
func (r *runner) window(ctx context.Context, readings []reading, column int, at cut, view frozen) error {
	m := r.machine
	from := m.next
	changed, err := m.observe(readings, column)
	if err != nil {
		return err
	}
	for len(r.past) > 0 && !r.past[0].To.After(time.Unix(0, m.next)) {
		m.apply(r.past[0])
		r.past = r.past[1:]
	}
	if from < m.silent {
		return nil
	}
	m.number = max(m.number, r.number) // the newest batches may have been damaged
	records := m.decide(changed)
	records, err = r.muteAll(ctx, records)
	if err != nil || len(records) == 0 {
		return err
	}
	for i := range records {
		if rec := &records[i]; rec.Version == m.number && rec.ID == weir.IncidentID(r.def.config.Name, m.number) {
			if rec.Causes, err = r.causes(ctx, rec, view, from); err != nil {
				return err
			}
			rec.Summary = summarise(r.def, rec)
		}
	}
	b := &incident.Batch{N: m.number, Stream: r.def.stream.Name, Detector: r.def.config.Name, Definition: r.def.hash,
		From: time.Unix(0, from).UTC(), To: time.Unix(0, m.next).UTC(), Recorded: r.now().UTC(), Offsets: at,
		Config: r.def.text, Records: records}
	for i := range b.Records {
		b.Records[i].Recorded = b.Recorded
	}
	if r.keeper != nil {
		stored, mine, err := r.keeper.log.Append(ctx, b)
		if err != nil {
			return fmt.Errorf("store an incident of detector %s: %w", r.def.config.Name, err)
		}
		if !mine && (!stored.From.Equal(b.From) || stored.Definition != b.Definition) {
			return fmt.Errorf("batch %d of detector %s: %w", b.N, r.def.config.Name, errBehind)
		}
		b = stored
	}
	m.apply(b)
	if r.found != nil {
		r.found(b)
	}
	return r.tellAll(ctx, b)
}

// muteAll decides of each incident whether anybody is told of it. What was told
// once is told to its end. What was muted and still fires is told when the
// reason is gone.
func (r *runner) muteAll(ctx context.Context, records []incident.Record) ([]incident.Record, error) {
	m := r.machine
	now := r.now()
	for _, was := range m.open {
		if was.Muted == "" || slices.ContainsFunc(records, func(c incident.Record) bool { return c.ID == was.ID }) {
			continue
		}
		reason, err := r.muted(ctx, was, time.Unix(0, m.next), now)
		if err != nil {
			return nil, err
		}
		if reason == "" {
			again := *was
			again.All = slices.Clone(was.All)
			m.finish(&again, time.Unix(0, m.next).UTC())
			records = append(records, again)
		}
	}
	slices.SortFunc(records, func(a, b incident.Record) int { return compareIDs(a.ID, b.ID) })
	for i := range records {
		rec := &records[i]
		was := m.open[rec.ID]
		switch {
		case was != nil && was.Muted == "":
			rec.Muted = ""
		case was != nil && rec.State == weir.Resolved:
			rec.Muted = was.Muted
		default:
			reason, err := r.muted(ctx, rec, rec.Updated, now)
			if err != nil {
				return nil, err
			}
			rec.Muted = reason
		}
	}
	return records, nil
}

func compareIDs(a, b string) int {
	_, n, _ := weir.ParseIncidentID(a)
	_, k, _ := weir.ParseIncidentID(b)
	return int(n - k)
}

// muted gives the reason why nobody is told of an incident at the end of a
// window, or "".
func (r *runner) muted(ctx context.Context, rec *incident.Record, end, now time.Time) (string, error) {
	if age := now.Sub(end); age > r.def.config.MaxAge && r.keeper != nil {
		return fmt.Sprintf("it was found %s after it happened, more than max_age", weir.FormatDuration(age.Round(time.Second))), nil
	}
	if r.mute == nil {
		return "", nil
	}
	// A silence has to match all of its series, not only those that it names.
	whole := rec.Incident
	whole.Series = rec.All
	reason, err := r.mute(ctx, &whole, now)
	if err != nil {
		return "", fmt.Errorf("look for a silence of incident %s: %w", rec.ID, err)
	}
	return reason, nil
}

func (r *runner) tellAll(ctx context.Context, b *incident.Batch) error {
	for i := range b.Records {
		if r.tell == nil || b.Records[i].Muted != "" || len(r.def.config.Webhooks) == 0 {
			continue
		}
		if err := r.tell(ctx, &b.Records[i].Incident, r.def.config.Webhooks); err != nil {
			return fmt.Errorf("tell of incident %s: %w", b.Records[i].ID, err)
		}
	}
	return nil
}

// save keeps the state, which spares the next process the past. It is a cache,
// so what fails is only logged, but for store.ErrSync, which must end the process.
func (r *runner) save(ctx context.Context) error {
	if r.machine == nil || r.keeper == nil {
		return nil
	}
	r.saved = r.now()
	err := r.keeper.save(ctx, r.machine)
	if errors.Is(err, store.ErrSync) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		r.logger.Warn("the state of a detector is not saved; it will be built from stored windows", "detector", r.def.config.Name, "error", err)
	}
	return nil
}

const saveEvery = 5 * time.Minute
