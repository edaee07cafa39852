package weir

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const maxPartitions = 256

var timeFormats = []string{string(RFC3339), string(UnixSeconds), string(UnixMillis), string(UnixMicros), string(UnixNanos)}

// checkStream validates one stream, names apart.
func (k *checker) checkStream(path, name string, s *StreamConfig) {
	k.checkSource(path+".source", &s.Source)

	k.checkPath(path+".time.field", "time", s.Time.Field)
	if !slices.Contains(timeFormats, string(s.Time.Format)) {
		k.fail(path+".time.format", "unknown time format %q%s", s.Time.Format, suggest(string(s.Time.Format), timeFormats))
	}
	between(k, path+".max_series", s.MaxSeries, 1, 10_000_000)
	between(k, path+".max_line", s.MaxLine, 64, 64<<20)

	switch w := s.Window; {
	case w < 10*time.Millisecond:
		k.fail(path+".window", "window: %s is too little; at least 10ms", FormatDuration(w))
	case w > 365*day:
		k.fail(path+".window", "window: %s is too much; at most 1y", FormatDuration(w))
	case day%w != 0 && w%day != 0:
		k.fail(path+".window", "window: %s neither divides a day nor is a whole number of days; did you mean %q?",
			FormatDuration(w), FormatDuration(nearestWindow(w)))
	}
	k.checkRetention(path+".retention", s)

	for _, measure := range slices.Sorted(maps.Keys(s.Measures)) {
		k.checkMeasure(path+".measures."+measure, measure, s.Measures[measure])
	}
}

// nearestWindow is the widest usual window that is no wider than w.
func nearestWindow(w time.Duration) time.Duration {
	nearest := 10 * time.Millisecond
	for _, usual := range []time.Duration{
		100 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 6 * time.Hour, 12 * time.Hour, day,
	} {
		if usual <= w {
			nearest = usual
		}
	}
	return nearest
}

func (s *SourceConfig) kinds() int {
	n := 0
	for _, given := range []bool{s.Push != nil, s.File != nil, s.Stdin != nil, s.Kafka != nil, s.Pulsar != nil} {
		if given {
			n++
		}
	}
	return n
}

func (s *SourceConfig) source() Source {
	switch {
	case s.File != nil:
		return Source{Kind: File, Path: s.File.Path}
	case s.Kafka != nil:
		return Source{Kind: Kafka, Kafka: s.Kafka}
	case s.Pulsar != nil:
		return Source{Kind: Pulsar, Pulsar: s.Pulsar}
	case s.Stdin != nil:
		return Source{Kind: Stdin, Partitions: s.Stdin.Partitions}
	case s.Push != nil:
		return Source{Kind: Push, Partitions: s.Push.Partitions}
	}
	panic("weir: a stream without a source, though push is the default")
}

func (k *checker) checkSource(path string, s *SourceConfig) {
	if s.kinds() > 1 {
		k.fail(path, "source: more than one of push, file, stdin, kafka and pulsar; a stream has one source")
	}
	if s.Kafka != nil {
		k.checkKafka(path+".kafka", s.Kafka)
	}
	if s.Pulsar != nil {
		k.checkPulsar(path+".pulsar", s.Pulsar)
	}
	if s.File != nil && s.File.Path == "" {
		k.fail(path+".file", "file: path is missing")
	}
	if s.Push != nil {
		between(k, path+".push.partitions", s.Push.Partitions, 1, maxPartitions)
	}
	if s.Stdin != nil {
		between(k, path+".stdin.partitions", s.Stdin.Partitions, 1, maxPartitions)
	}
}

func (k *checker) checkRetention(path string, s *StreamConfig) {
	previous := RetentionConfig{Window: s.Window}
	for i, r := range s.Retention {
		at := fmt.Sprintf("%s.%d", path, i)
		if k.unsound[at] || k.unsound[at+".window"] || k.unsound[at+".keep"] {
			return
		}
		switch {
		case r.Window <= 0 || r.Keep <= 0:
			k.fail(at, "retention: an entry wants both, such as {window: 1m, keep: 14d}")
			return
		case i == 0 && r.Window != s.Window && !k.unsound[strings.TrimSuffix(path, "retention")+"window"]:
			k.fail(at+".window", "retention: the first window is %s; it must be the stream's own, %s",
				FormatDuration(r.Window), FormatDuration(s.Window))
		case i > 0 && (r.Window <= previous.Window || r.Window%previous.Window != 0):
			k.fail(at+".window", "retention: %s is not a larger multiple of %s, the window before it",
				FormatDuration(r.Window), FormatDuration(previous.Window))
		case day%r.Window != 0 && r.Window%day != 0:
			k.fail(at+".window", "retention: %s neither divides a day nor is a whole number of days", FormatDuration(r.Window))
		}
		if r.Keep < r.Window {
			k.fail(at+".keep", "retention: windows of %s cannot be kept for %s, which is less",
				FormatDuration(r.Window), FormatDuration(r.Keep))
		} else if i > 0 && r.Keep <= previous.Keep {
			k.fail(at+".keep", "retention: %s is no longer than the %s that finer windows are kept; the entry would do nothing",
				FormatDuration(r.Keep), FormatDuration(previous.Keep))
		}
		previous = r
	}
}

// measures returns the measures that the configuration of one name stands for,
// in the order of their kinds. Quantile includes sum, so they become one.
func (m *MeasureConfig) measures(name string) []Measure {
	var out []Measure
	if m.Sum != "" && m.Quantile == "" {
		out = append(out, Measure{Name: name, Kind: Sum, Field: m.Sum})
	}
	if m.Quantile != "" {
		out = append(out, Measure{Name: name, Kind: Quantile, Field: m.Quantile,
			Params: Params{Sketch: m.Sketch, Compression: m.Compression, Scale: m.Scale}})
	}
	if m.Distinct != "" {
		out = append(out, Measure{Name: name, Kind: Distinct, Field: m.Distinct, Params: Params{Precision: m.Precision}})
	}
	if m.Top != "" {
		out = append(out, Measure{Name: name, Kind: Top, Field: m.Top, Params: Params{Slots: m.Slots}})
	}
	if m.Frequency != "" {
		out = append(out, Measure{Name: name, Kind: Frequency, Field: m.Frequency,
			Params: Params{Epsilon: m.Epsilon, Delta: m.Delta}})
	}
	return out
}

func (k *checker) checkMeasure(path, name string, m *MeasureConfig) {
	fields := []struct {
		kind  Kind
		field Path
	}{{Sum, m.Sum}, {Quantile, m.Quantile}, {Distinct, m.Distinct}, {Top, m.Top}, {Frequency, m.Frequency}}
	empty := true
	for _, f := range fields {
		at := path + "." + f.kind.String()
		if f.field != "" {
			empty = false
			k.checkPath(at, "measure "+name, f.field)
		} else if k.has(at) {
			empty = false
			k.fail(at, "%s: it wants the path of a field", f.kind)
		}
	}
	if empty && !k.unknownBelow(path) {
		k.fail(path, "measure %s remembers nothing; give it at least one of sum, quantile, distinct, top and frequency, such as {sum: %s}", name, name)
		return
	}
	if m.Sum != "" && m.Quantile != "" && m.Sum != m.Quantile {
		k.fail(path+".sum", "measure %s sums %s but takes quantiles of %s; quantile keeps the sums of its own field, so give one of them another name",
			name, m.Sum, m.Quantile)
	}

	// A parameter without its sketch would silently do nothing.
	option := func(key string, kind Kind, used bool) bool {
		given := k.has(path + "." + key)
		if given && !used {
			k.fail(path+"."+key, "%s is a parameter of %s, which measure %s does not have", key, kind, name)
		}
		return used
	}
	quantile := m.Quantile != ""
	if k.unsound[path+".sketch"] {
		return
	}
	if option("sketch", Quantile, quantile) && m.Sketch != TDigest && m.Sketch != DDSketch {
		k.fail(path+".sketch", "unknown sketch %q%s", m.Sketch, suggest(m.Sketch, []string{TDigest, DDSketch}))
		return
	}
	if option("compression", Quantile, quantile) {
		if m.Sketch == TDigest {
			between(k, path+".compression", m.Compression, 20, 1000)
		} else if k.has(path + ".compression") {
			k.fail(path+".compression", "compression is a parameter of tdigest; ddsketch has scale")
		}
	}
	if option("scale", Quantile, quantile) {
		if m.Sketch == DDSketch {
			between(k, path+".scale", m.Scale, 1, 8)
		} else if k.has(path + ".scale") {
			k.fail(path+".scale", "scale is a parameter of ddsketch; tdigest has compression")
		}
	}
	if option("precision", Distinct, m.Distinct != "") {
		between(k, path+".precision", m.Precision, 4, 18)
	}
	if option("slots", Top, m.Top != "") {
		between(k, path+".slots", m.Slots, 8, 65536)
	}
	if option("epsilon", Frequency, m.Frequency != "") {
		between(k, path+".epsilon", m.Epsilon, 0.00001, 0.5)
	}
	if option("delta", Frequency, m.Frequency != "") {
		between(k, path+".delta", m.Delta, 0.000001, 0.5)
	}
}

// unknownBelow reports whether a key directly below the path was a mistake, so
// that what seems to be missing may be meant by it.
func (k *checker) unknownBelow(path string) bool {
	for p := range k.unsound {
		if below, ok := strings.CutPrefix(p, path+"."); ok && !strings.Contains(below, ".") {
			return true
		}
	}
	return k.unsound[path]
}
