package query

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/sketch"
)

// WriteJSON writes the answer in columns, flushing as it goes:
//
//	{"stream": "flights", "from": "…", "to": "…", "step": "1h", "window": "1h", "confidence": 0.95,
//	 "watermark": "…", "complete": true, "notes": [], "offsets": {"0": 512}, "late": 0, "rejected": {},
//	 "series": [{"by": {"origin": "JFK"}, "t": ["2001-01-01T00:00:00Z", "…"],
//	   "values": {"count": {"value": [84, 33]},
//	              "delay.p99": {"value": [129.4, null], "lower": [127, null], "upper": [131, null]},
//	              "destination.top(10)": {"value": [[{"item": "ORD", "count": 12, "lower": 12, "upper": 12}]]},
//	              "delay.histogram": {"value": [[{"lower": 0, "upper": 1, "count": 7}]]}}}]}
//
// Without a step, step and window are left out and t is the range's start. A
// value that is not there is null; so is an unknown watermark.
func (a *Answer) WriteJSON(w io.Writer) error {
	var err error
	a.appendJSON(make([]byte, 0, 32<<10), func(b []byte) []byte {
		if len(b) < 24<<10 || err != nil {
			return b
		}
		_, err = w.Write(b)
		return b[:0]
	}, func(b []byte) {
		if err == nil {
			_, err = w.Write(b)
		}
	})
	return err
}

// MarshalJSON is WriteJSON in one piece.
func (a *Answer) MarshalJSON() ([]byte, error) {
	var out []byte
	a.appendJSON(nil, func(b []byte) []byte { return b }, func(b []byte) { out = b })
	return out, nil
}

// appendJSON appends the answer to b, handing b to spill between columns, which
// may empty it, and to last at the end.
func (a *Answer) appendJSON(b []byte, spill func([]byte) []byte, last func([]byte)) {
	b = append(b, `{"stream":`...)
	b = appendString(b, a.Stream)
	b = append(b, `,"from":`...)
	b = appendTime(b, a.From)
	b = append(b, `,"to":`...)
	b = appendTime(b, a.To)
	if a.Step > 0 {
		b = append(b, `,"step":`...)
		b = appendString(b, weir.FormatDuration(a.Step))
		b = append(b, `,"window":`...)
		b = appendString(b, weir.FormatDuration(a.Window))
	}
	b = append(b, `,"confidence":`...)
	b = appendNumber(b, a.Confidence)
	b = append(b, `,"watermark":`...)
	if a.Watermark.IsZero() {
		b = append(b, "null"...)
	} else {
		b = appendTime(b, a.Watermark)
	}
	b = append(b, `,"complete":`...)
	b = strconv.AppendBool(b, a.Complete)
	b = append(b, `,"notes":`...)
	b = appendList(b, a.Notes, appendString)
	b = append(b, `,"offsets":`...)
	b = appendCounts(b, a.Offsets)
	b = append(b, `,"late":`...)
	b = strconv.AppendInt(b, a.Late, 10)
	b = append(b, `,"rejected":`...)
	b = appendCounts(b, a.Rejected)
	b = append(b, `,"series":[`...)
	var t []byte // the same for every series
	for i := range a.Series {
		s := &a.Series[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"by":{`...)
		for j, name := range a.By {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendString(b, name)
			b = append(b, ':')
			b = appendString(b, s.By[j])
		}
		b = append(b, `},"t":`...)
		if t == nil {
			t = appendList(nil, s.T, func(b []byte, t int64) []byte { return appendTime(b, time.Unix(0, t)) })
		}
		b = append(b, t...)
		b = append(b, `,"values":{`...)
		for j := range s.Columns {
			if j > 0 {
				b = append(b, ',')
			}
			b = spill(s.Columns[j].appendJSON(b))
		}
		b = append(b, `}}`...)
	}
	last(append(b, `]}`...))
}

func (c *Column) appendJSON(b []byte) []byte {
	b = appendString(b, c.Name)
	b = append(b, `:{"value":`...)
	switch {
	case c.Items != nil:
		b = appendList(b, c.Items, func(b []byte, items []sketch.TopItem) []byte { return appendList(b, items, appendItem) })
	case c.Bins != nil:
		b = appendList(b, c.Bins, func(b []byte, bins []sketch.Bin) []byte { return appendList(b, bins, appendBin) })
	default:
		b = appendList(b, c.Value, appendNumber)
	}
	if c.Lower != nil {
		b = append(b, `,"lower":`...)
		b = appendList(b, c.Lower, appendNumber)
		b = append(b, `,"upper":`...)
		b = appendList(b, c.Upper, appendNumber)
	}
	return append(b, '}')
}

func appendItem(b []byte, item sketch.TopItem) []byte {
	b = append(b, `{"item":`...)
	b = appendString(b, item.Item)
	b = append(b, `,"count":`...)
	b = strconv.AppendUint(b, item.Count, 10)
	b = append(b, `,"lower":`...)
	b = strconv.AppendUint(b, item.Lower, 10)
	b = append(b, `,"upper":`...)
	b = strconv.AppendUint(b, item.Upper, 10)
	return append(b, '}')
}

func appendBin(b []byte, bin sketch.Bin) []byte {
	b = append(b, `{"lower":`...)
	b = appendNumber(b, bin.Lower)
	b = append(b, `,"upper":`...)
	b = appendNumber(b, bin.Upper)
	b = append(b, `,"count":`...)
	b = appendNumber(b, float64(bin.Count))
	return append(b, '}')
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, x := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, x)
	}
	return append(b, ']')
}

func appendCounts(b []byte, counts map[string]int64) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(counts)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = strconv.AppendInt(b, counts[name], 10)
	}
	return append(b, '}')
}

// appendNumber writes the shortest text that reads back as x, and null for what
// JSON has no number for.
func appendNumber(b []byte, x float64) []byte {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return append(b, "null"...)
	case x == math.Trunc(x) && math.Abs(x) < 1e15:
		return strconv.AppendInt(b, int64(x), 10)
	}
	return strconv.AppendFloat(b, x, 'g', -1, 64)
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// appendString writes a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(fmt.Sprintf("query: string %q has no JSON: %v", s, err))
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
