package weir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Mistake is one thing wrong in a configuration file.
type Mistake struct {
	File         string
	Line, Column int // from 1
	Message      string
}

func (m Mistake) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Message)
}

// Mistakes is all that is wrong in a configuration file, in its order.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// maxMistakes bounds a report: a file that is not a configuration at all should
// not be answered by a book.
const maxMistakes = 100

type position struct{ line, column int }

// checker collects the mistakes of one file: those of its notation while it is
// decoded, then those of what it says.
type checker struct {
	file     string
	mistakes Mistakes
	at       map[string]position // of every key and element that the file has, by path
	unsound  map[string]bool     // paths whose value was a mistake; nothing more is said of them
}

func (k *checker) sorted() Mistakes {
	slices.SortStableFunc(k.mistakes, func(a, b Mistake) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	k.mistakes = slices.Compact(k.mistakes)
	if over := len(k.mistakes) - maxMistakes; over > 0 {
		k.mistakes = k.mistakes[:maxMistakes]
		last := k.mistakes[maxMistakes-1]
		last.Message = fmt.Sprintf("and %d more mistakes from here on", over+1)
		k.mistakes[maxMistakes-1] = last
	}
	return k.mistakes
}

func (k *checker) failAt(at position, format string, args ...any) {
	k.mistakes = append(k.mistakes, Mistake{k.file, at.line, at.column, fmt.Sprintf(format, args...)})
}

// fail reports a mistake at a path, or at what is nearest above it when the
// file leaves the path out.
func (k *checker) fail(path, format string, args ...any) {
	for p := path; ; p = p[:strings.LastIndexByte(p, '.')] {
		if k.unsound[p] {
			return
		}
		if !strings.Contains(p, ".") {
			break
		}
	}
	for p := path; ; {
		if at, ok := k.at[p]; ok {
			k.failAt(at, format, args...)
			return
		}
		dot := strings.LastIndexByte(p, '.')
		if dot < 0 {
			k.failAt(position{1, 1}, format, args...)
			return
		}
		p = p[:dot]
	}
}

// has reports whether the file has the path.
func (k *checker) has(path string) bool { _, ok := k.at[path]; return ok }

func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

func within(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// suggest names what was probably meant, or all there is to choose from.
func suggest(name string, known []string) string {
	best, distance := "", 3
	for _, candidate := range known {
		d := levenshtein.ComputeDistance(strings.ToLower(name), candidate)
		if len(name) > 1 && strings.HasPrefix(candidate, strings.ToLower(name)) {
			d = 1
		}
		if d < distance && d < len(candidate) {
			best, distance = candidate, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(known) > 0:
		return "; known are " + strings.Join(known, ", ")
	}
	return ""
}
