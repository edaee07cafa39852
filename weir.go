// Package weir is the vocabulary of the program: streams and what they
// remember, windows, series, and the cells that travel between its rooms.
//
// # The one idea
//
// Weir keeps, for every series and every window of event time, a cell of small
// mergeable sketches, and forgets the events. Cells merge. A flush, a late
// event, a restart, a coarser window, a group-by, a time range, another node:
// each is the same operation.
//
// # The way of an event
//
//	push, stdin ─→ journal ─┐
//	file, Kafka, Pulsar ────┤  ingest                      store                   query           api
//	                        ├→ decode → shard ── flush ──→ segment [from,to) ─┬─ catalog ─→ merge ─→ /v1, CLI
//	                        ┘              └── live cells ────────────────────┘
//
// # Rooms
//
// Imports point down, and a test in cmd/weir keeps the floors:
//
//	sketch ← weir ← store ← ingest, query ← api ← cmd/weir
//	query, anomaly (arithmetic, which stands on nothing) ← anomaly/watch ← cmd/weir
//
// A closed window goes from query to anomaly/watch, what is found to
// anomaly/incident, which keeps it, and to anomaly/notify, which tells of it.
// ingest and query never meet: [Selection] and [Piece] are how live cells pass
// between them, and cmd/weir joins the two.
package weir

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Other is the value of every dimension of the overflow series: what a stream
// counts under once its budget of series is spent, so that totals stay right.
const Other = "__other__"

// Stream is the definition of a kind of event: where it comes from, which of
// its fields are read, and what is remembered of them.
type Stream struct {
	Name       string
	Source     Source
	Time       TimeField
	Window     time.Duration // base width of a cell
	Dimensions []Dimension
	Measures   []Measure // sorted by name, then kind; count is always there and not listed
	Retention  []Retention
	MaxSeries  int // budget of series; what is over it is counted under Other
	MaxLine    int // bytes of one event; longer lines are rejected
	Seed       uint64
}

// SourceKind says where a stream's events come from.
type SourceKind string

// The sources.
const (
	Push   SourceKind = "push"
	File   SourceKind = "file"
	Stdin  SourceKind = "stdin"
	Kafka  SourceKind = "kafka"
	Pulsar SourceKind = "pulsar"
)

// HasRecords reports whether the events of the source have times, keys and
// headers beside their JSON.
func (k SourceKind) HasRecords() bool { return k == Kafka || k == Pulsar }

// Shared reports whether several nodes may read the source, each some of its
// partitions.
func (k SourceKind) Shared() bool { return k == Kafka || k == Pulsar }

// Journaled reports whether the events of the source wait in the journal until
// they are stored.
func (k SourceKind) Journaled() bool { return k == Push || k == Stdin }

// Source is where a stream's events come from.
type Source struct {
	Kind       SourceKind
	Path       string // of a file source
	Kafka      *KafkaConfig
	Pulsar     *PulsarConfig
	Partitions int // of a push or stdin source
}

// TimeField says which field holds the event time, and how late an event may be.
type TimeField struct {
	Field    Path
	Format   TimeFormat
	Lateness time.Duration // the watermark trails the newest event by this much
	MaxAhead time.Duration // events further ahead of their arrival are rejected
}

// TimeFormat is the notation of an event time.
type TimeFormat string

// The notations of an event time.
const (
	RFC3339     TimeFormat = "rfc3339"
	UnixSeconds TimeFormat = "unix"
	UnixMillis  TimeFormat = "unix_ms"
	UnixMicros  TimeFormat = "unix_us"
	UnixNanos   TimeFormat = "unix_ns"
)

// Path is the way to a field through nested objects: "a.b.c".
type Path string

// What a source with records knows of an event beside its JSON. These paths,
// and HeaderPrefix with the name of a header behind it, can stand wherever a
// field can.
const (
	RecordTime   Path = "_timestamp" // in milliseconds; as event time it needs no format
	RecordKey    Path = "_key"
	HeaderPrefix      = "_header."
)

// Beside reports whether the path leads beside the JSON of a record.
func (p Path) Beside() bool {
	return p == RecordTime || p == RecordKey || strings.HasPrefix(string(p), HeaderPrefix)
}

// Keys splits the path into the keys of the nested objects.
func (p Path) Keys() []string { return strings.Split(string(p), ".") }

// Dimension is a field to filter and group by.
type Dimension struct {
	Name  string `json:"name"`
	Field Path   `json:"field"`
}

// Kind is what a measure remembers of its field.
type Kind uint8

// The kinds of measures. Their order is the order of a stream's columns.
const (
	Sum       Kind = iota + 1 // count, sum, min, max: exact
	Quantile                  // those, and a t-digest or DDSketch
	Distinct                  // HyperLogLog
	Top                       // SpaceSaving
	Frequency                 // count-min
)

var kindNames = [...]string{Sum: "sum", Quantile: "quantile", Distinct: "distinct", Top: "top", Frequency: "frequency"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// MarshalText writes the kind by its name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the kind by its name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if name != "" && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown kind of measure %q", text)
}

// Numeric reports whether the kind reads numbers and keeps count, sum, min and
// max of them. The others read items: strings, numbers or booleans as text.
func (k Kind) Numeric() bool { return k == Sum || k == Quantile }

// Measure is what is remembered of one field. Its identity is all of it: a
// stored column is read only when name, kind, field and parameters agree.
// Within one name, at most one measure is numeric (a quantile measure keeps
// the sums too).
type Measure struct {
	Name   string `json:"name"`
	Kind   Kind   `json:"kind"`
	Field  Path   `json:"field"`
	Params Params `json:"params"`
}

// The sketches of a quantile measure, as configurations and segments name them.
const (
	TDigest  = "tdigest"
	DDSketch = "ddsketch"
)

// Params are the parameters of a measure's sketch. Only those of its kind are set.
type Params struct {
	Sketch      string  `json:"sketch,omitempty"`      // Quantile: TDigest or DDSketch
	Compression float64 `json:"compression,omitempty"` // Quantile, tdigest: δ, default 100
	Scale       int     `json:"scale,omitempty"`       // Quantile, ddsketch: s of the base 2^(2^-s), default 5
	Precision   int     `json:"precision,omitempty"`   // Distinct: p, 4 to 18, default 14
	Slots       int     `json:"slots,omitempty"`       // Top: k, default 128
	Epsilon     float64 `json:"epsilon,omitempty"`     // Frequency: ε, default 0.001
	Delta       float64 `json:"delta,omitempty"`       // Frequency: δ, default 0.01
}

// Retention keeps windows of one width for a time.
type Retention struct {
	Window time.Duration
	Keep   time.Duration
}

// ReadsHeaders reports whether the stream reads headers of records.
func (s *Stream) ReadsHeaders() bool {
	header := func(p Path) bool { return strings.HasPrefix(string(p), HeaderPrefix) }
	return header(s.Time.Field) ||
		slices.ContainsFunc(s.Dimensions, func(d Dimension) bool { return header(d.Field) }) ||
		slices.ContainsFunc(s.Measures, func(m Measure) bool { return header(m.Field) })
}

// Measure returns the index of the measure of that name and kind, or -1.
func (s *Stream) Measure(name string, kind Kind) int {
	for i, m := range s.Measures {
		if m.Name == name && m.Kind == kind {
			return i
		}
	}
	return -1
}

// WindowStart returns the start of the window of the given width that holds t;
// both are nanoseconds, t since the Unix epoch, of either sign.
func WindowStart(t, width int64) int64 {
	m := t % width
	if m < 0 {
		m += width
	}
	return t - m
}
