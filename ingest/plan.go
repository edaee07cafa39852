package ingest

import (
	"github.com/weir-stream/weir"
)

// plan is how a stream's events are laid out in memory: one record an event,
// the same for all cells of the stream. A field is kept once, however many
// measures read it:
//
//	numbers          a float64 each, NaN where missing
//	hashed items     the item's hash, where frequency is measured but not top; 0 where missing
//	interned items   the item's number in the piece's interner, where top is measured
//	counted items    the item's token, where only distinct is measured
//
// The last two are 32 bits, none where missing, two to a word.
type plan struct {
	stream  *weir.Stream
	number  []int // by measure: which number of the event, or -1
	item    []int // by measure: which item, or -1
	forms   []itemForm
	numbers int
	hashed  int
	narrow  int
	words   int // of a record
	chunk   int // words of a chunk: a link and some records
	records int // records in a chunk
}

// itemForm is how an item field is kept in a record, and where.
type itemForm struct {
	keep form
	at   int // word of a hash, or number of a 32-bit half
}

type form uint8

const (
	asToken form = iota
	asHash
	asID
)

const none = ^uint32(0)

func newPlan(s *weir.Stream) (*plan, *decoder) {
	d, number, item := newDecoder(s)
	p := &plan{stream: s, number: number, item: item, numbers: len(d.numbers),
		forms: make([]itemForm, len(d.items))}
	for i, m := range s.Measures {
		if item[i] < 0 {
			continue
		}
		f := &p.forms[item[i]]
		switch m.Kind {
		case weir.Top:
			f.keep = asID
		case weir.Frequency:
			f.keep = max(f.keep, asHash)
		}
	}
	for i := range p.forms {
		if f := &p.forms[i]; f.keep == asHash {
			f.at = p.numbers + p.hashed
			p.hashed++
		}
	}
	for i := range p.forms {
		if f := &p.forms[i]; f.keep != asHash {
			f.at = 2*(p.numbers+p.hashed) + p.narrow
			p.narrow++
		}
	}
	p.words = p.numbers + p.hashed + (p.narrow+1)/2
	if p.words > 0 {
		p.chunk = max(16, 1+2*p.words) // 128 bytes where that holds two records
		p.records = (p.chunk - 1) / p.words
	}
	return p, d
}
