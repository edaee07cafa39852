package anomaly

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The answers of R's stl and of the packages AnomalyDetection and
// BreakoutDetection lie beside the repository, in shared/reference/anomaly.

// reference returns the path of a file of the reference answers.
func reference(t testing.TB, name string) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for {
		folder := filepath.Join(dir, "shared", "reference", "anomaly")
		if _, err := os.Stat(folder); err == nil {
			return filepath.Join(folder, name)
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Skip("the reference answers, shared/reference/anomaly, are in no folder above this one: nothing to compare with")
	}
}

// referenceIndex reads an index of the reference answers.
func referenceIndex(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(reference(t, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// referenceTable reads a CSV file of the reference answers: its columns by name.
func referenceTable(t testing.TB, name string) map[string][]string {
	t.Helper()
	file, err := os.Open(reference(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	columns := map[string][]string{}
	for i, column := range records[0] {
		for _, record := range records[1:] {
			columns[column] = append(columns[column], record[i])
		}
	}
	return columns
}

// floats reads a column; an empty field is NaN.
func floats(t testing.TB, column []string) []float64 {
	t.Helper()
	x := make([]float64, len(column))
	for i, field := range column {
		if field == "" {
			x[i] = math.NaN()
			continue
		}
		var err error
		if x[i], err = strconv.ParseFloat(field, 64); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// referenceSeries reads an input, and its timestamps in nanoseconds if it has
// any.
func referenceSeries(t testing.TB, name string) (times []int64, y []float64) {
	t.Helper()
	table := referenceTable(t, name)
	for _, field := range table["timestamp"] {
		at, err := time.Parse(time.DateTime, field)
		if err != nil {
			times = nil // row numbers
			break
		}
		times = append(times, at.UnixNano())
	}
	return times, floats(t, table["count"])
}
