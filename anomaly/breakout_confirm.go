package anomaly

import (
	"math"
	"slices"
)

// tailOf appends up to n of the recent residuals to dst, leaving out the newest
// skip, from the newest to the oldest.
func (d *Breakout) tailOf(dst []float64, skip, n int) []float64 {
	kept := int(min(d.next, recentPoints))
	for i := skip; i < min(skip+n, kept); i++ {
		dst = append(dst, d.recent[(d.next-1-int64(i))%recentPoints])
	}
	return dst
}

// confirm compares the medians, or the scatters, before and after the place at
// which a change seems to have begun, the present point included.
func (d *Breakout) confirm(f *finding, s *sample, rising bool) {
	if f.after+1 < d.config.MinSize || (f.reason == ReasonVariance && f.after+1 < minConfirm) {
		return
	}
	var a, b [recentPoints + 1]float64
	after := d.tailOf(append(a[:0], s.residual), 0, f.after)
	before := d.tailOf(b[:0], f.after, recentPoints)
	old, was := 0.0, d.scatter
	if len(before) >= minConfirm {
		old, was = medianAndScatter(before)
	}
	now, is := medianAndScatter(after)
	if f.reason == ReasonVariance && math.Abs(now-old) > 1.5*was {
		f.reason, rising = ReasonShift, now > old // a level so far off is what the sizes tell
	}
	if f.reason == ReasonVariance {
		f.shift = is - was
		f.confirmed = (rising && is > 1.25*was) || (!rising && is < 0.8*was)
		return
	}
	f.shift = now - old
	f.confirmed = (f.shift > 0) == rising && math.Abs(f.shift) > 0.2*d.scatter
	again := d.moved == direction(f.shift, 0) && d.level.count < rampReach
	if f.confirmed && (again || d.ramps(f.after, old, now)) {
		f.reason = ReasonRamp
	}
}

// ramps reports whether the newest n residuals and as many before them lie
// closer to a straight line than to one level before and one after. Outliers
// are drawn in to where the two levels scatter.
func (d *Breakout) ramps(n int, before, after float64) bool {
	var a [recentPoints]float64
	n = min(n, recentPoints/2)
	values := d.tailOf(a[:0], 0, 2*n)
	if n < minConfirm || len(values) < 2*n {
		return false
	}
	low, high := min(before, after)-clipLevel*d.scatter, max(before, after)+clipLevel*d.scatter
	var sum [2]float64
	cross := 0.0
	for i, v := range values {
		v = min(max(v, low), high)
		sum[i/n] += v
		cross += v * (float64(n) - 0.5 - float64(i))
	}
	m := float64(2 * n)
	difference := sum[0] - sum[1]
	return cross*cross/(m*(m*m-1)/12) > difference*difference/m
}

// medianAndScatter reorders its values.
func medianAndScatter(values []float64) (median, scatter float64) {
	slices.Sort(values)
	median = middle(values)
	for i, v := range values {
		values[i] = math.Abs(v - median)
	}
	slices.Sort(values)
	return median, 1.4826 * middle(values)
}

// middle is the median of ordered values.
func middle(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// start begins a segment that the newest n of the recent points belong to.
func (d *Breakout) start(n int, p Point) {
	var a [recentPoints]float64
	values := d.tailOf(a[:0], 0, n)
	median, scatter := medianAndScatter(values)
	d.center += median
	kept := int(min(d.next, recentPoints))
	for i := range kept {
		d.recent[i] -= median
	}
	if n >= minConfirm && scatter > 0 {
		d.scatter = scatter
	}
	values = d.tailOf(a[:0], 0, n)
	for i := range values {
		values[i] = apart(values[i], d.scatter, d.center)
	}
	level, size := d.decorrelate(values)
	d.level.start(int64(n), level.mean(), level.variance(), p.Step+1)
	d.size.start(int64(n), size.mean(), size.variance(), p.Step+1)
}

// decorrelate finds how neighbours among the values, the newest first, are
// correlated, and what is left of them without that. Outliers hide a
// correlation, and what is an outlier depends on it, so this takes some rounds.
func (d *Breakout) decorrelate(values []float64) (level, size summary) {
	var a [recentPoints]float64
	d.neighbours, d.product, d.innovation = summary{}, 0, 1
	for range whitenings {
		r := d.correlation()
		left := a[:0]
		for i, v := range values[:max(len(values)-1, 0)] {
			left = append(left, math.Abs(v-r*values[i+1]))
		}
		slices.Sort(left)
		if scatter := 1.4826 * middle(left); len(left) >= minConfirm && scatter > 0 {
			d.innovation = scatter
		}
		d.neighbours, d.product, d.previous = summary{}, 0, 0
		level, size = summary{}, summary{}
		for i := len(values) - 1; i >= 0; i-- {
			white, clean := whiten(values[i], d.previous, r, d.innovation)
			level.add(white)
			size.add(math.Abs(white))
			d.product += clean * d.previous
			d.neighbours.add(d.previous)
			d.previous = clean
		}
	}
	return level, size
}

// restart begins a segment after a change.
func (d *Breakout) restart(f *finding, p Point) {
	n := f.after + 1
	d.inherited, d.trust = d.correlation(), inheritTrust
	d.moved = Level
	if f.confirmed && f.reason != ReasonVariance {
		d.moved = direction(f.shift, 0)
	}
	d.start(min(n, recentPoints), p)
	d.seen = int64(d.config.Warmup) + int64(n)
}

// summary is count, sum and sum of squares.
type summary struct{ n, sum, square float64 }

func (s *summary) add(x float64) { s.n++; s.sum += x; s.square += x * x }

func (s *summary) mean() float64 { return s.sum / max(s.n, 1) }

func (s *summary) variance() float64 {
	m := s.mean()
	return max(s.square/max(s.n, 1)-m*m, 0)
}
