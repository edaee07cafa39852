package anomaly

import "math"

// Seasonal detects values, and runs of values, that are not what level, season
// and usual scatter lead to expect.
//
// The series is taken apart as it comes, x = level + season + residual. The
// level is a slow mean that single points hardly move and that jumps when the
// series stays away from it; the season is a profile of each period with a
// scatter of its own at each phase, so that a busy hour may scatter more than a
// quiet one, and counts only as far as new points bear it out. Five deviations are watched:
//
//	point    the residual
//	short    residuals smoothed over a few points
//	long     residuals smoothed over a couple of dozen
//	raw      the same without the season, for where there is none
//	unrest   surprise at the points, smoothed: many small oddities
//
// Each is made comparable by its own history, see [surprise]. What they have in
// common is added, and the sum calibrated in the same way once more; a deviation
// that is strange enough counts by itself too. So the score means the same on every series, Gaussian or heavy in the tails, smooth
// or noisy: at the default threshold of 2.7, one alarm in 500 points of a series
// in which nothing happens; at 4, one in 10,000. Generated series keep to that
// within a factor of two.
//
// After an alarm the detector is silent for a while, and for some time more it
// wants a stronger reason to speak again.
//
// A period takes nine bytes a phase, or for those longer than 2,048 steps as much
// as 2,048 phases; all else is 7 KiB. A point takes about a microsecond and
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
	bearing  bearing       // how far new points bear the seasons out
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

// fires reports whether the point is an alarm.
func (d *Seasonal) fires(v *verdict) bool {
	return d.seen >= int64(d.config.Warmup) && d.search == nil &&
		told(v.totalScore-d.fatigue) >= d.config.Threshold &&
		(d.cooling == 0 || v.point.Step >= d.cooling)
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
