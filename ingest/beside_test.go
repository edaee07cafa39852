package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// recordsOf lays events out as a log with records does.
func recordsOf(from int64, millis int64, events ...[]string) *Batch {
	b := &Batch{From: from, Records: []Record{}, Arrival: time.UnixMilli(millis)}
	put := func(s string) Span {
		b.Data = append(b.Data, s...)
		return Span{At: uint32(len(b.Data) - len(s)), Len: int32(len(s))}
	}
	for i, e := range events { // value, key, then names and values of headers
		r := Record{Offset: from + int64(3*i), Millis: millis, Value: Missing, Key: Missing}
		r.Headers = [2]uint32{uint32(len(b.Headers)), uint32(len(b.Headers))}
		for j, text := range e {
			switch {
			case j == 0 && text != "":
				r.Value = put(text)
			case j == 1:
				r.Key = put(text)
			case j > 1 && j%2 == 0:
				b.Headers = append(b.Headers, Header{Name: put(text), Value: put(e[j+1])})
				r.Headers[1]++
			}
		}
		b.Records = append(b.Records, r)
		b.To = r.Offset + 1
	}
	return b
}

func TestRecordsCarryFieldsBesideTheirJSON(t *testing.T) {
	s := &weir.Stream{Name: "r", Window: 10 * time.Second, MaxSeries: 100, MaxLine: 100, Source: weir.Source{Kind: weir.Kafka},
		Time:       weir.TimeField{Field: weir.RecordTime, Format: weir.RFC3339, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "key", Field: weir.RecordKey}, {Name: "site", Field: "_header.site.name"}},
		Measures:   []weir.Measure{{Name: "n", Kind: weir.Sum, Field: "n"}, {Name: "at", Kind: weir.Sum, Field: weir.RecordTime}}}
	const millis = 1_700_000_000_123
	sh := newShard("p", s, &budget{limit: 100}, &rejects{})
	sh.drop(7, "log", 0, nil, store.NoWatermark)
	sh.add(recordsOf(7, millis,
		[]string{`{"n": 1, "_key": "not this"}`, "a", "site.name", "x", "other", "y"},
		[]string{"{\"n\":\n2}", "b\xff", "site.name", "x", "site.name", "last"},
		[]string{`{"n": 3}`},
		[]string{``, "tombstone"},
		[]string{`no json`, "a"},
	))
	pieces := sh.live(everything(s), 0)
	p := pieces[len(pieces)-1]
	if p.From != 7 || p.To != 20 || p.Events != 3 || p.Rejected["not_json"] != 1 || len(p.Rejected) != 1 {
		t.Fatalf("[%d, %d) with %d events, rejected %v", p.From, p.To, p.Events, p.Rejected)
	}
	var got []string
	n, at := s.Measure("n", weir.Sum), s.Measure("at", weir.Sum)
	for i, dims := range p.Cells.Series {
		row := p.Cells.Starts[i]
		got = append(got, fmt.Sprintf("%q n=%v", dims, p.Cells.Measures[n].Sum[row]))
		if w := p.Cells.Window[row]; w != 1_700_000_000e9 || p.Cells.Measures[at].Sum[row] != millis {
			t.Errorf("window %d, time %v", w, p.Cells.Measures[at].Sum[row])
		}
	}
	want := `[["" ""] n=3 ["a" "x"] n=1 ["b` + "\uFFFD" + `" "last"] n=2]`
	if fmt.Sprint(got) != want {
		t.Errorf("cells %v, want %v", got, want)
	}
	if sample := sh.rejects.read().Sample; len(sample) != 1 || sample[0].Offset != 19 || sample[0].Excerpt != "no json" {
		t.Errorf("rejected %+v", sample)
	}
}

// A push source has no records: its fields are those of the JSON, whatever they are called.
func TestFieldsOfLinesAreTheirOwn(t *testing.T) {
	s := &weir.Stream{Name: "r", Window: 10 * time.Second, MaxSeries: 100, MaxLine: 100, Source: weir.Source{Kind: weir.Push},
		Time:       weir.TimeField{Field: "t", Format: weir.UnixSeconds, MaxAhead: time.Hour},
		Dimensions: []weir.Dimension{{Name: "key", Field: weir.RecordKey}}}
	sh := newShard("p", s, &budget{limit: 100}, &rejects{})
	sh.drop(0, "log", 0, nil, store.NoWatermark)
	sh.add(&Batch{To: 1, Lines: true, Arrival: time.Unix(1_700_000_000, 0), Data: []byte(`{"t": 1700000000, "_key": "mine"}` + "\n")})
	p := sh.live(everything(s), 0)[0]
	if len(p.Cells.Series) != 1 || p.Cells.Series[0][0] != "mine" {
		t.Errorf("series %q", p.Cells.Series)
	}
}

func TestRecordsAreAddedWithoutAllocating(t *testing.T) {
	s := testStream()
	s.Source.Kind = weir.Kafka
	s.Dimensions[1].Field = "_header.country"
	sh := newShard("p", s, &budget{limit: 100}, &rejects{})
	sh.drop(0, "log", 0, nil, store.NoWatermark)
	b := recordsOf(0, 1_700_000_000_000, []string{`{"time":"2023-11-14T22:13:20Z","service":"web","bytes":1}`, "k", "country", "CH"})
	sh.add(b)
	if n := testing.AllocsPerRun(100, func() { sh.add(b) }); n > 0.5 {
		t.Errorf("%v allocations a batch", n)
	}
}
