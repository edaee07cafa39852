package weir

// Cells is a batch of cells in columns: what a segment holds, what a live shard
// answers with, and what queries merge. Rows are sorted by dimensions, then
// window, and a series is one run of rows. A batch never changes once handed on.
//
//	Series   [JFK]     [LAX]
//	Starts    0         2         3
//	Window   10  20    10
//	Count     3   1     7
type Cells struct {
	Width    int64      // nanoseconds of a window
	Series   [][]string // dimension values of each series, in the order of Stream.Dimensions
	Starts   []int      // row at which each series begins, and the number of rows
	Window   []int64    // start of the row's window, Unix nanoseconds
	Count    []int64    // events
	Measures []Column   // parallel to Stream.Measures
}

// Column holds one measure of every row. A column whose Present is false was
// not asked for, or not stored by the definition of that time.
type Column struct {
	Present bool

	// Of numeric kinds: how many values, and their sum and extremes.
	// Min and Max mean nothing where Values is 0.
	Values        []int64
	Sum, Min, Max []float64

	// Of kinds with a sketch: its encoding. Empty where no value was seen.
	Sketch [][]byte
}

// Rows returns the number of cells.
func (c *Cells) Rows() int { return len(c.Window) }

// Selection says which cells, and which of their columns, are wanted.
type Selection struct {
	From, To int64                    // cells whose window starts in [From, To), Unix nanoseconds
	Match    func(dims []string) bool // nil means every series; called once a series
	Where    string                   // Match as text, for owners in other processes; may be empty
	Measures []bool                   // parallel to Stream.Measures; nil means none
	Bare     []bool                   // parallel to Stream.Measures: wanted without its sketch; nil means none
}

// Wants reports whether the selection asks for the measure of that index.
func (s *Selection) Wants(measure int) bool {
	return measure < len(s.Measures) && s.Measures[measure]
}

// WantsSketch reports whether the selection asks for the sketch of the measure
// of that index. Of a numeric measure, count, sum, min and max may be all that
// is wanted; whoever answers may give the sketch all the same.
func (s *Selection) WantsSketch(measure int) bool {
	return s.Wants(measure) && !(measure < len(s.Bare) && s.Bare[measure])
}

// Piece is what a live shard has built of the offsets [From, To) of its
// partition and not yet shown to be part of the chain of segments. Pieces of a
// partition adjoin: the next one begins where this one ends.
type Piece struct {
	Partition string
	From, To  int64
	Log       string // identity of the log
	Shift     int64  // chain offset = log offset + shift
	Watermark int64  // Unix nanoseconds, as of To
	Idle      int64  // Unix nanoseconds at which the log was asked and held nothing past To; 0 means it was not
	Events    int64
	Late      int64            // of them, those whose window was believed complete when they came
	Rejected  map[string]int64 // by reason
	Cells     *Cells           // as selected
}
