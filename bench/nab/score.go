package main

import (
	"cmp"
	"math"
	"slices"
)

// A profile weighs what a detector may do: catch a window, raise a false alarm,
// miss a window.
type profile struct {
	name, label string
	tp, fp, fn  float64
}

var profiles = []profile{
	{"standard", "standard", 1, 0.11, 1},
	{"reward_low_FP_rate", "low-FP", 1, 0.22, 1},
	{"reward_low_FN_rate", "low-FN", 1, 0.11, 2},
}

// silent is a threshold above every score: nothing is detected.
const silent = 1.1

// probation is the number of rows at the head of a file that are for learning.
func probation(rows int) int { return min(rows*15/100, 750) }

// sigmoid is the benchmark's S: 1 long before 0, -1 long after.
func sigmoid(x float64) float64 {
	if x > 3 {
		return -1
	}
	return 2/(1+math.Exp(5*x)) - 1
}

// place is where a row stands to the windows of its file: in one, or past the
// latest that ended, or before any.
type place struct {
	window int     // the window it is in, or -1
	x      float64 // its distance from that window's end, or the last one's, in widths
	before bool    // no window has ended yet
}

// places finds the place of every row. A window opens at the first row with
// its first stamp and ends at the first row with its last.
func places(f *file) []place {
	at := make([]place, len(f.rows))
	next, first, last := 0, -1, -1 // window to open; ends of the one that ended last
	for i := 0; i < len(f.rows); i++ {
		if next < len(f.windows) && f.rows[i].stamp == f.windows[next][0] {
			a, b := i, i
			for b < len(f.rows)-1 && f.rows[b].stamp != f.windows[next][1] {
				b++
			}
			for j := a; j <= b; j++ {
				at[j] = place{window: next, x: -float64(b-j+1) / float64(b-a+1)}
			}
			first, last, i = a, b, b
			next++
			continue
		}
		p := place{window: -1, before: last < 0}
		if !p.before {
			p.x = float64(i-last) / float64(last-first)
		}
		at[i] = p
	}
	return at
}

// weigh is what a detection on a row is worth.
func (p profile) weigh(at place) float64 {
	switch {
	case at.window >= 0:
		return p.tp * sigmoid(at.x) / sigmoid(-1)
	case at.before:
		return -p.fp
	}
	return p.fp * sigmoid(at.x)
}

// tally counts rows by what a threshold makes of them.
type tally struct{ tp, tn, fp, fn int }

// result is what a detector got on a set of files.
type result struct {
	threshold float64
	raw       float64
	windows   int
}

// normalised maps silence to 0 and perfection to 100.
func (r result) normalised(p profile) float64 {
	null, perfect := -p.fn*float64(r.windows), p.tp*float64(r.windows)
	if perfect == null {
		return 0
	}
	return 100 * (r.raw - null) / (perfect - null)
}

// judge is one counting row, ready to be sorted.
type judged struct {
	score  float64
	at     place
	window int // numbered through all files, or -1
}

// counting lists the rows that count, of all files, and the windows that have
// any.
func counting(files []*file, scores [][]float64) (rows []judged, windows int) {
	for k, f := range files {
		at := places(f)
		number := make(map[int]int)
		for i := probation(len(f.rows)); i < len(f.rows); i++ {
			w := -1
			if at[i].window >= 0 {
				n, ok := number[at[i].window]
				if !ok {
					n = windows
					number[at[i].window] = n
					windows++
				}
				w = n
			}
			rows = append(rows, judged{scores[k][i], at[i], w})
		}
	}
	return rows, windows
}

// fit finds the one threshold that is best on all the files: the highest of
// those that tie.
func fit(files []*file, scores [][]float64, p profile) result {
	rows, windows := counting(files, scores)
	slices.SortStableFunc(rows, func(a, b judged) int { return cmp.Compare(b.score, a.score) })
	best := make([]float64, windows)
	for i := range best {
		best[i] = -p.fn
	}
	raw := -p.fn * float64(windows)
	top := result{threshold: silent, raw: raw, windows: windows}
	for i, r := range rows {
		w := p.weigh(r.at)
		switch {
		case r.window < 0:
			raw += w
		case w > best[r.window]:
			raw += w - best[r.window]
			best[r.window] = w
		}
		if (i == len(rows)-1 || rows[i+1].score != r.score) && raw > top.raw {
			top.threshold, top.raw = r.score, raw
		}
	}
	return top
}

// at scores the files at a given threshold.
func at(files []*file, scores [][]float64, p profile, threshold float64) (result, tally) {
	rows, windows := counting(files, scores)
	best := make([]float64, windows)
	for i := range best {
		best[i] = -p.fn
	}
	var t tally
	r := result{threshold: threshold, windows: windows}
	for _, row := range rows {
		detected := row.score >= threshold
		switch {
		case !detected && row.window >= 0:
			t.fn++
		case !detected:
			t.tn++
		case row.window >= 0:
			t.tp++
			best[row.window] = max(best[row.window], p.weigh(row.at))
		default:
			t.fp++
			r.raw += p.weigh(row.at)
		}
	}
	for _, b := range best {
		r.raw += b
	}
	return r, t
}
