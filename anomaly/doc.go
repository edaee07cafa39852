// Package anomaly tells what is unusual in a series of numbers: single values,
// runs of them, and changes of the level. It is arithmetic: no clock, file,
// goroutine or logger.
//
// There are two families. The reference methods look at a whole series at once
// and answer as the R packages do that made them known; they are for comparing
// and for looking back. The detectors take one point at a time in bounded
// memory and score it before they learn it; they are for watching.
//
//	finds              whole series      one pass
//	unusual values     [SeasonalESD]     [Seasonal], [Threshold], [RateOfChange]
//	changed levels     [EDivisive]       [Breakout]
//	season and trend   [STL]             [Seasonal]
//	outliers           [ESD]
//
// # Whole series
//
// [SeasonalESD] takes the season out by a robust [STL] and tests what is left
// with [ESD]. [EDivisive] compares the medians of neighbouring segments. Their
// cost is in ordering: the packages take medians anew at each step, of the whole
// series or of each segment. Here values are ordered once. What the test takes
// away lies at an end of the ordered values, and a segment that loses a value
// moves its median by one place, so a step costs a constant or a logarithm, and
// the answers are the same to the bit.
//
//	points   method                  time
//	14,398   S-H-ESD, period 1,440   n log n, of which the passes of STL are most
//	 8,000   EDM multi               n²; 4 to 7 ns a pair of ends
//
// Missing values are NaN. Infinities, holes and series shorter than two periods
// are errors, which name the observation by [ObservationError] or wrap
// [ErrPeriods].
package anomaly
