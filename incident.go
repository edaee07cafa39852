package weir

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Incident is what a detector found, from opening to resolving: one trouble,
// however many series show it. What is stored and delivered is the incident as
// it stands after a window; a later one of the same ID replaces it.
//
// Its times are event time, but for Recorded.
type Incident struct {
	// ID is DETECTOR.N, where N numbers the windows that changed an incident of
	// the detector. It is the same after a crash and on another node.
	ID       string `json:"id"`
	Detector string `json:"detector"`
	Stream   string `json:"stream"`
	Value    string `json:"value"` // the expression that is watched
	Summary  string `json:"summary"`

	State    IncidentState `json:"state"`
	Version  int64         `json:"version"` // the N of the window that made it what it is
	Severity Severity      `json:"severity"`

	Since    time.Time `json:"since"`              // start of the first anomalous window
	Opened   time.Time `json:"opened"`             // end of the window after which it was opened
	Updated  time.Time `json:"updated"`            // end of the window that made it what it is
	Resolved time.Time `json:"resolved,omitzero"`  // end of the window after which it was resolved
	Recorded time.Time `json:"recorded,omitempty"` // by the clock

	// Series are those that show it, the strangest first: at most
	// [MaxIncidentSeries] of Members.
	Series  []IncidentSeries `json:"series"`
	Members int              `json:"members"`
	Causes  []Cause          `json:"causes,omitempty"` // where the difference comes from, largest first

	// Overflow says that the detector had as many incidents as it may, and that
	// this one stands for all further ones.
	Overflow bool `json:"overflow,omitempty"`

	// Muted says why nothing is delivered: a silence, maintenance, or age. Empty
	// if it is.
	Muted string `json:"muted,omitempty"`
}

// MaxIncidentSeries is the number of series that an incident names.
const MaxIncidentSeries = 20

// IncidentState is whether an incident is still there.
type IncidentState string

// The states of an incident.
const (
	Firing   IncidentState = "firing"
	Resolved IncidentState = "resolved"
)

// Severity is how grave an incident is.
type Severity string

// The severities.
const (
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// IncidentSeries is one series of an incident, at its strangest.
type IncidentSeries struct {
	By        map[string]string `json:"by"` // dimension values; empty if there is one series of all
	State     IncidentState     `json:"state"`
	Since     time.Time         `json:"since"`  // start of its first anomalous window
	Window    time.Time         `json:"window"` // start of the window that the following tell of
	Value     Number            `json:"value"`
	Expected  Number            `json:"expected"`
	Lower     Number            `json:"lower"`
	Upper     Number            `json:"upper"`
	Score     float64           `json:"score"` // -log10 of the chance of a point as strange
	Direction string            `json:"direction"`
	Reason    string            `json:"reason"`
}

// Cause is a dimension's value that carries a part of the difference between
// what is and what was.
type Cause struct {
	Dimension string  `json:"dimension"`
	Value     string  `json:"value"`
	Share     float64 `json:"share"` // of the difference; 1 is all of it
	Is        float64 `json:"is"`
	Was       float64 `json:"was"`
}

func (c Cause) String() string {
	what := "rise"
	if c.Is < c.Was {
		what = "drop"
	}
	return fmt.Sprintf("%s=%s carries %.0f %% of the %s", c.Dimension, c.Value, 100*c.Share, what)
}

// Number is a float64 that is null in JSON where it is none.
type Number float64

// MarshalJSON writes NaN and infinities as null.
func (n Number) MarshalJSON() ([]byte, error) {
	if x := float64(n); x-x == 0 {
		return strconv.AppendFloat(nil, x, 'g', -1, 64), nil
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	x, err := strconv.ParseFloat(string(data), 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", data)
	}
	*n = Number(x)
	return nil
}

// Label returns the dimension values of a series as a filter would name them:
// origin=JFK,carrier=AA.
func (s *IncidentSeries) Label() string {
	names := make([]string, 0, len(s.By))
	for name, value := range s.By {
		names = append(names, name+"="+value)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// IncidentID makes the ID of the incident that the N-th changing window of a
// detector opened.
func IncidentID(detector string, n int64) string { return fmt.Sprintf("%s.%d", detector, n) }

// ParseIncidentID is the inverse of [IncidentID].
func ParseIncidentID(id string) (detector string, n int64, err error) {
	detector, number, found := strings.Cut(id, ".")
	n, err = strconv.ParseInt(number, 10, 64)
	if !found || err != nil || n < 0 || IncidentID(detector, n) != id {
		return "", 0, fmt.Errorf("%q is not the ID of an incident, which is written DETECTOR.NUMBER", id)
	}
	return detector, n, nil
}
