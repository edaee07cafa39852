package weir

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is what a weir.yaml says, and its manual: every key is described
// here, once. The file is strict. A key that is not listed here, a value
// without its unit, a name that would collide: each is a mistake, and all
// mistakes of a file are reported together with their line and column.
//
// Durations are written with their unit: 250ms, 10s, 5m, 1h30m, 7d, 2w, 2y (a
// year has 365 days). Sizes likewise: 512KiB, 64MiB, 1GiB. Paths are relative
// to the directory of the file itself.
//
// The smallest useful file names a stream and what to remember of it:
//
//	streams:
//	  web:
//	    dimensions: [service]
//	    measures:
//	      latency: {quantile: latency_ms}
type Config struct {
	// Where the segments are: a directory, which is made when missing, or an
	// object store, which several nodes can share:
	//
	//	s3://BUCKET/PREFIX?region=eu-west-1     also &endpoint=, &use_path_style=true,
	//	                                        &profile=, &role=, &ssetype=, &kmskeyid=, …
	//	gs://BUCKET/PREFIX
	//	azblob://CONTAINER/PREFIX?storage_account=NAME
	//
	// The bucket exists already, refuses a second put under one name (which
	// is tried when serving starts), and lets Weir list, read, write and
	// delete. Credentials come from where the cloud's own tools find them,
	// such as AWS_ACCESS_KEY_ID or the machine's role; they have no place
	// here. Default ./weir-data. Deleting it forgets everything.
	Store string `yaml:"store"`

	// What is kept near of an object store; a directory needs none.
	Cache *CacheConfig `yaml:"cache,omitempty"`

	// Address of the HTTP API. Default 127.0.0.1:8080, which only this
	// machine reaches; Weir itself asks nobody for a password.
	Listen string `yaml:"listen"`

	// Address under which the other nodes reach this one, host:port, where
	// several share the partitions of a topic: each answers for what it has
	// in memory. Default listen, with this machine's name if that has no host.
	Advertise string `yaml:"advertise,omitempty"`

	// Address of the listener for profiles (/debug/pprof). Default none.
	Admin string `yaml:"admin"`

	// Seed of the hash under which items are counted. Sketches merge only
	// under the same seed, so it is chosen once, before the first event.
	Seed uint64 `yaml:"seed"`

	// The streams, by name. A name is letters, digits and underscores and
	// starts with a letter; so are the names of dimensions and measures.
	Streams map[string]*StreamConfig `yaml:"streams"`

	Flush   FlushConfig   `yaml:"flush"`
	Journal JournalConfig `yaml:"journal"`
	Limits  LimitsConfig  `yaml:"limits"`

	// What is watched, and who is told.
	Detectors []*DetectorConfig `yaml:"detectors,omitempty"`
	Webhooks  []*WebhookConfig  `yaml:"webhooks,omitempty"`

	// What becomes of what is found.
	Incidents *IncidentsConfig `yaml:"incidents,omitempty"`

	// When nobody is to be told.
	Maintenance []*MaintenanceConfig `yaml:"maintenance,omitempty"`

	file string              // it was read from
	at   map[string]position // of every key and element that the file has, by path
}

// StreamConfig defines one kind of event.
type StreamConfig struct {
	// Where the events come from. Default {push: {}}.
	Source SourceConfig `yaml:"source"`

	// Which field holds the event time.
	Time TimeConfig `yaml:"time"`

	// Width of a window, the finest step in which questions can be asked.
	// It divides a day, or is a whole number of days. Default 10s.
	Window time.Duration `yaml:"window"`

	// The fields to filter and group by. One that lies inside nested
	// objects, or is to have another name, is written {name: path.to.field}.
	// An event without the field has the value "". At most 16.
	Dimensions []DimensionConfig `yaml:"dimensions,flow"`

	// What to remember beside the number of events, by name. At most 64.
	Measures map[string]*MeasureConfig `yaml:"measures"`

	// How long windows are kept, finest first: each entry is a multiple of
	// the one before it, and is kept longer. Default: kept for good. (This
	// version keeps everything for good; it checks the list and says so.)
	Retention []RetentionConfig `yaml:"retention,omitempty"`

	// How many series the stream may have. Events of further ones are
	// counted in a series whose every dimension is "__other__", so totals
	// stay right. Default 100000.
	MaxSeries int `yaml:"max_series"`

	// Longest event. Longer ones are rejected. Default 1MiB.
	MaxLine Size `yaml:"max_line"`
}

// SourceConfig is where a stream's events come from: exactly one of these.
type SourceConfig struct {
	// Clients POST events to /v1/streams/NAME/events.
	Push *PushConfig `yaml:"push,omitempty,flow"`

	// A file of one JSON object a line, gzip when its name ends in .gz. It is
	// read to its end, and on as it grows.
	File *FileConfig `yaml:"file,omitempty,flow"`

	// Standard input, one JSON object a line.
	Stdin *StdinConfig `yaml:"stdin,omitempty,flow"`

	// A topic of Kafka, shared with the other nodes.
	Kafka *KafkaConfig `yaml:"kafka,omitempty"`

	// A topic of Pulsar, shared with the other nodes.
	Pulsar *PulsarConfig `yaml:"pulsar,omitempty"`
}

// PushConfig is a source over HTTP, made durable by the journal.
type PushConfig struct {
	// How many partitions share the work, each on one core.
	// Default: the number of CPUs. At most 256.
	Partitions int `yaml:"partitions"`
}

// FileConfig is a source of one partition. Files that are merely loaded (weir
// load) need no such source; any stream takes them.
type FileConfig struct {
	// The file is known by its path: when another takes its place, that one
	// is read from its beginning.
	Path string `yaml:"path"`
}

// StdinConfig is a source on standard input, made durable by the journal.
type StdinConfig struct {
	// As of push.
	Partitions int `yaml:"partitions"`
}

// TimeConfig says when an event happened.
type TimeConfig struct {
	// Path of the field with the event time. Default time.
	Field Path `yaml:"field"`

	// Its notation: rfc3339, unix (seconds, also fractional), unix_ms,
	// unix_us or unix_ns. Default rfc3339.
	Format TimeFormat `yaml:"format"`

	// How long to wait for events that come out of order before a window
	// is called complete. Later ones still count. Default 10s.
	Lateness time.Duration `yaml:"lateness"`

	// Events whose time is further ahead of this machine's clock are
	// rejected, for one of them would close every window before it.
	// Default 5m.
	MaxAhead time.Duration `yaml:"max_ahead"`
}

// DimensionConfig is a field to filter and group by: a name for a field of that
// name, or {name: path.to.field}.
type DimensionConfig struct {
	Name  string
	Field Path
}

// MeasureConfig is what is remembered under one name: for each kind the path
// of the field that it reads, then the parameters of their sketches. The number
// of events is always remembered and never listed.
type MeasureConfig struct {
	// Count, sum, min, max and mean of a number, exactly.
	Sum Path `yaml:"sum,omitempty"`

	// Those, and quantiles (p50, p99, ...) of a number. It includes sum.
	Quantile Path `yaml:"quantile,omitempty"`

	// How many different values there were.
	Distinct Path `yaml:"distinct,omitempty"`

	// The most frequent values.
	Top Path `yaml:"top,omitempty"`

	// How often a given value was seen, for any value.
	Frequency Path `yaml:"frequency,omitempty"`

	// The sketch of quantile: tdigest, precise towards the extremes without
	// a guarantee; or ddsketch, within a relative error that always holds.
	// Default tdigest.
	Sketch string `yaml:"sketch,omitempty"`

	// δ of a tdigest: more is more precise and larger. 20 to 1000, default 100.
	Compression float64 `yaml:"compression,omitempty"`

	// s of a ddsketch, whose buckets grow by 2^(2^-s): 5 is a relative error
	// of 1.1 %, and each step more halves it. 1 to 8, default 5.
	Scale int `yaml:"scale,omitempty"`

	// p of distinct: a standard error of 1.04/√(2^p) for 2^p × 6 bits at
	// most. 4 to 18, default 14 (0.81 %, 12 KiB).
	Precision int `yaml:"precision,omitempty"`

	// How many values top follows; a value is missed only if it makes up
	// less than 1/slots of the events. 8 to 65536, default 128.
	Slots int `yaml:"slots,omitempty"`

	// Frequency overestimates by more than epsilon × events only with a
	// probability of delta. Each between 0 and 0.5; epsilon at least
	// 0.00001, delta at least 0.000001. Default 0.001 and 0.01.
	Epsilon float64 `yaml:"epsilon,omitempty"`
	Delta   float64 `yaml:"delta,omitempty"`
}

// RetentionConfig keeps windows of one width for a time.
type RetentionConfig struct {
	Window time.Duration `yaml:"window"`
	Keep   time.Duration `yaml:"keep"`
}

// FlushConfig says when cells leave memory. What a crash costs is reading the
// events since the last flush again, never an event.
type FlushConfig struct {
	// This often, though no more often than the stream's windows end: a window
	// that is stored in parts takes a cell for each. Default 10s.
	Interval time.Duration `yaml:"interval"`

	// Or when the cells of all streams take this much. Default 256MiB.
	Memory Size `yaml:"memory"`
}

// CacheConfig bounds the parts of segments that are kept near, so that a question
// that is asked again costs no requests. What was used longest ago goes first.
type CacheConfig struct {
	// In memory. Default 256MiB.
	Memory Size `yaml:"memory"`

	// On a local disk: what memory gives up. Default none.
	Disk *DiskCacheConfig `yaml:"disk,omitempty,flow"`
}

// DiskCacheConfig is a file of the cache. It begins empty whenever Weir starts.
type DiskCacheConfig struct {
	// The file, which belongs to one process at a time.
	Path string `yaml:"path"`

	// How large it may grow; at least 1MiB.
	Size Size `yaml:"size"`
}

// JournalConfig bounds the log behind push and stdin, which holds the events
// that no segment covers yet.
type JournalConfig struct {
	// Its directory, on a local disk. Default _journal inside store. Where the
	// store is an object store, the streams that are pushed to need it named.
	// What is pushed belongs to the one node that has it in its journal.
	Path string `yaml:"path,omitempty"`

	// A file of it is deleted as a whole, so this is about what is kept too
	// long. 1MiB to 1GiB, default 64MiB.
	FileSize Size `yaml:"file_size"`

	// When this much of every partition of a stream waits to be counted, its
	// pushes are refused (429) until it has been. Default 64MiB.
	MaxBehind Size `yaml:"max_behind"`

	// How long, and how many of them at most, the Idempotency-Keys of a
	// stream's batches are remembered. Default 1d and 1000000.
	Keys    time.Duration `yaml:"keys"`
	MaxKeys int           `yaml:"max_keys"`
}

// LimitsConfig bounds single requests.
type LimitsConfig struct {
	// Largest pushed body, after decompression. Default 32MiB, at most 64MiB.
	Body Size `yaml:"body"`

	// A query over one of these is refused, and the error says which.
	Query QueryLimits `yaml:"query"`
}

// QueryLimits bounds one query.
type QueryLimits struct {
	Time   time.Duration `yaml:"time"`   // that it runs; default 30s
	Cells  int           `yaml:"cells"`  // that it merges; default 20000000
	Series int           `yaml:"series"` // in its answer; default 20000
	Points int           `yaml:"points"` // of each value in its answer; default 1000000
	Memory Size          `yaml:"memory"` // of the sketches it holds; default 256MiB
}

// Size is a number of bytes.
type Size int64

// maxConfigBytes bounds a configuration file, far above any sensible one.
const maxConfigBytes = 1 << 20

// Load reads the configuration file of that path. An error of type [Mistakes]
// lists all that is wrong in it.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if info.Size() > maxConfigBytes {
		return nil, fmt.Errorf("reading configuration %s: %s is more than the %s a configuration may have",
			path, Size(info.Size()), Size(maxConfigBytes))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a configuration from data. The name stands in messages, and its
// directory is what paths are relative to.
func Parse(name string, data []byte) (*Config, error) {
	c := new(Config)
	k := &checker{file: name, at: map[string]position{}, unsound: map[string]bool{}}
	k.decode(data, c)
	if c.Streams != nil || len(k.mistakes) == 0 {
		// What could not be decoded has its default now, so that the rest
		// can be checked in the same run.
		k.complete(c, filepath.Dir(name))
		k.check(c)
	}
	if len(k.mistakes) > 0 {
		return nil, k.sorted()
	}
	c.file, c.at = k.file, k.at
	return c, nil
}

// Mistake says what is wrong at a path of the file, for those who know more of
// its meaning: detectors.2.value is that of the third detector.
func (c *Config) Mistake(path, format string, args ...any) Mistakes {
	k := &checker{file: c.file, at: c.at}
	k.fail(path, format, args...)
	return k.mistakes
}

// Remote reports whether the store is an object store, not a directory.
func (c *Config) Remote() bool { return isURL(c.Store) }

// AllStreams returns the definition of every stream, sorted by name.
func (c *Config) AllStreams() []*Stream {
	streams := make([]*Stream, 0, len(c.Streams))
	for name := range c.Streams {
		streams = append(streams, c.Stream(name))
	}
	slices.SortFunc(streams, func(a, b *Stream) int { return strings.Compare(a.Name, b.Name) })
	return streams
}

// Stream returns the definition of the stream of that name, or nil.
func (c *Config) Stream(name string) *Stream {
	sc := c.Streams[name]
	if sc == nil {
		return nil
	}
	s := &Stream{
		Name:      name,
		Source:    sc.Source.source(),
		Time:      TimeField(sc.Time),
		Window:    sc.Window,
		MaxSeries: sc.MaxSeries,
		MaxLine:   int(sc.MaxLine),
		Seed:      c.Seed,
	}
	for _, d := range sc.Dimensions {
		s.Dimensions = append(s.Dimensions, Dimension(d))
	}
	for measure, mc := range sc.Measures {
		s.Measures = append(s.Measures, mc.measures(measure)...)
	}
	slices.SortFunc(s.Measures, func(a, b Measure) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return int(a.Kind) - int(b.Kind)
	})
	for _, r := range sc.Retention {
		s.Retention = append(s.Retention, Retention(r))
	}
	return s
}
