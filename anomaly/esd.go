package anomaly

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// SeasonalESD finds the anomalies of a whole seasonal series: Vallis,
// Hochenbaum, Kejariwal (2014), A Novel Technique for Long-Term Anomaly
// Detection in the Cloud, HotCloud. It takes the season out by a robust [STL],
// and the median, and tests what remains with [ESD].
//
// It answers as the R package AnomalyDetection does, whose AnomalyDetectionVec
// is Detect and whose AnomalyDetectionTs is DetectTimes, down to its oddities:
// the trend stays in what is tested, so that a level shift is flagged wholesale
// or widens the scatter until nothing is; a share of anomalies has to be
// guessed; Floor keeps high values alone, whatever the tails. It is here to
// compare with and to look back on a series. To watch one, take [Seasonal].
type SeasonalESD struct {
	// Period is the number of observations of a season. Detect wants it;
	// DetectTimes tells it by the distance of the timestamps and wants it 0.
	Period int

	// Tails says whether values too high, too low or both are looked for.
	Tails Tails

	// Alpha is the level of the test, 0.05 when it is 0.
	Alpha float64

	// MaxShare is which part of the observations may be anomalies, at most 0.49;
	// 0.1 when it is 0. At least one always may.
	MaxShare float64

	// Floor leaves out anomalies that are low as peaks go.
	Floor Floor

	// Last leaves out anomalies that are not recent.
	Last Last

	// PieceRows cuts the series into pieces of so many observations, each of
	// which is looked at alone, so that a trend does little harm. The last ones
	// make a piece of the same length, which reaches back into the one before.
	// Only of Detect.
	PieceRows int

	// PieceWeeks does the same by weeks. Only of DetectTimes.
	PieceWeeks int

	// Moments tests by mean and standard deviation (S-ESD) instead of median and
	// median absolute deviation (S-H-ESD).
	Moments bool
}

// Floor is a height that anomalies must reach: a statistic of the highest
// values of the seasons (Detect) or of the days in UTC (DetectTimes).
type Floor uint8

// The floors.
const (
	NoFloor       Floor = iota
	MedianOfPeaks       // med_max
	P95OfPeaks          // p95
	P99OfPeaks          // p99
)

// Last is the end of a series to which an answer is cut.
type Last uint8

// The ends.
const (
	LastAll    Last = iota
	LastPeriod      // of Detect: as many observations as a season has
	LastDay         // of DetectTimes: 24 hours
	LastHour        // of DetectTimes: an hour, or a day where a point is a day
)

// ESDResult is what [SeasonalESD] finds.
type ESDResult struct {
	// Anomalies are in the reference's order: rising within a piece, the pieces
	// in turn, none twice.
	Anomalies []ESDAnomaly

	// Expected is the season and the trend of every observation, NaN where the
	// value is missing. Where pieces overlap, it is the first one's.
	Expected []float64

	// Lower and Upper are the band within which a value was not far enough to be
	// taken for an anomaly. It follows the season, but not the trend, as the test
	// does. The tail that is not looked at has no bound.
	Lower, Upper []float64

	// Period is the number of observations of a season.
	Period int
}

// ESDAnomaly is an anomalous observation.
type ESDAnomaly struct {
	Index int // counted from 0
	Value float64

	// Expected is the season and the trend. The reference cuts it to a whole
	// number, towards zero.
	Expected float64

	// R is how far the value was from the median of what was left, in units of
	// its scatter.
	R float64
}

// ObservationError says which observation of a series is at fault.
type ObservationError struct {
	Index  int // counted from 0
	Reason string
}

func (e *ObservationError) Error() string {
	return fmt.Sprintf("observation %d %s", e.Index+1, e.Reason)
}

// Detect finds the anomalies of evenly spaced values. NaN is a missing value; a
// series may begin and end with some.
func (s SeasonalESD) Detect(y []float64) (*ESDResult, error) {
	if s.PieceWeeks != 0 || s.Last == LastDay || s.Last == LastHour {
		return nil, errors.New("seasonal ESD: weeks, days and hours need timestamps; cut by observations and the last period instead")
	}
	run, err := s.begin(y, s.Period)
	if err != nil {
		return nil, fmt.Errorf("seasonal ESD: %w", err)
	}
	for _, piece := range rowPieces(len(y), s.PieceRows) {
		height := s.Floor.height(peaksByRows(y[piece.from:piece.to], s.Period))
		if err := run.look(piece, height); err != nil {
			return nil, fmt.Errorf("seasonal ESD: %w", err)
		}
	}
	if s.Last == LastPeriod {
		run.cut(func(i int) bool { return i >= len(y)-s.Period })
	}
	return run.ESDResult, nil
}

// DetectTimes finds the anomalies of values that have timestamps, in
// nanoseconds since 1970, none earlier than the one before. Values of one
// timestamp are taken out together, and the first is named for all.
func (s SeasonalESD) DetectTimes(times []int64, y []float64) (*ESDResult, error) {
	if s.Period != 0 || s.PieceRows != 0 || s.Last == LastPeriod {
		return nil, errors.New("seasonal ESD: timestamps tell the period, and pieces are cut by weeks; a period of one's own goes without timestamps")
	}
	if len(times) != len(y) {
		return nil, fmt.Errorf("seasonal ESD: %d timestamps for %d values", len(times), len(y))
	}
	for i := 1; i < len(times); i++ {
		if times[i] < times[i-1] {
			return nil, fmt.Errorf("seasonal ESD: %w", &ObservationError{i, "is earlier than the one before it"})
		}
	}
	step, period, err := seasonOf(times)
	if err != nil {
		return nil, fmt.Errorf("seasonal ESD: %w", err)
	}
	run, err := s.begin(y, period)
	if err != nil {
		return nil, fmt.Errorf("seasonal ESD: %w", err)
	}
	run.join(times)
	height := s.Floor.height(peaksByDay(times, y))
	for _, piece := range weekPieces(times, s.PieceWeeks, period, step) {
		if err := run.look(piece, height); err != nil {
			return nil, fmt.Errorf("seasonal ESD: %w", err)
		}
	}
	if s.Last != LastAll {
		reach := day
		if s.Last == LastHour && step < day {
			reach = hour
		}
		last := times[len(times)-1]
		run.cut(func(i int) bool { return times[i] > last-reach })
	}
	return run.ESDResult, nil
}

// esdRun is one search for anomalies.
type esdRun struct {
	SeasonalESD
	*ESDResult
	y     []float64
	found []bool // already among the anomalies, or expected to be named by another

	// first and twins tell which observations share a timestamp: the first of
	// them, and all of them by the first. They are nil when none do.
	first []int
	twins map[int][]int
}

// begin checks the parameters and puts the defaults in place.
func (s SeasonalESD) begin(y []float64, period int) (*esdRun, error) {
	if len(y) == 0 {
		return nil, fmt.Errorf("there are no observations: %w", ErrPeriods)
	}
	if s.Alpha == 0 {
		s.Alpha = 0.05
	}
	if s.MaxShare == 0 {
		s.MaxShare = 0.1
	}
	switch {
	case period < 2:
		return nil, fmt.Errorf("a season of %d observations is none; the period must be at least 2", period)
	case !(s.Alpha > 0 && s.Alpha < 1):
		return nil, fmt.Errorf("the level alpha must lie between 0 and 1, not be %v", s.Alpha)
	case !(s.MaxShare > 0 && s.MaxShare <= 0.49):
		return nil, fmt.Errorf("the share of anomalies must lie between 0 and 0.49, not be %v", s.MaxShare)
	case s.PieceRows < 0 || s.PieceWeeks < 0:
		return nil, errors.New("a piece must have a length")
	case s.Tails > LowerTail || s.Floor > P99OfPeaks || s.Last > LastHour:
		return nil, fmt.Errorf("there are no tails %d, floor %d and last %d", s.Tails, s.Floor, s.Last)
	}
	for i, v := range y {
		if math.IsInf(v, 0) {
			return nil, &ObservationError{i, "is infinite"}
		}
	}
	s.MaxShare = max(s.MaxShare, 1/float64(len(y)))
	run := &esdRun{SeasonalESD: s, y: y, found: make([]bool, len(y)), ESDResult: &ESDResult{Period: period}}
	for _, column := range []*[]float64{&run.Expected, &run.Lower, &run.Upper} {
		*column = make([]float64, len(y))
		for i := range *column {
			(*column)[i] = math.NaN()
		}
	}
	return run, nil
}

// join notes which observations share a timestamp.
func (r *esdRun) join(times []int64) {
	for i := 1; i < len(times); i++ {
		if times[i] != times[i-1] {
			continue
		}
		if r.first == nil {
			r.twins = map[int][]int{}
			r.first = make([]int, len(times))
			for j := range r.first {
				r.first[j] = j
			}
		}
		r.first[i] = r.first[i-1]
		r.twins[r.first[i]] = append(r.twins[r.first[i]], i)
	}
}

// look adds the anomalies of one piece that reach the height.
func (r *esdRun) look(piece span, height float64) error {
	y := r.y[piece.from:piece.to]
	period := r.ESDResult.Period
	if len(y) < 2*period {
		return fmt.Errorf("%d observations are less than two periods of %d: %w", len(y), period, ErrPeriods)
	}
	skip, n := present(y)
	start := piece.from + skip // of the values that are there
	values := y[skip : skip+n]
	for i, v := range values {
		if math.IsNaN(v) {
			return &ObservationError{start + i, "is missing between others; fill it in, for a season cannot be found across a hole"}
		}
	}
	most := int(r.MaxShare * float64(len(y)))
	if most == 0 {
		return fmt.Errorf("a share of %v of %d observations allows for no anomaly", r.MaxShare, len(y))
	}
	parts, err := STL{Period: period, Robust: true}.Decompose(values)
	if err != nil {
		return err
	}
	test := ESD{Alpha: r.Alpha, Tails: r.Tails, Moments: r.Moments}
	rest, middle := residuals(values, parts)
	steps := test.steps(rest, most, r.together(start, n))
	outliers := test.Outliers(n, steps)

	expected := func(i int) float64 { return parts.Trend[i] + parts.Seasonal[i] }
	lower, upper := test.band(n, steps, outliers)
	for i := range values {
		if at := start + i; math.IsNaN(r.Expected[at]) {
			r.Expected[at] = expected(i)
			r.Lower[at] = parts.Seasonal[i] + middle + lower
			r.Upper[at] = parts.Seasonal[i] + middle + upper
		}
	}
	from := len(r.Anomalies)
	for _, s := range steps[:outliers] {
		at := start + s.Index
		if r.first != nil {
			at = r.first[at]
		}
		if r.found[at] || !(r.y[at] >= height) {
			continue
		}
		r.found[at] = true
		r.Anomalies = append(r.Anomalies, ESDAnomaly{Index: at, Value: r.y[at], Expected: r.Expected[at], R: s.R})
	}
	slices.SortFunc(r.Anomalies[from:], func(a, b ESDAnomaly) int { return a.Index - b.Index })
	return nil
}

// together returns what names the values, of the n from start on, that share a
// timestamp with one of them, or nil when none do.
func (r *esdRun) together(start, n int) func(i int) []int {
	if r.first == nil {
		return nil
	}
	return func(i int) []int {
		var others []int
		first := r.first[start+i]
		for _, at := range append([]int{first}, r.twins[first]...) {
			if at >= start && at < start+n && at != start+i {
				others = append(others, at-start)
			}
		}
		return others
	}
}

// cut keeps the anomalies whose index passes.
func (r *esdRun) cut(keep func(i int) bool) {
	r.Anomalies = slices.DeleteFunc(r.Anomalies, func(a ESDAnomaly) bool { return !keep(a.Index) })
}

// residuals returns what is left of y without season and median, and the
// median.
func residuals(y []float64, parts *Decomposition) (rest []float64, middle float64) {
	middle = medianOf(slices.Clone(y))
	rest = make([]float64, len(y))
	for i, v := range y {
		rest[i] = v - parts.Seasonal[i] - middle
	}
	return rest, middle
}

// present returns where the values begin that are not missing, and how many
// there are up to the last.
func present(y []float64) (first, n int) {
	end := len(y)
	for end > 0 && math.IsNaN(y[end-1]) {
		end--
	}
	for first < end && math.IsNaN(y[first]) {
		first++
	}
	return first, end - first
}

// band returns within what a value is no outlier: the bounds of the first step
// that took none, or of the last there was.
func (e ESD) band(n int, steps []ESDStep, outliers int) (lower, upper float64) {
	if len(steps) == 0 {
		return 0, 0 // there is no scatter
	}
	i := min(outliers, len(steps)-1)
	reach := e.Critical(n, i) * steps[i].Scale
	lower, upper = steps[i].Centre-reach, steps[i].Centre+reach
	switch e.Tails {
	case UpperTail:
		lower = math.Inf(-1)
	case LowerTail:
		upper = math.Inf(1)
	}
	return lower, upper
}
