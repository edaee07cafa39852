package query

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// hourly makes n events an hour apart.
func hourly(n int) []event {
	events := make([]event, n)
	for i := range events {
		events[i] = event{time: dayOne + int64(i)*int64(time.Hour), dims: []string{"JFK", "1"}, delay: float64(i), taxi: 1, distance: 1, destination: "D"}
	}
	return events
}

func (w *world) ask(t *testing.T, q Text) *Answer {
	t.Helper()
	return w.askWith(t, Options{}, q)
}

func (w *world) askWith(t *testing.T, o Options, q Text) *Answer {
	t.Helper()
	q.Stream = "flights"
	if q.Select == "" {
		q.Select = "count"
	}
	r, err := Parse(q)
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.engine(o).Query(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func count(a *Answer) int {
	total := 0.0
	for _, s := range a.Series {
		for _, x := range s.Columns[0].Value {
			total += x
		}
	}
	return int(total)
}

func notesSay(a *Answer, text string) bool {
	return strings.Contains(strings.Join(a.Notes, "\n"), text)
}

// TestConnect is the rule by which each event is counted once.
func TestConnect(t *testing.T) {
	const end = 100 // of the chain, in log "a" with shift 0
	piece := func(from, to int64, change ...func(*weir.Piece)) weir.Piece {
		p := weir.Piece{Partition: "p", From: from, To: to, Log: "a", Events: to - from, Watermark: to}
		for _, c := range change {
			c(&p)
		}
		return p
	}
	otherLog := func(p *weir.Piece) { p.Log = "b" }
	otherShift := func(p *weir.Piece) { p.Shift = 5 }
	for _, test := range []struct {
		name    string
		pieces  []weir.Piece
		want    int64 // offset reached
		ahead   bool
		dropped bool
	}{
		{"no owner", nil, 100, false, false},
		{"active only", []weir.Piece{piece(100, 120)}, 120, false, false},
		{"just committed, frozen, active", []weir.Piece{piece(80, 100), piece(100, 110), piece(110, 115)}, 115, false, false},
		{"nothing new", []weir.Piece{piece(80, 100), piece(100, 100)}, 100, false, false},
		{"an owner that was overtaken", []weir.Piece{piece(60, 90)}, 100, false, false},
		{"an owner cut elsewhere", []weir.Piece{piece(90, 130)}, 100, false, true},
		{"a hole between pieces", []weir.Piece{piece(100, 110), piece(111, 120)}, 110, true, false},
		{"another log", []weir.Piece{piece(100, 120, otherLog)}, 100, false, true},
		{"another log after the first piece", []weir.Piece{piece(100, 110), piece(110, 120, otherLog)}, 110, true, false},
		{"another shift", []weir.Piece{piece(100, 120, otherShift)}, 100, false, true},
		{"the owner is ahead", []weir.Piece{piece(150, 160)}, 100, true, true},
		{"two owners, the second knows more", []weir.Piece{piece(100, 105), piece(100, 120), piece(120, 130)}, 130, false, false},
		{"two owners, the first knows more", []weir.Piece{piece(100, 120), piece(120, 130), piece(90, 100), piece(100, 104)}, 130, false, false},
		{"two owners, one in another log", []weir.Piece{piece(100, 190, otherLog), piece(100, 120)}, 120, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			snapshot := &store.Snapshot{Chains: []store.Chain{{Partition: "p", End: end, Log: "a", Watermark: 50}}}
			c := newCover(snapshot, test.pieces)
			p := c.partitions[0]
			if p.end != test.want || c.ahead != test.ahead || (p.dropped > 0) != test.dropped {
				t.Errorf("reached %d, ahead %v, dropped %d; want %d, %v, %v", p.end, c.ahead, p.dropped, test.want, test.ahead, test.dropped)
			}
			next := int64(end)
			for _, piece := range p.pieces {
				if piece.From != next {
					t.Errorf("a piece begins at %d where %d was reached", piece.From, next)
				}
				next = piece.To
			}
		})
	}
	t.Run("nothing stored yet", func(t *testing.T) {
		c := newCover(&store.Snapshot{}, []weir.Piece{piece(0, 7), piece(7, 9)})
		if len(c.partitions) != 1 || c.partitions[0].end != 9 {
			t.Errorf("partitions %+v", c.partitions)
		}
	})
}

// TestFlushWhileAsking stores what was live after the engine has asked for it.
func TestFlushWhileAsking(t *testing.T) {
	events := hourly(10)
	w := newWorld(t, testStream())
	w.put(t, w.meta("p", 0, events[:4]), events[:4])
	w.refresh(t)
	w.live.add(w.stream, "p", 4, events[4:])
	w.live.asked = func() {
		w.live.asked = nil
		w.put(t, w.meta("p", 4, events[4:8]), events[4:8])
		w.refresh(t)
		w.live.owned = nil
		w.live.add(w.stream, "p", 4, events[4:8])
		w.live.add(w.stream, "p", 8, events[8:])
	}
	if got := count(w.ask(t, Text{})); got != 10 {
		t.Errorf("counted %d of 10", got)
	}
}

// TestOwnerAhead has an owner whose segments this process has not seen yet.
func TestOwnerAhead(t *testing.T) {
	events := hourly(10)
	w := newWorld(t, testStream())
	w.put(t, w.meta("p", 0, events[:4]), events[:4])
	w.refresh(t)
	w.put(t, w.meta("p", 4, events[4:8]), events[4:8])
	w.live.add(w.stream, "p", 8, events[8:])
	e := w.engine(Options{})
	r, err := Parse(Text{Stream: "flights", Select: "count"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a, err := e.Query(context.Background(), r)
		if err != nil || count(a) != 10 || a.Offsets["p"] != 10 {
			t.Fatalf("answer %+v, %v; want 10 events", a, err)
		}
	}
	if c := e.Counters(); c.Refreshes != 1 || c.Questions != 2 {
		t.Errorf("counters %+v, want one refresh for two questions", c)
	}
}

// An owner that is ahead while the store is away costs the answer what the owner
// has, and no more.
func TestOwnerAheadOfAStoreThatIsAway(t *testing.T) {
	events := hourly(10)
	w := newWorld(t, testStream())
	w.put(t, w.meta("p", 0, events[:4]), events[:4])
	w.refresh(t)
	w.live.add(w.stream, "p", 8, events[8:])
	r, err := Parse(Text{Stream: "flights", Select: "count"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New([]Catalog{broken{w.catalog}}, w.live, Options{Now: func() time.Time { return w.now }}).Query(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if count(a) != 4 || a.Offsets["p"] != 4 || a.Complete || !notesSay(a, "may be missing: cable cut") || !notesSay(a, "do not connect") {
		t.Errorf("%d events up to offset %d, complete %v, notes %q", count(a), a.Offsets["p"], a.Complete, a.Notes)
	}
}

// An owner elsewhere that has stored what it had and is gone is missed in no
// answer: what is known of the store is looked at again, since a node does not
// answer, or since less is there than was shown before.
func TestOwnerGone(t *testing.T) {
	for name, silent := range map[string]error{"and does not answer": errors.New("node b is gone"), "and is not asked": nil} {
		t.Run(name, func(t *testing.T) {
			events := hourly(10)
			w := newWorld(t, testStream())
			w.put(t, w.meta("p", 0, events[:4]), events[:4])
			w.refresh(t)
			w.live.add(w.stream, "p", 4, events[4:])
			e := w.engine(Options{MaxAge: time.Hour})
			r, err := Parse(Text{Stream: "flights", Select: "count"})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				if a, err := e.Query(context.Background(), r); err != nil || count(a) != 10 {
					t.Fatalf("question %d: answer %+v, %v; want 10 events", i, a, err)
				}
				if i == 0 { // this process is told of nothing
					w.put(t, w.meta("p", 4, events[4:]), events[4:])
					w.live.owned, w.live.err = nil, silent
				}
			}
		})
	}
}

// Others store without telling: what is known of the store gets old.
func TestStoredByOthers(t *testing.T) {
	events := hourly(10)
	w := newWorld(t, testStream())
	w.put(t, w.meta("p", 0, events[:4]), events[:4])
	w.refresh(t)
	w.put(t, w.meta("loaded", 0, events[4:]), events[4:])
	taken := w.catalog.Snapshot().Taken
	o := Options{MaxAge: time.Minute}

	w.now = taken.Add(time.Minute - 1)
	if got := count(w.askWith(t, o, Text{})); got != 4 {
		t.Errorf("%d events from what was known, want 4", got)
	}
	w.now = taken.Add(time.Minute)
	if got := count(w.askWith(t, o, Text{})); got != 10 {
		t.Errorf("%d events from what is stored, want 10", got)
	}

	// A store that cannot be listed leaves what is known of it.
	e := New([]Catalog{broken{w.catalog}}, w.live, Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	r, err := Parse(Text{Stream: "flights", Select: "count"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Query(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	if count(a) != 10 || a.Complete || !notesSay(a, "may be missing: cable cut") {
		t.Errorf("%d events, complete %v, notes %q", count(a), a.Complete, a.Notes)
	}
}

// broken is a catalog that cannot be refreshed.
type broken struct{ Catalog }

func (broken) Refresh(context.Context) (*store.Snapshot, error) { return nil, errors.New("cable cut") }

func TestComplete(t *testing.T) {
	const lateness = 10 * time.Second
	hour := func(h int) string {
		return time.Unix(0, dayOne).Add(time.Duration(h) * time.Hour).UTC().Format(time.RFC3339)
	}
	setUp := func(t *testing.T) *world {
		w := newWorld(t, testStream())
		events := hourly(10)
		w.put(t, w.meta("p", 0, events), events)
		w.refresh(t)
		return w
	}
	t.Run("before the watermark", func(t *testing.T) {
		a := setUp(t).ask(t, Text{From: hour(0), To: hour(8)})
		if !a.Complete || len(a.Notes) > 0 || !a.Watermark.Equal(time.Unix(0, dayOne).Add(9*time.Hour-lateness)) {
			t.Errorf("complete %v, watermark %v, notes %q", a.Complete, a.Watermark, a.Notes)
		}
	})
	t.Run("past the watermark", func(t *testing.T) {
		a := setUp(t).ask(t, Text{From: hour(0), To: hour(10)})
		if a.Complete || !notesSay(a, "may still come") || notesSay(a, "so far") {
			t.Errorf("complete %v, notes %q", a.Complete, a.Notes)
		}
	})
	t.Run("another partition is behind", func(t *testing.T) {
		w := setUp(t)
		events := hourly(3)
		w.live.add(w.stream, "q", 0, events)
		if a := w.ask(t, Text{From: hour(0), To: hour(8)}); a.Complete || !notesSay(a, "so far partition q has come") {
			t.Errorf("complete %v, notes %q", a.Complete, a.Notes)
		}
		if a := w.ask(t, Text{From: hour(0), To: hour(1)}); !a.Complete {
			t.Errorf("not complete: %q", a.Notes)
		}
	})
	t.Run("another partition is idle", func(t *testing.T) {
		w := setUp(t)
		w.live.owned = append(w.live.owned, ownedPiece{Piece: weir.Piece{Partition: "q", Log: "log", Watermark: store.NoWatermark, Idle: w.now.UnixNano()}})
		if a := w.ask(t, Text{From: hour(0), To: hour(8)}); !a.Complete {
			t.Errorf("not complete: %q", a.Notes)
		}
	})
	t.Run("another partition has no event and says nothing", func(t *testing.T) {
		w := setUp(t)
		w.live.owned = append(w.live.owned, ownedPiece{Piece: weir.Piece{Partition: "q", Log: "log", Watermark: store.NoWatermark}})
		a := w.ask(t, Text{From: hour(0), To: hour(8)})
		if a.Complete || !a.Watermark.IsZero() {
			t.Errorf("complete %v, watermark %v", a.Complete, a.Watermark)
		}
	})
	t.Run("all idle: the clock moves it on, never past the claim", func(t *testing.T) {
		w := setUp(t)
		claim := w.now
		e := New([]Catalog{w.catalog}, w.live, Options{Now: func() time.Time { return w.now }})
		r, err := Parse(Text{Stream: "flights", Select: "count"})
		if err != nil {
			t.Fatal(err)
		}
		last := time.Unix(0, dayOne).Add(9*time.Hour - lateness)
		ask := func(want time.Time) {
			t.Helper()
			a, err := e.Query(context.Background(), r)
			if err != nil || !a.Watermark.Equal(want) {
				t.Fatalf("watermark %v, %v; want %v", a.Watermark, err, want)
			}
		}
		idle := func(at time.Time) {
			w.live.owned = []ownedPiece{{Piece: weir.Piece{Partition: "p", From: 10, To: 10, Log: "log", Watermark: last.UnixNano(), Idle: at.UnixNano()}}}
		}
		idle(claim)
		ask(last)
		w.now = w.now.Add(time.Hour)
		idle(w.now)
		ask(last.Add(time.Hour))
		// Old data was replayed, with a pause: nothing says that more won't come.
		w.now = w.now.Add(300 * 24 * time.Hour)
		ask(claim.Add(time.Hour - lateness))
	})
	t.Run("a gap", func(t *testing.T) {
		w := setUp(t)
		m := w.meta("p", 10, nil)
		m.To = 20
		m.Watermark = dayOne + int64(9*time.Hour)
		m.Gap = &store.GapMeta{Reason: store.GapRetention, WatermarkBefore: dayOne + int64(6*time.Hour), Noticed: time.Unix(0, dayOne).Add(7 * time.Hour)}
		w.put(t, m, nil)
		w.refresh(t)
		if a := w.ask(t, Text{From: hour(6), To: hour(8)}); a.Complete || !notesSay(a, "[10, 20) are missing: retention") {
			t.Errorf("complete %v, notes %q", a.Complete, a.Notes)
		}
		if a := w.ask(t, Text{From: hour(0), To: hour(6)}); !a.Complete {
			t.Errorf("not complete: %q", a.Notes)
		}
	})
	t.Run("another log", func(t *testing.T) {
		w := setUp(t)
		m := w.meta("p", 10, nil)
		m.To, m.Log, m.Shift = 11, "next", 11
		m.Watermark = dayOne + int64(9*time.Hour)
		m.Gap = &store.GapMeta{Reason: store.GapNewLog, WatermarkBefore: dayOne + int64(6*time.Hour), Noticed: time.Unix(0, dayOne).Add(7 * time.Hour)}
		w.put(t, m, nil)
		w.refresh(t)
		if a := w.ask(t, Text{From: hour(6), To: hour(8)}); a.Complete || !notesSay(a, "partition p went on in a new log at offset 10") {
			t.Errorf("complete %v, notes %q", a.Complete, a.Notes)
		}
	})
	t.Run("an owner doesn't answer", func(t *testing.T) {
		w := setUp(t)
		w.live.err = errors.New("shard 3 is stuck")
		if a := w.ask(t, Text{From: hour(0), To: hour(8)}); a.Complete || count(a) != 8 || !notesSay(a, "shard 3 is stuck") {
			t.Errorf("complete %v, notes %q", a.Complete, a.Notes)
		}
	})
	t.Run("a snapshot from before the range ended", func(t *testing.T) {
		w := setUp(t)
		more := hourly(5)
		w.put(t, w.meta("new", 0, more), more) // a partition that nobody here knows of
		if a := w.ask(t, Text{From: hour(0), To: hour(4)}); !a.Complete || count(a) != 4 {
			t.Errorf("the clock stands before the snapshot: complete %v, counted %d", a.Complete, count(a))
		}
		w.now = time.Now().Add(time.Hour)
		shifted := time.Now().Truncate(time.Hour).Add(time.Hour)
		w.live.owned = []ownedPiece{{Piece: weir.Piece{Partition: "p", From: 10, To: 10, Log: "log", Watermark: shifted.Add(time.Hour).UnixNano()}}}
		if a := w.ask(t, Text{From: hour(0), To: shifted.UTC().Format(time.RFC3339)}); a.Offsets["new"] != 5 {
			t.Errorf("the new partition was not found: offsets %v", a.Offsets)
		}
	})
	t.Run("no events", func(t *testing.T) {
		a := newWorld(t, testStream()).ask(t, Text{Select: everything})
		if a.Complete || len(a.Series) != 1 || a.Series[0].Columns[0].Value[0] != 0 || !notesSay(a, "no events yet") {
			t.Errorf("%+v", a)
		}
	})
}

// TestDamage leaves a damaged segment out, says so, and answers from the rest.
func TestDamage(t *testing.T) {
	events := hourly(10)
	w := newWorld(t, testStream())
	for i := 0; i < 10; i += 5 {
		w.put(t, w.meta("p", int64(i), events[i:i+5]), events[i:i+5])
	}
	w.refresh(t)
	name := store.SegmentName("flights", "p", 0)
	data, err := w.bucket.Read(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 0x40
	if err := errors.Join(w.bucket.Delete(context.Background(), name), w.bucket.Put(context.Background(), name, data)); err != nil {
		t.Fatal(err)
	}
	catalog := store.NewCatalog(w.bucket, w.stream, discard) // has none of it open
	w.catalog = catalog
	a := w.ask(t, Text{Select: "count,delay.p50"})
	if a.Complete || count(a) != 5 || !notesSay(a, "damaged") {
		t.Errorf("counted %d, complete %v, notes %q", count(a), a.Complete, a.Notes)
	}
}

// TestDefinitionChanged reads segments that were written before a measure and a
// dimension were there.
func TestDefinitionChanged(t *testing.T) {
	events := hourly(10)
	old := testStream()
	old.Dimensions, old.Measures = old.Dimensions[:1], old.Measures[1:]
	w := newWorld(t, old)
	before := make([]event, 5)
	copy(before, events)
	for i := range before {
		before[i].dims = []string{"JFK"}
	}
	w.put(t, w.meta("p", 0, before), before)
	w.stream = testStream()
	w.catalog = store.NewCatalog(w.bucket, w.stream, discard)
	w.live.stream = w.stream
	w.put(t, w.meta("p", 5, events[5:]), events[5:])
	w.refresh(t)
	a := w.ask(t, Text{Select: "count,delay.sum,destination.distinct", By: "carrier"})
	if len(a.Series) != 2 || a.Series[0].By[0] != "" || a.Series[0].Columns[0].Value[0] != 5 || a.Series[1].Columns[1].Value[0] != 5+6+7+8+9 {
		t.Errorf("%+v", a.Series)
	}
	if !notesSay(a, `without the quantile of "delay"`) || notesSay(a, "destination") {
		t.Errorf("notes %q", a.Notes)
	}
}

func TestRejectedAndOverflow(t *testing.T) {
	events := hourly(4)
	events[3].dims = []string{weir.Other, weir.Other}
	w := newWorld(t, testStream())
	m := w.meta("p", 0, events)
	m.Rejected = map[string]int64{"not_json": 2}
	w.put(t, m, events)
	w.refresh(t)
	a := w.ask(t, Text{Where: "origin=~.*"})
	if a.Rejected["not_json"] != 2 || !notesSay(a, "2 events rejected while the range was read: not_json") || !notesSay(a, "budget of 1000 series") {
		t.Errorf("rejected %v, notes %q", a.Rejected, a.Notes)
	}
	if a := w.ask(t, Text{To: "2000-12-31"}); len(a.Rejected) != 0 || !notesSay(a, "holds no events") {
		t.Errorf("rejected %v, notes %q", a.Rejected, a.Notes)
	}
}

func TestRange(t *testing.T) {
	events := hourly(30)
	w := newWorld(t, testStream())
	w.put(t, w.meta("p", 0, events), events)
	w.refresh(t)
	for _, test := range []struct {
		q        Text
		from, to string
		note     string
	}{
		{Text{}, "2001-01-01T00:00:00Z", "2001-01-02T06:00:00Z", ""},
		{Text{Step: "1d"}, "2001-01-01T00:00:00Z", "2001-01-03T00:00:00Z", ""},
		{Text{From: "2001-01-01T10:20:00Z", To: "2001-01-01T11:20:00Z"}, "2001-01-01T10:00:00Z", "2001-01-01T12:00:00Z", "widened to whole windows of 1h"},
		{Text{From: "2001-01-01T10:00:00Z", To: "2001-01-01T20:00:00Z", Step: "6h"}, "2001-01-01T06:00:00Z", "2001-01-02T00:00:00Z", "widened to whole steps of 6h"},
		{Text{From: "newest-6h"}, "2001-01-02T00:00:00Z", "2001-01-02T06:00:00Z", ""},
		{Text{From: "now-1h"}, "2001-01-09T23:00:00Z", "2001-01-10T00:00:00Z", "holds no events"},
		{Text{To: "2000-12-01"}, "2000-11-30T23:00:00Z", "2000-12-01T00:00:00Z", "holds no events"},
		{Text{From: "2000-12-31", To: "2001-01-02", Step: "1d"}, "2000-12-31T00:00:00Z", "2001-01-02T00:00:00Z", "points before it are 0"},
	} {
		a := w.ask(t, test.q)
		if formatTime(a.From.UnixNano()) != test.from || formatTime(a.To.UnixNano()) != test.to {
			t.Errorf("%+v: %v to %v", test.q, a.From, a.To)
		}
		if test.note != "" && !notesSay(a, test.note) {
			t.Errorf("%+v: notes %q don't say %q", test.q, a.Notes, test.note)
		}
		if math.IsNaN(a.Series[0].Columns[0].Value[0]) {
			t.Errorf("%+v: no count", test.q)
		}
	}
}

// TestHorizons has a manifest that widened windows and dropped others, while
// segments and live cells still have them as they were.
func TestHorizons(t *testing.T) {
	events := hourly(48)
	w := newWorld(t, testStream())
	at := func(h int) int64 { return dayOne + int64(h)*int64(time.Hour) }
	w.put(t, w.meta("p", 0, events[:30]), events[:30])
	w.refresh(t)
	snapshot := *w.catalog.Snapshot()
	snapshot.Manifest = &store.Manifest{N: 1, Horizons: []store.Horizon{{Before: at(6), Dropped: true}, {Before: at(36), Width: 6 * time.Hour}}}
	w.live.add(w.stream, "p", 30, events[30:])
	memory := &memoryCatalog{stream: w.stream, snapshot: &snapshot, cells: map[string]*weir.Cells{
		snapshot.Chains[0].Segments[0].Name: cellsOf(w.stream, events[:30], nil),
	}}
	ask := func(q Text) (*Answer, error) {
		q.Stream, q.Select = "flights", "count"
		r, err := Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		return New([]Catalog{memory}, w.live, Options{Now: func() time.Time { return w.now }}).Query(context.Background(), r)
	}
	a, err := ask(Text{})
	if err != nil || count(a) != 42 || !notesSay(a, "before 2001-01-01T06:00:00Z have been dropped") {
		t.Errorf("counted %v, %v; want 42", a, err)
	}
	a, err = ask(Text{From: "2001-01-01T13:00:00Z", To: "2001-01-01T14:00:00Z"})
	if err != nil || formatTime(a.From.UnixNano()) != "2001-01-01T12:00:00Z" || count(a) != 6 || !notesSay(a, "windows of 6h") {
		t.Errorf("%+v, %v; want the range widened to 6 h", a, err)
	}
	var bad *ParamError
	if _, err = ask(Text{Step: "2h"}); !errors.As(err, &bad) || !strings.Contains(bad.Detail, "kept 6h wide") {
		t.Errorf("error %v, want one on the step", err)
	}
	if a, err = ask(Text{Step: "2h", From: "2001-01-02T12:00:00Z"}); err != nil || count(a) != 12 {
		t.Errorf("%+v, %v; past the horizon a step of 2 h is right", a, err)
	}
	snapshot.Manifest.Blocks = []store.Block{{Name: "b", Width: time.Hour}}
	if _, err = ask(Text{}); err == nil {
		t.Error("an answer was given without the manifest's blocks")
	}
}
