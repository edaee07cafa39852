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

// nearest returns the candidate that a misspelt word most likely stands for, or
// "" where none is close: a third of its letters may differ, and two at least
// of a word of four letters or more.
func nearest(word string, candidates []string) string {
	if len(word) > maxMisspelt {
		return ""
	}
	allowed := max(1, utf8.RuneCountInString(word)/3)
	if len(word) >= 4 {
		allowed = max(2, allowed)
	}
	best, bestDistance := "", allowed+1
	for _, candidate := range candidates {
		if distance := distance(strings.ToLower(word), strings.ToLower(candidate)); distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	if best == word {
		return ""
	}
	return best
}

// maxMisspelt bounds the bytes of a word that is compared with others.
const maxMisspelt = 200

// distance is Levenshtein's, except that two neighbours that changed places are
// one mistake, as they are to who types.
func distance(a, b string) int {
	if len(a) == len(b) {
		for i := range len(a) - 1 {
			if a[:i]+a[i+1:i+2]+a[i:i+1]+a[i+2:] == b {
				return 1
			}
		}
	}
	return levenshtein.ComputeDistance(a, b)
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
