package anomaly

import "math"

// loess smooths series of one length. Where its windows lie and how the
// distance weighs depends on the length alone, so that is worked out once and
// every pass only adds up.
type loess struct {
	n      int
	linear bool
	points []loessPoint // where the curve is fitted, in order
	before loessPoint   // the place before the first observation
	after  loessPoint   // and the one after the last
}

// loessPoint is a place where the curve is fitted.
type loessPoint struct {
	at   int // counted from 0; -1 and n are beyond the ends
	left int // the first point of the window

	// kernel holds the weights of the window by distance alone, shared by the
	// points whose windows lie alike.
	kernel []float64

	// fixed holds the weights by which the window's values add up to the fit when
	// no other weights play a part.
	fixed []float64
}

// newLoess places the windows of a smoother over n points; beyond says that the
// places before the first and after the last are wanted too.
func newLoess(n int, s Loess, beyond bool) *loess {
	l := &loess{n: n, linear: s.Fit == Linear}
	kernels := map[[2]int]loessPoint{} // by the window's place as seen from the point
	place := func(at, left int) loessPoint {
		size := min(s.Window, n)
		key := [2]int{at - left, size}
		p, known := kernels[key]
		if !known {
			p.kernel = tricube(at-left, size, s.Window, n)
			p.fixed = l.fixedWeights(p.kernel, at-left)
			kernels[key] = p
		}
		p.at, p.left = at, left
		return p
	}
	jump := max(1, min(s.Jump, n-1))
	left := 0
	for at := 0; at < n; at += jump {
		left = windowStart(at, s.Window, n)
		l.points = append(l.points, place(at, left))
	}
	if l.points[len(l.points)-1].at != n-1 {
		l.points = append(l.points, place(n-1, left)) // in the window of the one before it
	}
	if beyond {
		l.before = place(-1, 0)
		l.after = place(n, max(0, n-s.Window))
	}
	return l
}

// windowStart centres the window at a point and pushes it inward at the ends.
func windowStart(at, window, n int) int {
	return max(0, min(at-(window-1)/2, n-window))
}

// tricube returns the weights by distance of a window of so many points, of
// which the point itself is the at-th. A window wider than the series of n
// points is flatter by half of what it has more.
func tricube(at, size, window, n int) []float64 {
	h := float64(max(at, size-1-at))
	if window > n {
		h += float64((window - n) / 2)
	}
	kernel := make([]float64, size)
	for i := range kernel {
		d := math.Abs(float64(i - at))
		switch {
		case d <= 0.001*h:
			kernel[i] = 1
		case d <= 0.999*h:
			u := d / h
			u = 1 - u*u*u
			kernel[i] = u * u * u
		}
	}
	return kernel
}

// fixedWeights are the weights of the fit when the kernel is all there is.
func (l *loess) fixedWeights(kernel []float64, at int) []float64 {
	var s0, s1, s2 float64
	for i, w := range kernel {
		d := float64(i - at)
		s0 += w
		s1 += w * d
		s2 += w * d * d
	}
	fixed := make([]float64, len(kernel))
	slope := l.slope(s0, s1, s2)
	for i, w := range kernel {
		fixed[i] = w / s0 * (1 + slope*(float64(i-at)-s1/s0))
	}
	return fixed
}

// slope returns by how much a value counts more for each step that it lies
// beyond the centre of its window, given the sums of the weights, of the
// weighted distances from the point, and of their squares. It is 0 where the
// window has too little width to tell a slope.
func (l *loess) slope(s0, s1, s2 float64) float64 {
	if !l.linear {
		return 0
	}
	centre := s1 / s0
	spread := s2/s0 - centre*centre
	if !(spread > 0) || math.Sqrt(spread) <= 0.001*float64(l.n-1) {
		return 0
	}
	return -centre / spread
}

// fit returns the curve at a point, unless all the weights there are 0.
func (l *loess) fit(p *loessPoint, y, weight []float64) (float64, bool) {
	y = y[p.left:][:len(p.kernel)]
	if weight == nil {
		sum := 0.0
		for i, w := range p.fixed[:len(y)] {
			sum += w * y[i]
		}
		return sum, true
	}
	weight = weight[p.left:][:len(y)]
	if !l.linear {
		var s0, t0 float64
		for i, w := range p.kernel[:len(y)] {
			w *= weight[i]
			s0 += w
			t0 += w * y[i]
		}
		return t0 / s0, s0 > 0
	}
	var s0, s1, s2, t0, t1 float64
	d := float64(p.left - p.at)
	for i, w := range p.kernel[:len(y)] {
		w *= weight[i]
		wd, wy := w*d, w*y[i]
		s0 += w
		s1 += wd
		s2 += wd * d
		t0 += wy
		t1 += wy * d
		d++
	}
	if !(s0 > 0) {
		return 0, false
	}
	mean := t0 / s0
	return mean + l.slope(s0, s1, s2)*(t1/s0-s1/s0*mean), true
}

// smooth writes the curve through y to dst. A point without any weight around
// it stays as it is.
func (l *loess) smooth(dst, y, weight []float64) {
	last := 0
	for i := range l.points {
		p := &l.points[i]
		v, ok := l.fit(p, y, weight)
		if !ok {
			v = y[p.at]
		}
		dst[p.at] = v
		if gap := p.at - last; gap > 1 {
			step := (v - dst[last]) / float64(gap)
			for j := 1; j < gap; j++ {
				dst[last+j] = dst[last] + step*float64(j)
			}
		}
		last = p.at
	}
}

// smoothBeyond is smooth with one more place at each end, so dst is longer than
// y by two.
func (l *loess) smoothBeyond(dst, y, weight []float64) {
	l.smooth(dst[1:1+l.n], y, weight)
	var ok bool
	if dst[0], ok = l.fit(&l.before, y, weight); !ok {
		dst[0] = dst[1]
	}
	if dst[l.n+1], ok = l.fit(&l.after, y, weight); !ok {
		dst[l.n+1] = dst[l.n]
	}
}
