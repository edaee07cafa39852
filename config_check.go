package weir

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	day           = 24 * time.Hour
	maxDimensions = 16
	maxMeasures   = 64
	maxNameBytes  = 64
	maxPathKeys   = 16
)

// complete fills in the default of every key that the file leaves out. Paths
// become relative to dir, the directory of the file.
func (k *checker) complete(c *Config, dir string) {
	fill(k, "store", &c.Store, "weir-data")
	if !c.Remote() && !filepath.IsAbs(c.Store) {
		c.Store = filepath.Join(dir, c.Store)
	}
	if c.Cache == nil && c.Remote() {
		c.Cache = new(CacheConfig)
	}
	if c.Cache != nil {
		fill(k, "cache.memory", &c.Cache.Memory, 256<<20)
		if disk := c.Cache.Disk; disk != nil && disk.Path != "" && !filepath.IsAbs(disk.Path) {
			disk.Path = filepath.Join(dir, disk.Path)
		}
	}
	fill(k, "listen", &c.Listen, "127.0.0.1:8080")
	for name, s := range c.Streams {
		k.completeStream(name, s, dir)
	}
	for i, w := range c.Webhooks {
		if w != nil {
			k.completeWebhook(fmt.Sprintf("webhooks.%d", i), w, dir)
		}
	}
	for i, d := range c.Detectors {
		if d != nil {
			k.completeDetector(fmt.Sprintf("detectors.%d", i), d, c)
		}
	}
	k.completeIncidents(c)
	fill(k, "flush.interval", &c.Flush.Interval, 10*time.Second)
	fill(k, "flush.memory", &c.Flush.Memory, 256<<20)

	switch {
	case !k.has("journal.path") && !c.Remote():
		c.Journal.Path = filepath.Join(c.Store, "_journal")
	case c.Journal.Path != "" && !isURL(c.Journal.Path) && !filepath.IsAbs(c.Journal.Path):
		c.Journal.Path = filepath.Join(dir, c.Journal.Path)
	}
	fill(k, "journal.file_size", &c.Journal.FileSize, 64<<20)
	fill(k, "journal.max_behind", &c.Journal.MaxBehind, 64<<20)
	fill(k, "journal.keys", &c.Journal.Keys, day)
	fill(k, "journal.max_keys", &c.Journal.MaxKeys, 1_000_000)

	fill(k, "limits.body", &c.Limits.Body, 32<<20)
	q := &c.Limits.Query
	fill(k, "limits.query.time", &q.Time, 30*time.Second)
	fill(k, "limits.query.cells", &q.Cells, 20_000_000)
	fill(k, "limits.query.series", &q.Series, 20_000)
	fill(k, "limits.query.points", &q.Points, 1_000_000)
	fill(k, "limits.query.memory", &q.Memory, 256<<20)
}

func (k *checker) completeStream(name string, s *StreamConfig, dir string) {
	path := "streams." + name
	if s.Source.kinds() == 0 {
		s.Source.Push = &PushConfig{}
	}
	if push := s.Source.Push; push != nil {
		fill(k, path+".source.push.partitions", &push.Partitions, min(runtime.NumCPU(), maxPartitions))
	}
	if stdin := s.Source.Stdin; stdin != nil {
		fill(k, path+".source.stdin.partitions", &stdin.Partitions, min(runtime.NumCPU(), maxPartitions))
	}
	if file := s.Source.File; file != nil && file.Path != "" && !filepath.IsAbs(file.Path) {
		file.Path = filepath.Join(dir, file.Path)
	}
	if kafka := s.Source.Kafka; kafka != nil {
		k.completeKafka(path+".source.kafka", name, kafka, dir)
	}
	if pulsar := s.Source.Pulsar; pulsar != nil {
		k.completePulsar(path+".source.pulsar", name, pulsar, dir)
	}
	fill(k, path+".time.field", &s.Time.Field, "time")
	fill(k, path+".time.format", &s.Time.Format, RFC3339)
	fill(k, path+".time.lateness", &s.Time.Lateness, 10*time.Second)
	fill(k, path+".time.max_ahead", &s.Time.MaxAhead, 5*time.Minute)
	fill(k, path+".window", &s.Window, 10*time.Second)
	fill(k, path+".max_series", &s.MaxSeries, 100_000)
	fill(k, path+".max_line", &s.MaxLine, 1<<20)
	for name, m := range s.Measures {
		k.completeMeasure(path+".measures."+name, m)
	}
}

func (k *checker) completeMeasure(path string, m *MeasureConfig) {
	if m.Quantile != "" {
		fill(k, path+".sketch", &m.Sketch, TDigest)
		switch m.Sketch {
		case TDigest:
			fill(k, path+".compression", &m.Compression, 100)
		case DDSketch:
			fill(k, path+".scale", &m.Scale, 5)
		}
	}
	if m.Distinct != "" {
		fill(k, path+".precision", &m.Precision, 14)
	}
	if m.Top != "" {
		fill(k, path+".slots", &m.Slots, 128)
	}
	if m.Frequency != "" {
		fill(k, path+".epsilon", &m.Epsilon, 0.001)
		fill(k, path+".delta", &m.Delta, 0.01)
	}
}

// fill sets the default of a key, unless the file gives it: a zero that is
// written is meant.
func fill[T any](k *checker, path string, value *T, fallback T) {
	if !k.has(path) || k.unsound[path] {
		*value = fallback
	}
}

// check validates a complete configuration.
func (k *checker) check(c *Config) {
	k.checkStore(c)
	k.checkNames(c)
	k.checkGroups(c)
	k.checkSubscriptions(c)
	for _, name := range slices.Sorted(maps.Keys(c.Streams)) {
		k.checkStream("streams."+name, name, c.Streams[name])
	}
	k.checkDetectors(c)
	k.checkIncidents(c)
	k.checkWebhooks(c)
	atLeast(k, "flush.interval", c.Flush.Interval, 10*time.Millisecond, FormatDuration)
	atLeast(k, "flush.memory", c.Flush.Memory, 1<<20, Size.String)
	between(k, "journal.file_size", c.Journal.FileSize, 1<<20, 1<<30)
	atLeast(k, "journal.max_behind", c.Journal.MaxBehind, 1<<20, Size.String)
	atLeast(k, "journal.keys", c.Journal.Keys, time.Second, FormatDuration)
	between(k, "journal.max_keys", c.Journal.MaxKeys, 1, 100_000_000)
	between(k, "limits.body", c.Limits.Body, 1<<10, 64<<20)
	q := &c.Limits.Query
	atLeast(k, "limits.query.time", q.Time, time.Millisecond, FormatDuration)
	atLeast(k, "limits.query.cells", q.Cells, 1, decimal)
	atLeast(k, "limits.query.series", q.Series, 1, decimal)
	atLeast(k, "limits.query.points", q.Points, 1, decimal)
	atLeast(k, "limits.query.memory", q.Memory, 1<<20, Size.String)
	k.checkAddress("listen", c.Listen)
	if c.Advertise != "" {
		k.checkAdvertise(c.Advertise)
	}
	if c.Admin != "" {
		k.checkAddress("admin", c.Admin)
	}
	if c.Admin != "" && c.Admin == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		k.fail("admin", "admin is the address of listen; profiles need one of their own")
	}
}

// checkAdvertise reports what no other node could reach.
func (k *checker) checkAdvertise(address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || port == "0" {
		k.fail("advertise", "advertise is written host:port, which %q is not", address)
		return
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		k.fail("advertise", "advertise is where other nodes reach this one, which %q does not say; name its host", address)
	}
}

// checkAddress reports what no listener could have as its address.
func (k *checker) checkAddress(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil && port != "" {
		if _, err = net.LookupPort("tcp", port); err == nil {
			return
		}
	}
	hint := ", such as 127.0.0.1:8080"
	if n, err := strconv.ParseUint(address, 10, 16); err == nil {
		hint = fmt.Sprintf("; did you mean \"127.0.0.1:%d\"?", n)
	}
	k.fail(key, "%s: %q is not an address; it wants host:port%s", key, address, hint)
}

func decimal(n int) string { return fmt.Sprint(n) }

// atLeast and between report a value that is out of bounds. A key that was left
// out has its default, which is in bounds.
func atLeast[T ~int | ~int64](k *checker, path string, value, low T, format func(T) string) {
	if value < low {
		k.fail(path, "%s: %s is too little; at least %s", lastKey(path), format(value), format(low))
	}
}

func between[T ~int | ~int64 | ~float64](k *checker, path string, value, low, high T) {
	if value < low || value > high {
		k.fail(path, "%s: %s is out of range; from %s to %s", lastKey(path), plain(value), plain(low), plain(high))
	}
}

// plain writes a number without an exponent, and anything else as it writes itself.
func plain(v any) string {
	if x, ok := v.(float64); ok {
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

var validName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// checkName reports a name that could not be a column, a label or a directory.
func (k *checker) checkName(path, what, name string) {
	switch {
	case len(name) > maxNameBytes:
		k.fail(path, "%s %.20q...: a name has at most %d characters", what, name, maxNameBytes)
	case !validName.MatchString(name):
		fixed := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(name, "_"), "_0123456789")
		hint := ""
		if validName.MatchString(fixed) {
			hint = fmt.Sprintf("; did you mean %q?", fixed)
		}
		k.fail(path, "%s %q: a name is letters, digits and underscores, and starts with a letter%s", what, name, hint)
	}
}

// checkNames reports names that are invalid, taken twice, or would be the same
// column of a segment.
func (k *checker) checkNames(c *Config) {
	if len(c.Streams) == 0 {
		k.fail("streams", "no streams; name at least one")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Streams)) {
		s, path := c.Streams[name], "streams."+name
		k.checkName(path, "stream", name)

		columns := map[string]string{"window": "the window", "count": "the number of events"}
		claim := func(path, column, owner string) {
			// Readers of Parquet files fold case.
			if taken, ok := columns[strings.ToLower(column)]; ok {
				k.fail(path, "%s: column %q is taken by %s; choose another name", owner, column, taken)
				return
			}
			columns[strings.ToLower(column)] = owner
		}
		if len(s.Dimensions) > maxDimensions {
			k.fail(path+".dimensions", "%d dimensions; at most %d", len(s.Dimensions), maxDimensions)
		}
		for i, d := range s.Dimensions {
			at := fmt.Sprintf("%s.dimensions.%d", path, i)
			if k.unsound[at] {
				continue
			}
			k.checkName(at, "dimension", d.Name)
			if d.Name == "" {
				continue
			}
			k.checkPath(at, "dimension "+d.Name, d.Field)
			claim(at, d.Name, "dimension "+d.Name)
		}
		if len(s.Measures) > maxMeasures {
			k.fail(path+".measures", "%d measures; at most %d", len(s.Measures), maxMeasures)
		}
		for _, measure := range slices.Sorted(maps.Keys(s.Measures)) {
			at := path + ".measures." + measure
			k.checkName(at, "measure", measure)
			if measure == "count" || measure == "rate" {
				k.fail(at, "measure %s: the name already stands for the %s of all events; choose another", measure, measure)
			}
			for _, column := range s.Measures[measure].columns(measure) {
				claim(at, column, "measure "+measure)
			}
		}
	}
}

// columns returns what a segment would call the columns of the measure.
func (m *MeasureConfig) columns(name string) []string {
	var suffixes []string
	if m.Sum != "" || m.Quantile != "" {
		suffixes = append(suffixes, "count", "sum", "min", "max")
	}
	if m.Quantile != "" {
		suffixes = append(suffixes, "tdigest", "ddsketch", "p50", "p99")
	}
	if m.Distinct != "" {
		suffixes = append(suffixes, "hll", "distinct")
	}
	if m.Top != "" {
		suffixes = append(suffixes, "top")
	}
	if m.Frequency != "" {
		suffixes = append(suffixes, "frequency")
	}
	for i := range suffixes {
		suffixes[i] = name + "_" + suffixes[i]
	}
	return suffixes
}

// checkPath reports a path to a field that no object could have.
func (k *checker) checkPath(at, what string, p Path) {
	keys := p.Keys()
	if len(keys) > maxPathKeys {
		k.fail(at, "%s: path %q goes through %d objects; at most %d", what, p, len(keys), maxPathKeys)
		return
	}
	if slices.Contains(keys, "") || strings.TrimSpace(string(p)) != string(p) {
		k.fail(at, "%s: %q is not a path; it wants keys joined by dots, such as a.b.c", what, p)
	}
}

// Notes says what a valid configuration asks for and does not yet get.
func (c *Config) Notes() []string {
	var notes []string
	for _, s := range c.AllStreams() {
		if s.Source.Kind == Pulsar {
			notes = append(notes, fmt.Sprintf(
				"streams.%s.source.pulsar: nodes that share the topic do not learn of each other: what another has read is in answers once it is stored", s.Name))
		}
		if len(s.Retention) > 0 {
			notes = append(notes, fmt.Sprintf(
				"streams.%s.retention is checked but not yet acted on: this version keeps every window for good", s.Name))
		}
	}
	return notes
}
