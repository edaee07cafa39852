package anomaly

import "math"

// maxCuts bounds the places at which a change may have begun; their number
// grows with the logarithm of the points, to about ten in a million.
const maxCuts = 48

// cut is a place at which a change may have begun: after count points.
type cut struct {
	count int64
	step  int64   // of the first point after
	sum   float64 // of the values before
}

// focus finds the start from which a sum of values, independent and of mean
// zero and variance one unless something changed, has risen most: the largest
// (S_n - S_t)² / 2(n - t) over all t at once. It is FOCuS (Romano, Eckley,
// Fearnhead, Rigaill, JMLR 2023) for a mean known before the change: of all
// places, only those on the lower convex hull of the sums can ever be the best.
type focus struct {
	cuts [maxCuts]cut
	n    int
}

// best is the largest statistic once the sum of count points is sum, and the
// cut it is reached at.
func (f *focus) best(count int64, sum float64) (statistic float64, at int) {
	at = -1
	length := 1.0 // of the best so far; statistic is yet to be divided by it
	for i := range f.cuts[:f.n] {
		c := &f.cuts[i]
		rise, n := sum-c.sum, float64(count-c.count)
		if rise > 0 && rise*rise*length > statistic*n {
			statistic, length, at = rise*rise, n, i
		}
	}
	return statistic / length / 2, at
}

// add makes the place after count points a cut, and drops those it outdoes.
func (f *focus) add(c cut) {
	for f.n > 0 && f.cuts[f.n-1].sum >= c.sum {
		f.n--
	}
	for f.n > 1 {
		a, b := &f.cuts[f.n-2], &f.cuts[f.n-1]
		if (b.sum-a.sum)*float64(c.count-b.count) < (c.sum-b.sum)*float64(b.count-a.count) {
			break
		}
		f.n--
	}
	if f.n == maxCuts { // give the second oldest up: the oldest is the longest memory
		copy(f.cuts[1:], f.cuts[2:])
		f.n--
	}
	f.cuts[f.n] = c
	f.n++
}

func (f *focus) fields(c *codec) {
	c.within(&f.n, 0, maxCuts)
	for i := range f.cuts[:f.n] {
		c.i64(&f.cuts[i].count, &f.cuts[i].step)
		c.f64(&f.cuts[i].sum)
	}
}

// twoSided watches a stream of values for a rise and a fall of its mean. The
// mean is not known: each value counts as its distance from the mean of those
// before it, which leaves independent values independent.
type twoSided struct {
	count    int64
	mean     float64
	square   float64 // sum of squared distances from the mean
	sum      float64 // of the recursive residuals, in standard deviations
	up, down focus
}

// change is the strongest sign of a change.
type change struct {
	statistic float64
	cut       cut
	rising    bool
	sum       float64 // of the values, the present one included
}

// deviation is the standard deviation of the values, which is not taken for less
// than that of a few values about it.
func (w *twoSided) deviation() float64 {
	const prior, usual = 10, 0.77 // that of normal values clipped at two
	return math.Sqrt((w.square + prior*usual) / (float64(w.count) + prior))
}

// next is the sum with one value more.
func (w *twoSided) next(x float64) float64 {
	n := float64(w.count)
	return w.sum + (x-w.mean)/w.deviation()*math.Sqrt(n/(n+1))
}

func (w *twoSided) judge(x float64) change {
	sum := w.next(x)
	up, i := w.up.best(w.count+1, sum)
	down, j := w.down.best(w.count+1, -sum)
	switch {
	case up >= down && i >= 0:
		return change{up, w.up.cuts[i], true, sum}
	case j >= 0:
		return change{down, w.down.cuts[j], false, sum}
	}
	return change{sum: sum}
}

// learn takes in a value that judge made the sum of.
func (w *twoSided) learn(x, sum float64, step int64) {
	w.sum = sum
	w.count++
	before := x - w.mean
	w.mean += before / float64(w.count)
	w.square += before * (x - w.mean)
	w.up.add(cut{w.count, step + 1, w.sum})
	w.down.add(cut{w.count, step + 1, -w.sum})
}

// start begins anew, as if count values of a mean and a mean square distance
// had been learned.
func (w *twoSided) start(count int64, mean, variance float64, step int64) {
	*w = twoSided{count: count, mean: mean, square: variance * float64(count)}
	w.up.add(cut{count, step, 0})
	w.down.add(cut{count, step, 0})
}

func (w *twoSided) fields(c *codec) {
	c.i64(&w.count)
	c.f64(&w.mean, &w.square, &w.sum)
	w.up.fields(c)
	w.down.fields(c)
	if c.reading && (w.count < 0 || w.square < 0) {
		c.bad = true
	}
}
