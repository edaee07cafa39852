package watch

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
)

// Replayed is a series of an incident beside what its scores are now.
type Replayed struct {
	Stored weir.IncidentSeries
	Again  weir.IncidentSeries
	Same   bool // to the bit
}

// Replay computes the scores of an incident's strangest series again, from the
// stored windows and by the definition of that time: of the version that b tells
// of. It takes the series one by one, each from its beginning.
func Replay(ctx context.Context, catalog query.Catalog, b *incident.Batch, id string) ([]Replayed, error) {
	i := slices.IndexFunc(b.Records, func(r incident.Record) bool { return r.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("incident %s is not in batch %d", id, b.N)
	}
	config, err := weir.ParseDetector(b.Config)
	if err != nil {
		return nil, fmt.Errorf("read the definition of detector %s: %w", b.Detector, err)
	}
	d, key, err := define(config, catalog.Stream())
	if err != nil {
		return nil, fmt.Errorf("detector %s: %s: %w", config.Name, key, err)
	}
	if d.hash != b.Definition {
		return nil, fmt.Errorf("stream %s has other measures or dimensions than when incident %s was found", b.Stream, id)
	}
	snapshot, err := catalog.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	var out []Replayed
	for _, stored := range b.Records[i].Series {
		again := weir.IncidentSeries{By: stored.By, State: stored.State, Since: stored.Since, Window: stored.Window}
		err := d.run(ctx, catalog, snapshot, stored.By, b, func(s *series, window int64, v verdict) {
			if window == stored.Window.UnixNano() {
				s := &series{by: s.by, since: stored.Since.UnixNano(), peak: peak{window, v.said}}
				(&machine{def: d}).describe(&again, s)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("replay incident %s: %w", id, err)
		}
		out = append(out, Replayed{Stored: stored, Again: again, Same: same(&stored, &again)})
	}
	return out, nil
}

// same compares what was computed, to the bit.
func same(a, b *weir.IncidentSeries) bool {
	equal := func(x, y weir.Number) bool {
		return math.Float64bits(float64(x)) == math.Float64bits(float64(y)) || math.IsNaN(float64(x)) && math.IsNaN(float64(y))
	}
	return equal(a.Value, b.Value) && equal(a.Expected, b.Expected) && equal(a.Lower, b.Lower) && equal(a.Upper, b.Upper) &&
		math.Float64bits(a.Score) == math.Float64bits(b.Score) && a.Direction == b.Direction && a.Reason == b.Reason
}

// run judges all windows of one series up to the end of a batch's, in silence.
// For the batch's own window counts what the batch says.
func (d *definition) run(ctx context.Context, catalog query.Catalog, snapshot *store.Snapshot, labels map[string]string, b *incident.Batch,
	heard func(s *series, window int64, v verdict)) error {
	where, err := d.only(labels)
	if err != nil {
		return err
	}
	oldest, any := oldestEvent(snapshot)
	if !any {
		return fmt.Errorf("no window of stream %s is stored", d.stream.Name)
	}
	m := newMachine(d, weir.WindowStart(oldest, d.width))
	m.heard = heard
	from, to := b.From.UnixNano(), b.To.UnixNano()
	for m.next < to {
		n, at := stretch(snapshot, m.next, d.width, min(to, max(from, m.next+d.width)), mostWindows)
		if m.next == from {
			at = b.Offsets
		}
		readings, err := d.values(ctx, freeze(catalog, snapshot, at), m.next, n, where)
		if err != nil {
			return err
		}
		for i := range n {
			if _, err := m.observe(readings, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Point is a window of a series as a detector sees it.
type Point struct {
	Time                          time.Time
	Value, Expected, Lower, Upper float64
	Score                         float64
	Anomalous                     bool
}

// Report is what a detector would have found.
type Report struct {
	Detector  string
	From, To  time.Time // of the windows whose incidents are reported
	Windows   int       // judged within
	Series    int       // seen
	Incidents []weir.Incident
	PerWeek   float64 // incidents opened

	// Plot is one series within the range, that of the strangest incident or the
	// only one there is.
	PlotBy map[string]string
	Plot   []Point
}

// Backtest runs a detector over what is stored, by the very code that runs live.
// It learns from the beginning, and reports what was opened in [from, to); a zero
// time is the end of what is stored. Nothing is kept and nobody is told. While it
// runs, it tells how much is done, from 0 to 1.
func Backtest(ctx context.Context, config *weir.DetectorConfig, catalog query.Catalog, from, to time.Time, progress func(done float64)) (*Report, error) {
	d, key, err := define(config, catalog.Stream())
	if err != nil {
		return nil, fmt.Errorf("detector %s: %s: %w", config.Name, key, err)
	}
	snapshot, err := catalog.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	oldest, any := oldestEvent(snapshot)
	if !any {
		return nil, fmt.Errorf("nothing of stream %s is stored", d.stream.Name)
	}
	begin, end := weir.WindowStart(oldest, d.width), weir.WindowStart(newestEvent(snapshot), d.width)+d.width
	if !to.IsZero() {
		end = min(end, weir.WindowStart(to.UnixNano(), d.width))
	}
	first := begin
	if !from.IsZero() {
		first = max(begin, weir.WindowStart(from.UnixNano(), d.width))
	}
	if first >= end {
		return nil, fmt.Errorf("no window of stream %s lies in that range; what is stored reaches from %s to %s", d.stream.Name,
			time.Unix(0, begin).UTC().Format(time.RFC3339), time.Unix(0, weir.WindowStart(newestEvent(snapshot), d.width)+d.width).UTC().Format(time.RFC3339))
	}
	report := &Report{Detector: config.Name, From: time.Unix(0, first).UTC(), To: time.Unix(0, end).UTC(), Windows: int((end - first) / d.width)}
	last := make(map[string]weir.Incident)
	seen := make(map[string]bool)
	m := newMachine(d, begin)
	m.heard = func(s *series, window int64, _ verdict) {
		if window >= first {
			seen[s.key()] = true
		}
	}
	r := &runner{def: d, catalog: catalog, now: time.Now, machine: m, counts: newCounts(nil),
		found: func(b *incident.Batch) {
			if progress != nil {
				progress(float64(b.To.UnixNano()-begin) / float64(end-begin))
			}
			for i := range b.Records {
				last[b.Records[i].ID] = b.Records[i].Incident
			}
		}}
	for next := begin; next < end; {
		next = min(end, next+mostWindows*d.width)
		if err := r.catchUp(ctx, snapshot, next); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(float64(next-begin) / float64(end-begin))
		}
	}
	for _, i := range last {
		if !i.Opened.Before(report.From) {
			report.Incidents = append(report.Incidents, i)
		}
	}
	slices.SortFunc(report.Incidents, func(a, b weir.Incident) int { return compareIDs(a.ID, b.ID) })
	report.Series = len(seen)
	report.PerWeek = float64(len(report.Incidents)) / (report.To.Sub(report.From).Hours() / (7 * 24))
	return report, d.plot(ctx, catalog, snapshot, report, seen)
}

// plot judges one series again and keeps what was said.
func (d *definition) plot(ctx context.Context, catalog query.Catalog, snapshot *store.Snapshot, report *Report, seen map[string]bool) error {
	highest := math.Inf(-1)
	for i := range report.Incidents {
		if x := report.Incidents[i].Series; len(x) > 0 && x[0].Score > highest {
			highest, report.PlotBy = x[0].Score, x[0].By
		}
	}
	if report.PlotBy == nil && len(seen) != 1 {
		return nil
	}
	whole := &incident.Batch{From: report.To, To: report.To}
	return d.run(ctx, catalog, snapshot, report.PlotBy, whole, func(_ *series, window int64, v verdict) {
		if t := time.Unix(0, window).UTC(); !t.Before(report.From) {
			e := v.said
			report.Plot = append(report.Plot, Point{Time: t, Value: e.Value, Expected: e.Expected, Lower: e.Lower, Upper: e.Upper,
				Score: e.Score, Anomalous: v.anomalous})
		}
	})
}

// newestEvent is the time of the newest event that is stored.
func newestEvent(s *store.Snapshot) int64 {
	newest := int64(math.MinInt64)
	for i := range s.Chains {
		for _, segment := range s.Chains[i].Segments {
			if segment.Meta.Events > 0 {
				newest = max(newest, segment.Meta.MaxTime)
			}
		}
	}
	return newest
}
