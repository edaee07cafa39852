package main

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// layout is how the benchmark writes time; the labels have six digits of
// second more.
const layout = "2006-01-02 15:04:05"

// file is one series of the benchmark with its labelled windows.
type file struct {
	name    string // CATEGORY/NAME.csv
	rows    []row
	windows [][2]int64 // first and last stamp of each
}

type row struct {
	stamp int64 // unix seconds, as if UTC
	value float64
}

// step is the usual distance of two rows, in seconds.
func (f *file) step() int64 {
	var gaps []int64
	for i := 1; i < len(f.rows); i++ {
		if d := f.rows[i].stamp - f.rows[i-1].stamp; d > 0 {
			gaps = append(gaps, d)
		}
	}
	if len(gaps) == 0 {
		return 1
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// load reads every file under dir/data and its windows from
// dir/labels/combined_windows.json. Where dir has no data folder, dir itself
// holds the categories, and labels are beside it or in it.
func load(dir string) ([]*file, error) {
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(data); err != nil {
		data = dir
	}
	windows, err := loadWindows(dir)
	if err != nil {
		return nil, err
	}
	var files []*file
	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".csv" {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, data+string(filepath.Separator)))
		w, labelled := windows[name]
		if !labelled {
			return nil
		}
		f, err := loadFile(path)
		if err != nil {
			return err
		}
		f.name, f.windows = name, w
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load benchmark %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("load benchmark %s: no labelled file under %s", dir, data)
	}
	return files, nil
}

func loadFile(path string) (*file, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	records, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f := new(file)
	for i, rec := range records {
		if i == 0 {
			continue // the header
		}
		t, err := time.Parse(layout, rec[0])
		if err != nil {
			return nil, fmt.Errorf("read %s, line %d: %w", path, i+1, err)
		}
		v, err := strconv.ParseFloat(rec[1], 64)
		if err != nil {
			return nil, fmt.Errorf("read %s, line %d: %w", path, i+1, err)
		}
		f.rows = append(f.rows, row{t.Unix(), v})
	}
	return f, nil
}

func loadWindows(dir string) (map[string][][2]int64, error) {
	var raw []byte
	var err error
	for _, place := range []string{dir, filepath.Dir(filepath.Clean(dir))} {
		raw, err = os.ReadFile(filepath.Join(place, "labels", "combined_windows.json"))
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("load labels of %s: %w", dir, err)
	}
	var stamps map[string][][2]string
	if err := json.Unmarshal(raw, &stamps); err != nil {
		return nil, fmt.Errorf("load labels of %s: %w", dir, err)
	}
	windows := make(map[string][][2]int64, len(stamps))
	for name, list := range stamps {
		windows[name] = make([][2]int64, len(list))
		for i, pair := range list {
			for j, s := range pair {
				t, err := time.Parse(layout, s)
				if err != nil {
					return nil, fmt.Errorf("load labels of %s: window %d of %s: %w", dir, i, name, err)
				}
				windows[name][i][j] = t.Unix()
			}
		}
	}
	return windows, nil
}

// loadScores reads what a detector said row by row, in the order of files.
// Rows it lacks are NaN.
func loadScores(path string, files []*file) ([][]float64, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	scores := make([][]float64, len(files))
	number := make(map[string]int, len(files))
	for k, f := range files {
		number[f.name] = k
		scores[k] = make([]float64, len(f.rows))
		for i := range scores[k] {
			scores[k][i] = math.NaN()
		}
	}
	c := csv.NewReader(z)
	c.ReuseRecord = true
	for line := 1; ; line++ {
		rec, err := c.Read()
		if err == io.EOF {
			return scores, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		k, ok := number[rec[0]]
		if line == 1 || !ok {
			continue
		}
		i, err := strconv.Atoi(rec[1])
		if err != nil || i < 0 || i >= len(scores[k]) {
			return nil, fmt.Errorf("read %s, line %d: no row %q in %s", path, line, rec[1], rec[0])
		}
		if scores[k][i], err = strconv.ParseFloat(rec[2], 64); err != nil {
			return nil, fmt.Errorf("read %s, line %d: %w", path, line, err)
		}
	}
}
