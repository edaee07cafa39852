package anomaly

import "math"

// Deviations are counted in buckets of a tenth of an octave.
const (
	bucketsPerOctave = 10
	lowestOctave     = -6
	surpriseBuckets  = 220 // from 2^-6 to 2^16
	bucketWidth      = math.Ln2 / bucketsPerOctave
)

// surprise turns the size of a deviation into how rarely one so large begins,
// learned from the deviations before: minus the decimal logarithm of the rate,
// per point, of runs of points at least as large. A conformal p-value, then,
// with two amendments:
//
//   - A rank cannot be rarer than one in all that was seen. Beyond the largest
//     fiftieth, the tail is a Pareto's, its index by Hill's estimator, drawn
//     towards a prior while few points are there.
//   - Deviations come in runs, longer ones the smoother the series. What an
//     operator counts is runs, so the rate is multiplied by the extremal index:
//     runs over points, of those above the 95th percentile.
//
// Old deviations fade: the weight of the newest grows instead.
type surprise struct {
	counts   [surpriseBuckets]float32
	weight   float64 // of the next deviation
	total    float64 // of all weights
	top      int     // highest bucket with a count
	extremes float64 // weight of deviations beyond p95
	runs     float64 // weight of the first of each run of them
	since    int     // deviations since the last extreme, up to runGap+1
	age      int     // deviations since tail was fitted, up to refit
	tail     tail
}

// tail is what is worked out from the counts now and then.
type tail struct {
	p95   float64 // deviation that a twentieth exceed
	start float64 // in buckets: where the Pareto tail begins
	above float64 // share of deviations beyond start
	index float64 // Pareto's, inverted: xi
}

const (
	tailShare   = 0.02
	tailIndex   = 0.21 // prior of xi
	tailPrior   = 20   // deviations the prior is worth
	runGap      = 6    // a run ends after so many points that are not extreme
	runPrior    = 10   // extremes the prior of the extremal index is worth
	extremal    = 0.3  // that prior
	refit       = 8    // deviations between two fits of the tail
	heaviest    = 1e12 // weight at which all are scaled down
	commonplace = 0.125
)

// position is the place of a deviation among the buckets.
func position(z float64) float64 {
	if !(z >= 1.0/(1<<-lowestOctave)) {
		return 0
	}
	return min((math.Log2(z)-lowestOctave)*bucketsPerOctave, surpriseBuckets-1)
}

// of is how surprising a deviation is.
func (s *surprise) of(z float64) float64 {
	if s.total == 0 {
		return 0
	}
	at := position(z)
	var p float64
	if at >= s.tail.start && s.tail.index > 0 {
		p = s.tail.above * math.Exp(-(at-s.tail.start)*bucketWidth/s.tail.index)
	} else {
		k := int(at)
		sum, half := 0.0, s.total/2
		for i := s.top; i > k; i-- {
			if sum += float64(s.counts[i]); sum > half {
				return commonplace
			}
		}
		sum += float64(s.counts[k]) * (1 - (at - float64(k)))
		p = (sum + s.weight) / (s.total + s.weight)
	}
	return -math.Log10(p * s.runShare())
}

// runShare is the extremal index: how many runs there are to a point.
func (s *surprise) runShare() float64 {
	prior := runPrior * s.weight
	return min((s.runs+extremal*prior)/(s.extremes+prior), 1)
}

// limit is the deviation whose surprise is score.
func (s *surprise) limit(score float64) float64 {
	if s.tail.index == 0 {
		return 0
	}
	p := math.Pow(10, -score) / s.runShare()
	at := s.tail.start + s.tail.index/bucketWidth*math.Log(max(s.tail.above/p, 1))
	return math.Exp2(at/bucketsPerOctave + lowestOctave)
}

// add learns a deviation. Of memory deviations, the oldest has faded to 1/e.
func (s *surprise) add(z, memory, share float64) {
	if s.weight == 0 {
		s.weight = 1
	}
	s.weight *= 1 + 1/memory
	if s.weight > heaviest {
		s.fade()
	}
	w := s.weight * share
	s.since = min(s.since+1, runGap+1)
	if z > s.tail.p95 && s.tail.p95 > 0 {
		s.extremes += w
		if s.since > runGap {
			s.runs += w
		}
		s.since = 0
	}
	k := int(position(z))
	s.counts[k] += float32(w)
	s.total += w
	s.top = max(s.top, k)
	if s.age++; s.age >= refit {
		s.fit()
	}
}

// fade scales all weights down, so that the newest stays finite.
func (s *surprise) fade() {
	for i := range s.counts {
		s.counts[i] = float32(float64(s.counts[i]) / s.weight)
	}
	s.total /= s.weight
	s.extremes /= s.weight
	s.runs /= s.weight
	s.weight = 1
}

// fit works the tail out of the counts.
func (s *surprise) fit() {
	s.age = 0
	sum, u := 0.0, s.top
	for ; u > 0; u-- {
		if sum += float64(s.counts[u]); sum >= tailShare*s.total {
			break
		}
	}
	p95, below := u, sum
	for below < 0.05*s.total && p95 > 0 {
		p95--
		below += float64(s.counts[p95])
	}
	within := 0.0 // the share of bucket p95 that lies below the percentile
	if c := float64(s.counts[p95]); c > 0 {
		within = min(max((below-0.05*s.total)/c, 0), 1)
	}
	start := float64(u + 1)
	excess, count := 0.0, 0.0
	for i := u + 1; i <= s.top; i++ {
		c := float64(s.counts[i])
		excess += c * (float64(i) + 0.5 - start)
		count += c
	}
	n := count / s.weight
	s.tail = tail{
		p95:   math.Exp2((float64(p95)+within)/bucketsPerOctave + lowestOctave),
		start: start,
		above: (n + 1) / (s.total/s.weight + 1),
		index: (excess/s.weight*bucketWidth + tailIndex*tailPrior) / (n + tailPrior),
	}
}

func (s *surprise) fields(c *codec) {
	c.f32(s.counts[:])
	c.f64(&s.weight, &s.total, &s.extremes, &s.runs)
	c.within(&s.top, 0, surpriseBuckets-1)
	c.within(&s.since, 0, runGap+1)
	c.within(&s.age, 0, refit)
	c.f64(&s.tail.p95, &s.tail.start, &s.tail.above, &s.tail.index)
}
