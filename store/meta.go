package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-stream/weir"
	"github.com/zeebo/xxh3"
)

// NoWatermark is the watermark of a partition that has had no event.
const NoWatermark = math.MinInt64

// SegmentMeta says what a segment covers. It is stored as JSON, in the Parquet
// key "weir" and once more at the head of the file.
//
// From, To, Log, Shift, Tail and Watermark are what the next owner of the
// partition goes on from: offset From+n of the chain is offset From+n-Shift of
// the log.
type SegmentMeta struct {
	Format     int        `json:"format"`
	ID         string     `json:"id"` // random; two segments of one name differ in it
	Stream     string     `json:"stream"`
	Definition Definition `json:"definition"`
	Hash       string     `json:"definition_hash"` // of the definition; EncodeSegment sets it
	Partition  string     `json:"partition"`

	From      int64  `json:"from"`
	To        int64  `json:"to"` // > From
	Log       string `json:"log"`
	Shift     int64  `json:"shift"`
	Tail      []byte `json:"tail,omitempty"` // of a file: hash of the 4 KiB before To
	Watermark int64  `json:"watermark"`      // Unix ns, as of To; never falls along a chain

	MinTime  int64            `json:"min_time"` // event times, Unix ns; both 0 without events
	MaxTime  int64            `json:"max_time"`
	Events   int64            `json:"events"`
	Late     int64            `json:"late,omitempty"`     // of them, those behind the watermark when they came
	Rejected map[string]int64 `json:"rejected,omitempty"` // by reason

	Writer  string    `json:"writer,omitempty"`
	Written time.Time `json:"written"`

	Gap *GapMeta `json:"gap,omitempty"`
}

// GapMeta says why a segment covers offsets whose events it does not have.
type GapMeta struct {
	Reason          GapReason `json:"reason"`
	WatermarkBefore int64     `json:"watermark_before"`
	Noticed         time.Time `json:"noticed"`
}

// GapReason says how events came to be missing.
type GapReason string

// The reasons for gaps. A start is the only one that loses nothing that was
// ever promised.
const (
	GapStart     GapReason = "start"      // the log began past offset 0 when its chain began
	GapRetention GapReason = "retention"  // the log dropped what was not yet read
	GapNewLog    GapReason = "new log"    // another log stands where this one was
	GapLogShrank GapReason = "log shrank" // the log ends before where it was read to
	GapDamaged   GapReason = "damaged"    // a stored segment cannot be read
	GapMissing   GapReason = "missing"    // a segment is gone that nothing may have deleted
)

// Definition is what of a stream gives its stored cells their meaning.
type Definition struct {
	Window     time.Duration  `json:"window_ns"`
	Lateness   time.Duration  `json:"lateness_ns"`
	Seed       uint64         `json:"seed"` // of the hashes in sketches
	Dimensions []Dimension    `json:"dimensions"`
	Measures   []weir.Measure `json:"measures"`
}

// Dimension is a dimension as it was when the segment was written. Only its
// name matters to a reader.
type Dimension struct {
	Name  string    `json:"name"`
	Field weir.Path `json:"field"`
}

// DefinitionOf returns the stream's definition.
func DefinitionOf(s *weir.Stream) Definition {
	d := Definition{
		Window:     s.Window,
		Lateness:   s.Time.Lateness,
		Seed:       s.Seed,
		Dimensions: make([]Dimension, 0, len(s.Dimensions)),
		Measures:   append([]weir.Measure{}, s.Measures...),
	}
	for _, dim := range s.Dimensions {
		d.Dimensions = append(d.Dimensions, Dimension(dim))
	}
	return d
}

// Hash identifies the definition.
func (d *Definition) Hash() string {
	text, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("a definition that is not JSON: %v: %+v", err, d))
	}
	return fmt.Sprintf("%016x", xxh3.Hash(text))
}

// measure returns the index of the stored measure that is the given one of a
// stream with that seed, or -1: the columns of another definition are not read.
func (d *Definition) measure(m weir.Measure, seed uint64) int {
	hashed := m.Kind == weir.Distinct || m.Kind == weir.Frequency
	if hashed && seed != d.Seed {
		return -1
	}
	return slices.Index(d.Measures, m)
}

func (d *Definition) dimension(name string) int {
	return slices.IndexFunc(d.Dimensions, func(x Dimension) bool { return x.Name == name })
}

// newID returns an identity that no other segment or manifest has.
func newID() string { return rand.Text() }

// validate checks what the chain relies on.
func (m *SegmentMeta) validate() error {
	switch {
	case m.Format < 1 || m.Format > formatVersion:
		return fmt.Errorf("format %d is not one this program reads (1 to %d)", m.Format, formatVersion)
	case m.ID == "":
		return errors.New("it has no id")
	case m.From < 0 || m.To <= m.From:
		return fmt.Errorf("it covers offsets [%d, %d)", m.From, m.To)
	case m.Definition.Window <= 0:
		return fmt.Errorf("its windows are %v wide", m.Definition.Window)
	case m.Events < 0:
		return fmt.Errorf("it counts %d events", m.Events)
	case m.MinTime > m.MaxTime:
		return fmt.Errorf("its event times run from %d to %d", m.MinTime, m.MaxTime)
	}
	return nil
}

// String describes the segment in one line.
func (m *SegmentMeta) String() string {
	if m.Gap != nil {
		return fmt.Sprintf("gap [%d,%d) of %s/%s: %s", m.From, m.To, m.Stream, m.Partition, m.Gap.Reason)
	}
	return fmt.Sprintf("segment [%d,%d) of %s/%s: %d events", m.From, m.To, m.Stream, m.Partition, m.Events)
}
