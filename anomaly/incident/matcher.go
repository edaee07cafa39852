package incident

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-stream/weir"
)

// Matcher holds a label against a value: origin="JFK", severity!="warning".
// Regular expressions match whole values.
type Matcher struct {
	Name  string `json:"name"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

// Operators are those that a matcher may have.
var Operators = []string{"=", "!=", "=~", "!~"}

// Bounds on a list of matchers.
const (
	MaxMatchers     = 32
	maxMatcherBytes = 1024
)

// The labels of an incident beside the dimensions of its series.
const (
	labelDetector = "detector"
	labelStream   = "stream"
	labelSeverity = "severity"
	labelValue    = "value"
)

func (m Matcher) String() string { return m.Name + m.Op + strconv.Quote(m.Value) }

// ParseMatchers reads matchers separated by commas: origin=JFK,carrier!~"A.|B6".
// A value that holds a comma, a quote or a space at its end is quoted as in Go
// or JSON.
func ParseMatchers(text string) ([]Matcher, error) {
	var list []Matcher
	for rest := strings.TrimSpace(text); rest != ""; {
		m, after, err := parseMatcher(rest)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
		if rest = strings.TrimSpace(after); rest == "" {
			break
		}
		if rest[0] != ',' {
			return nil, fmt.Errorf("%.40q: a comma is missing before it", rest)
		}
		if rest = strings.TrimSpace(rest[1:]); rest == "" {
			return nil, errors.New("nothing follows the last comma")
		}
	}
	_, err := compile(list)
	return list, err
}

func parseMatcher(text string) (m Matcher, rest string, err error) {
	i := strings.IndexAny(text, "=!~,\"")
	if i < 0 || text[i] == ',' || text[i] == '"' || text[i] == '~' {
		return m, "", fmt.Errorf("%.40q is not a matcher such as origin=JFK; the operators are %s", text, strings.Join(Operators, ", "))
	}
	m.Name = strings.TrimSpace(text[:i])
	switch {
	case strings.HasPrefix(text[i:], "=~"), strings.HasPrefix(text[i:], "!="), strings.HasPrefix(text[i:], "!~"):
		m.Op, rest = text[i:i+2], text[i+2:]
	case text[i] == '=':
		m.Op, rest = "=", text[i+1:]
	default:
		return m, "", fmt.Errorf("%.40q is not a matcher such as origin=JFK; the operators are %s", text, strings.Join(Operators, ", "))
	}
	rest = strings.TrimLeft(rest, " ")
	if strings.HasPrefix(rest, `"`) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err == nil {
			m.Value, err = strconv.Unquote(quoted)
		}
		if err != nil {
			return m, "", fmt.Errorf("%.40q does not end its quotes", rest)
		}
		return m, rest[len(quoted):], nil
	}
	end := strings.IndexByte(rest, ',')
	if end < 0 {
		end = len(rest)
	}
	m.Value = strings.TrimSpace(rest[:end])
	if strings.Contains(m.Value, `"`) {
		return m, "", fmt.Errorf("%.40q: a value with a quote in it is quoted itself", m.Value)
	}
	return m, rest[end:], nil
}

// Matchers is a list of matchers that is ready to be used.
type Matchers []compiled

type compiled struct {
	Matcher
	pattern *regexp.Regexp // of =~ and !~
}

// compile checks the matchers.
func compile(list []Matcher) (Matchers, error) {
	if len(list) > MaxMatchers {
		return nil, fmt.Errorf("%d matchers; at most %d", len(list), MaxMatchers)
	}
	ready := make(Matchers, 0, len(list))
	for _, m := range list {
		c := compiled{Matcher: m}
		switch {
		case !isLabel(m.Name):
			return nil, fmt.Errorf("%.40q is not the name of a label: letters, digits and underscores, and a letter first", m.Name)
		case len(m.Value) > maxMatcherBytes:
			return nil, fmt.Errorf("the value of %s has %d bytes; at most %d", m.Name, len(m.Value), maxMatcherBytes)
		case m.Op == "=~" || m.Op == "!~":
			var err error
			if c.pattern, err = regexp.Compile("^(?s:" + m.Value + ")$"); err != nil {
				return nil, fmt.Errorf("the value of %s is not a regular expression: %w", m.Name, err)
			}
		case m.Op != "=" && m.Op != "!=":
			return nil, fmt.Errorf("%.10q is not an operator; they are %s", m.Op, strings.Join(Operators, ", "))
		}
		ready = append(ready, c)
	}
	return ready, nil
}

func isLabel(name string) bool {
	if name == "" || len(name) > 200 {
		return false
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

func (c *compiled) holds(value string) bool {
	switch c.Op {
	case "=":
		return value == c.Value
	case "!=":
		return value != c.Value
	case "=~":
		return c.pattern.MatchString(value)
	}
	return !c.pattern.MatchString(value)
}

// matches reports whether all series of the incident match all matchers. A
// dimension that a series does not have is empty.
func (list Matchers) matches(incident *weir.Incident, series []weir.IncidentSeries) bool {
	var none weir.IncidentSeries
	for i := range list {
		m := &list[i]
		if isIncidentLabel(m.Name) {
			if !m.holds(labelOf(incident, m.Name)) {
				return false
			}
			continue
		}
		if len(series) == 0 && !m.holds(none.By[m.Name]) {
			return false
		}
		for j := range series {
			if !m.holds(series[j].By[m.Name]) {
				return false
			}
		}
	}
	return true
}

func isIncidentLabel(name string) bool {
	return name == labelDetector || name == labelStream || name == labelSeverity || name == labelValue
}

func labelOf(incident *weir.Incident, name string) string {
	switch name {
	case labelDetector:
		return incident.Detector
	case labelStream:
		return incident.Stream
	case labelSeverity:
		return string(incident.Severity)
	}
	return incident.Value
}

// matchesAny reports whether some series of the incident matches all matchers.
func (list Matchers) matchesAny(incident *weir.Incident) bool {
	if len(incident.Series) == 0 {
		return list.matches(incident, nil)
	}
	for i := range incident.Series {
		if list.matches(incident, incident.Series[i:i+1]) {
			return true
		}
	}
	return false
}
