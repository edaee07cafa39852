package query

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-stream/weir"
)

// Function is what an expression asks of a measure.
type Function string

// The functions. Count and Rate stand alone, the others follow a measure.
const (
	Count     Function = "count"
	Rate      Function = "rate" // events per second of the window
	Sum       Function = "sum"
	Min       Function = "min"
	Max       Function = "max"
	Mean      Function = "mean"
	Quantile  Function = "quantile"  // quantile(0.95), p95
	Rank      Function = "rank"      // rank(30): the fraction of values ≤ 30
	Histogram Function = "histogram" // bins of {lower, upper, count}
	Distinct  Function = "distinct"
	Top       Function = "top"       // top(10)
	Frequency Function = "frequency" // frequency("ORD")
)

// functionKinds lists, for each function of a measure, the kinds that answer it.
var functionKinds = map[Function][]weir.Kind{
	Sum: {weir.Sum, weir.Quantile}, Min: {weir.Sum, weir.Quantile},
	Max: {weir.Sum, weir.Quantile}, Mean: {weir.Sum, weir.Quantile},
	Quantile: {weir.Quantile}, Rank: {weir.Quantile}, Histogram: {weir.Quantile},
	Distinct: {weir.Distinct}, Top: {weir.Top}, Frequency: {weir.Frequency},
}

// usage lists the ways to ask a measure of each kind.
var usage = map[weir.Kind][]string{
	weir.Sum:       {"sum", "min", "max", "mean"},
	weir.Quantile:  {"sum", "min", "max", "mean", "p50", "p99", "p99.9", "quantile(0.95)", "rank(30)", "histogram"},
	weir.Distinct:  {"distinct"},
	weir.Top:       {"top(10)"},
	weir.Frequency: {`frequency("item")`},
}

// Exact reports whether the function's values are exact by nature. Estimates
// carry bounds; exact values are their own.
func (f Function) Exact() bool {
	switch f {
	case Count, Rate, Sum, Min, Max, Mean:
		return true
	}
	return false
}

// Scalar reports whether the function's values are numbers rather than lists.
func (f Function) Scalar() bool { return f != Top && f != Histogram }

const (
	defaultTop = 10
	maxTop     = 10_000
	maxItem    = 4096 // bytes of an item asked for
)

// Expression is one thing to select. Function is "" where the text names no
// function that we know; what was meant is judged beside the stream's
// definition, which knows more.
type Expression struct {
	Measure  string
	Function Function
	Quantile float64 // of Quantile
	Value    float64 // of Rank
	N        int     // of Top
	Item     string  // of Frequency
	text     string
}

// String is the expression as it was written, and the name of its column.
func (e Expression) String() string { return e.text }

// ParseSelect reads a list of expressions: `count,delay.p99,place.frequency("A,B")`.
// What is asked twice is answered once.
func ParseSelect(text string) ([]Expression, error) {
	parts, err := splitList(text)
	if err != nil {
		return nil, wrong("select", "%v in %q", err, text)
	}
	var expressions []Expression
	for _, part := range parts {
		e, err := ParseExpression(part)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(expressions, func(o Expression) bool { return o.text == e.text }) {
			expressions = append(expressions, e)
		}
	}
	return expressions, nil
}

// ParseExpression reads one expression of a select.
func ParseExpression(text string) (Expression, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "":
		return Expression{}, wrong("select", "an expression is empty; ask for count, or for a measure as in delay.p99")
	case "count", "rate":
		return Expression{Function: Function(text), text: text}, nil
	}
	head, argument, called := text, "", false
	if open := strings.IndexAny(text, "(\""); open >= 0 {
		if text[open] != '(' || !strings.HasSuffix(text, ")") {
			return Expression{}, wrong("select", "%q: an argument stands in parentheses at the end, as in top(10)", text)
		}
		head, argument, called = strings.TrimSpace(text[:open]), strings.TrimSpace(text[open+1:len(text)-1]), true
	}
	// A measure's name may hold dots, and so does p99.9: the leftmost dot after
	// which a function stands is the one that ends the name.
	for dot := range len(head) {
		if head[dot] != '.' || dot == 0 {
			continue
		}
		e := Expression{Measure: head[:dot], text: text}
		known, err := e.setFunction(head[dot+1:], argument, called)
		if err != nil {
			return Expression{}, err
		}
		if known {
			return e, nil
		}
	}
	return Expression{Measure: head, text: text}, nil
}

// setFunction reads a function and its argument, and reports whether the name
// is that of a function.
func (e *Expression) setFunction(name, argument string, called bool) (known bool, err error) {
	if percentile, ok := strings.CutPrefix(name, "p"); ok && !called {
		// In decimal, so that p99.9 is 0.999 and not what 99.9/100 rounds to.
		if q, err := strconv.ParseFloat(percentile+"e-2", 64); err == nil && isDigits(percentile) {
			if q > 1 {
				return true, wrong("select", "%q: a percentile lies between p0 and p100", e.text)
			}
			e.Function, e.Quantile = Quantile, q
			return true, nil
		}
	}
	e.Function = Function(name)
	switch e.Function {
	case Sum, Min, Max, Mean, Histogram, Distinct:
		if called {
			return true, wrong("select", "%q: %s takes no argument", e.text, name)
		}
	case Quantile:
		q, err := strconv.ParseFloat(argument, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return true, wrong("select", "%q: quantile takes a fraction between 0 and 1, as in quantile(0.95)", e.text)
		}
		e.Quantile = q
	case Rank:
		x, err := strconv.ParseFloat(argument, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return true, wrong("select", "%q: rank takes a number, as in rank(30)", e.text)
		}
		e.Value = x
	case Top:
		e.N = defaultTop
		if called {
			n, err := strconv.Atoi(argument)
			if err != nil || n < 1 || n > maxTop {
				return true, wrong("select", "%q: top takes a number of items between 1 and %d, as in top(10)", e.text, maxTop)
			}
			e.N = n
		}
	case Frequency:
		item, err := unquote(argument)
		if err != nil || !called || argument == "" || len(item) > maxItem {
			return true, wrong("select", "%q: frequency takes one item of at most %d bytes, as in frequency(\"ORD\")", e.text, maxItem)
		}
		e.Item = item
	default:
		e.Function = ""
		return false, nil
	}
	return true, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.") == ""
}

// ParseBy reads a list of dimensions to group by.
func ParseBy(text string) ([]string, error) {
	parts, err := splitList(text)
	if err != nil {
		return nil, wrong("by", "%v in %q", err, text)
	}
	var by []string
	for _, part := range parts {
		name, err := unquote(part)
		if err != nil || name == "" {
			return nil, wrong("by", "%q is not the name of a dimension", part)
		}
		if !slices.Contains(by, name) {
			by = append(by, name)
		}
	}
	return by, nil
}
