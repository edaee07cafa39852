package weir

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with the file beside a fixture.
func golden(t *testing.T, fixture, got string) {
	t.Helper()
	path := strings.TrimSuffix(fixture, ".yaml") + ".golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// fixtures runs a test for each file of the pattern, by its base name, so that
// messages do not depend on the directory.
func fixtures(t *testing.T, pattern string, test func(t *testing.T, path string, data []byte)) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures match %s (%v)", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			test(t, path, data)
		})
	}
}

// A good file gets its defaults, and printing it loses nothing.
func TestGoodConfig(t *testing.T) {
	fixtures(t, "testdata/config/good/*.yaml", func(t *testing.T, path string, data []byte) {
		c, err := Parse("weir.yaml", data)
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, path, string(text))

		again, err := Parse("weir.yaml", text)
		if err != nil {
			t.Fatalf("what YAML wrote is refused: %v\n%s", err, text)
		}
		if diff := cmp.Diff(c.AllStreams(), again.AllStreams()); diff != "" {
			t.Errorf("streams changed by printing and reading (-first +again):\n%s", diff)
		}
		if diff := cmp.Diff([]any{c.Detectors, c.Webhooks, c.Maintenance}, []any{again.Detectors, again.Webhooks, again.Maintenance}); diff != "" {
			t.Errorf("what is watched changed by printing and reading (-first +again):\n%s", diff)
		}
	})
}

// A bad file has all its mistakes reported, in its order, each with what would
// be right.
func TestBadConfig(t *testing.T) {
	fixtures(t, "testdata/config/bad/*.yaml", func(t *testing.T, path string, data []byte) {
		_, err := Parse("weir.yaml", data)
		var mistakes Mistakes
		if !errors.As(err, &mistakes) {
			t.Fatalf("Parse returned %v, want Mistakes", err)
		}
		golden(t, path, err.Error()+"\n")
	})
}

// The examples work as they are.
func TestExamples(t *testing.T) {
	fixtures(t, "examples/*/weir.yaml", func(t *testing.T, path string, _ []byte) {
		if _, err := Load(path); err != nil {
			t.Error(err)
		}
	})
}

// What the README configures works.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```yaml\n")
	block, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the README has no configuration")
	}
	c, err := Parse("README.md", []byte(block))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(c.Stream("requests").Measures); got != 3 {
		t.Errorf("%d measures, want 3", got)
	}

	// So do its detectors and webhooks, together with it.
	all := block
	for range 2 {
		_, rest, _ = strings.Cut(rest, "```yaml\n")
		more, _, _ := strings.Cut(rest, "```")
		all += more
	}
	if c, err = Parse("README.md", []byte(all)); err != nil {
		t.Fatal(err)
	}
	if len(c.Detectors) != 3 || len(c.Webhooks) != 4 {
		t.Errorf("%d detectors and %d webhooks, want 3 and 4", len(c.Detectors), len(c.Webhooks))
	}

	// And what it says of mistakes is what is said.
	bad := strings.NewReplacer("window: 10s", "window: 10", "{quantile:", "{quantil:").Replace(block)
	_, err = Parse("weir.yaml", []byte(bad))
	if err == nil || !strings.Contains(string(text), "\n"+err.Error()+"\n") {
		t.Errorf("the README does not show the mistakes as they are:\n%v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weir.yaml")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of no file: %v, want ErrNotExist", err)
	}
	text := "streams:\n  web: {source: {file: {path: logs/a.ndjson}}}\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "weir-data"); c.Store != want {
		t.Errorf("store is %s, want %s: paths are relative to the file", c.Store, want)
	}
	if got, want := c.Stream("web").Source.Path, filepath.Join(dir, "logs/a.ndjson"); got != want {
		t.Errorf("source is %s, want %s: paths are relative to the file", got, want)
	}
	if err := os.WriteFile(path, make([]byte, maxConfigBytes+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "1MiB") {
		t.Errorf("Load of a huge file: %v, want the limit named", err)
	}
}

func TestStreamOfConfig(t *testing.T) {
	c, err := Parse("weir.yaml", []byte(`
seed: 7
streams:
  web:
    source: {push: {partitions: 3}}
    dimensions: [service, {zone: cloud.zone}]
    measures:
      user: {top: user.name, distinct: user.id}
      latency: {sum: ms, quantile: ms}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Stream{
		Name:       "web",
		Source:     Source{Kind: Push, Partitions: 3},
		Time:       TimeField{Field: "time", Format: RFC3339, Lateness: 10 * time.Second, MaxAhead: 5 * time.Minute},
		Window:     10 * time.Second,
		Dimensions: []Dimension{{"service", "service"}, {"zone", "cloud.zone"}},
		Measures: []Measure{ // sorted; quantile includes the sum
			{"latency", Quantile, "ms", Params{Sketch: "tdigest", Compression: 100}},
			{"user", Distinct, "user.id", Params{Precision: 14}},
			{"user", Top, "user.name", Params{Slots: 128}},
		},
		MaxSeries: 100_000,
		MaxLine:   1 << 20,
		Seed:      7,
	}
	if diff := cmp.Diff(want, c.Stream("web")); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
	if c.Stream("wbe") != nil {
		t.Error("a stream that is not defined is not nil")
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "10s": 10 * time.Second, "1h30m": 90 * time.Minute, "1.5d": 36 * time.Hour,
		"2w": 14 * day, "2y": 730 * day, "250ms": 250 * time.Millisecond, "3us": 3000, "3µs": 3000, "7ns": 7,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
		again, err := ParseDuration(FormatDuration(got))
		if err != nil || again != want {
			t.Errorf("ParseDuration(FormatDuration(%v)) = %v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "s", "10", "10 s", "1..5s", "-1s", "1h-5m", "1e3s", "99999999y", "0.5ns", "10sec", "∞"} {
		if d, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, d)
		}
	}
}

// Parse takes any bytes: it answers with mistakes that lie inside the text, or
// with a configuration that is read back the same.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/config/*/*.yaml", "examples/*/weir.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("weir.yaml", data)
		if err != nil {
			var mistakes Mistakes
			if !errors.As(err, &mistakes) || len(mistakes) == 0 || len(mistakes) > maxMistakes {
				t.Fatalf("error is %T %v, want 1 to %d mistakes", err, err, maxMistakes)
			}
			return
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("weir.yaml", text)
		if err != nil {
			t.Fatalf("what YAML wrote is refused: %v\n%s", err, text)
		}
		if diff := cmp.Diff(c.AllStreams(), again.AllStreams()); diff != "" {
			t.Fatalf("streams changed by printing and reading (-first +again):\n%s", diff)
		}
	})
}
