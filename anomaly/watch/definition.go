package watch

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly"
	"github.com/weir-stream/weir/query"
)

// definition is a detector's configuration, ready to be run.
type definition struct {
	config *weir.DetectorConfig
	text   []byte // the configuration, as batches keep it
	hash   string // of all that decides on scores and incidents
	stream *weir.Stream

	value query.Expression
	over  *query.Expression // of a ratio; nil
	where query.Where
	width int64 // of a window, ns
	kind  anomaly.Kind

	threshold float64 // of the score; 0: what the detector calls anomalous
	location  *time.Location
	holidays  map[string]bool
	patience  int   // anomalous windows on end that are not learned; what lasts longer is the new normal
	forget    int64 // windows after which a series that was not seen is forgotten
	fresh     func() (anomaly.Detector, error)
}

// Check reports what is wrong with a detector that only those can know who know
// the language of questions. Its error names the key of the configuration, then
// what is wrong.
func Check(c *weir.DetectorConfig, s *weir.Stream) (key string, err error) {
	_, key, err = define(c, s)
	return key, err
}

// define compiles a detector's configuration. An error comes with the key that
// it is about.
func define(c *weir.DetectorConfig, s *weir.Stream) (d *definition, key string, err error) {
	d = &definition{config: c, stream: s, width: int64(c.Window), location: time.UTC, holidays: make(map[string]bool)}
	numerator, denominator, ratio := cutRatio(c.Value)
	if d.value, err = scalar(numerator, s); err != nil {
		return nil, "value", err
	}
	if ratio {
		over, err := scalar(denominator, s)
		if err != nil {
			return nil, "value", err
		}
		d.over = &over
	}
	if d.where, err = query.ParseWhere(c.Where); err != nil {
		return nil, "where", err
	}
	if _, err := d.where.Match(s); err != nil {
		return nil, "where", err
	}
	if d.kind, err = anomaly.ParseKind(c.Scale); err != nil {
		return nil, "scale", err
	}
	if c.Timezone != "" {
		if d.location, err = time.LoadLocation(c.Timezone); err != nil {
			return nil, "timezone", err
		}
	}
	for _, day := range c.Holidays {
		d.holidays[string(day)] = true
	}
	d.method()
	if _, err := d.fresh(); err != nil {
		return nil, "", err
	}
	if d.text, err = c.JSON(); err != nil {
		return nil, "", err
	}
	judged := *c
	judged.Webhooks, judged.MaxAge = nil, 0 // who is told decides on no incident
	text, err := judged.JSON()
	if err != nil {
		return nil, "", err
	}
	measures, err := json.Marshal([]any{s.Window, s.Dimensions, s.Measures, s.Seed})
	if err != nil {
		return nil, "", fmt.Errorf("write the definition of stream %s: %w", s.Name, err)
	}
	d.hash = fmt.Sprintf("%016x", xxh3.Hash(append(text, measures...)))
	return d, "", nil
}

// method chooses what makes a fresh detector.
func (d *definition) method() {
	c := d.config
	longest := int64(7 * 24 * time.Hour)
	steps := func(periods []time.Duration) []int {
		var out []int
		for _, p := range periods {
			out = append(out, int(p/c.Window))
			longest = max(longest, 2*int64(p))
		}
		return out
	}
	switch {
	case c.Seasonal != nil:
		d.threshold = math.Log10(c.Seasonal.OneIn)
		config := anomaly.SeasonalConfig{Periods: steps(c.Seasonal.Periods), Kind: d.kind, Warmup: int(c.Seasonal.Warmup / c.Window),
			Threshold: d.threshold, Cooldown: -1} // what lasts is one incident; the machine sees to that
		d.patience = patienceWithoutSeason
		if len(config.Periods) > 0 {
			d.patience = max(1, config.Periods[0]/2)
		}
		d.fresh = func() (anomaly.Detector, error) { return anomaly.NewSeasonal(config) }
	case c.Breakout != nil:
		config := anomaly.BreakoutConfig{Periods: steps(c.Breakout.Periods), Kind: d.kind, Warmup: int(c.Breakout.Warmup / c.Window),
			MinSize: int(c.Breakout.MinSize / c.Window), Threshold: math.Log10(c.Breakout.OneIn)}
		d.fresh = func() (anomaly.Detector, error) { return anomaly.NewBreakout(config) }
	case c.Threshold != nil:
		config := anomaly.ThresholdConfig{Lower: math.Inf(-1), Upper: math.Inf(1), Margin: c.Threshold.Margin}
		if c.Threshold.Below != nil {
			config.Lower = *c.Threshold.Below
		}
		if c.Threshold.Above != nil {
			config.Upper = *c.Threshold.Above
		}
		d.fresh = func() (anomaly.Detector, error) { return anomaly.NewThreshold(config) }
	case c.Change != nil:
		config := anomaly.RateConfig{Over: int(c.Change.Over / c.Window), Rise: c.Change.Rise, Fall: c.Change.Fall,
			Relative: c.Change.Relative == nil || *c.Change.Relative}
		d.fresh = func() (anomaly.Detector, error) { return anomaly.NewRateOfChange(config) }
	}
	d.forget = longest / d.width
}

// patienceWithoutSeason is how many anomalous windows on end are not learned
// where there is no season, of which it is half otherwise.
const patienceWithoutSeason = 60

// cutRatio splits "a / b", unless the slash is in quotes.
func cutRatio(value string) (numerator, denominator string, ratio bool) {
	quoted := false
	for i, r := range value {
		switch {
		case r == '"':
			quoted = !quoted
		case r == '/' && !quoted:
			return strings.TrimSpace(value[:i]), strings.TrimSpace(value[i+1:]), true
		}
	}
	return value, "", false
}

// scalar reads an expression whose value is a number, and one that the stream
// can answer.
func scalar(text string, s *weir.Stream) (query.Expression, error) {
	e, err := query.ParseExpression(text)
	if err != nil {
		return e, err
	}
	if err := query.Answerable(s, e); err != nil {
		return e, err
	}
	if !e.Function.Scalar() {
		return e, fmt.Errorf("%s is a list; a detector watches a number", text)
	}
	return e, nil
}

// point is the value of a window, as a detector takes it.
func (d *definition) point(window int64, value float64) anomaly.Point {
	p := anomaly.Point{Step: weir.WindowStart(window, d.width) / d.width, Value: value}
	if d.location != time.UTC || len(d.holidays) > 0 {
		local := time.Unix(0, window).In(d.location)
		_, ahead := local.Zone()
		p.Shift = int64(ahead) * int64(time.Second) / d.width
		p.Holiday = d.holidays[local.Format(time.DateOnly)]
	}
	return p
}

// anomalous reports whether a window counts as one of an incident.
func (d *definition) anomalous(e *anomaly.Explanation) bool {
	if d.threshold > 0 {
		return e.Score >= d.threshold // also where the detector itself would have said enough
	}
	return e.Anomalous
}
