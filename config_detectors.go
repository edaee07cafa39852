package weir

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// DetectorConfig watches one value of a stream, in each of its series: what it
// was in every closed window is compared with what was to be expected. What it
// finds becomes an incident, which webhooks are told of.
type DetectorConfig struct {
	// Its name, unique among all detectors.
	Name string `yaml:"name"`

	// The stream, which may be left out if there is one, and what is watched of it, written as questions select it
	// (count, delay.p99, users.distinct, ...) or as a ratio of two of these:
	// "errors.sum / count". Default count.
	Stream string `yaml:"stream"`
	Value  string `yaml:"value"`

	// The dimensions whose every combination of values is a series of its own.
	// Default none: one series of all events.
	By []string `yaml:"by,omitempty,flow"`

	// Which events are meant, as questions filter. Default all.
	Where string `yaml:"where,omitempty"`

	// The width of the windows that are compared, a multiple of the stream's that
	// divides a day. Default 1m, or the stream's window if that is wider.
	Window time.Duration `yaml:"window"`

	// How it is judged: exactly one of these. Default seasonal.
	Seasonal  *SeasonalConfig  `yaml:"seasonal,omitempty,flow"`
	Breakout  *BreakoutConfig  `yaml:"breakout,omitempty,flow"`
	Threshold *ThresholdConfig `yaml:"threshold,omitempty,flow"`
	Change    *ChangeConfig    `yaml:"change,omitempty,flow"`

	// On what scale the value is judged: value (as it is), count (a root), rate (a
	// logarithm away from zero, and a line near it), ratio (of shares from 0 to
	// 1) or quantile (a logarithm, of what is never negative). Default count of
	// counts and distinct counts, rate of rates, sums and quantiles, and else
	// value.
	Scale string `yaml:"scale"`

	// What a window says in which a series has no event: ignore (nothing), zero
	// (its value is 0), previous (it is what it was), or alarm (that is the
	// anomaly). Default zero of counts, sums and rates, and else ignore.
	Gap string `yaml:"gap"`

	// After how many anomalous windows on end an incident is opened, and from
	// which score on it is after one. Default 1, and never.
	For    int     `yaml:"for"`
	AtOnce float64 `yaml:"at_once,omitempty"`

	// After how many normal windows on end it is over. Default 3.
	ResolveAfter int `yaml:"resolve_after"`

	// The score from which an incident is critical rather than a warning; 5 is
	// one chance in 100,000 a window. Default 5.
	Critical float64 `yaml:"critical"`

	// How many series it watches; further ones are counted and not watched.
	// Default 20000.
	MaxSeries int `yaml:"max_series"`

	// How many incidents of it may be open. One more stands for all that is
	// found beyond. Default 20.
	MaxIncidents int `yaml:"max_incidents"`

	// Older incidents, found while old events are loaded, are recorded and not
	// delivered. Default 1h.
	MaxAge time.Duration `yaml:"max_age"`

	// Where days begin: a name such as America/New_York. Seasons follow its
	// daylight saving, and holidays are its days. Default UTC.
	Timezone string `yaml:"timezone,omitempty"`

	// Days that need not look like their day of the week.
	Holidays []Date `yaml:"holidays,omitempty,flow"`

	// The webhooks that are told, by name. Default all; [] is none.
	Webhooks []string `yaml:"webhooks,flow"`
}

// SeasonalConfig looks for values that level, season and usual scatter do not
// lead to expect. What is anomalous is not learned, unless it lasts for half a
// season (60 windows without one): then it is the new normal.
type SeasonalConfig struct {
	// The lengths of the seasons, shortest first; at most two. Default: one is
	// looked for.
	Periods []time.Duration `yaml:"periods,omitempty"`

	// One false alarm in about so many windows of a series in which nothing
	// happens. 10 to 100000, default 10000: of what would be rarer, too little
	// is ever seen.
	OneIn float64 `yaml:"one_in"`

	// How long it only learns. Default two of the shortest period, and at least
	// 300 windows.
	Warmup time.Duration `yaml:"warmup,omitempty"`
}

// BreakoutConfig looks for levels that have shifted or drift off, and for values
// that scatter more or less than they did.
type BreakoutConfig struct {
	// As of seasonal. Default none.
	Periods []time.Duration `yaml:"periods,omitempty"`

	// How long a change has to have lasted. Default five windows.
	MinSize time.Duration `yaml:"min_size,omitempty"`

	// As of seasonal. 10 to 10000000, default 50000.
	OneIn float64 `yaml:"one_in"`

	// How long it only learns. Default 100 windows, or two of the shortest
	// period.
	Warmup time.Duration `yaml:"warmup,omitempty"`
}

// ThresholdConfig holds values to fixed limits.
type ThresholdConfig struct {
	// The limits, which themselves are within. At least one.
	Above *float64 `yaml:"above,omitempty"`
	Below *float64 `yaml:"below,omitempty"`

	// How far inside a value has to be to be back. Default 0.
	Margin float64 `yaml:"margin,omitempty"`
}

// ChangeConfig holds the change over a time to fixed limits.
type ChangeConfig struct {
	// The time. Default one window.
	Over time.Duration `yaml:"over,omitempty"`

	// How much is too much, absolutely, or as a share of the earlier value: 0.5
	// is half more, or half less. At least one.
	Rise float64 `yaml:"rise,omitempty"`
	Fall float64 `yaml:"fall,omitempty"`

	// Whether they are shares. Default true.
	Relative *bool `yaml:"relative,omitempty"`
}

// MaintenanceConfig is a time in which what detectors find is recorded and not
// delivered.
type MaintenanceConfig struct {
	// What it is for.
	Name string `yaml:"name"`

	// From when to when, such as 2026-11-22T02:00:00Z.
	From Instant `yaml:"from"`
	To   Instant `yaml:"to"`

	// The detectors that are meant. Default all.
	Detectors []string `yaml:"detectors,omitempty,flow"`
}

// Date is a day, such as 2026-12-25.
type Date string

// Instant is a point in time, such as 2026-11-22T02:00:00Z.
type Instant struct{ time.Time }

// MarshalYAML writes the instant as it is read.
func (i Instant) MarshalYAML() (any, error) { return i.Format(time.RFC3339Nano), nil }

func (i *Instant) decodeYAML(k *checker, path string, node ast.Node) {
	k.scalar(path, node, "a time such as 2026-11-22T02:00:00Z", func(text string) (err error) {
		if i.Time, err = time.Parse(time.RFC3339Nano, text); err != nil {
			err = fmt.Errorf("%q is not a time such as 2026-11-22T02:00:00Z", text)
		}
		return err
	})
}

// ParseDetector reads what [DetectorConfig.JSON] has written.
func ParseDetector(definition []byte) (*DetectorConfig, error) {
	d, k := new(DetectorConfig), &checker{file: "definition", at: map[string]position{}, unsound: map[string]bool{}}
	k.decode(definition, d)
	if len(k.mistakes) > 0 {
		return nil, k.sorted()
	}
	return d, nil
}

var (
	gapPolicies = []string{"ignore", "zero", "previous", "alarm"}
	scales      = []string{"value", "count", "rate", "ratio", "quantile"}
)

// additive reports whether the value counts or sums something, so that nothing
// seen is zero.
func additive(value string) bool {
	return value == "count" || value == "rate" || strings.HasSuffix(value, ".sum") || strings.HasSuffix(value, ".distinct")
}

func scaleOf(value string) string {
	_, function, _ := strings.Cut(value, ".")
	switch {
	case strings.Contains(value, "/"):
		return "value"
	case value == "count" || function == "distinct":
		return "count"
	case value == "rate" || function == "sum" || strings.HasPrefix(function, "p") || strings.HasPrefix(function, "quantile("):
		return "rate" // a quantile may be negative, which its own scale does not bear
	case strings.HasPrefix(function, "rank("):
		return "ratio"
	}
	return "value"
}

func (k *checker) completeDetector(path string, d *DetectorConfig, c *Config) {
	streams := c.Streams
	base := time.Minute
	if len(streams) == 1 {
		fill(k, path+".stream", &d.Stream, slices.Collect(maps.Keys(streams))[0])
	}
	if s := streams[d.Stream]; s != nil {
		base = max(base, s.Window)
		if base%s.Window != 0 && s.Window > 0 {
			base = s.Window
		}
	}
	fill(k, path+".value", &d.Value, "count")
	fill(k, path+".window", &d.Window, base)
	if d.kinds() == 0 {
		d.Seasonal = new(SeasonalConfig)
	}
	if s := d.Seasonal; s != nil {
		fill(k, path+".seasonal.one_in", &s.OneIn, 10_000)
	}
	if b := d.Breakout; b != nil {
		fill(k, path+".breakout.one_in", &b.OneIn, 50_000)
	}
	if change := d.Change; change != nil {
		fill(k, path+".change.over", &change.Over, d.Window)
		relative := true
		fill(k, path+".change.relative", &change.Relative, &relative)
	}
	fill(k, path+".scale", &d.Scale, scaleOf(d.Value))
	gap := "ignore"
	if additive(d.Value) {
		gap = "zero"
	}
	fill(k, path+".gap", &d.Gap, gap)
	fill(k, path+".for", &d.For, 1)
	fill(k, path+".resolve_after", &d.ResolveAfter, 3)
	fill(k, path+".critical", &d.Critical, 5)
	fill(k, path+".max_series", &d.MaxSeries, 20_000)
	fill(k, path+".max_incidents", &d.MaxIncidents, 20)
	fill(k, path+".max_age", &d.MaxAge, time.Hour)
	fill(k, path+".webhooks", &d.Webhooks, c.webhookNames())
}

func (d *DetectorConfig) kinds() int {
	n := 0
	for _, given := range []bool{d.Seasonal != nil, d.Breakout != nil, d.Threshold != nil, d.Change != nil} {
		if given {
			n++
		}
	}
	return n
}

// checkDetectors validates what is watched, and the names that refer to others.
// The expressions of value and where are read by those who know their language.
func (k *checker) checkDetectors(c *Config) {
	names, hooks := map[string]bool{}, c.webhookNames()
	for i, d := range c.Detectors {
		path := fmt.Sprintf("detectors.%d", i)
		if d == nil || k.unsound[path] {
			continue
		}
		if d.Name == "" {
			k.fail(path, "detector: name is missing")
		} else if k.checkName(path+".name", "detector", d.Name); names[d.Name] {
			k.fail(path+".name", "detector %s: the name is taken by another detector", d.Name)
		}
		if d.Name != "" {
			names[d.Name] = true
		}
		k.checkDetector(path, d, c, hooks)
	}
	for i, m := range c.Maintenance {
		path := fmt.Sprintf("maintenance.%d", i)
		if m == nil || k.unsound[path] {
			continue
		}
		if !m.From.Before(m.To.Time) {
			k.fail(path, "maintenance: it wants from and to, the earlier first")
		}
		for j, name := range m.Detectors {
			if !names[name] {
				k.fail(fmt.Sprintf("%s.detectors.%d", path, j), "maintenance: unknown detector %q%s", name, suggest(name, slices.Sorted(maps.Keys(names))))
			}
		}
	}
}

func (k *checker) checkDetector(path string, d *DetectorConfig, c *Config, hooks []string) {
	s := c.Streams[d.Stream]
	switch {
	case d.Stream == "":
		k.fail(path, "detector %s: stream is missing", d.Name)
		return
	case s == nil:
		k.fail(path+".stream", "detector %s: unknown stream %q%s", d.Name, d.Stream, suggest(d.Stream, slices.Sorted(maps.Keys(c.Streams))))
		return
	}
	dimensions := make([]string, len(s.Dimensions))
	for i := range s.Dimensions {
		dimensions[i] = s.Dimensions[i].Name
	}
	for i, name := range d.By {
		at := fmt.Sprintf("%s.by.%d", path, i)
		if !slices.Contains(dimensions, name) {
			k.fail(at, "by: stream %s has no dimension %q%s", d.Stream, name, suggest(name, dimensions))
		} else if slices.Index(d.By, name) < i {
			k.fail(at, "by: %s is named twice", name)
		}
	}
	if d.Window < s.Window || s.Window <= 0 || d.Window%s.Window != 0 || day%d.Window != 0 {
		k.fail(path+".window", "window: %s is not a multiple of %s, the stream's, that divides a day",
			FormatDuration(d.Window), FormatDuration(s.Window))
		return
	}
	k.checkMethod(path, d)
	if !slices.Contains(scales, d.Scale) {
		k.fail(path+".scale", "unknown scale %q%s", d.Scale, suggest(d.Scale, scales))
	}
	if !slices.Contains(gapPolicies, d.Gap) {
		k.fail(path+".gap", "unknown gap policy %q%s", d.Gap, suggest(d.Gap, gapPolicies))
	}
	between(k, path+".for", d.For, 1, 1000)
	between(k, path+".at_once", d.AtOnce, 0, 300)
	between(k, path+".resolve_after", d.ResolveAfter, 1, 1000)
	between(k, path+".critical", d.Critical, 0, 300)
	between(k, path+".max_series", d.MaxSeries, 1, 1_000_000)
	between(k, path+".max_incidents", d.MaxIncidents, 1, 1000)
	atLeast(k, path+".max_age", d.MaxAge, 0, FormatDuration)
	if _, err := time.LoadLocation(d.Timezone); err != nil {
		k.fail(path+".timezone", "timezone: %q is none that this machine knows; it wants a name such as America/New_York", d.Timezone)
	}
	for i, date := range d.Holidays {
		if _, err := time.Parse(time.DateOnly, string(date)); err != nil {
			k.fail(fmt.Sprintf("%s.holidays.%d", path, i), "holidays: %q is not a day such as 2026-12-25", date)
		}
	}
	for i, name := range d.Webhooks {
		if !slices.Contains(hooks, name) {
			k.fail(fmt.Sprintf("%s.webhooks.%d", path, i), "webhooks: there is none called %q%s", name, suggest(name, hooks))
		}
	}
}

func (k *checker) checkMethod(path string, d *DetectorConfig) {
	if d.kinds() > 1 {
		k.fail(path, "detector %s: more than one of seasonal, breakout, threshold and change; make it two detectors", d.Name)
		return
	}
	periods := func(path string, periods []time.Duration) {
		if len(periods) > 2 {
			k.fail(path, "periods: %d of them; at most two", len(periods))
		}
		for i, p := range periods {
			if p%d.Window != 0 || p < 2*d.Window || i > 0 && p <= periods[i-1] {
				k.fail(fmt.Sprintf("%s.%d", path, i), "periods: %s is not a multiple of the window %s, at least two of it and longer than the one before",
					FormatDuration(p), FormatDuration(d.Window))
			}
		}
	}
	switch {
	case d.Seasonal != nil:
		periods(path+".seasonal.periods", d.Seasonal.Periods)
		between(k, path+".seasonal.one_in", d.Seasonal.OneIn, 10, 100_000)
	case d.Breakout != nil:
		periods(path+".breakout.periods", d.Breakout.Periods)
		between(k, path+".breakout.one_in", d.Breakout.OneIn, 10, 10_000_000)
	case d.Threshold != nil:
		t := d.Threshold
		if t.Above == nil && t.Below == nil {
			k.fail(path+".threshold", "threshold: it wants above, below or both, such as {above: 500}")
		} else if t.Above != nil && t.Below != nil && *t.Above < *t.Below {
			k.fail(path+".threshold", "threshold: nothing is neither above %v nor below %v", *t.Above, *t.Below)
		}
		if t.Margin < 0 {
			k.fail(path+".threshold.margin", "margin: %v is out of range; it is how far inside the limits a value has to be, at least 0", t.Margin)
		}
	case d.Change != nil:
		if d.Change.Rise <= 0 && d.Change.Fall <= 0 {
			k.fail(path+".change", "change: it wants rise, fall or both, such as {fall: 0.5}")
		}
		if d.Change.Over%d.Window != 0 || d.Change.Over < d.Window || d.Change.Over > 1024*d.Window {
			k.fail(path+".change.over", "over: %s is not 1 to 1024 times the window %s", FormatDuration(d.Change.Over), FormatDuration(d.Window))
		}
	}
}
