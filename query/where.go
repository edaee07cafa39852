package query

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-stream/weir"
)

// Where is a filter over dimensions. The zero Where lets everything through.
//
//	origin=JFK and status>=500
//	origin in (JFK, "New York"), path=~"/api/.*"
//	not (origin=JFK or destination!~"O.*")
//
// A comma is an "and". A regular expression matches the whole value, as in
// PromQL. <, <=, > and >= compare numbers: a value that is none doesn't match.
// An event without the dimension has the value "".
type Where struct {
	root condition
	text string
}

// Equals writes the filter that a dimension has a value.
func Equals(dimension, value string) string { return dimension + "=" + quote(value) }

// String is the filter as it was written.
func (w Where) String() string { return w.text }

// condition is a node of a filter. bind resolves names to positions once, and
// the function it returns looks at a series' values.
type condition interface {
	bind(s *weir.Stream) (func(dims []string) bool, error)
	String() string
}

type (
	all        []condition
	either     []condition
	not        struct{ condition }
	comparison struct {
		dimension string
		operator  string
		values    []string
		number    float64
		pattern   *regexp.Regexp
	}
)

// The bounds of a filter's text and nesting.
const (
	maxWhere      = 64 << 10
	maxWhereDepth = 100
)

// Match resolves the filter against a stream, for a [weir.Selection]. It
// returns nil where everything matches.
func (w Where) Match(s *weir.Stream) (func(dims []string) bool, error) { return w.bind(s) }

// bind resolves the filter against a stream. It returns nil where everything matches.
func (w Where) bind(s *weir.Stream) (func(dims []string) bool, error) {
	if w.root == nil {
		return nil, nil
	}
	return w.root.bind(s)
}

func (a all) bind(s *weir.Stream) (func([]string) bool, error) {
	matches, err := bindAll(a, s)
	return func(dims []string) bool {
		for _, match := range matches {
			if !match(dims) {
				return false
			}
		}
		return true
	}, err
}

func (a either) bind(s *weir.Stream) (func([]string) bool, error) {
	matches, err := bindAll(a, s)
	return func(dims []string) bool {
		for _, match := range matches {
			if match(dims) {
				return true
			}
		}
		return false
	}, err
}

func bindAll(conditions []condition, s *weir.Stream) (matches []func([]string) bool, err error) {
	for _, c := range conditions {
		match, err := c.bind(s)
		if err != nil {
			return nil, err
		}
		matches = append(matches, match)
	}
	return matches, nil
}

func (n not) bind(s *weir.Stream) (func([]string) bool, error) {
	match, err := n.condition.bind(s)
	return func(dims []string) bool { return !match(dims) }, err
}

func (c comparison) bind(s *weir.Stream) (func([]string) bool, error) {
	at, err := dimensionIndex(s, "where", c.dimension)
	if err != nil {
		return nil, err
	}
	compare := func(holds func(a, b float64) bool) func([]string) bool {
		return func(dims []string) bool {
			x, err := strconv.ParseFloat(dims[at], 64)
			return err == nil && holds(x, c.number)
		}
	}
	switch c.operator {
	case "=", "!=":
		want, equal := c.values[0], c.operator == "="
		return func(dims []string) bool { return (dims[at] == want) == equal }, nil
	case "in", "not in":
		wanted := make(map[string]bool, len(c.values))
		for _, value := range c.values {
			wanted[value] = true
		}
		inside := c.operator == "in"
		return func(dims []string) bool { return wanted[dims[at]] == inside }, nil
	case "=~", "!~":
		matching := c.operator == "=~"
		return func(dims []string) bool { return c.pattern.MatchString(dims[at]) == matching }, nil
	case "<":
		return compare(func(a, b float64) bool { return a < b }), nil
	case "<=":
		return compare(func(a, b float64) bool { return a <= b }), nil
	case ">":
		return compare(func(a, b float64) bool { return a > b }), nil
	case ">=":
		return compare(func(a, b float64) bool { return a >= b }), nil
	}
	panic(fmt.Sprintf("query: a comparison with operator %q was parsed", c.operator))
}

func (a all) String() string    { return join(a, " and ") }
func (a either) String() string { return join(a, " or ") }
func (n not) String() string    { return "not (" + n.condition.String() + ")" }

func join(conditions []condition, word string) string {
	parts := make([]string, len(conditions))
	for i, c := range conditions {
		parts[i] = c.String()
	}
	return "(" + strings.Join(parts, word) + ")"
}

func (c comparison) String() string {
	values := make([]string, len(c.values))
	for i, value := range c.values {
		values[i] = quote(value)
	}
	if c.operator == "in" || c.operator == "not in" {
		return quote(c.dimension) + " " + c.operator + " (" + strings.Join(values, ", ") + ")"
	}
	return quote(c.dimension) + " " + c.operator + " " + values[0]
}

// dimensionIndex finds a dimension by name, or says what was probably meant.
func dimensionIndex(s *weir.Stream, param, name string) (int, error) {
	var names []string
	for i, d := range s.Dimensions {
		if d.Name == name {
			return i, nil
		}
		names = append(names, d.Name)
	}
	for _, m := range s.Measures {
		if m.Name == name {
			return 0, wrong(param, "%q is a measure of stream %q: its values are folded into sketches as they arrive, "+
				"and nothing can be filtered or grouped by them afterwards; declare it under dimensions to do so", name, s.Name)
		}
	}
	err := wrong(param, "stream %q has no dimension %q; its dimensions are %s", s.Name, name, list(names))
	err.Suggestion = nearest(name, names)
	return 0, err
}
