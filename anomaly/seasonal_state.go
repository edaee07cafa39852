package anomaly

import (
	"fmt"
	"unsafe"
)

// AppendBinary implements [Detector].
func (d *Seasonal) AppendBinary(dst []byte) []byte {
	return appendState(dst, kindSeasonal, d.hash, d.fields)
}

// UnmarshalBinary implements [Detector].
func (d *Seasonal) UnmarshalBinary(data []byte) error {
	n := blankSeasonal(d.config)
	if err := readState(data, kindSeasonal, n.hash, n.fields); err != nil {
		return err
	}
	*d = *n
	return nil
}

func (d *Seasonal) fields(c *codec) {
	d.periodFields(c)
	c.i64(&d.seen, &d.last, &d.cooling)
	c.bool(&d.begun)
	c.f64(&d.level, &d.scatter, &d.noise, &d.change, &d.previous, &d.short, &d.long, &d.raw, &d.unrest, &d.awaySum, &d.fatigue, &d.bearing.product, &d.bearing.square)
	c.within(&d.away, 0, maxPeriod)
	d.seasons.fields(c)
	for i := range d.surprises {
		d.surprises[i].fields(c)
	}
	d.total.fields(c)
	d.verdicts = false
}

// periodFields are the points of a search that is not over, or the period it
// found.
func (d *Seasonal) periodFields(c *codec) {
	if len(d.config.Periods) > 0 {
		return
	}
	searching, period := d.search != nil, d.Period()
	c.bool(&searching)
	if !searching {
		c.within(&period, NoSeason, maxSearched)
		if c.reading {
			d.search, d.seasons = nil, newSeasons([]int{period})
		}
		return
	}
	n := len(d.search.points)
	c.within(&n, 0, min(d.config.Warmup, maxSearched))
	if c.reading {
		d.search.points = make([]Point, n)
	}
	for i := range d.search.points {
		p := &d.search.points[i]
		c.i64(&p.Step, &p.Shift)
		c.f64(&p.Value)
		c.bool(&p.Holiday)
	}
}

// SizeBytes implements [Detector].
func (d *Seasonal) SizeBytes() int {
	n := int(unsafe.Sizeof(*d)) + d.seasons.sizeBytes()
	if d.search != nil {
		n += cap(d.search.points) * int(unsafe.Sizeof(Point{}))
	}
	return n
}

func (d *Seasonal) String() string {
	return fmt.Sprintf("seasonal detector, period %d, %d points learned, level %.6g, scatter %.3g",
		d.Period(), d.seen, d.config.Kind.restore(d.level), d.noise)
}

var _ Detector = (*Seasonal)(nil)
