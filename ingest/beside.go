package ingest

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-stream/weir"
)

// besideField is a field that a log carries beside the event's JSON.
type besideField struct {
	slot int // of scanner.values
	path weir.Path
	name string // of a header
	text []byte // scratch
}

// field finds a place for the value of a field, in the JSON or beside it.
func (d *decoder) field(s *weir.Stream, p weir.Path) (slot int) {
	if !s.Source.Kind.HasRecords() || !p.Beside() {
		return d.slot(p.Keys())
	}
	for _, f := range d.beside {
		if f.path == p {
			return f.slot
		}
	}
	d.values = append(d.values, value{})
	slot = len(d.values) - 1
	name, _ := strings.CutPrefix(string(p), weir.HeaderPrefix)
	d.beside = append(d.beside, besideField{slot: slot, path: p, name: name})
	return slot
}

// decodeRecord is decode for an event of which the log itself knows something.
func (d *decoder) decodeRecord(b *Batch, r *Record, line []byte, latest int64) Reason {
	if len(line) > d.maxLine {
		return TooLong
	}
	if !d.scan(line) {
		return NotJSON
	}
	for i := range d.beside {
		f := &d.beside[i]
		v := &d.values[f.slot]
		switch f.path {
		case weir.RecordTime:
			if r.Millis >= 0 {
				f.text = strconv.AppendInt(f.text[:0], r.Millis, 10)
				v.kind, v.text, v.num = instant, f.text, float64(r.Millis)
			}
		case weir.RecordKey:
			f.put(v, r.Key.In(b.Data))
		default: // of several headers of a name, the last counts, as in JSON
			for _, h := range b.Headers[r.Headers[0]:r.Headers[1]] {
				if string(h.Name.In(b.Data)) == f.name {
					f.put(v, h.Value.In(b.Data))
				}
			}
		}
	}
	return d.read(latest)
}

// put makes bytes a text, mending what is not UTF-8 as in strings of JSON.
func (f *besideField) put(v *value, b []byte) {
	v.kind, v.text = text, b
	if b == nil {
		v.kind = missing
	}
	if utf8.Valid(b) {
		return
	}
	f.text = f.text[:0]
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		f.text = utf8.AppendRune(f.text, r)
		b = b[n:]
	}
	v.text = f.text
}
