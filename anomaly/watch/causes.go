package watch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
)

const (
	causesTold    = 5
	causeExcess   = 0.1 // by which a value's share of the difference exceeds its share of what was; less is not told
	causeBaseline = 3   // windows that say what was
)

// causes finds the dimension values that carry most of the difference between
// the window in which an incident was opened and what was before: the same
// windows of earlier seasons, or those just before it began.
//
// What adds up is compared: events, sums, and of a ratio what is divided. Of a
// quantile that has risen it is the events above what was expected. Of other
// values nothing is said.
func (r *runner) causes(ctx context.Context, rec *incident.Record, f frozen, window int64) ([]weir.Cause, error) {
	d := r.def
	part := d.part(rec)
	if part == nil {
		return nil, nil
	}
	where, fixed, err := d.members(rec)
	if err != nil {
		return nil, err
	}
	oldest, _ := oldestEvent(f.snapshot)
	var before []int64
	if season := d.season(); season > 0 && oldest <= window-season {
		for i := int64(1); i <= causeBaseline; i++ {
			before = append(before, window-i*season)
		}
	} else {
		for i := int64(1); i <= causeBaseline; i++ {
			before = append(before, rec.Since.UnixNano()-i*d.width)
		}
	}
	before = slices.DeleteFunc(before, func(start int64) bool { return start+d.width <= oldest })
	if len(before) == 0 {
		return nil, nil
	}
	var out []weir.Cause
	for _, dimension := range d.stream.Dimensions {
		if slices.Contains(fixed, dimension.Name) {
			continue
		}
		is, err := r.parts(ctx, f, dimension.Name, where, window, part)
		if err != nil {
			return nil, err
		}
		was, err := r.usual(ctx, f, dimension.Name, where, before, part)
		if err != nil {
			return nil, err
		}
		out = append(out, shares(dimension.Name, is, was)...)
	}
	slices.SortStableFunc(out, func(a, b weir.Cause) int { return cmp.Compare(b.Share, a.Share) })
	return slices.Clip(out[:min(len(out), causesTold)]), nil
}

// usual gives what each value of a dimension brought to the windows before, by
// the median: one of them may have been a trouble of its own.
func (r *runner) usual(ctx context.Context, f frozen, dimension string, where query.Where, before []int64, p *part) (map[string]float64, error) {
	all := make(map[string][]float64)
	for _, start := range before {
		one, err := r.parts(ctx, f, dimension, where, start, p)
		if err != nil {
			return nil, err
		}
		for v, x := range one {
			all[v] = append(all[v], x)
		}
	}
	out := make(map[string]float64, len(all))
	for v, xs := range all {
		for len(xs) < len(before) {
			xs = append(xs, 0)
		}
		slices.Sort(xs)
		out[v] = (xs[(len(xs)-1)/2] + xs[len(xs)/2]) / 2
	}
	return out, nil
}

// shares says which part of the difference each value carries, of those that
// carry more than their part of what was: where everything falls by half, no
// value is the cause. A dimension of one value tells nothing.
func shares(dimension string, is, was map[string]float64) []weir.Cause {
	all := make(map[string]bool)
	for v := range is {
		all[v] = true
	}
	for v := range was {
		all[v] = true
	}
	var difference, before float64
	for _, v := range slices.Sorted(maps.Keys(all)) { // in order, or sums would differ in their last bits
		difference += is[v] - was[v]
		before += was[v]
	}
	if len(all) < 2 || difference == 0 {
		return nil
	}
	var out []weir.Cause
	for v := range all {
		part := 0.0
		if before > 0 {
			part = was[v] / before
		}
		if share := (is[v] - was[v]) / difference; share-part >= causeExcess {
			out = append(out, weir.Cause{Dimension: dimension, Value: v, Share: share, Is: is[v], Was: was[v]})
		}
	}
	slices.SortFunc(out, func(a, b weir.Cause) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Value, b.Value))
	})
	return out
}

// part is what adds up to a detector's value.
type part struct {
	of    query.Expression
	above bool // of is the share of events at or below a limit: those above are meant
}

// part returns nil if nothing adds up.
func (d *definition) part(rec *incident.Record) *part {
	switch d.value.Function {
	case query.Count, query.Rate, query.Sum:
		return &part{of: d.value}
	case query.Quantile:
		limit := float64(rec.Series[0].Upper)
		if d.over != nil || rec.Series[0].Direction != "up" || !(math.Abs(limit) < math.MaxFloat64) {
			return nil
		}
		rank, err := query.ParseExpression(fmt.Sprintf("%s.rank(%g)", d.value.Measure, limit))
		if err != nil {
			return nil
		}
		return &part{of: rank, above: true}
	}
	return nil
}

// parts gives what each value of a dimension brings to a window.
func (r *runner) parts(ctx context.Context, f frozen, dimension string, where query.Where, window int64, p *part) (map[string]float64, error) {
	answer, err := r.def.ask(ctx, f, []string{dimension}, where, window, 1, p.of)
	if err != nil {
		return nil, err
	}
	out := make(map[string]float64, len(answer.Series))
	for _, s := range answer.Series {
		x := s.Columns[1].Value[0]
		if p.above {
			x = s.Columns[0].Value[0] * (1 - x)
		}
		if !math.IsNaN(x) {
			out[s.By[0]] = x
		}
	}
	return out, nil
}

// members is the filter of an incident's series, and the dimensions that it
// fixes. Of more than one series, nothing is fixed.
func (d *definition) members(rec *incident.Record) (where query.Where, fixed []string, err error) {
	if len(d.config.By) == 0 || len(rec.All) != 1 {
		return d.where, nil, nil
	}
	where, err = d.only(rec.All[0].By)
	return where, d.config.By, err
}

// only is the filter of one series.
func (d *definition) only(labels map[string]string) (query.Where, error) {
	text := ""
	if d.config.Where != "" {
		text = "(" + d.config.Where + ")"
	}
	for _, name := range d.config.By {
		if text != "" {
			text += " and "
		}
		text += query.Equals(name, labels[name])
	}
	return query.ParseWhere(text)
}

// season is the shortest period that is configured, in nanoseconds, or 0.
func (d *definition) season() int64 {
	switch c := d.config; {
	case c.Seasonal != nil && len(c.Seasonal.Periods) > 0:
		return int64(c.Seasonal.Periods[0])
	case c.Breakout != nil && len(c.Breakout.Periods) > 0:
		return int64(c.Breakout.Periods[0])
	}
	return 0
}
