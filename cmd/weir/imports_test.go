package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weir-stream/weir"

// floors says which rooms each room may import. A room that is not listed may
// not exist: a new one is given its place here first. Packages inside a room
// (ingest/journal) stand on the room's floor, and only the room imports them.
var floors = map[string][]string{
	"sketch":   {},
	"":         {"sketch"},
	"store":    {"", "sketch"},
	"ingest":   {"", "sketch", "store"},
	"query":    {"", "sketch", "store"},
	"anomaly":  {},
	"api":      {"", "sketch", "store", "query", "anomaly/incident"},
	"bench":    {"", "sketch", "store", "ingest", "query", "anomaly", "anomaly/watch", "api"},
	"cmd/weir": {"", "sketch", "store", "ingest", "query", "anomaly", "anomaly/incident", "anomaly/notify", "anomaly/watch", "api"},

	// The rooms upstairs from the arithmetic.
	"anomaly/incident": {"", "store"},
	"anomaly/notify":   {"", "store"},
	"anomaly/watch":    {"", "sketch", "store", "query", "anomaly", "anomaly/incident"},
}

// wired are packages inside a room that others above it may import too: main
// opens them.
var wired = []string{"ingest/journal", "ingest/kafka", "ingest/kafka/kafkatest", "ingest/pulsar", "ingest/pulsar/pulsartest", "api/cluster", "store/blockcache", "store/objects"}

// The packages sketch and anomaly are arithmetic: no clock, file, goroutine or
// logger.
var arithmetic = []string{"sketch", "anomaly"}

var notInArithmetic = []string{"os", "io/fs", "time", "log", "log/slog", "net", "net/http", "context"}

// Imports point down, and siblings never meet.
func TestImportsPointDown(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".") && name != "..") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		from := strings.TrimPrefix(filepath.ToSlash(relative), ".")
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if complaint := forbidden(from, imported); complaint != "" {
				t.Errorf("%s imports %s: %s", file, imported, complaint)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were looked at, so this test tests nothing", files)
	}
}

// forbidden returns why the package from (relative to the module) may not
// import the other, or "".
func forbidden(from, imported string) string {
	room := roomOf(from)
	allowed, known := floors[room]
	if !known {
		return "the room " + room + " has no floor yet"
	}
	target, ours := strings.CutPrefix(imported, module)
	if !ours {
		if slices.Contains(arithmetic, from) && slices.Contains(notInArithmetic, imported) {
			return from + " is arithmetic alone"
		}
		return ""
	}
	target = strings.TrimPrefix(target, "/")
	switch inside := roomOf(target); {
	case inside == room:
		return ""
	case !slices.Contains(allowed, inside):
		return "from " + strconv.Quote(room) + " imports go down to " + strings.Join(allowed, ", ")
	case inside != target && !slices.Contains(wired, target):
		return "only " + inside + " itself imports what is inside it"
	}
	return ""
}

// roomOf returns the room that a package belongs to.
func roomOf(pkg string) string {
	for p := pkg; p != "." && p != ""; p = path.Dir(p) {
		if _, ok := floors[p]; ok {
			return p
		}
	}
	if pkg == "" {
		return ""
	}
	return pkg
}

// The rule itself can fail.
func TestForbidden(t *testing.T) {
	for _, test := range []struct {
		from, imported string
		allowed        bool
	}{
		{"ingest", module + "/query", false},
		{"query", module + "/ingest", false},
		{"api", module + "/ingest", false},
		{"sketch", module, false},
		{"store", module + "/ingest/journal", false},
		{"sketch", "os", false},
		{"anomaly", "time", false},
		{"anomaly", module, false},
		{"invented", "fmt", false},
		{"", module + "/store", false},
		{"cmd/weir", module + "/sketch/deep", false},
		{"ingest", module + "/ingest/journal", true},
		{"ingest/journal", module, true},
		{"cmd/weir", module + "/ingest/journal", true},
		{"query", module + "/store", true},
		{"query", "os", true},
	} {
		if complaint := forbidden(test.from, test.imported); (complaint == "") != test.allowed {
			t.Errorf("%q imports %q: complaint %q, allowed should be %v", test.from, test.imported, complaint, test.allowed)
		}
	}
}
