package anomaly

import "math"

const (
	byPoint = iota
	byShort
	byLong
	byRaw
	byUnrest
	channels

	// The change from one point to the next is no channel of its own, only part
	// of the unrest.
	byChange  = channels
	surprises = channels + 1
)

// What follows was chosen on one half of the development series of a public
// benchmark and compared on the other; none of it matters much. Memories are
// in warm-ups, smoothing in points.
const (
	levelMemory    = 1.5
	surpriseMemory = 6.0
	shortSmoothing = 6
	longSmoothing  = 24
	farthest       = 20.0 // residuals count as no more scatters than that
	clipLevel      = 3.0  // nor move the level by more
	clipScatter    = 6.0
	unclipped      = 20 // points before there is a scatter to clip by
	channelFloor   = 1.0
	channelWeight  = 3.0 / channels
	surpriseCap    = 5.0
	flaggedShare   = 0.5 // weight with which flagged points are learned
	phaseShare     = 0.8 // of a phase's own scatter in the scatter at it
	leastScatter   = 0.01
	fatigueStep    = 1.0
	fatigueMemory  = 0.5
	awayLimit      = 2.5
	bearingMemory  = 2.0
	bearingPrior   = 5.0 // points of as much season as scatter that a season is trusted for

	// By simulation: alarms come about six times as often as the runs that the
	// sum was calibrated by, and a deviation has to be so much stranger to count
	// by itself, a point's own most of all.
	alarmRuns = 0.8
	alone     = 0.6
	lonePoint = 1.2

	// Likewise, beyond the default threshold alarms get rarer with the score by
	// half as much as the Pareto tails have it.
	beyond = 0.52
)

// verdict is all that is worked out about a point, for Score and for Learn.
type verdict struct {
	point             Point
	value             float64 // on the detector's scale
	place             place
	season            float64
	scatter           float64 // at this phase
	apart             float64 // from level and season, in scatters
	residual          float64 // from level and season
	rawApart          float64
	short, long, raw  float64
	unrest            float64
	sizes             [surprises]float64 // deviations
	scores            [channels]float64
	total, totalScore float64
}

// judge works a point out. It changes nothing but the memory of its result,
// which serves the Learn that usually follows a Score.
func (d *Seasonal) judge(p Point) *verdict {
	v := &d.verdict
	if d.verdicts && v.point == p {
		return v
	}
	*v = verdict{point: p, value: d.config.Kind.stabilise(p.Value)}
	d.verdicts = true
	if !d.begun {
		return v
	}
	distance := v.value - d.level
	v.place = d.seasons.at(p, distance)
	v.season = v.place.season * d.bearing.share(d.scatter)
	v.residual = distance - v.season
	v.scatter = d.scatterAt(v.place)
	v.apart = apart(v.residual, v.scatter, d.level)
	v.rawApart = apart(distance, d.scatter, d.level)

	n := float64(d.seen + 1)
	v.short = d.short + (v.apart-d.short)/min(shortSmoothing, n)
	v.long = d.long + (v.apart-d.long)/min(longSmoothing, n)
	v.raw = d.raw + (v.rawApart-d.raw)/min(longSmoothing, n)
	v.sizes = [surprises]float64{
		byPoint: math.Abs(v.apart),
		byShort: math.Abs(v.short),
		byLong:  math.Abs(v.long),
		byRaw:   math.Abs(v.raw),
	}
	if p.Step <= d.last+1 { // what has changed over a gap, the season may have
		v.sizes[byChange] = math.Abs(apart(v.value-d.previous, d.change, d.level))
	}
	v.scores[byPoint] = d.surprises[byPoint].of(v.sizes[byPoint])
	if d.seen >= int64(d.config.Warmup/4) {
		strange := max(v.scores[byPoint], d.surprises[byChange].of(v.sizes[byChange]))
		v.unrest = d.unrest + (min(strange, surpriseCap)-d.unrest)/min(longSmoothing, n)
	}
	v.sizes[byUnrest] = math.Exp(3 * v.unrest)
	sum := 0.0
	for i := range v.scores {
		if i != byPoint {
			v.scores[i] = d.surprises[i].of(v.sizes[i])
		}
		sum += max(v.scores[i]-channelFloor, 0)
	}
	v.total = math.Exp(channelWeight * sum)
	v.totalScore = max(d.total.of(v.total)-alarmRuns, v.scores[byPoint]-lonePoint)
	for _, s := range v.scores[byPoint+1:] {
		v.totalScore = max(v.totalScore, s-alone)
	}
	return v
}

// scatterAt is the usual size of a residual at a place.
func (d *Seasonal) scatterAt(p place) float64 {
	noise := max(d.noise, leastScatter*d.scatter)
	own := p.trust*p.scatter + (1-p.trust)*noise
	return (1-phaseShare)*noise + phaseShare*max(own, leastScatter*d.scatter)
}

// apart is how many scatters a distance is. Differences that are of the
// rounding of numbers of level's size are none.
func apart(distance, scatter, level float64) float64 {
	rounding := 1e-12 * math.Abs(level)
	if math.Abs(distance) <= rounding {
		return 0
	}
	return min(max(distance/(scatter+rounding), -farthest), farthest)
}

// told is the score that is told of what was worked out.
func told(score float64) float64 {
	if score <= DefaultThreshold {
		return max(score, 0)
	}
	return DefaultThreshold + beyond*(score-DefaultThreshold)
}

// reason names the strangest of the deviations, and its size.
func (d *Seasonal) reason(v *verdict) (Reason, float64) {
	best := byPoint
	for i, s := range v.scores {
		if s > v.scores[best] {
			best = i
		}
	}
	e := d.level + v.season
	size := d.config.Kind.restore(v.value) - d.config.Kind.restore(e)
	switch best {
	case byShort, byLong, byRaw:
		return ReasonLevel, size
	case byUnrest:
		return ReasonVariance, size
	}
	return ReasonSpike, size
}
