package incident

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// Batch is what one closed window changed of a detector's incidents: the object
// that is stored, once, before anybody is told.
type Batch struct {
	Format   int    `json:"format"`
	ID       string `json:"id"` // random, by which a writer knows its own again
	N        int64  `json:"n"`
	Stream   string `json:"stream"`
	Detector string `json:"detector"`

	Definition string    `json:"definition"` // hash of the detector's definition
	From       time.Time `json:"from"`       // the window, event time
	To         time.Time `json:"to"`
	Recorded   time.Time `json:"recorded"` // by the clock

	// Offsets are, of each partition, those below which events were counted.
	Offsets map[string]int64 `json:"offsets,omitempty"`

	Config  json.RawMessage `json:"config,omitempty"` // the detector's definition, as it was
	Records []Record        `json:"records"`          // the incidents as they stand after the window

	// Open lists the incidents that are firing after the window, those of
	// Records included. Append fills it. Whoever has the newest batch knows from
	// it which others to read.
	Open []Standing `json:"open"`
}

// Record is an incident with all of its series.
type Record struct {
	weir.Incident

	// All is every series of the incident, where Series holds the strangest.
	All []weir.IncidentSeries `json:"all,omitempty"`
}

// Standing says where an incident stands: Version is the number of the batch
// that tells.
type Standing struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

// Version history of the format:
//
//	1  as above
const formatVersion = 1

// Bounds on a batch. The series of its records are what makes it large.
const (
	maxBatchBytes = 64 << 20
	maxRecords    = 10_000
)

// errDamaged says that an object in the folder of a log is no batch of it.
var errDamaged = errors.New("it is no batch of this detector")

// encode writes the batch down.
func (b *Batch) encode() ([]byte, error) {
	if err := b.check(Ref{b.Stream, b.Detector}, b.N); err != nil {
		return nil, err
	}
	data, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	if len(data) > maxBatchBytes {
		return nil, fmt.Errorf("it has %d bytes; at most %d can be stored", len(data), maxBatchBytes)
	}
	return append(data, '\n'), nil
}

// decodeBatch reads what is stored as the n-th batch of the detector.
func decodeBatch(ref Ref, n int64, data []byte) (*Batch, error) {
	b := new(Batch)
	if err := json.Unmarshal(data, b); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err := b.check(ref, n); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return b, nil
}

// check refuses what later readers would stumble over.
func (b *Batch) check(ref Ref, n int64) error {
	switch {
	case b.Format < 1 || b.Format > formatVersion:
		return fmt.Errorf("format %d; this version reads 1 to %d", b.Format, formatVersion)
	case b.ID == "":
		return errors.New("it has no id")
	case b.Stream != ref.Stream || b.Detector != ref.Detector || b.N != n:
		return fmt.Errorf("it says to be batch %d of detector %s of stream %s", b.N, b.Detector, b.Stream)
	case len(b.Records) > maxRecords || len(b.Open) > maxRecords:
		return fmt.Errorf("%d records and %d open incidents; at most %d", len(b.Records), len(b.Open), maxRecords)
	}
	seen := make(map[string]bool, len(b.Records))
	for i := range b.Records {
		r := &b.Records[i]
		opened, err := ref.opened(r.ID)
		switch {
		case err != nil:
			return err
		case seen[r.ID]:
			return fmt.Errorf("incident %s is in it twice", r.ID)
		case opened > n || r.Version != n || r.Stream != ref.Stream || r.Detector != ref.Detector:
			return fmt.Errorf("incident %s says to be version %d of detector %s of stream %s", r.ID, r.Version, r.Detector, r.Stream)
		case r.State != weir.Firing && r.State != weir.Resolved:
			return fmt.Errorf("incident %s is %q, which is no state", r.ID, r.State)
		}
		seen[r.ID] = true
	}
	for _, s := range b.Open {
		if opened, err := ref.opened(s.ID); err != nil {
			return err
		} else if s.Version > n || s.Version < opened {
			return fmt.Errorf("incident %s is said to be open at version %d", s.ID, s.Version)
		}
	}
	return nil
}

// record returns the batch's record of the incident, or nil.
func (b *Batch) record(id string) *Record {
	for i := range b.Records {
		if b.Records[i].ID == id {
			return &b.Records[i]
		}
	}
	return nil
}

// after returns who is open after the records, where open were before.
func after(open []Standing, records []Record) []Standing {
	next := make([]Standing, 0, len(open)+len(records))
	changed := make(map[string]bool, len(records))
	for i := range records {
		changed[records[i].ID] = true
	}
	for _, s := range open {
		if !changed[s.ID] {
			next = append(next, s)
		}
	}
	for i := range records {
		if r := &records[i]; r.State == weir.Firing {
			next = append(next, Standing{r.ID, r.Version})
		}
	}
	return next
}

// Ref names a detector, whose incidents are a log of their own.
type Ref struct{ Stream, Detector string }

func (r Ref) String() string { return r.Stream + "/" + r.Detector }

// opened returns the number of the batch that opened the incident.
func (r Ref) opened(id string) (int64, error) {
	detector, n, err := weir.ParseIncidentID(id)
	if err == nil && detector != r.Detector {
		err = fmt.Errorf("incident %q is not of detector %s", id, r.Detector)
	}
	return n, err
}

// Names of what is stored. Streams and detectors are letters, digits and
// underscores and begin with a letter, so they are components of a name as they
// stand, and what begins with an underscore is no stream's. Numbers have 19
// digits, so that their order is the order of their names.
const numberDigits = 19

func (r Ref) folder() string      { return r.Stream + "/incident/" + r.Detector + "/" }
func (r Ref) name(n int64) string { return r.folder() + number(n) }
func number(n int64) string       { return fmt.Sprintf("%0*d", numberDigits, n) }
func (r Ref) parse(name string) (int64, error) {
	return parseNumber(strings.TrimPrefix(name, r.folder()))
}

// maxNumber leaves room for numbers that follow.
const maxNumber = 1 << 53

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxNumber || number(n) != s {
		return 0, fmt.Errorf("%q is not a number of %d digits", s, numberDigits)
	}
	return n, nil
}
