package query

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// rangeOf decides the range of an answer: the one asked for or its defaults,
// widened to whole windows or steps. The notes say what was widened.
func (p *plan) rangeOf(c *cover, clock time.Time) (span, []string, error) {
	base := int64(p.stream.Window)
	oldest, newestEnd, any := c.events(base)
	if !any {
		oldest = weir.WindowStart(clock.UnixNano(), base)
		newestEnd = oldest + base
	}
	from, to := oldest, newestEnd
	var err error
	if p.request.From.Given() {
		if from, err = p.request.From.resolve("from", clock, newestEnd); err != nil {
			return span{}, nil, err
		}
		if from >= to {
			to = clock.UnixNano()
		}
	}
	if p.request.To.Given() {
		if to, err = p.request.To.resolve("to", clock, newestEnd); err != nil {
			return span{}, nil, err
		}
		if !p.request.From.Given() && from >= to {
			from = weir.WindowStart(to-1, base)
		}
	}
	if from >= to {
		return span{}, nil, wrong("to", "the range from %s to %s is empty; from is included, to is not", formatTime(from), formatTime(to))
	}
	width, before := coarsest(c.snapshot, from, base)
	if p.step%width != 0 || p.window%width != 0 {
		return span{}, nil, wrong("step", "windows before %s are kept %s wide; step and window must be multiples of that, or from later",
			formatTime(before), weir.FormatDuration(time.Duration(width)))
	}
	s, err := p.spanOf(from, to, width)
	if err != nil {
		return span{}, nil, err
	}
	s.kept = s.read
	var notes []string
	if p.request.From.Given() && s.from != from || p.request.To.Given() && s.to != to {
		unit := "windows of " + weir.FormatDuration(time.Duration(width))
		if p.step > 0 {
			unit = "steps of " + weir.FormatDuration(time.Duration(p.step))
		}
		notes = append(notes, fmt.Sprintf("the range was widened to whole %s: %s to %s", unit, formatTime(s.from), formatTime(s.to)))
	}
	if any && (s.to <= weir.WindowStart(oldest, base) || s.read >= newestEnd) {
		notes = append(notes, fmt.Sprintf("the range holds no events: those of the stream are from %s to %s", formatTime(oldest), formatTime(newestEnd)))
	} else if any && p.step > 0 && s.read+s.window <= oldest {
		notes = append(notes, fmt.Sprintf("the first event is of %s; points before it are 0 because nothing was seen", formatTime(oldest)))
	}
	for _, h := range horizons(c.snapshot) {
		if h.Dropped && s.read < h.Before {
			s.kept = max(s.kept, h.Before)
			notes = append(notes, fmt.Sprintf("windows before %s have been dropped by retention", formatTime(h.Before)))
		}
	}
	return s, notes, nil
}

// coarsest returns the widest windows that a range from there on may meet, and
// up to where they are.
func coarsest(s *store.Snapshot, from, base int64) (width, before int64) {
	width = base
	for _, h := range horizons(s) {
		if !h.Dropped && h.Before > from && int64(h.Width) > width {
			width, before = int64(h.Width), h.Before
		}
	}
	return width, before
}

func horizons(s *store.Snapshot) []store.Horizon {
	if s.Manifest == nil {
		return nil
	}
	return s.Manifest.Horizons
}

// selection asks for the cells of [from, to) and the columns that are needed.
func (p *plan) selection(from, to int64) weir.Selection {
	bare := slices.Clone(p.wanted)
	for _, c := range p.columns {
		if c.measure >= 0 && !c.Function.Exact() {
			bare[c.measure] = false
		}
	}
	return weir.Selection{From: from, To: to, Match: p.match, Where: p.request.Where.String(), Measures: p.wanted, Bare: bare}
}

// liveSelection asks for at least what the answer will need. What its range
// will be depends on what is stored, unless both ends are given.
func (p *plan) liveSelection(clock time.Time) weir.Selection {
	sel := p.selection(math.MinInt64, math.MaxInt64)
	fixed := func(i Instant) bool { return i.base == absolute || i.base == now }
	if !fixed(p.request.From) || !fixed(p.request.To) {
		return sel
	}
	from, errFrom := p.request.From.resolve("from", clock, 0)
	to, errTo := p.request.To.resolve("to", clock, 0)
	if errFrom != nil || errTo != nil {
		return sel // rangeOf will say so
	}
	margin := max(p.window, p.step, int64(p.stream.Window)) * 2
	for _, r := range p.stream.Retention {
		margin = max(margin, 2*int64(r.Window))
	}
	sel.From, sel.To = from-margin, to+margin
	return sel
}

// notes says what the cells that were merged could not tell.
func (m *merger) notes() (notes []string) {
	for _, measure := range slices.Sorted(maps.Keys(m.missing)) {
		d := m.plan.stream.Measures[measure]
		notes = append(notes, fmt.Sprintf("part of the range was stored without the %s of %q as it is defined now, and is not in its values", d.Kind, d.Name))
	}
	if m.overflow && (len(m.plan.by) > 0 || m.plan.match != nil) {
		notes = append(notes, fmt.Sprintf("the stream passed its budget of %d series: what is over it is counted under %q", m.plan.stream.MaxSeries, weir.Other))
	}
	return notes
}

func exceptionNotes(late int64, rejected map[string]int64) (notes []string) {
	if late > 0 {
		notes = append(notes, fmt.Sprintf("%s came when their window was believed complete; counted all the same", events(late)))
	}
	for _, reason := range slices.Sorted(maps.Keys(rejected)) {
		if n := rejected[reason]; n > 0 {
			notes = append(notes, fmt.Sprintf("%s rejected while the range was read: %s", events(n), reason))
		}
	}
	return notes
}

func events(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return number(float64(n)) + " events"
}

func compareNames(a, b Catalog) int { return cmp.Compare(a.Stream().Name, b.Stream().Name) }
