package main

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestScorerAgrees feeds the scorer what published detectors said, row by row,
// and compares with what the benchmark's own scorer made of it.
//
//	WEIR_NAB=DIR go test ./bench/nab
func TestScorerAgrees(t *testing.T) {
	dir := os.Getenv("WEIR_NAB")
	if dir == "" {
		t.Skip("WEIR_NAB names no folder with the benchmark's files, labels and scorer-check")
	}
	files, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(filepath.Join(dir, "scorer-check", "expected_per_file.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	expected, err := csv.NewReader(r).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	byProfile := make(map[string]profile)
	for _, p := range profiles {
		byProfile[p.name] = p
	}
	scores := make(map[string][][]float64)
	number := make(map[string]int)
	for k, f := range files {
		number[f.name] = k
	}
	thresholds := make(map[[2]string]float64)
	compared := 0
	for _, rec := range expected[1:] {
		detector, p, name := rec[0], byProfile[rec[1]], rec[2]
		if _, ok := scores[detector]; !ok {
			if detector == "null" {
				all := make([][]float64, len(files))
				for k, f := range files {
					all[k] = make([]float64, len(f.rows))
				}
				scores[detector] = all
			} else if scores[detector], err = loadScores(filepath.Join(dir, "scorer-check", detector+"_scores.csv.gz"), files); err != nil {
				t.Fatal(err)
			}
		}
		var got result
		var rows tally
		if name == "TOTAL" {
			got = fit(files, scores[detector], p)
			_, rows = at(files, scores[detector], p, got.threshold)
			if want := thresholds[[2]string{detector, rec[1]}]; got.threshold != want {
				t.Errorf("%s, %s: fitted threshold %v, want %v", detector, p.name, got.threshold, want)
			}
		} else {
			threshold, err := strconv.ParseFloat(rec[3], 64)
			if err != nil {
				t.Fatal(err)
			}
			thresholds[[2]string{detector, rec[1]}] = threshold
			k := number[name]
			got, rows = at(files[k:k+1], scores[detector][k:k+1], p, threshold)
		}
		raw, err := strconv.ParseFloat(rec[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.raw-raw) > 1e-9 {
			t.Errorf("%s, %s, %s: raw score %v, want %v", detector, p.name, name, got.raw, raw)
		}
		for i, n := range []int{rows.tp, rows.tn, rows.fp, rows.fn} {
			if strconv.Itoa(n) != rec[5+i] {
				t.Errorf("%s, %s, %s: %s = %d, want %s", detector, p.name, name, expected[0][5+i], n, rec[5+i])
			}
		}
		compared++
	}
	t.Logf("%d rows of expected scores agree to 1e-9", compared)
}

func TestWeightsOfPlaces(t *testing.T) {
	f := &file{windows: [][2]int64{{2, 4}}}
	for i := range 12 {
		f.rows = append(f.rows, row{int64(i), 0})
	}
	at := places(f)
	standard := profiles[0]
	for _, c := range []struct {
		row    int
		weight float64
	}{
		{0, -0.11}, {1, -0.11}, {2, 1}, {5, 0.11 * sigmoid(0.5)}, {11, -0.11},
	} {
		if got := standard.weigh(at[c.row]); math.Abs(got-c.weight) > 1e-12 {
			t.Errorf("row %d weighs %v, want %v", c.row, got, c.weight)
		}
	}
	if last := standard.weigh(at[4]); last <= 0 || last >= 1 {
		t.Errorf("the last row of a window weighs %v, want a little above 0", last)
	}
}
