package watch

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly"
	"github.com/weir-stream/weir/anomaly/incident"
)

// machine is a detector at work on all its series: what windows say goes in, and
// what changes in incidents comes out. It has no clock and asks nobody, so the
// same windows lead to the same incidents.
type machine struct {
	def    *definition
	next   int64 // start of the next window
	number int64 // of the next batch
	series map[string]*series
	open   map[string]*incident.Record // that are firing, by ID

	silent int64 // windows that begin before it were judged, maybe by another definition, and raise nothing
	left   int64 // series times windows that are not judged, for there are too many series

	heard func(s *series, window int64, v verdict) // of each that is judged; or nil
}

func newMachine(d *definition, next int64) *machine {
	return &machine{def: d, next: next, silent: math.MinInt64,
		series: make(map[string]*series), open: make(map[string]*incident.Record)}
}

// changes are what a window would change.
type changes struct {
	breaks, recovers []*series // in the order of their keys
}

// observe takes in window m.next: the readings of the series that have events,
// of which column i is the window's.
func (m *machine) observe(readings []reading, column int) (changes, error) {
	window := m.next
	m.next += m.def.width
	values := make(map[string]int, len(readings))
	for i := range readings {
		if readings[i].events[column] == 0 {
			continue
		}
		k := key(readings[i].by)
		values[k] = i
		if m.series[k] == nil {
			if len(m.series) >= m.def.config.MaxSeries {
				m.left++
				continue
			}
			fresh, err := m.def.fresh()
			if err != nil {
				return changes{}, err
			}
			m.series[k] = &series{by: slices.Clone(readings[i].by), detector: fresh, previous: math.NaN(), seen: window}
		}
	}
	var c changes
	for _, k := range slices.Sorted(maps.Keys(m.series)) {
		s := m.series[k]
		value, events := math.NaN(), 0.0
		if i, has := values[k]; has {
			value, events = readings[i].values[column], readings[i].events[column]
		}
		v := m.def.judge(s, window, value, events)
		if m.heard != nil && v.judged {
			m.heard(s, window, v)
		}
		breaks, recovers := m.def.follow(s, window, v)
		if (window-s.seen)/m.def.width > m.def.forget {
			delete(m.series, k)
			recovers = s.incident != ""
			breaks = false
		}
		if breaks {
			c.breaks = append(c.breaks, s)
		}
		if recovers {
			c.recovers = append(c.recovers, s)
		}
	}
	return c, nil
}

// young is for how many windows after its opening an incident takes in further
// series: what breaks that soon after is the same trouble.
func (m *machine) young() int64 { return int64(max(3, m.def.config.For)) }

// decide makes of the changes of the last window the incidents as they stand
// after it, those that have changed. It changes nothing itself.
func (m *machine) decide(c changes) []incident.Record {
	from, to := time.Unix(0, m.next-m.def.width).UTC(), time.Unix(0, m.next).UTC()
	changed := make(map[string]*incident.Record)
	take := func(id string) *incident.Record {
		if r := changed[id]; r != nil {
			return r
		}
		was := m.open[id]
		if was == nil {
			return nil
		}
		r := *was
		r.All = slices.Clone(was.All)
		changed[id] = &r
		return &r
	}
	places := make(map[string]map[string]int) // by ID, where each series is in All: there may be a great many
	place := func(r *incident.Record, s *series) (at int, known bool) {
		if places[r.ID] == nil {
			places[r.ID] = make(map[string]int, len(r.All))
			for i := range r.All {
				places[r.ID][m.keyOf(r.All[i].By)] = i
			}
		}
		at, known = places[r.ID][s.key()]
		return at, known
	}
	for _, s := range c.recovers {
		if r := take(s.incident); r != nil {
			if i, known := place(r, s); known {
				if s.bad > 0 { // or the definition has changed since, and calls nothing strange
					m.describe(&r.All[i], s)
				}
				r.All[i].State = weir.Resolved
			}
		}
	}
	if len(c.breaks) > 0 {
		r := take(m.home(from))
		if r == nil {
			r = &incident.Record{Incident: weir.Incident{ID: weir.IncidentID(m.def.config.Name, m.number),
				Detector: m.def.config.Name, Stream: m.def.stream.Name, Value: m.def.config.Value, State: weir.Firing, Opened: to,
				Overflow: m.full()}}
			changed[r.ID] = r
		}
		for _, s := range c.breaks {
			x := weir.IncidentSeries{By: m.labels(s), State: weir.Firing}
			m.describe(&x, s)
			if i, known := place(r, s); known {
				r.All[i] = x // again
			} else { // no series breaks twice in a window, so its place is not looked for again
				r.All = append(r.All, x)
			}
		}
	}
	for id, was := range m.open {
		for i := range was.All { // a series that is gone shows nothing any more
			x := &was.All[i]
			if x.State != weir.Firing {
				continue
			}
			if s := m.series[m.keyOf(x.By)]; s == nil || s.incident != id {
				take(id).All[i].State = weir.Resolved
			}
		}
		if severity := m.severity(was); severity != was.Severity && changed[id] == nil {
			take(id)
		}
	}
	out := make([]incident.Record, 0, len(changed))
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		r := changed[id]
		m.finish(r, to)
		out = append(out, *r)
	}
	return out
}

// full reports that as many incidents are open as may be, but for the one that
// stands for all further ones.
func (m *machine) full() bool {
	ordinary := 0
	for _, r := range m.open {
		if !r.Overflow {
			ordinary++
		}
	}
	return ordinary >= m.def.config.MaxIncidents
}

// home is the ID of the incident that series which break in a window join, or
// "" if they open one: a young one, or the one that stands for all above the
// bound. Of that one there is never a second, nor are two of the same age.
func (m *machine) home(window time.Time) string {
	var youngest *incident.Record
	full := m.full()
	for _, r := range m.open {
		if r.Overflow && full {
			return r.ID
		}
		if window.Before(r.Opened.Add(time.Duration(m.young()*m.def.width))) && (youngest == nil || r.Opened.After(youngest.Opened)) {
			youngest = r
		}
	}
	if youngest == nil {
		return ""
	}
	return youngest.ID
}

// highestScore is as high as scores are written: 1e-300 is no chance at all.
const highestScore = 300

// describe writes a series at its strangest.
func (m *machine) describe(x *weir.IncidentSeries, s *series) {
	said := &s.peak.said
	x.Since, x.Window = time.Unix(0, s.since).UTC(), time.Unix(0, s.peak.window).UTC()
	x.Value, x.Expected = finite(said.Value), finite(said.Expected)
	x.Lower, x.Upper = finite(said.Lower), finite(said.Upper)
	x.Score, x.Direction, x.Reason = min(said.Score, highestScore), said.Direction.String(), said.Reason.String()
	if math.IsNaN(said.Value) {
		x.Reason = reasonAbsent
	}
}

// finite is a number as it is stored: an infinity is none.
func finite(x float64) weir.Number {
	if math.IsInf(x, 0) {
		x = math.NaN()
	}
	return weir.Number(x)
}

// finish makes the rest of a record follow from its series.
func (m *machine) finish(r *incident.Record, to time.Time) {
	firing := false
	for i := range r.All {
		x := &r.All[i]
		if x.State == weir.Firing {
			firing = true
			if s := m.series[m.keyOf(x.By)]; s != nil && s.bad > 0 {
				m.describe(x, s)
			}
		}
		if i == 0 || x.Since.Before(r.Since) {
			r.Since = x.Since
		}
	}
	r.Members, r.Updated, r.Version = len(r.All), to, m.number
	r.Severity = m.severity(r)
	if !firing {
		r.State, r.Resolved = weir.Resolved, to
	}
	r.Series = strangest(r.All, weir.MaxIncidentSeries)
	r.Summary = summarise(m.def, r)
}

// severity is that of the strangest series, and never falls.
func (m *machine) severity(r *incident.Record) weir.Severity {
	if r.Severity == weir.Critical {
		return weir.Critical
	}
	for i := range r.All {
		score := r.All[i].Score
		if s := m.series[m.keyOf(r.All[i].By)]; s != nil && s.incident == r.ID {
			score = max(score, s.peak.said.Score)
		}
		if score >= m.def.config.Critical {
			return weir.Critical
		}
	}
	return weir.Warning
}

// apply takes in what a window changed, as it is stored.
func (m *machine) apply(b *incident.Batch) {
	for i := range b.Records {
		r := b.Records[i]
		if r.State == weir.Resolved {
			delete(m.open, r.ID)
		} else {
			m.open[r.ID] = &r
		}
		for _, x := range r.All {
			s := m.series[m.keyOf(x.By)]
			switch {
			case s == nil:
			case x.State == weir.Firing:
				s.incident = r.ID
			case s.incident == r.ID:
				s.leave()
			}
		}
	}
	m.number = b.N + 1
}

func (m *machine) labels(s *series) map[string]string {
	out := make(map[string]string, len(s.by))
	for i, name := range m.def.config.By {
		out[name] = s.by[i]
	}
	return out
}

func (m *machine) keyOf(labels map[string]string) string {
	by := make([]string, len(m.def.config.By))
	for i, name := range m.def.config.By {
		by[i] = labels[name]
	}
	return key(by)
}

// strangest returns the n series with the highest scores, those that still show
// it before the others.
func strangest(all []weir.IncidentSeries, n int) []weir.IncidentSeries {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b weir.IncidentSeries) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(b.Score, a.Score)) // firing < resolved
	})
	return slices.Clip(sorted[:min(n, len(sorted))])
}

// summarise says in a sentence what is the matter.
func summarise(d *definition, r *incident.Record) string {
	if len(r.Series) == 0 {
		return ""
	}
	worst := &r.Series[0]
	what := d.stream.Name + " " + d.config.Value
	if label := worst.Label(); label != "" {
		what += " of " + label
	}
	text := fmt.Sprintf("%s is %.4g", what, float64(worst.Value))
	switch {
	case worst.Reason == reasonAbsent:
		text = what + " is absent"
	case worst.Reason == anomaly.ReasonLimit.String() && worst.Direction == anomaly.Down.String():
		text += fmt.Sprintf(", below %.4g", float64(worst.Lower))
	case worst.Reason == anomaly.ReasonLimit.String():
		text += fmt.Sprintf(", above %.4g", float64(worst.Upper))
	case !math.IsNaN(float64(worst.Expected)):
		text += fmt.Sprintf(", expected %.4g", float64(worst.Expected))
	}
	if more := r.Members - 1; more == 1 {
		text += ", and one more series"
	} else if more > 1 {
		text += fmt.Sprintf(", and %d more series", more)
	}
	if len(r.Causes) > 0 {
		text += "; " + r.Causes[0].String()
	}
	return text
}
