package anomaly

import (
	"fmt"
	"math"
)

// Seasonal detects values, and runs of values, that are not what level, season
// and usual scatter lead to expect.
//
// The series is taken apart as it comes, x = level + season + residual. The
// level is a slow mean that single points hardly move and that jumps when the
// series stays away from it; the season is a profile of each period with a
// scatter of its own at each phase, so that a busy hour may scatter more than a
// quiet one. Five deviations are watched:
//
//	point    the residual
//	short    residuals smoothed over a few points
//	long     residuals smoothed over a couple of dozen
//	raw      the same without the season, for where there is none
//	unrest   surprise at the points, smoothed: many small oddities
//
// Each is made comparable by its own history, see [surprise]; what they have in
// common is added, and the sum calibrated in the same way once more. So the
// score means the same on every series, Gaussian or heavy in the tails, smooth
// or noisy: at the default threshold of 2.7, one alarm in 500 points of a series
// in which nothing happens; at 4, one in 10,000. Generated series keep to that
// within a factor of two.
//
// After an alarm the detector is silent for a while, and for some time more it
// wants a stronger reason to speak again.
//
// A period takes nine bytes a phase, or for those longer than 2,048 steps as much
// as 2,048 phases; all else is 7 KiB. A point takes less than a microsecond and
// allocates nothing.
//
// Weakness: the residual is compared with what was seen, so an anomaly that is
// common in the warm-up is normal. Seasons that fit no fixed number of steps,
// months say, are not modelled. A slow drift is followed by the level, not
// flagged.
type Seasonal struct {
	config SeasonalConfig
	hash   uint64

	seen     int64 // points learned, missing ones not counted
	last     int64 // step learned last
	begun    bool
	level    float64
	scatter  float64 // mean absolute distance from the level
	noise    float64 // mean absolute residual
	change   float64 // mean absolute change from point to point
	previous float64 // value of the point before
	seasons  seasons
	search   *periodSearch // while periods are being looked for

	short, long, raw, unrest float64 // smoothed deviations, in units of scatter
	surprises                [surprises]surprise
	total                    surprise

	away     int     // points the residual has stayed on one side, far off
	awaySum  float64 // of those residuals
	cooling  int64   // step until which alarms are silenced
	fatigue  float64 // what the next alarm has to exceed the threshold by
	verdict  verdict // of the point scored last
	verdicts bool    // whether verdict is that of the present state
}

// SeasonalConfig is the configuration of a [Seasonal]. The zero value is a good
// one where periods are not known.
type SeasonalConfig struct {
	// Periods of the seasons, in steps, shortest first: a day and a week, say.
	// There can be two. Without any, one is looked for by autocorrelation in the
	// warm-up; [NoSeason] says that there is none.
	Periods []int

	// Kind of the value, which decides on what scale it is judged.
	Kind Kind

	// Warmup is the number of points that are learned before any is flagged; it
	// is also the measure of the detector's memory. The default is two of the
	// shortest period, at least 300 and at most 3,000, or 600 without a period.
	Warmup int

	// Threshold is the score at which a point is anomalous; the default is
	// [DefaultThreshold].
	Threshold float64

	// Cooldown is the number of steps an alarm silences those after it; the
	// default is a fifth of the warm-up, and -1 is none.
	Cooldown int
}

// DefaultThreshold is a score that a series without anomalies reaches about
// once in 500 points.
const DefaultThreshold = 2.7

// NoSeason as the only period says that a series has none.
const NoSeason = 1

const maxPeriod = 1 << 20

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
// benchmark and confirmed on the other; none of it matters much. Memories are
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

	// By simulation: alarms come about four times as often as the runs that the
	// sum was calibrated by, and a point has to be so much stranger to count by
	// itself.
	alarmRuns = 0.6
	lonePoint = 1.0

	// Likewise, beyond the default threshold alarms get rarer with the score by
	// half as much as the Pareto tails have it.
	beyond = 0.45
)

// validate completes the configuration.
func (c *SeasonalConfig) validate() error {
	if len(c.Periods) > 2 {
		return fmt.Errorf("seasonal detector: %d periods, at most 2", len(c.Periods))
	}
	for i, p := range c.Periods {
		if p < 1 || p > maxPeriod || (i > 0 && p <= c.Periods[i-1]) {
			return fmt.Errorf("seasonal detector: periods %v: want them rising, from 1 to %d steps", c.Periods, maxPeriod)
		}
	}
	if c.Warmup < 0 || c.Warmup > maxPeriod {
		return fmt.Errorf("seasonal detector: warm-up of %d points: want 0 to %d", c.Warmup, maxPeriod)
	}
	if c.Threshold < 0 || math.IsNaN(c.Threshold) || math.IsInf(c.Threshold, 0) {
		return fmt.Errorf("seasonal detector: threshold %v: want a positive number", c.Threshold)
	}
	if c.Cooldown < -1 {
		return fmt.Errorf("seasonal detector: cool-down of %d steps", c.Cooldown)
	}
	if !c.Kind.valid() {
		return fmt.Errorf("seasonal detector: %v", c.Kind)
	}
	if c.Warmup == 0 {
		c.Warmup = 600
		if len(c.Periods) > 0 && c.Periods[0] > 1 {
			c.Warmup = min(max(2*c.Periods[0], 300), 3000)
		}
	}
	if c.Threshold == 0 {
		c.Threshold = DefaultThreshold
	}
	switch c.Cooldown {
	case 0:
		c.Cooldown = c.Warmup / 5
	case -1:
		c.Cooldown = 0
	}
	return nil
}

// NewSeasonal returns a detector that has learned nothing.
func NewSeasonal(config SeasonalConfig) (*Seasonal, error) {
	config.Periods = append([]int(nil), config.Periods...)
	if err := config.validate(); err != nil {
		return nil, err
	}
	return blankSeasonal(config), nil
}

func blankSeasonal(config SeasonalConfig) *Seasonal {
	d := &Seasonal{config: config, hash: fingerprint(config), seasons: newSeasons(config.Periods)}
	if len(config.Periods) == 0 {
		d.search = new(periodSearch)
	}
	return d
}

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
	v.season = v.place.season
	v.residual = distance - v.season
	v.scatter = d.scatterAt(v.place)
	v.apart = apart(v.residual, v.scatter, d.level)
	v.rawApart = apart(distance, d.scatter, d.level)

	n := float64(d.seen + 1)
	v.short = d.short + (v.apart-d.short)/min(shortSmoothing, n)
	v.long = d.long + (v.apart-d.long)/min(longSmoothing, n)
	v.raw = d.raw + (v.rawApart-d.raw)/min(longSmoothing, n)
	v.sizes = [surprises]float64{
		byChange: math.Abs(apart(v.value-d.previous, d.change, d.level)),
		byPoint:  math.Abs(v.apart),
		byShort:  math.Abs(v.short),
		byLong:   math.Abs(v.long),
		byRaw:    math.Abs(v.raw),
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

// Score implements [Detector].
func (d *Seasonal) Score(p Point) Explanation {
	e := Explanation{Value: p.Value, Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN()}
	if p.missing() || !d.begun {
		return e
	}
	if d.seen < int64(d.config.Warmup) || d.search != nil {
		return e
	}
	v := d.judge(p)
	expected := d.level + v.season
	band := d.surprises[byPoint].limit(d.config.Threshold) * v.scatter
	kind := d.config.Kind
	e.Expected, e.Lower, e.Upper = kind.restore(expected), kind.restore(expected-band), kind.restore(expected+band)
	e.Score = told(v.totalScore)
	e.Direction = direction(v.value, expected)
	e.Reason, e.Size = d.reason(v)
	e.Anomalous = d.fires(v)
	return e
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

// fires reports whether the point is an alarm.
func (d *Seasonal) fires(v *verdict) bool {
	return d.seen >= int64(d.config.Warmup) && d.search == nil &&
		told(v.totalScore-d.fatigue) >= d.config.Threshold &&
		(d.cooling == 0 || v.point.Step >= d.cooling)
}

// Learn implements [Detector].
func (d *Seasonal) Learn(p Point) {
	if p.missing() {
		return
	}
	if d.search != nil && d.search.add(p, d.config) {
		d.settle()
		return
	}
	d.learn(p)
}

// settle takes the period that was found in the warm-up, and learns the warm-up
// anew with it.
func (d *Seasonal) settle() {
	points := d.search.points
	d.seasons = newSeasons([]int{d.search.period(d.config.Warmup / 2)})
	*d = Seasonal{config: d.config, hash: d.hash, seasons: d.seasons}
	for _, p := range points {
		d.learn(p)
	}
}

func (d *Seasonal) learn(p Point) {
	v := d.judge(p)
	fires := d.fires(v)
	if !d.begun {
		d.begun, d.level = true, v.value
	} else {
		d.learnDeviations(v)
	}
	if fires {
		d.cooling = p.Step + int64(d.config.Cooldown)
		d.fatigue += fatigueStep
	}
	d.fatigue *= 1 - 1/(1+fatigueMemory*float64(d.config.Warmup))
	d.learnLevel(v)
	d.seen++
	d.last = p.Step
	d.verdicts = false
}

// learnDeviations takes in how far the point was off, before anything that it
// was measured by changes.
func (d *Seasonal) learnDeviations(v *verdict) {
	warm := float64(d.config.Warmup)
	share := 1.0
	if d.seen >= int64(d.config.Warmup) && told(v.totalScore) >= d.config.Threshold {
		share = flaggedShare
	}
	d.short, d.long, d.raw, d.unrest = v.short, v.long, v.raw, v.unrest
	for i := range d.surprises {
		d.surprises[i].add(v.sizes[i], surpriseMemory*warm, share)
	}
	if d.seen >= int64(d.config.Warmup/2) {
		d.total.add(v.total, surpriseMemory*warm, share)
	}
}

// learnLevel moves level, scatter and season.
func (d *Seasonal) learnLevel(v *verdict) {
	n := float64(d.seen + 1)
	rate := 1 / min(levelMemory*float64(d.config.Warmup), n+1)
	distance := v.value - d.level
	move, size, off := distance, math.Abs(distance), math.Abs(v.residual)
	change := math.Abs(v.value - d.previous)
	if d.seen == 0 {
		change = 0
	}
	d.previous = v.value
	if n >= unclipped {
		move = min(max(move, -clipLevel*d.scatter), clipLevel*d.scatter)
		size = min(size, clipScatter*d.scatter)
		off = min(off, clipScatter*d.noise)
		change = min(change, clipScatter*d.change)
	}
	d.level += rate * move
	if !v.point.Holiday {
		d.seasons.learn(v.place, v.value-d.level, min(math.Abs(v.residual), clipScatter*max(d.noise, leastScatter*d.scatter)))
	}
	d.scatter += (size - d.scatter) / min(levelMemory*float64(d.config.Warmup), n)
	d.noise += (off - d.noise) / min(levelMemory*float64(d.config.Warmup), n)
	d.change += (change - d.change) / min(levelMemory*float64(d.config.Warmup), n)
	d.jump(v)
}

// jump moves the level at once when the series has stayed far off on one side
// for as long as an alarm silences: that is how it is now.
func (d *Seasonal) jump(v *verdict) {
	if math.Abs(v.apart) < awayLimit || (v.residual > 0) != (d.awaySum > 0) {
		d.away, d.awaySum = 0, 0
	}
	if math.Abs(v.apart) < awayLimit {
		return
	}
	d.away++
	d.awaySum += v.residual
	if d.away < max(d.config.Warmup/5, longSmoothing) {
		return
	}
	d.level += d.awaySum / float64(d.away)
	d.away, d.awaySum = 0, 0
	d.short, d.long, d.raw, d.unrest = 0, 0, 0, 0
}

// Period is that of the shortest season, or 1 when there is none, or 0 while
// it is looked for.
func (d *Seasonal) Period() int {
	if d.search != nil {
		return 0
	}
	if len(d.seasons) == 0 {
		return NoSeason
	}
	return d.seasons[0].period
}
