package anomaly

import "math"

// maxPhases bounds the phases of a season; those of longer periods are shared
// by neighbouring steps.
const maxPhases = 2048

const (
	profileRate  = 0.1  // of the newest point in a season's profile, at least
	scatterRate  = 0.05 // and in its scatter
	scatterReach = 3    // phases on either side that learn a scatter together
	seasonTrust  = 1    // visits a profile is trusted half after
	scatterTrust = 1
)

// seasons are the one or two periods of a series. The second explains what the
// first leaves.
type seasons []season

// season is the profile of one period.
type season struct {
	period  int
	width   int       // steps of a phase
	profile []float32 // mean distance from the level, or from the season before
	scatter []float32 // mean absolute residual; of the first season only
	visits  []uint8   // points a phase has learned, up to 255
}

func newSeasons(periods []int) seasons {
	var all seasons
	for _, period := range periods {
		if period < 2 {
			continue
		}
		width := (period + maxPhases - 1) / maxPhases
		n := (period + width - 1) / width
		s := season{period: period, width: width, profile: make([]float32, n), visits: make([]uint8, n)}
		if len(all) == 0 {
			s.scatter = make([]float32, n)
		}
		all = append(all, s)
	}
	return all
}

// place is a point's phase in each season and what is known there.
type place struct {
	phase   [2]int
	season  float64 // sum of the profiles, as far as they are trusted
	scatter float64
	trust   float64 // of scatter
}

// at finds the place of a point. On a holiday, that is the one of the seven
// days of the longest season, where it has as many, which comes closest.
func (all seasons) at(p Point, distance float64) place {
	best := all.shifted(p.Step + p.Shift)
	if !p.Holiday || len(all) == 0 || all[len(all)-1].period%7 != 0 {
		return best
	}
	day := int64(all[len(all)-1].period / 7)
	for i := int64(1); i < 7; i++ {
		other := all.shifted(p.Step + p.Shift + i*day)
		if math.Abs(distance-other.season) < math.Abs(distance-best.season) {
			best = other
		}
	}
	return best
}

func (all seasons) shifted(step int64) place {
	var p place
	for i := range all {
		s := &all[i]
		at := step % int64(s.period)
		if at < 0 {
			at += int64(s.period)
		}
		k := int(at) / s.width
		p.phase[i] = k
		visits := float64(s.visits[k])
		p.season += float64(s.profile[k]) * visits / (visits + seasonTrust)
		if len(s.scatter) > 0 {
			p.scatter, p.trust = float64(s.scatter[k]), visits/(visits+scatterTrust)
		}
	}
	return p
}

// learn takes in a point's distance from the level, and the size of its
// residual, which the neighbouring phases learn too.
func (all seasons) learn(p place, distance, residual float64) {
	for i := range all {
		s := &all[i]
		k := p.phase[i]
		if s.visits[k] < math.MaxUint8 {
			s.visits[k]++
		}
		rate := max(profileRate/float64(s.width), 1/float64(s.visits[k]))
		before := float64(s.profile[k])
		s.profile[k] = narrow(before + rate*(distance-before))
		distance -= float64(s.profile[k])
		if len(s.scatter) == 0 {
			continue
		}
		n := len(s.scatter)
		reach := min(scatterReach, (n-1)/2)
		for j := k - reach; j <= k+reach; j++ {
			m := j
			if m < 0 {
				m += n
			} else if m >= n {
				m -= n
			}
			before := float64(s.scatter[m])
			s.scatter[m] = narrow(before + scatterRate*(residual-before))
		}
	}
}

// narrow is a number as a profile keeps it: the largest it can, where it is
// larger.
func narrow(x float64) float32 {
	return float32(min(max(x, -math.MaxFloat32), math.MaxFloat32))
}

func (all seasons) fields(c *codec) {
	for i := range all {
		c.f32(all[i].profile)
		c.f32(all[i].scatter)
		c.bytes(all[i].visits)
	}
}

func (all seasons) sizeBytes() int {
	n := 0
	for _, s := range all {
		n += 4*len(s.profile) + 4*len(s.scatter) + len(s.visits)
	}
	return n
}

// bearing is how far new points bear the profiles out: the slope of their
// distances from the level over what the profiles led to expect. Where there is
// no season, a profile is the noise of a few earlier points, which would add to
// that of the new ones.
type bearing struct{ product, square float64 }

// share is the slope, from 0 to 1, drawn towards 1 while little is known.
func (b *bearing) share(scatter float64) float64 {
	prior := bearingPrior * scatter * scatter
	if b.square+prior == 0 {
		return 1
	}
	return min(max((b.product+prior)/(b.square+prior), 0), 1)
}

// learn takes in a distance for which season was expected. Of memory points,
// the oldest has faded to 1/e.
func (b *bearing) learn(season, distance, memory float64) {
	b.product += season*distance - b.product/memory
	b.square += season*season - b.square/memory
}
