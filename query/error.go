package query

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// ParamError says that one parameter of a question can't be understood or
// can't be answered by the stream. Its text is meant for whoever asked.
type ParamError struct {
	Param      string // stream, select, by, where, from, to, step, window, confidence
	Detail     string // what was wrong, and what would be right
	Suggestion string // the name that was probably meant, or ""

	cause error // what it is to other rooms, or nil
}

func (e *ParamError) Error() string {
	text := e.Param + ": " + e.Detail
	if e.Suggestion != "" {
		text += fmt.Sprintf(" (did you mean %q?)", e.Suggestion)
	}
	return text
}

func (e *ParamError) Unwrap() error { return e.cause }

func wrong(param, format string, args ...any) *ParamError {
	return &ParamError{Param: param, Detail: fmt.Sprintf(format, args...)}
}

// What a question may exhaust. A [LimitError] wraps one of them.
var (
	ErrTooManyCells  = errors.New("too many cells")
	ErrTooManySeries = errors.New("too many series")
	ErrTooManyPoints = errors.New("too many points")
	ErrTooMuchMemory = errors.New("too much memory")
	ErrTooLong       = errors.New("took too long")
)

// LimitError says which limit a question met, where the limit stands, and how
// to ask for less.
type LimitError struct {
	Limit  error // one of the sentinels above
	Detail string
}

func (e *LimitError) Error() string { return e.Limit.Error() + ": " + e.Detail }

func (e *LimitError) Unwrap() error { return e.Limit }

func exceeded(limit error, format string, args ...any) *LimitError {
	return &LimitError{Limit: limit, Detail: fmt.Sprintf(format, args...)}
}

// nearest returns the candidate that a misspelt word most likely stands for,
// or "" where none is close: at most a third of its letters may differ.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", max(1, utf8.RuneCountInString(word)/3)+1
	for _, candidate := range candidates {
		distance := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(candidate))
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	if best == word {
		return ""
	}
	return best
}

// list writes names as prose: "a, b and c".
func list(names []string) string {
	switch len(names) {
	case 0:
		return "none"
	case 1:
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
