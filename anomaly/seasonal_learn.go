package anomaly

import "math"

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
		move = within(move, clipLevel*d.scatter)
		size = within(size, clipScatter*d.scatter)
		off = within(off, clipScatter*d.noise)
		change = within(change, clipScatter*d.change)
	}
	if n >= unclipped {
		d.bearing.learn(v.place.season, move, bearingMemory*float64(d.config.Warmup))
	}
	d.level += rate * (move - v.season)
	if !v.point.Holiday {
		d.seasons.learn(v.place, v.value-d.level, within(math.Abs(v.residual), clipScatter*max(d.noise, leastScatter*d.scatter)))
	}
	d.scatter += (size - d.scatter) / min(levelMemory*float64(d.config.Warmup), n)
	d.noise += (off - d.noise) / min(levelMemory*float64(d.config.Warmup), n)
	d.change += (change - d.change) / min(levelMemory*float64(d.config.Warmup), n)
	d.jump(v)
}

// within draws x in to at most limit. No limit is known of a series that has
// been constant.
func within(x, limit float64) float64 {
	if limit == 0 {
		return x
	}
	return min(max(x, -limit), limit)
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
