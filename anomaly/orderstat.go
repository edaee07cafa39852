package anomaly

import (
	"math"
	"slices"
)

// selectRank returns the element of the rank k, counted from 0, and orders x so
// far that no element before k is larger and none after it smaller.
func selectRank(x []float64, k int) float64 {
	lo, hi := 0, len(x)-1
	for hi-lo > 16 {
		// The pivot is the median of three, which leaves the smallest of them first
		// and the largest last, so that the scans below end by themselves.
		mid := lo + (hi-lo)/2
		if x[mid] < x[lo] {
			x[mid], x[lo] = x[lo], x[mid]
		}
		if x[hi] < x[lo] {
			x[hi], x[lo] = x[lo], x[hi]
		}
		if x[hi] < x[mid] {
			x[hi], x[mid] = x[mid], x[hi]
		}
		pivot := x[mid]
		i, j := lo, hi
		for i <= j {
			for x[i] < pivot {
				i++
			}
			for pivot < x[j] {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return x[k]
		}
	}
	slices.Sort(x[lo : hi+1])
	return x[k]
}

// medianOf returns the middle number, or the mean of the middle two, and
// reorders x.
func medianOf(x []float64) float64 {
	middle := len(x) / 2
	upper := selectRank(x, middle)
	if len(x)%2 == 1 {
		return upper
	}
	return (slices.Max(x[:middle]) + upper) / 2
}

// extremes is a set of numbers, in order, from which those at its ends are
// taken. That is all the ESD test does, for what is farthest from the centre
// lies at an end, so the ordered numbers stay one run: its median is read off
// the middle, the median distance from it found by bisection, and no step looks
// at all of them.
//
//	value  ··│ lo             median                hi │··
//	  taken  │ ─────────── what is left ────────────── │ taken
//
// Of equal numbers the one that was given first is taken first.
type extremes struct {
	value []float64 // rising
	index []int32   // where the value was given
	lo    int       // value[lo:hi] are left
	hi    int

	// Equal values at the ends: value[lo:low] are equal, in rising order of index,
	// and value[high:hi] are equal, in falling order of index, so that the first
	// given is the next at either end.
	low, high int
}

// newExtremes copies x, in which no number may be NaN.
func newExtremes(x []float64) *extremes {
	index := make([]int32, len(x))
	for i := range index {
		index[i] = int32(i)
	}
	slices.SortFunc(index, func(a, b int32) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return int(a - b)
	})
	e := &extremes{value: make([]float64, len(x)), index: index, hi: len(x), high: len(x)}
	for i, j := range index {
		e.value[i] = x[j]
	}
	return e
}

func (e *extremes) len() int { return e.hi - e.lo }

// median returns the middle number, or the mean of the middle two. The set must
// not be empty.
func (e *extremes) median() float64 {
	middle := e.lo + e.len()/2
	if e.len()%2 == 1 {
		return e.value[middle]
	}
	return (e.value[middle-1] + e.value[middle]) / 2
}

// medianDistance returns the median distance of the numbers from their median.
func (e *extremes) medianDistance(median float64) float64 {
	// The distances rise from the middle outwards, to both sides.
	middle := e.lo + e.len()/2
	left := func(i int) float64 { return median - e.value[middle-1-i] }
	right := func(i int) float64 { return e.value[middle+i] - median }
	lefts, rights := middle-e.lo, e.hi-middle

	// The smaller half of the distances are the first i on the left and the first
	// j on the right.
	half := (e.len() + 1) / 2
	i, most := max(0, half-rights), min(half, lefts)
	for i < most {
		try := int(uint(i+most) / 2)
		if right(half-1-try) <= left(try) {
			most = try
		} else {
			i = try + 1
		}
	}
	j := half - i

	below := math.Inf(-1)
	if i > 0 {
		below = left(i - 1)
	}
	if j > 0 {
		below = max(below, right(j-1))
	}
	if e.len()%2 == 1 {
		return below
	}
	above := math.Inf(1)
	if i < lefts {
		above = left(i)
	}
	if j < rights {
		above = min(above, right(j))
	}
	return (below + above) / 2
}

// take removes the number of which distance is largest, and returns where it
// was given and the distance. distance must not fall towards the ends that it
// measures; among equals it is the first given that goes.
func (e *extremes) take(distance func(v float64) float64) (index int, farthest float64) {
	e.findRuns()
	atLow, atHigh := distance(e.value[e.lo]), distance(e.value[e.hi-1])
	farthest = max(atLow, atHigh)

	// By rounding, different numbers can be equally far.
	if e.low < e.hi && distance(e.value[e.low]) == farthest || e.high > e.lo && distance(e.value[e.high-1]) == farthest {
		at := -1
		for i := e.lo; i < e.hi && distance(e.value[i]) == farthest; i++ {
			if at < 0 || e.index[i] < e.index[at] {
				at = i
			}
		}
		for i := e.hi - 1; i >= e.lo && distance(e.value[i]) == farthest; i-- {
			if at < 0 || e.index[i] < e.index[at] {
				at = i
			}
		}
		index = int(e.index[at])
		e.remove(at)
		return index, farthest
	}

	if atLow == farthest && (atHigh < farthest || e.index[e.lo] < e.index[e.hi-1]) {
		e.lo++
		return int(e.index[e.lo-1]), farthest
	}
	e.hi--
	return int(e.index[e.hi]), farthest
}

// findRuns finds the equal numbers at the ends, when those known are used up.
func (e *extremes) findRuns() {
	if e.low <= e.lo {
		e.low = e.lo + 1
		for e.low < e.hi && e.value[e.low] == e.value[e.lo] {
			e.low++
		}
		if run := e.index[e.lo:e.low]; run[0] > run[len(run)-1] {
			slices.Reverse(run)
		}
	}
	if e.high >= e.hi {
		e.high = e.hi - 1
		for e.high > e.lo && e.value[e.high-1] == e.value[e.hi-1] {
			e.high--
		}
		if run := e.index[e.high:e.hi]; run[0] < run[len(run)-1] {
			slices.Reverse(run)
		}
	}
}

// drop removes the number v that was given at index, wherever it lies.
func (e *extremes) drop(v float64, index int) {
	at, _ := slices.BinarySearch(e.value[e.lo:e.hi], v)
	for at += e.lo; at < e.hi && e.value[at] == v; at++ {
		if int(e.index[at]) == index {
			e.remove(at)
			return
		}
	}
}

// remove closes the gap at a place from the end that is nearer.
func (e *extremes) remove(at int) {
	if at-e.lo < e.hi-1-at {
		copy(e.value[e.lo+1:at+1], e.value[e.lo:at])
		copy(e.index[e.lo+1:at+1], e.index[e.lo:at])
		e.lo++
	} else {
		copy(e.value[at:e.hi-1], e.value[at+1:e.hi])
		copy(e.index[at:e.hi-1], e.index[at+1:e.hi])
		e.hi--
	}
	e.low, e.high = e.lo, e.hi
}
