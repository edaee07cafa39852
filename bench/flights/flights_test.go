// Package flights loads 1.48 million real flights through the program, as a
// user would, and holds its answers against exact ones.
package flights

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// confidence is what the answers are asked at; rows may miss as often as it
// allows.
const confidence = 0.95

var quantiles = []float64{0.01, 0.5, 0.9, 0.99, 0.999}

// answer is the part of the JSON of a query that this test reads.
type answer struct {
	Complete bool
	Series   []struct {
		By     map[string]string
		T      []time.Time
		Values map[string]struct {
			Value, Lower, Upper []json.RawMessage
		}
	}
}

func TestFlights(t *testing.T) {
	data := dataDir(t)
	weir := build(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "weir.yaml")
	example, err := os.ReadFile("../../examples/flights/weir.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, example, 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(data, "*.ndjson.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", data, err)
	}
	began := time.Now()
	out := run(t, weir, append([]string{"load", "-c", config, "--stream", "flights"}, files...)...)
	t.Logf("weir load, %.1f s:\n%s", time.Since(began).Seconds(), out)
	again := run(t, weir, append([]string{"load", "-c", config, "--stream", "flights"}, files...)...)
	t.Logf("the same again:\n%s", again)

	ask := func(args ...string) answer {
		t.Helper()
		var a answer
		text := run(t, weir, append([]string{"query", "-c", config, "--stream", "flights", "-o", "json",
			"--from", "2001-01-01", "--to", "2001-04-01", "--confidence", fmt.Sprint(confidence)}, args...)...)
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatalf("%v: %v\n%.2000s", args, err, text)
		}
		return a
	}
	selected := "count,distance.sum,delay.min,delay.max,destination.distinct," +
		"delay.p1,delay.p50,delay.p90,delay.p99,delay.p99.9"
	delays := readDelays(t, files)

	t.Run("by day", func(t *testing.T) {
		a := ask("--select", selected, "--step", "1d")
		if len(a.Series) != 1 {
			t.Fatalf("%d series, want 1", len(a.Series))
		}
		compare(t, a, filepath.Join(data, "truth-by-day.csv"), delays.day, func(a *answer, key string) (int, int) {
			return 0, slices.IndexFunc(a.Series[0].T, func(at time.Time) bool { return at.Format(time.DateOnly) == key })
		})
	})
	t.Run("by origin", func(t *testing.T) {
		a := ask("--select", selected, "--by", "origin")
		index := make(map[string]int)
		for i, s := range a.Series {
			index[s.By["origin"]] = i
		}
		compare(t, a, filepath.Join(data, "truth-by-origin.csv"), delays.origin, func(_ *answer, key string) (int, int) {
			i, ok := index[key]
			if !ok {
				return 0, -1
			}
			return i, 0
		})
	})
	t.Run("by hour", func(t *testing.T) {
		a := ask("--select", "count", "--step", "1h")
		counts := make(map[string]int64)
		for i, at := range a.Series[0].T {
			counts[at.UTC().Format(time.RFC3339)] = int64(number(t, a.Series[0].Values["count"].Value[i]))
		}
		rows := readCSV(t, filepath.Join(data, "truth-by-hour.csv"))
		for _, row := range rows {
			if got := fmt.Sprint(counts[row["hour"]]); got != row["count"] {
				t.Errorf("%s: count %s, want %s", row["hour"], got, row["count"])
			}
		}
		t.Logf("%d hours: every count exact", len(rows))
	})
	t.Run("destinations", func(t *testing.T) {
		rows := readCSV(t, filepath.Join(data, "truth-destination-counts.csv"))
		var top []struct {
			Item                string
			Count, Lower, Upper int64
		}
		a := ask("--select", "destination.top(10)")
		if err := json.Unmarshal(a.Series[0].Values["destination.top(10)"].Value[0], &top); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			want, _ := strconv.ParseInt(rows[i]["count"], 10, 64)
			if i >= len(top) || top[i].Item != rows[i]["destination"] || top[i].Lower > want || want > top[i].Upper {
				t.Errorf("rank %d: %+v, want %v", i+1, top, rows[i])
				break
			}
		}
		covered := 0
		for some := range slices.Chunk(rows, 50) {
			var selected []string
			for _, row := range some {
				selected = append(selected, fmt.Sprintf("destination.frequency(%q)", row["destination"]))
			}
			a := ask("--select", strings.Join(selected, ","))
			for i, row := range some {
				want, _ := strconv.ParseFloat(row["count"], 64)
				if v := a.Series[0].Values[selected[i]]; bounds(t, v.Lower, v.Upper, v.Value, 0, want) {
					covered++
				}
			}
		}
		t.Logf("top 10 right: %v; frequency within its bounds for %d of %d destinations", top, covered, len(rows))
		if float64(covered) < confidence*float64(len(rows)) {
			t.Errorf("frequency: %d of %d covered", covered, len(rows))
		}
	})
}

// compare holds every row of a truth file against the answer, and prints how
// far off it is.
func compare(t *testing.T, a answer, file string, delays map[string][]float64, find func(*answer, string) (int, int)) {
	t.Helper()
	rows := readCSV(t, file)
	worst := make(map[string]float64)
	covered := make(map[string]int)
	exact := 0
	for _, row := range rows {
		key := row["day"] + row["origin"]
		s, i := find(&a, key)
		if i < 0 {
			t.Errorf("%s is not in the answer", key)
			continue
		}
		value := func(name string) float64 {
			t.Helper()
			v, ok := a.Series[s].Values[name]
			if !ok || i >= len(v.Value) {
				t.Fatalf("%s: no %s in the answer", key, name)
			}
			return number(t, v.Value[i])
		}
		for name, column := range map[string]string{"count": "count", "distance.sum": "sum_distance",
			"delay.min": "min_delay", "delay.max": "max_delay"} {
			if want, _ := strconv.ParseFloat(row[column], 64); value(name) != want {
				t.Errorf("%s: %s is %v, want %v exactly", key, name, value(name), want)
			}
		}
		want, _ := strconv.ParseFloat(row["distinct_destinations"], 64)
		got := value("destination.distinct")
		off := abs(got-want) / want
		worst["distinct"] = max(worst["distinct"], off)
		if off > 0.02 || want <= 100 && got != want {
			t.Errorf("%s: distinct %v, want %v", key, got, want)
		}
		if got == want {
			exact++
		}
		v := a.Series[s].Values["destination.distinct"]
		if bounds(t, v.Lower, v.Upper, v.Value, i, want) {
			covered["distinct"]++
		}
		sorted := delays[key]
		for k, text := range strings.Fields(row["delay_p1_p50_p90_p99_p999"]) {
			q := quantiles[k]
			name := "delay.p" + strconv.FormatFloat(100*q, 'f', -1, 64)
			truth, _ := strconv.ParseFloat(text, 64)
			off := rankError(sorted, value(name), q)
			worst[name] = max(worst[name], off)
			if off > 0.005 {
				t.Errorf("%s: %s is %v, off by %.3f %% of rank (truth %v)", key, name, value(name), 100*off, truth)
			}
			v := a.Series[s].Values[name]
			if bounds(t, v.Lower, v.Upper, v.Value, i, truth) {
				covered[name]++
			}
		}
	}
	t.Logf("%s: %d rows; count, sum, min and max exact", filepath.Base(file), len(rows))
	t.Logf("  distinct: worst %.2f %%, exact on %d rows, in its bounds on %.1f %%", 100*worst["distinct"], exact, percent(covered["distinct"], len(rows)))
	for _, q := range quantiles {
		name := "delay.p" + strconv.FormatFloat(100*q, 'f', -1, 64)
		t.Logf("  %-11s worst %.3f %% of rank, in its bounds on %.1f %%", name, 100*worst[name], percent(covered[name], len(rows)))
	}
	for name, n := range covered {
		if float64(n) < confidence*float64(len(rows)) {
			t.Errorf("%s: truth within lower and upper on %.1f %% of rows, want %.0f %%", name, percent(n, len(rows)), 100*confidence)
		}
	}
}

// rankError is how far in rank a value is from the q-quantile of the sorted
// values, 0 when it lies within the gap that belongs to q.
func rankError(sorted []float64, v, q float64) float64 {
	n := float64(len(sorted))
	// Ranks are those of linear interpolation: the i-th of n values is at
	// i/(n-1). A value between two has any rank between theirs.
	below, _ := slices.BinarySearch(sorted, v)
	above := below
	for above < len(sorted) && sorted[above] == v {
		above++
	}
	lo, hi := float64(below-1)/(n-1), float64(above)/(n-1)
	if below < above {
		lo, hi = float64(below)/(n-1), float64(above-1)/(n-1)
	}
	return max(0, lo-q, q-hi)
}

func bounds(t *testing.T, lower, upper, value []json.RawMessage, i int, truth float64) bool {
	t.Helper()
	if lower == nil { // exact by nature or by chance
		lower, upper = value, value
	}
	const rounding = 1e-9
	lo, hi := number(t, lower[i]), number(t, upper[i])
	return lo-rounding*abs(lo) <= truth && truth <= hi+rounding*abs(hi)
}

func number(t *testing.T, raw json.RawMessage) float64 {
	t.Helper()
	var f float64
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatalf("not a number: %s", raw)
	}
	return f
}

func abs(f float64) float64 { return max(f, -f) }

func percent(n, of int) float64 { return 100 * float64(n) / float64(of) }

type delaysBy struct{ day, origin map[string][]float64 }

// readDelays gives the sorted delays of each day and origin.
func readDelays(t *testing.T, files []string) delaysBy {
	t.Helper()
	d := delaysBy{day: make(map[string][]float64), origin: make(map[string][]float64)}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(z)
		for lines.Scan() {
			var e struct {
				Time, Origin string
				Delay        float64
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			d.day[e.Time[:10]] = append(d.day[e.Time[:10]], e.Delay)
			d.origin[e.Origin] = append(d.origin[e.Origin], e.Delay)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for _, m := range []map[string][]float64{d.day, d.origin} {
		for _, v := range m {
			slices.Sort(v)
		}
	}
	return d
}

func readCSV(t *testing.T, file string) []map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, r := range records[1:] {
		row := make(map[string]string)
		for i, name := range records[0] {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// dataDir finds the flights beside the project.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("WEIR_FLIGHTS")
	if dir == "" {
		dir = "../../../shared/data/flights"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("skipped: the flights are not at %s (set WEIR_FLIGHTS to their folder)", dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "weir")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("weir %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out) + stderr.String()
}
