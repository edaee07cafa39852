package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-stream/weir"
)

// maxBody is what no body reaches: receivers need not take more.
const maxBody = 20_000

// Event is the body in the format weir.
type Event struct {
	Type      string        `json:"type"`      // incident.firing, incident.updated or incident.resolved
	Timestamp time.Time     `json:"timestamp"` // when the incident became what it is, by the clock
	Link      string        `json:"link,omitempty"`
	Data      weir.Incident `json:"data"`
	Omitted   *Omitted      `json:"omitted,omitempty"` // what did not fit
}

// Omitted says how much of an incident a body leaves out.
type Omitted struct {
	Series int `json:"series,omitempty"` // of the members
	Causes int `json:"causes,omitempty"`
}

// render makes the body that tells of a message. Only what an Alertmanager is
// told depends on the time.
func (e *endpoint) render(m *message, now time.Time) ([]byte, error) {
	write := func(i *weir.Incident, left Omitted) any { return e.event(m, i, left) }
	switch e.config.Format {
	case "alertmanager":
		write = func(i *weir.Incident, left Omitted) any { return e.group(i, left) }
	case "alertmanager_api":
		write = func(i *weir.Incident, _ Omitted) any {
			return e.apiAlerts(&message{ID: m.ID, Type: m.Type, Incident: *i, key: m.key}, now)
		}
	case "slack":
		write = func(i *weir.Incident, left Omitted) any { return e.slack(m, i, left) }
	case "pagerduty":
		write = func(i *weir.Incident, left Omitted) any { return e.pagerDuty(m, i, left) }
	}
	body, err := fit(&m.Incident, write)
	if err != nil {
		return nil, fmt.Errorf("write message %s as %s: %w", m.ID, e.config.Format, err)
	}
	return body, nil
}

func (e *endpoint) event(m *message, i *weir.Incident, left Omitted) *Event {
	event := &Event{Type: m.Type, Timestamp: i.Recorded, Link: e.linkTo(i), Data: *i}
	if left != (Omitted{}) {
		event.Omitted = &left
	}
	return event
}

func (e *endpoint) linkTo(i *weir.Incident) string {
	if e.link == "" {
		return ""
	}
	return e.link + i.ID
}

// fit writes as much of an incident as a body takes: fewer series where it is
// too much, down to one, then fewer causes, and last shorter texts.
func fit(i *weir.Incident, write func(*weir.Incident, Omitted) any) ([]byte, error) {
	size := 0
	for _, longest := range []int{256, 64, 16} {
		short := clipped(i, longest)
		for {
			left := Omitted{Series: max(0, i.Members-len(short.Series)), Causes: len(i.Causes) - len(short.Causes)}
			body, err := json.Marshal(write(short, left))
			if err != nil {
				return nil, err
			}
			if size = len(body); size < maxBody {
				return body, nil
			}
			if n := len(short.Series); n > 1 {
				short.Series = short.Series[:n/2]
			} else if n := len(short.Causes); n > 0 {
				short.Causes = short.Causes[:n/2]
			} else {
				break
			}
		}
	}
	return nil, fmt.Errorf("it takes %d bytes at least, and %d are too many", size, maxBody)
}

// clipped is a copy whose texts have a bound.
func clipped(i *weir.Incident, longest int) *weir.Incident {
	c := *i
	c.Summary, c.Value = clip(i.Summary, 4*longest), clip(i.Value, 4*longest)
	c.Series = make([]weir.IncidentSeries, len(i.Series))
	for n, s := range i.Series {
		s.Reason = clip(s.Reason, longest)
		by := make(map[string]string, len(s.By))
		for name, value := range s.By {
			by[name] = clip(value, longest)
		}
		s.By = by
		c.Series[n] = s
	}
	c.Causes = make([]weir.Cause, len(i.Causes))
	for n, cause := range i.Causes {
		cause.Value = clip(cause.Value, longest)
		c.Causes[n] = cause
	}
	return &c
}

// clip bounds a text to so many bytes, and shows where it was cut.
func clip(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	const mark = "…"
	end := longest - len(mark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}

// headline is an incident in a line.
func headline(i *weir.Incident) string {
	if i.Summary != "" {
		return i.Summary
	}
	return fmt.Sprintf("%s of %s is not what it should be", i.Value, i.Stream)
}

// name is what a series is called in a sentence.
func name(s *weir.IncidentSeries) string {
	if label := s.Label(); label != "" {
		return label
	}
	return "all"
}

// causes are the causes in a line.
func causes(i *weir.Incident) string {
	texts := make([]string, len(i.Causes))
	for n, c := range i.Causes {
		texts[n] = c.String()
	}
	return strings.Join(texts, "; ")
}

// number writes a value for people; none is a dash.
func number(n weir.Number) string {
	if x := float64(n); x-x != 0 {
		return "–"
	}
	return fmt.Sprintf("%.6g", float64(n))
}
