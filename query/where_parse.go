package query

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// ParseWhere reads a filter. A blank text is the filter that lets everything through.
//
//	or         = and { "or" and }
//	and        = unary { ("and" | ",") unary }
//	unary      = "not" unary | "(" or ")" | comparison
//	comparison = name operator value | name ["not"] "in" "(" value {"," value} ")"
//
// A name or value in quotes may hold anything. A bare value ends at a space, a
// comma or a parenthesis, except that the parentheses of a bare regular
// expression are its own.
func ParseWhere(text string) (Where, error) {
	if len(text) > maxWhere {
		return Where{}, wrong("where", "%d bytes of filter; at most %d are read", len(text), maxWhere)
	}
	p := whereParser{rest: text}
	if p.space(); p.rest == "" {
		return Where{}, nil
	}
	root, err := p.or()
	if err != nil {
		return Where{}, err
	}
	if p.rest != "" {
		return Where{}, p.unexpected("the end, \"and\" or \"or\"")
	}
	return Where{root: root, text: strings.TrimSpace(text)}, nil
}

type whereParser struct {
	rest  string
	depth int
}

func (p *whereParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *whereParser) unexpected(wanted string) *ParamError {
	found := "the filter ends"
	if p.rest != "" {
		found = "found " + strconv.Quote(p.rest[:min(len(p.rest), 30)])
	}
	return wrong("where", "%s where %s should stand", found, wanted)
}

func (p *whereParser) symbol(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
		p.space()
	}
	return ok
}

// word takes a keyword, in either case, if it stands alone.
func (p *whereParser) word(w string) bool {
	if len(p.rest) < len(w) || !strings.EqualFold(p.rest[:len(w)], w) {
		return false
	}
	after := p.rest[len(w):]
	if after != "" && !strings.ContainsRune(" \t\r\n(\"'", rune(after[0])) {
		return false
	}
	p.rest = after
	p.space()
	return true
}

func (p *whereParser) or() (condition, error) {
	if p.depth++; p.depth > maxWhereDepth {
		return nil, wrong("where", "more than %d parentheses within one another", maxWhereDepth)
	}
	defer func() { p.depth-- }()
	first, err := p.and()
	if err != nil {
		return nil, err
	}
	terms := either{first}
	for p.word("or") {
		next, err := p.and()
		if err != nil {
			return nil, err
		}
		terms = append(terms, next)
	}
	if len(terms) == 1 {
		return first, nil
	}
	return terms, nil
}

func (p *whereParser) and() (condition, error) {
	first, err := p.unary()
	if err != nil {
		return nil, err
	}
	terms := all{first}
	for p.symbol(",") || p.word("and") {
		next, err := p.unary()
		if err != nil {
			return nil, err
		}
		terms = append(terms, next)
	}
	if len(terms) == 1 {
		return first, nil
	}
	return terms, nil
}

func (p *whereParser) unary() (condition, error) {
	if p.word("not") {
		if p.depth++; p.depth > maxWhereDepth {
			return nil, wrong("where", "more than %d nots within one another", maxWhereDepth)
		}
		defer func() { p.depth-- }()
		inner, err := p.unary()
		return not{inner}, err
	}
	if p.symbol("(") {
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.symbol(")") {
			return nil, p.unexpected("a )")
		}
		return inner, nil
	}
	return p.comparison()
}

// operators in the order in which they are tried: the longer first.
var operators = []string{"!=", "!~", "=~", "==", "<=", ">=", "=", "<", ">"}

func (p *whereParser) comparison() (condition, error) {
	name, err := p.text(" \t\r\n,()=!<>~", false)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, p.unexpected("the name of a dimension")
	}
	c := comparison{dimension: name}
	if p.word("in") {
		c.operator = "in"
	} else if p.word("not") {
		if !p.word("in") {
			return nil, p.unexpected("\"in\"")
		}
		c.operator = "not in"
	}
	if c.operator != "" {
		c.values, err = p.set()
		return c, err
	}
	for _, operator := range operators {
		if p.symbol(operator) {
			c.operator = strings.Replace(operator, "==", "=", 1)
			break
		}
	}
	if c.operator == "" {
		return nil, p.unexpected("one of = != =~ !~ < <= > >= in, after " + strconv.Quote(name) + ",")
	}
	pattern := c.operator == "=~" || c.operator == "!~"
	quoted := p.rest != "" && (p.rest[0] == '"' || p.rest[0] == '\'')
	value, err := p.text(" \t\r\n,()", pattern)
	if err != nil {
		return nil, err
	}
	if value == "" && !quoted {
		return nil, p.unexpected("a value (of an absent dimension: \"\")")
	}
	c.values = []string{value}
	switch {
	case pattern:
		// Alone first: ")|(" must not close the group that anchors it.
		if _, err := regexp.Compile(value); err != nil {
			return nil, wrong("where", "%q is not a regular expression: %v", value, err)
		}
		c.pattern, err = regexp.Compile("^(?s:" + value + ")$")
		if err != nil {
			return nil, wrong("where", "%q is not a regular expression: %v", value, err)
		}
	case c.operator[0] == '<' || c.operator[0] == '>':
		c.number, err = strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(c.number) {
			return nil, wrong("where", "%s %s %q: %s compares numbers", name, c.operator, value, c.operator)
		}
	}
	return c, nil
}

func (p *whereParser) set() (values []string, err error) {
	if !p.symbol("(") {
		return nil, p.unexpected("a list in parentheses")
	}
	for {
		quoted := p.rest != "" && (p.rest[0] == '"' || p.rest[0] == '\'')
		value, err := p.text(" \t\r\n,()", false)
		if err != nil {
			return nil, err
		}
		if value == "" && !quoted {
			return nil, p.unexpected("a value")
		}
		values = append(values, value)
		if p.symbol(")") {
			return values, nil
		}
		if !p.symbol(",") {
			return nil, p.unexpected("a , or )")
		}
	}
}

// text takes a quoted text, or a bare one that ends before any of the given bytes.
func (p *whereParser) text(ends string, pattern bool) (string, error) {
	if p.rest == "" {
		return "", nil
	}
	if p.rest[0] == '"' || p.rest[0] == '\'' {
		length := quotedLength(p.rest)
		if length == 0 {
			return "", wrong("where", "the quote of %.30q is not closed", p.rest)
		}
		value, err := unquote(p.rest[:length])
		p.rest = p.rest[length:]
		p.space()
		return value, err
	}
	length, depth := 0, 0
	for ; length < len(p.rest); length++ {
		c := p.rest[length]
		if pattern {
			switch {
			case c == '(' || c == '[' || c == '{':
				depth++
				continue
			case (c == ')' || c == ']' || c == '}') && depth > 0:
				depth--
				continue
			case c == ',' && depth > 0:
				continue
			}
		}
		if strings.IndexByte(ends, c) >= 0 {
			break
		}
	}
	value := p.rest[:length]
	p.rest = p.rest[length:]
	p.space()
	return value, nil
}
