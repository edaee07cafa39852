package anomaly

import (
	"fmt"
	"math"
	"unsafe"
)

// Breakout detects that a series is no longer what it was: its level has
// shifted or is drifting off, or it scatters more or less than before.
//
// What is left without the season is standardised by median and absolute
// deviation, freed of its correlation with the value before, and clipped at two
// scatters, so that an outlier cannot do what a change does, nor spoil what is
// expected of the value after it. Two statistics run
// over the result and over its size, see [focus]: each compares all places at
// which a change may have begun at once. A change is reported when the medians,
// or the deviations, on both sides of the place confirm it; then the new level
// is the level, and the next change is looked for.
//
// The score is minus the decimal logarithm of the chance per point, by
// simulation of independent values. The default threshold of 4.7 is one false
// alarm in 50,000 points.
//
// At that threshold a shift of 1 scatter is found after about 20 points, one of
// 4 after 6. State is 10 KiB and five bytes a phase of the season; a point
// takes about a quarter of a microsecond and allocates nothing.
//
// A ramp is not yet told from a shift when it is first noticed, at least not
// often; the second change to the same side, soon after, is called one.
//
// Weakness: a strong correlation is underrated in a short warm-up; where that
// with the value before is 0.8 to 0.9, false alarms come one and a half times as
// often, and three times where there are outliers too. The season is learned while a change is not yet known, so a slow
// drift over several periods bends it.
type Breakout struct {
	config BreakoutConfig
	hash   uint64

	begun      bool
	seen       int64 // points learned in this segment
	last       int64
	center     float64
	scatter    float64 // 1.4826 median absolute deviation
	previous   float64 // residual before, outliers drawn in, in scatters
	innovation float64 // scatter of what cannot be told from the residual before, in scatters
	seasons    seasons

	moved Direction // the last change of level
	level twoSided  // of the values
	size  twoSided  // of their sizes

	// of the correlation of neighbours
	neighbours       summary
	product          float64
	inherited, trust float64 // the correlation before the last change, and how many points that is worth

	recent [recentPoints]float64 // residuals from center, the newest at next-1
	next   int64

	// of the point looked at last
	at      Point
	looked  bool
	sampled sample
	found   finding
}

// BreakoutConfig is the configuration of a [Breakout]. The zero value is a good
// one for a series without season.
type BreakoutConfig struct {
	// Periods of the seasons, in steps, shortest first; at most two.
	Periods []int

	// Kind of the value, which decides on what scale it is judged.
	Kind Kind

	// Warmup is the number of points learned before a change is looked for; the
	// default is 100, or two of the shortest period up to 3,000.
	Warmup int

	// MinSize is the number of points a change has to have lasted; the default
	// is 5.
	MinSize int

	// Threshold is the score at which a change is reported; the default is
	// [DefaultBreakoutThreshold].
	Threshold float64
}

// DefaultBreakoutThreshold is one false alarm in 50,000 points.
const DefaultBreakoutThreshold = 4.7

const (
	recentPoints = 512
	clipResidual = 2.0
	leastTrust   = 1  // points that no correlation is worth at first
	inheritTrust = 50 // and that the one before a change is worth after it
	maxWhitening = 0.95
	whitenings   = 4   // rounds in which the correlation of a new segment is found
	minConfirm   = 8   // points by which a change of scatter is confirmed
	minRefute    = 64  // points by which any change is refuted
	rampReach    = 128 // points in which a second change to the same side makes a ramp
	sizeHandicap = 3   // changes of level are the more likely and the more wanted

	// The chance per point that a statistic exceeds h and is confirmed is about
	// exp(chanceOffset - chanceSlope h), by simulation.
	chanceOffset = -1.6
	chanceSlope  = 0.9
)

// NewBreakout returns a detector that has learned nothing.
func NewBreakout(config BreakoutConfig) (*Breakout, error) {
	s := SeasonalConfig{Periods: config.Periods, Kind: config.Kind, Warmup: config.Warmup, Threshold: config.Threshold}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("breakout detector: %w", err)
	}
	if config.MinSize < 0 || config.MinSize > recentPoints/2 {
		return nil, fmt.Errorf("breakout detector: least size of %d points: want 1 to %d", config.MinSize, recentPoints/2)
	}
	config.Periods = append([]int(nil), config.Periods...)
	if config.Warmup == 0 {
		config.Warmup = 100
		if len(config.Periods) > 0 && config.Periods[0] > 1 {
			config.Warmup = min(max(2*config.Periods[0], 100), 3000)
		}
	}
	config.Warmup = max(config.Warmup, 16)
	if config.MinSize == 0 {
		config.MinSize = 5
	}
	if config.Threshold == 0 {
		config.Threshold = DefaultBreakoutThreshold
	}
	return blankBreakout(config), nil
}

func blankBreakout(config BreakoutConfig) *Breakout {
	d := &Breakout{config: config, hash: fingerprint(config), innovation: 1, trust: leastTrust, seasons: newSeasons(config.Periods)}
	for i := range d.seasons {
		d.seasons[i].scatter = nil // one scatter serves all phases
	}
	return d
}

// sample is a point as the statistics see it.
type sample struct {
	value    float64
	place    place
	residual float64 // from center and season
	clean    float64 // in scatters, outliers drawn in
	white    float64 // without its correlation with the one before
	size     float64
}

func (d *Breakout) sample(p Point) sample {
	s := sample{value: d.config.Kind.stabilise(p.Value)}
	distance := s.value - d.center
	s.place = d.seasons.at(p, distance)
	s.residual = distance - s.place.season
	s.white, s.clean = whiten(apart(s.residual, d.scatter, d.center), d.previous, d.correlation(), d.innovation)
	s.size = math.Abs(s.white)
	return s
}

// whiten frees a residual of its correlation with the one before: what is left
// is in units of what usually is, and clipped. clean is the residual with an
// outlier drawn in as far, so that it does not spoil what is expected next.
func whiten(residual, previous, correlation, usual float64) (white, clean float64) {
	white = min(max((residual-correlation*previous)/usual, -clipResidual), clipResidual)
	return white, correlation*previous + usual*white
}

// correlation of neighbours, positive ones only. It is about their mean, for a
// center that is off does not make them alike; and while few points are known,
// it is what it was before the last change.
func (d *Breakout) correlation() float64 {
	n := &d.neighbours
	common := n.sum * n.sum / max(n.n, 1)
	return min(max((d.product-common+d.trust*d.inherited)/(max(n.square-common, 0)+d.trust), 0), maxWhitening)
}

// watching reports whether the warm-up is over.
func (d *Breakout) watching() bool { return d.seen >= int64(d.config.Warmup) }

// Score implements [Detector].
func (d *Breakout) Score(p Point) Explanation {
	e := Explanation{Value: p.Value, Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN()}
	if p.missing() || !d.watching() {
		return e
	}
	s, found := d.look(p)
	expected := d.center + s.place.season
	kind := d.config.Kind
	e.Expected = kind.restore(expected)
	e.Lower, e.Upper = kind.restore(expected-clipResidual*d.scatter), kind.restore(expected+clipResidual*d.scatter)
	e.Direction = direction(s.value, expected)
	e.Score = found.score
	if found.confirmed {
		e.Anomalous, e.Reason, e.Began = true, found.reason, found.began
		e.Size = kind.restore(expected+found.shift) - kind.restore(expected)
		if found.reason == ReasonVariance {
			e.Size = found.shift
		}
		e.Direction = direction(found.shift, 0)
	}
	return e
}

// finding is what is known of a change once a point has been looked at.
type finding struct {
	score     float64
	confirmed bool
	refuted   bool // by enough points: the statistic has to begin anew
	reason    Reason
	began     int64   // step
	after     int     // recent points since, the present one not among them
	shift     float64 // of the median, or of the scatter

	levelSum, sizeSum float64 // of the statistics, the present point included
}

// judge looks at both statistics with the point included. A change of level is
// believed first, for it disturbs the sizes too.
func (d *Breakout) judge(s *sample) finding {
	level, size := d.level.judge(s.white), d.size.judge(s.size)
	size.statistic -= sizeHandicap
	f := finding{score: max(score(level), score(size)), levelSum: level.sum, sizeSum: size.sum}
	if f.score < d.config.Threshold {
		return f
	}
	for _, c := range [...]struct {
		change
		reason Reason
	}{{level, ReasonShift}, {size, ReasonVariance}} {
		if score(c.change) < d.config.Threshold || f.confirmed {
			continue
		}
		f.reason, f.began = c.reason, c.cut.step
		f.after = int(min(d.next, recentPoints, d.level.count-c.cut.count))
		d.confirm(&f, s, c.rising)
		f.refuted = f.refuted || (!f.confirmed && f.after >= minRefute)
	}
	f.refuted = f.refuted && !f.confirmed
	return f
}

// score is how rarely a change so strong is confirmed where there is none.
func score(c change) float64 {
	return max((chanceSlope*c.statistic-chanceOffset)/math.Ln10, 0)
}

// look is sample and judge, remembered for the Learn that usually follows a
// Score.
func (d *Breakout) look(p Point) (*sample, *finding) {
	if !d.looked || d.at != p {
		d.at, d.looked = p, true
		d.sampled, d.found = d.sample(p), finding{}
		if d.watching() {
			d.found = d.judge(&d.sampled)
		}
	}
	return &d.sampled, &d.found
}

// Learn implements [Detector].
func (d *Breakout) Learn(p Point) {
	if p.missing() {
		return
	}
	if !d.begun {
		d.begun, d.center = true, d.config.Kind.stabilise(p.Value)
	}
	s, f := d.look(p)
	d.looked = false
	if d.watching() {
		if f.confirmed || f.refuted {
			d.remember(p, s)
			d.restart(f, p)
			return
		}
		d.product += s.clean * d.previous
		d.neighbours.add(d.previous)
		d.level.learn(s.white, f.levelSum, p.Step)
		d.size.learn(s.size, f.sizeSum, p.Step)
		d.previous = s.clean
	}
	if !p.Holiday {
		d.seasons.learn(s.place, s.value-d.center, 0)
	}
	d.remember(p, s)
	d.seen++
	if d.seen == int64(d.config.Warmup) {
		d.start(int(min(d.next, recentPoints)), p)
	}
}

// remember keeps the residual among the recent ones.
func (d *Breakout) remember(p Point, s *sample) {
	i := d.next % recentPoints
	d.recent[i] = s.residual
	d.next++
	d.last = p.Step
}

// SizeBytes implements [Detector].
func (d *Breakout) SizeBytes() int {
	return int(unsafe.Sizeof(*d)) + d.seasons.sizeBytes()
}

func (d *Breakout) String() string {
	return fmt.Sprintf("breakout detector, %d points since the last change, level %.6g, scatter %.3g",
		d.seen, d.config.Kind.restore(d.center), d.scatter)
}

// AppendBinary implements [Detector].
func (d *Breakout) AppendBinary(dst []byte) []byte {
	return appendState(dst, kindBreakout, d.hash, d.fields)
}

// UnmarshalBinary implements [Detector].
func (d *Breakout) UnmarshalBinary(data []byte) error {
	n := blankBreakout(d.config)
	if err := readState(data, kindBreakout, n.hash, n.fields); err != nil {
		return err
	}
	*d = *n
	return nil
}

func (d *Breakout) fields(c *codec) {
	c.bool(&d.begun)
	c.i64(&d.seen, &d.last, &d.next)
	c.f64(&d.center, &d.scatter, &d.previous, &d.innovation, &d.inherited, &d.trust, &d.product, &d.neighbours.n, &d.neighbours.sum, &d.neighbours.square)
	if c.reading && (d.next < 0 || d.seen < 0 || d.scatter < 0 || d.neighbours.square < 0 || d.innovation <= 0 || d.trust < leastTrust) {
		c.bad, d.next = true, 0
	}
	d.looked = false
	moved := int(d.moved)
	c.within(&moved, int(Down), int(Up))
	d.moved = Direction(moved)
	d.seasons.fields(c)
	d.level.fields(c)
	d.size.fields(c)
	for i := range d.recent[:min(d.next, recentPoints)] {
		c.f64(&d.recent[i])
	}
}

var _ Detector = (*Breakout)(nil)
