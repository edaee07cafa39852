package check

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// Prometheus reads its configuration, Grafana's files are well-formed, and the
// dashboard asks for what the program has.
func TestWatching(t *testing.T) {
	c, err := config.LoadFile(filepath.Join("..", "prometheus.yml"), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.ScrapeConfigs) != 1 {
		t.Errorf("%d jobs", len(c.ScrapeConfigs))
	}
	for _, name := range []string{"datasources.yaml", "dashboards.yaml"} {
		if text := read(t, "grafana", name); yaml.Unmarshal([]byte(text), new(map[string]any)) != nil {
			t.Errorf("%s is no YAML:\n%s", name, text)
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana", "weir.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	ours := metrics(t)
	asked := 0
	promql := parser.NewParser(parser.Options{})
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expr, err := promql.ParseExpr(target.Expr)
			if err != nil {
				t.Errorf("%s: %v", panel.Title, err)
				continue
			}
			parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
				if v, ok := node.(*parser.VectorSelector); ok {
					asked++
					if !ours[strings.TrimSuffix(v.Name, "_bucket")] {
						t.Errorf("%s: the program has no metric %s", panel.Title, v.Name)
					}
				}
				return nil
			})
		}
	}
	if asked < 5 {
		t.Errorf("the dashboard asks for %d metrics", asked)
	}
}

// metrics gives the names that the program's source has.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	quoted := regexp.MustCompile(`"(weir_[a-z_]+)"`)
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// read reads a file of the folder above.
func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
