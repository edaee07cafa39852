package anomaly

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// EDivisive finds where the level of a whole series changes: E-Divisive with
// Medians (EDM), in James, Kejariwal, Matteson (2014), Leveraging Cloud Data to
// Mitigate User Experience from "Breaking Bad", arXiv:1411.7955. It compares
// the medians of neighbouring segments, so single anomalies are not taken for
// changes.
//
// It answers as the R package BreakoutDetection does, down to its oddities: the
// series is scaled by its smallest and largest value, so one wild value makes
// all changes small; Multi is greedy, for what lies to the left of a change is
// the best answer up to there; AtMostOne names a place in any noise unless it
// may permute. The package's approximate form is left out: this exact one is
// the faster.
//
// Time is quadratic in the length of the series, memory linear. To watch a
// series, take [Breakout].
type EDivisive struct {
	// MinSize is the fewest observations of a segment, at least 2; 30 when it
	// is 0.
	MinSize int

	// Penalty keeps Multi from finding changes everywhere. The zero value is
	// BetaPenalty(0.008, 1).
	Penalty Penalty

	// Permutations is how often AtMostOne shuffles the series to learn how large
	// a change looks where there is none. With 0 every change counts.
	Permutations int

	// Level is the share of shuffled series that may look as changed as the
	// series does; 0.05 when it is 0.
	Level float64

	// Seed starts the shuffling.
	Seed uint64
}

// Penalty is what one more change must bring. Make one by [BetaPenalty] or
// [PercentPenalty].
type Penalty struct {
	kind   penaltyKind
	weight float64
	degree int
}

type penaltyKind uint8

const (
	noPenalty penaltyKind = iota
	betaPenalty
	percentPenalty
)

// BetaPenalty asks of a change that it brings more than beta, in units of the
// scaled series squared, times 2c+1 where the degree is 2 and c changes were
// made before. With degree 0 it asks for nothing.
func BetaPenalty(beta float64, degree int) Penalty { return Penalty{betaPenalty, beta, degree} }

// PercentPenalty asks of a change that it raises what the ones before have
// brought by that part of it, times 2c+1 where the degree is 2. The first
// change is always made.
func PercentPenalty(percent float64, degree int) Penalty {
	return Penalty{percentPenalty, percent, degree}
}

// growth is how the penalty grows with the changes made before.
func (p Penalty) growth(changes int) float64 {
	switch p.degree {
	case 0:
		return 0
	case 1:
		return 1
	}
	return float64(2*changes + 1)
}

// Change is where [EDivisive.AtMostOne] divides a series.
type Change struct {
	// At is the number of observations before the change, 0 for no change.
	At int

	// Stat is how far the medians of both sides differ: the square of the
	// difference, in the scaled series, times the harmonic size of the sides. It
	// is the same whether or not the change counts, and -3 if the series is too
	// short for two segments.
	Stat float64

	// P is the share of the shuffled series that look as changed as the series,
	// which counts as one of them. NaN if none were.
	P float64
}

// Multi returns the changes of y in order, each as the number of observations
// before it. All values must be finite.
func (e EDivisive) Multi(y []float64) ([]int, error) {
	z, err := e.begin(y)
	if err != nil {
		return nil, fmt.Errorf("E-Divisive: %w", err)
	}
	n, m := len(z), e.MinSize
	if n < 2*m {
		return nil, nil
	}

	// The best answer for each prefix of the series, known once every shorter
	// prefix has offered its own and one more change after it.
	best := make([]float64, n+1)    // what the changes have brought
	previous := make([]int, n+1)    // the last of them
	changes := make([]int, n+1)     // how many they are
	segment := make([]float64, n+1) // the median since the last of them
	medians := newMedians(z)
	prefix := slices.Clone(medians.from(0))
	copy(segment, prefix)
	scratch := make([]float64, 0, n)
	relative := e.Penalty.kind == percentPenalty
	if !relative {
		for s := range best {
			best[s] = -3
		}
	}
	for t := m; t <= n; t++ {
		if u := previous[t]; relative && u > 0 && best[t]-best[u] < e.Penalty.weight*e.Penalty.growth(changes[u])*best[u] {
			best[t], previous[t], changes[t] = best[u], previous[u], changes[u]
			if segment[t] = prefix[t]; previous[t] > 0 {
				segment[t] = medianOf(append(scratch, z[previous[t]:t]...))
			}
		}
		if t+m > n {
			continue
		}
		u, before, left := previous[t], best[t], segment[t]
		penalty := 0.0
		if !relative {
			penalty = e.Penalty.weight * e.Penalty.growth(changes[t])
		}
		right := medians.from(t)
		for s := t + m; s <= n; s++ {
			whole := float64(s - u)
			apart := left - right[s]
			v := before + float64(t-u)*float64(s-t)/(whole*whole)*(apart*apart) - penalty
			if v > best[s] {
				best[s], previous[s], changes[s], segment[s] = v, t, changes[t]+1, right[s]
			}
		}
	}
	var found []int
	for t := previous[n]; t > 0; t = previous[t] {
		found = append(found, t)
	}
	slices.Reverse(found)
	return found, nil
}

// AtMostOne returns the one place where y changes most. All values must be
// finite.
func (e EDivisive) AtMostOne(y []float64) (Change, error) {
	z, err := e.begin(y)
	if err != nil {
		return Change{}, fmt.Errorf("E-Divisive: %w", err)
	}
	c := e.largest(z)
	c.P = math.NaN()
	if c.At == 0 || e.Permutations == 0 {
		return c, nil
	}
	random := rand.New(rand.NewPCG(e.Seed, 0))
	asLarge := 1
	for range e.Permutations {
		random.Shuffle(len(z), func(i, j int) { z[i], z[j] = z[j], z[i] })
		if e.largest(z).Stat >= c.Stat {
			asLarge++
		}
	}
	c.P = float64(asLarge) / float64(e.Permutations+1)
	if c.P > e.Level {
		c.At = 0
	}
	return c, nil
}

// largest returns the largest change of the scaled series z, wherever what
// comes after it may end.
func (e EDivisive) largest(z []float64) Change {
	c := Change{Stat: -3}
	n, m := len(z), e.MinSize
	if n < 2*m {
		return c
	}
	medians := newMedians(z)
	left := slices.Clone(medians.from(0))
	for t := m; t <= n-m; t++ {
		right := medians.from(t)
		for end := t + m; end <= n; end++ {
			apart := left[t] - right[end]
			if stat := apart * apart * (float64(t) * float64(end-t) / float64(end)); stat > c.Stat {
				c.At, c.Stat = t, stat
			}
		}
	}
	return c
}

// begin checks the parameters, puts the defaults in place, and scales y to
// between 0 and 1.
func (e *EDivisive) begin(y []float64) ([]float64, error) {
	if e.MinSize == 0 {
		e.MinSize = 30
	}
	if e.Level == 0 {
		e.Level = 0.05
	}
	if e.Penalty.kind == noPenalty {
		e.Penalty = BetaPenalty(0.008, 1)
	}
	switch {
	case e.MinSize < 2:
		return nil, fmt.Errorf("a segment must have at least 2 observations, not %d", e.MinSize)
	case !(e.Penalty.weight >= 0) || math.IsInf(e.Penalty.weight, 0):
		return nil, fmt.Errorf("a penalty of %v is none", e.Penalty.weight)
	case e.Penalty.degree < 0 || e.Penalty.degree > 2:
		return nil, fmt.Errorf("the degree of the penalty must be 0, 1 or 2, not %d", e.Penalty.degree)
	case e.Permutations < 0:
		return nil, fmt.Errorf("%d permutations are less than none", e.Permutations)
	case !(e.Level > 0 && e.Level < 1):
		return nil, fmt.Errorf("the level must lie between 0 and 1, not be %v", e.Level)
	}
	for i, v := range y {
		switch {
		case math.IsNaN(v):
			return nil, &ObservationError{i, "is missing"}
		case math.IsInf(v, 0):
			return nil, &ObservationError{i, "is infinite"}
		}
	}
	z := make([]float64, len(y))
	if len(y) == 0 {
		return z, nil
	}
	least, most := slices.Min(y), slices.Max(y)
	if least == most {
		return z, nil // constant, so nothing of it changes
	}
	for i, v := range y {
		// Halves, for the difference may be more than a float holds.
		z[i] = (v/2 - least/2) / (most/2 - least/2)
	}
	return z, nil
}
