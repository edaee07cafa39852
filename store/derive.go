package store

import (
	"fmt"
	"math"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// derived computes the plain columns that stand beside a sketch for tools that
// cannot read it. It holds those of the measure written last: p50 and p99, or
// distinct in first.
type derived struct {
	first, second []float64

	quantiles quantiles   // reused from sketch to sketch, like the next
	quantile  weir.Params // of quantiles
	distinct  *sketch.HLL
	precision int // of distinct
}

// quantiles is what both sketches of a quantile measure can do.
type quantiles interface {
	Reset()
	MergeBinary(encoded []byte) error
	Quantile(q, confidence float64) sketch.Estimate
}

func (d *derived) reset() { d.first, d.second = d.first[:0], d.second[:0] }

// add derives from one encoded sketch of a measure.
func (d *derived) add(m *weir.Measure, seed uint64, encoded []byte) error {
	var err error
	switch m.Kind {
	case weir.Quantile:
		p50, p99 := math.NaN(), math.NaN()
		if len(encoded) > 0 {
			if p50, p99, err = d.quantilesOf(m, encoded); err != nil {
				return fmt.Errorf("measure %s: %w", m.Name, err)
			}
		}
		d.first, d.second = append(d.first, p50), append(d.second, p99)
	case weir.Distinct:
		n := 0.0
		if len(encoded) > 0 {
			if n, err = d.distinctOf(m, seed, encoded); err != nil {
				return fmt.Errorf("measure %s: %w", m.Name, err)
			}
		}
		d.first = append(d.first, n)
	}
	return nil
}

func (d *derived) quantilesOf(m *weir.Measure, encoded []byte) (p50, p99 float64, err error) {
	if d.quantiles == nil || d.quantile != m.Params {
		d.quantile = m.Params
		if m.Params.Sketch == "ddsketch" {
			d.quantiles = sketch.NewDDSketch(m.Params.Scale)
		} else {
			d.quantiles = sketch.NewTDigest(m.Params.Compression)
		}
	}
	d.quantiles.Reset()
	if err := d.quantiles.MergeBinary(encoded); err != nil {
		return 0, 0, err
	}
	return d.quantiles.Quantile(0.5, 0).Value, d.quantiles.Quantile(0.99, 0).Value, nil
}

func (d *derived) distinctOf(m *weir.Measure, seed uint64, encoded []byte) (float64, error) {
	if d.distinct == nil || d.precision != m.Params.Precision || d.distinct.Seed() != seed {
		d.distinct, d.precision = sketch.NewHLL(m.Params.Precision, seed), m.Params.Precision
	}
	d.distinct.Reset()
	if err := d.distinct.MergeBinary(encoded); err != nil {
		return 0, err
	}
	return d.distinct.Estimate(0).Value, nil
}
