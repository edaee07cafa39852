package sketch

import "math"

// Histogram is a distribution in buckets that grow by a constant factor: those
// of a [DDSketch] and of a Prometheus native histogram. Bins ascend, and only
// those that hold something are there.
type Histogram struct {
	Scale int   `json:"scale"` // the bounds are ±2^(i·2^-scale), and 0
	Bins  []Bin `json:"bins"`
}

// Bin is the number of values in (Lower, Upper], of negative values in
// [Lower, Upper). The bin of zeros has both at 0.
type Bin struct {
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
	Count uint64  `json:"count"`
}

// Histogram returns the buckets, joined until there are at most limit.
func (d *DDSketch) Histogram(limit int) Histogram {
	h := DDSketch{scale: d.scale, min: d.min, max: d.max, count: d.count, bucketed: true}
	if d.bucketed {
		h.zero = d.zero
		h.positive.add(&d.positive, 0)
		h.negative.add(&d.negative, 0)
	} else {
		for _, x := range d.values {
			h.addBucketed(x, 1)
		}
	}
	return h.histogram(limit)
}

// histogram coarsens a sketch that nobody else has, and returns its buckets.
func (d *DDSketch) histogram(limit int) Histogram {
	limit = max(limit, 3)
	for d.occupied() > limit && d.scale > MinScale {
		d.coarsen(d.scale - 1)
	}
	h := Histogram{Scale: int(d.scale), Bins: make([]Bin, 0, d.occupied())}
	for k := len(d.negative.counts) - 1; k >= 0; k-- {
		if n := d.negative.counts[k]; n > 0 {
			e := d.within(d.negative.low + k)
			h.Bins = append(h.Bins, Bin{-e.Upper, -e.Lower, n})
		}
	}
	if d.zero > 0 {
		h.Bins = append(h.Bins, Bin{0, 0, d.zero})
	}
	for k, n := range d.positive.counts {
		if n > 0 {
			e := d.within(d.positive.low + k)
			h.Bins = append(h.Bins, Bin{e.Lower, e.Upper, n})
		}
	}
	return h
}

func (d *DDSketch) occupied() int {
	n := 0
	for _, b := range []*buckets{&d.negative, &d.positive} {
		for _, c := range b.counts {
			if c > 0 {
				n++
			}
		}
	}
	if d.zero > 0 {
		n++
	}
	return n
}

// Histogram returns the digest in buckets of scale 5, joined until there are at
// most limit. While the digest is exact the counts are too; then they are
// differences of ranks.
func (t *TDigest) Histogram(limit int) Histogram {
	t = t.settled()
	h := DDSketch{scale: DefaultScale, min: t.min, max: t.max, bucketed: true}
	cs := t.cs
	if !t.inexact {
		for _, c := range cs {
			h.addBucketed(c.mean, uint64(c.weight()))
		}
		return h.histogram(limit)
	}
	// A centroid's values lie around its mean, between those of its neighbours:
	// spread its two halves evenly to either side, a slice for each bucket crossed.
	owed := 0.0
	for i, c := range cs {
		if !c.mixed() {
			h.addBucketed(c.mean, uint64(c.weight()))
			continue
		}
		left, right := t.min, t.max
		if i > 0 {
			left = (cs[i-1].mean + c.mean) / 2
		}
		if i+1 < len(cs) {
			right = (c.mean + cs[i+1].mean) / 2
		}
		owed = h.spread(left, c.mean, c.weight()/2, owed)
		owed = h.spread(c.mean, right, c.weight()/2, owed)
	}
	return h.histogram(limit)
}

// spread adds a weight evenly between two values, in whole counts; the fraction
// that is left is passed on, so that the sum comes out right.
func (d *DDSketch) spread(from, to, weight, owed float64) float64 {
	const slices = 16
	if from == to {
		weight += owed
		whole := math.Floor(weight + 1e-6)
		if whole > 0 {
			d.addBucketed(from, uint64(whole))
		}
		return weight - whole
	}
	for i := range slices {
		owed += weight / slices
		if whole := math.Floor(owed + 1e-6); whole > 0 {
			part := (float64(i) + 0.5) / slices
			d.addBucketed(from*(1-part)+to*part, uint64(whole))
			owed -= whole
		}
	}
	return owed
}
