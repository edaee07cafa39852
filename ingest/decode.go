package ingest

import (
	"bytes"
	"math"
	"slices"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// MaxValue bounds a dimension value, in bytes: series are kept in memory. A
// longer one rejects its event. Items of a top measure are cut to this length,
// and counted as cut.
const MaxValue = 1024

// Reason says why an event was rejected.
type Reason uint8

// The reasons.
const (
	accepted     Reason = iota
	NotJSON             // not one JSON object
	NoTime              // the time field is absent or null
	BadTime             // the time field is not in the stream's notation
	TooFarAhead         // the event time is further ahead of the arrival than the stream allows
	NonFinite           // a measured number does not fit a float64, or says NaN or Inf
	NotANumber          // a numeric measure's field is neither a number nor one in quotes
	TooLong             // the line is over the limit
	ValueTooLong        // a dimension value is over MaxValue
	reasons
)

var reasonNames = [reasons]string{
	accepted: "accepted", NotJSON: "not_json", NoTime: "no_time", BadTime: "bad_time",
	TooFarAhead: "too_far_ahead", NonFinite: "non_finite", NotANumber: "not_a_number",
	TooLong: "line_too_long", ValueTooLong: "dimension_too_long",
}

func (r Reason) String() string { return reasonNames[r] }

// Reasons lists the names of all reasons for rejecting an event.
func Reasons() []string { return reasonNames[NotJSON:] }

// item is a value that is counted as itself: a string, or a number or boolean
// as written.
type item struct {
	text []byte
	hash uint64
	ok   bool // false where the field is missing
}

// event is one decoded line. Its slices are valid until the next one.
type event struct {
	time    int64
	dims    [][]byte
	numbers []float64 // of decoder.numbers; NaN where missing
	items   []item    // of decoder.items
}

// decoder takes from a line what the stream names. Fields read by several
// measures are read once: numbers and items list the distinct ones.
type decoder struct {
	scanner
	event   event
	clock   clockReader
	beside  []besideField
	time    int // slots of scanner.values
	dims    []int
	numbers []int
	items   []int
	seed    uint64
	ahead   int64
	maxLine int
}

// newDecoder plans the reading of the stream's fields. numberOf and itemOf give,
// for each measure, where in event.numbers or event.items its field is.
func newDecoder(s *weir.Stream) (d *decoder, numberOf, itemOf []int) {
	d = &decoder{clock: clockReader{format: s.Time.Format}, seed: s.Seed,
		ahead: int64(s.Time.MaxAhead), maxLine: s.MaxLine}
	d.time = d.field(s, s.Time.Field)
	for _, dim := range s.Dimensions {
		d.dims = append(d.dims, d.field(s, dim.Field))
	}
	indexOf := func(list *[]int, slot int) int {
		if i := slices.Index(*list, slot); i >= 0 {
			return i
		}
		*list = append(*list, slot)
		return len(*list) - 1
	}
	for _, m := range s.Measures {
		n, i := -1, -1
		if m.Kind.Numeric() {
			n = indexOf(&d.numbers, d.field(s, m.Field))
		} else {
			i = indexOf(&d.items, d.field(s, m.Field))
		}
		numberOf, itemOf = append(numberOf, n), append(itemOf, i)
	}
	d.event.dims = make([][]byte, len(d.dims))
	d.event.numbers = make([]float64, len(d.numbers))
	d.event.items = make([]item, len(d.items))
	return d, numberOf, itemOf
}

// decode reads one line into d.event. latest is the newest event time that is
// believed, Unix nanoseconds.
func (d *decoder) decode(line []byte, latest int64) Reason {
	if len(line) > d.maxLine {
		return TooLong
	}
	if !d.scan(line) {
		return NotJSON
	}
	return d.read(latest)
}

// read takes the event from the values that were found.
func (d *decoder) read(latest int64) Reason {
	e := &d.event
	t := &d.values[d.time]
	if t.kind == missing {
		return NoTime
	}
	var ok bool
	if e.time, ok = d.clock.read(t); !ok {
		return BadTime
	}
	if e.time > latest {
		return TooFarAhead
	}
	for i, slot := range d.dims {
		e.dims[i] = d.values[slot].item()
		if len(e.dims[i]) > MaxValue {
			return ValueTooLong
		}
	}
	for i, slot := range d.numbers {
		f, reason := d.values[slot].float()
		if reason != accepted {
			return reason
		}
		e.numbers[i] = f
	}
	for i, slot := range d.items {
		v := &d.values[slot]
		it := &e.items[i]
		if it.ok = v.kind != missing && v.kind != container; it.ok {
			it.text = v.text
			it.hash = sketch.Hash(d.seed, v.text)
		}
	}
	return accepted
}

// item gives the value as text; what is missing or nested has none.
func (v *value) item() []byte {
	if v.kind == missing || v.kind == container {
		return nil
	}
	return v.text
}

// float gives the value as a number, NaN where it is missing. Numbers in quotes
// count as numbers, an empty string as missing, true as 1 and false as 0.
func (v *value) float() (float64, Reason) {
	f := v.num
	switch v.kind {
	case missing:
		return math.NaN(), accepted
	case boolean:
		if v.text[0] == 't' {
			return 1, accepted
		}
		return 0, accepted
	case text:
		if len(v.text) == 0 {
			return math.NaN(), accepted
		}
		end, parsed, ok := scanNumber(v.text, 0)
		if !ok || end != len(v.text) {
			if spellsNonFinite(v.text) {
				return 0, NonFinite
			}
			return 0, NotANumber
		}
		f = parsed
	case container:
		return 0, NotANumber
	}
	if math.IsInf(f, 0) {
		return 0, NonFinite
	}
	return f, accepted
}

func spellsNonFinite(t []byte) bool {
	t = bytes.ToLower(bytes.TrimLeft(t, "+-"))
	return slices.Contains([]string{"nan", "inf", "infinity"}, string(t))
}
