package watch

import (
	"bytes"
	"context"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// encoded is the state of a detector, to the bit.
func encoded(t *testing.T, r *runner) []byte {
	t.Helper()
	data, err := r.machine.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// State that is saved and read, and state that is built from stored windows, are
// what the state would have been, to the bit, though events have come late.
func TestStateIsACache(t *testing.T) {
	w := newWorld(t)
	of := season(seed(t), 900)
	detectors := watched3(w)
	through := w.watcher(detectors...)
	for w.next < 900 {
		w.write(1, of)
		w.look(through)
		if w.next%100 == 50 { // late events of a window that was judged long ago
			at := begin.Add(time.Duration(w.next) * time.Minute)
			w.append(w.next-40, w.next-39, at, steady(7000))
			w.look(through)
		}
		if w.next == 600 {
			for _, r := range through.streams[0].runners {
				if err := r.save(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	loaded, built := w.watcher(detectors...), w.watcher(detectors...)
	for _, r := range built.streams[0].runners {
		r.keeper.bucket = hidden{r.keeper.bucket}
	}
	w.look(loaded)
	w.look(built)
	for i, r := range through.streams[0].runners {
		want := encoded(t, r)
		if !bytes.Equal(want, encoded(t, loaded.streams[0].runners[i])) {
			t.Errorf("detector %s: the state that was saved and read differs", r.def.config.Name)
		}
		if !bytes.Equal(want, encoded(t, built.streams[0].runners[i])) {
			t.Errorf("detector %s: the state that was built from stored windows differs", r.def.config.Name)
		}
		if len(r.machine.series) == 0 {
			t.Errorf("detector %s has no series, so nothing was shown", r.def.config.Name)
		}
	}
	if len(w.told) < 5 {
		t.Errorf("%d messages, so little was shown", len(w.told))
	}
}

// hidden has no saved states.
type hidden struct{ store.Bucket }

func (h hidden) List(ctx context.Context, folder, after string) iter.Seq2[string, error] {
	if strings.Contains(folder, "/watch/") {
		return func(func(string, error) bool) {}
	}
	return h.Bucket.List(ctx, folder, after)
}

// The scores of an incident are computed again, to the bit, from what is stored.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	of := season(seed(t), 700)
	detectors := watched3(w)
	watcher := w.watcher(detectors...)
	for w.next < 700 {
		w.write(1, of)
		w.look(watcher)
		if w.next%50 == 0 {
			w.append(w.next-20, w.next-19, begin.Add(time.Duration(w.next)*time.Minute), steady(3000))
		}
	}
	replayed := 0
	for _, r := range watcher.streams[0].runners {
		batches, err := r.keeper.log.Batches(t.Context(), r.keeper.ref(r.def), -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches[:min(len(batches), 6)] {
			for _, rec := range b.Records {
				series, err := Replay(t.Context(), w.catalog, b, rec.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range series {
					replayed++
					absent := s.Stored.Reason == reasonAbsent
					if !s.Same || !absent && s.Again.Score == 0 {
						t.Errorf("%s, window %v: %+v was stored, and is now %+v", rec.ID, s.Stored.Window, s.Stored, s.Again)
					}
				}
			}
		}
	}
	if replayed < 10 {
		t.Errorf("%d series replayed, which shows little", replayed)
	}
	// A test that compares must be able to tell.
	a := weir.IncidentSeries{Value: 1, Score: 2}
	b := a
	if b.Score = math.Nextafter(2, 3); same(&a, &b) {
		t.Error("scores that differ in their last bit are called the same")
	}
}

// A definition that was changed touches no incident of the past, and ends what
// is open by its own judgement.
func TestChangedDefinition(t *testing.T) {
	w := newWorld(t)
	low := func(m int64, _, _ string) (int64, int64) {
		if m >= 10 && m < 20 || m >= 40 {
			return 10, 0
		}
		return 100, 0
	}
	d := w.detector(weir.DetectorConfig{Name: "traffic", Threshold: &weir.ThresholdConfig{Below: limit(500)}})
	first := w.watcher(d)
	for w.next < 45 {
		w.write(1, low)
		w.look(first)
	}
	if err := first.streams[0].runners[0].save(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.story()
	if len(before) != 3 {
		t.Fatalf("%q", before)
	}
	changed := w.detector(weir.DetectorConfig{Name: "traffic", Threshold: &weir.ThresholdConfig{Below: limit(50)}})
	second := w.watcher(changed)
	for w.next < 50 {
		w.write(1, low)
		w.look(second)
	}
	after := w.story()
	if len(after) != 4 || !slices.Equal(after[:3], before) || !strings.HasPrefix(after[3], "traffic.2 resolved 46m0s web count is 60, below 500") {
		t.Errorf("told\n%s", strings.Join(after, "\n"))
	}
}

// Two processes that both believe they run a detector tell the same.
func TestTwoThatBelieveTheyAreTheOne(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	of := season(rng, 700)
	detectors := watched3(w)
	one, other := w.watcher(detectors...), w.watcher(detectors...)
	behind := 0
	for w.next < 700 {
		w.write(1, of)
		for _, watcher := range []*Watcher{one, other} {
			if rng.IntN(3) == 0 {
				continue // it sleeps
			}
			if err := watcher.look(t.Context(), watcher.streams[0]); err != nil {
				if !strings.Contains(err.Error(), errBehind.Error()) {
					t.Fatal(err)
				}
				behind++
			}
		}
	}
	told := w.told
	w.told = nil
	alone := newWorld(t)
	watcher := alone.watcher(watched3(alone)...)
	for alone.next < 700 {
		alone.write(1, of)
		alone.look(watcher)
	}
	short := func(in []weir.Incident) map[string]string {
		out := make(map[string]string)
		for _, i := range in {
			out[i.ID+" "+i.Updated.String()] = string(i.State) + i.Summary
		}
		return out
	}
	if diff := cmp.Diff(short(alone.told), short(told)); diff != "" || len(told) != len(alone.told) {
		t.Errorf("told (-one +two, %d and %d):\n%s", len(alone.told), len(told), diff)
	}
	t.Logf("%d messages; %d times one found that the other was ahead", len(told), behind)
}

func TestClosing(t *testing.T) {
	now := begin.Add(time.Hour)
	at := func(d time.Duration) int64 { return begin.Add(d).UnixNano() }
	chain := func(name string, end int64, watermark int64) store.Chain {
		return store.Chain{Partition: name, Log: "l", End: end, Watermark: watermark}
	}
	idle := func(name string, from, to int64, when time.Duration) weir.Piece {
		return weir.Piece{Partition: name, From: from, To: to, Log: "l", Idle: at(when)}
	}
	busy := func(name string, from, to int64) weir.Piece {
		return weir.Piece{Partition: name, From: from, To: to, Log: "l"}
	}
	for _, test := range []struct {
		name   string
		chains []store.Chain
		pieces []weir.Piece
		want   int64 // 0: not known
	}{
		{"nothing", nil, nil, 0},
		{"the slowest decides", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), busy("b", 5, 5)}, at(10 * time.Minute)},
		{"an idle one does not, once it has stored all", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), idle("b", 5, 5, 50*time.Minute)}, at(20 * time.Minute)},
		{"but no further than it was asked", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), idle("b", 5, 5, 15*time.Minute)}, at(15*time.Minute - 10*time.Second)},
		{"an idle one that has not stored all", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), idle("b", 5, 7, 50*time.Minute)}, at(10 * time.Minute)},
		{"a claim of another log", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), {Partition: "b", From: 5, To: 5, Log: "other", Idle: at(50 * time.Minute)}}, at(10 * time.Minute)},
		{"nobody reads it", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9)}, at(10 * time.Minute)},
		{"nobody reads it, for it is a file that was loaded", []store.Chain{chain("a", 5, at(20*time.Minute)), chain("file:/b", 5, at(10*time.Minute))},
			[]weir.Piece{busy("a", 5, 9)}, at(20 * time.Minute)},
		{"a partition without events", []store.Chain{chain("a", 5, at(20*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), {Partition: "b"}}, 0},
		{"one without events that is idle", []store.Chain{chain("a", 5, at(20*time.Minute))},
			[]weir.Piece{busy("a", 5, 9), {Partition: "b", Idle: at(50 * time.Minute)}}, at(20 * time.Minute)},
		{"all are idle: it moves with the clock, from when that was seen", []store.Chain{chain("a", 5, at(20*time.Minute))},
			[]weir.Piece{idle("a", 5, 5, 59*time.Minute)}, at(23 * time.Minute)},
		{"and not past the claims", []store.Chain{chain("a", 5, at(20*time.Minute))},
			[]weir.Piece{idle("a", 5, 5, 21*time.Minute)}, at(21*time.Minute - 10*time.Second)},
	} {
		c := &closing{}
		snapshot := &store.Snapshot{Chains: test.chains}
		c.watermark(snapshot, test.pieces, 10*time.Second, now)
		got, known := c.watermark(snapshot, test.pieces, 10*time.Second, now.Add(3*time.Minute))
		if known != (test.want != 0) || known && got != test.want {
			t.Errorf("%s: %v %v, want %v", test.name, time.Unix(0, got).UTC(), known, time.Unix(0, test.want).UTC())
		}
	}
}

// Whatever bytes are found, they are a state or an error.
func FuzzDecodeState(f *testing.F) {
	w := newWorld(f)
	d := watched3(w)[0]
	watcher := w.watcher(d)
	w.write(30, steady(100))
	w.look(watcher)
	data, err := watcher.streams[0].runners[0].machine.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	def := watcher.streams[0].runners[0].def
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := decodeState(def, data)
		if err == nil && m != nil {
			if _, err := m.encode(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestBacktestSaysWhatLiveSays(t *testing.T) {
	w := newWorld(t)
	of := season(seed(t), 900)
	d := watched3(w)[2]
	watcher := w.watcher(d)
	for w.next < 900 {
		w.write(1, of)
		w.look(watcher)
	}
	opened := map[string]weir.Incident{}
	for _, i := range w.told {
		if i.Opened.Before(begin.Add(898 * time.Minute)) {
			opened[i.ID] = i
		}
	}
	report, err := Backtest(t.Context(), d, w.catalog, time.Time{}, begin.Add(898*time.Minute), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]weir.Incident{}
	for _, i := range report.Incidents {
		got[i.ID] = i
	}
	ignore := cmp.Transformer("written", func(i weir.Incident) string { return written(t, i) })
	if diff := cmp.Diff(opened, got, ignore); diff != "" || len(got) == 0 {
		t.Errorf("%d incidents (-live +backtest):\n%s", len(got), diff)
	}
	if report.Series != 6 || report.Windows != 449 || len(report.Plot) == 0 || report.PerWeek == 0 {
		t.Errorf("%d series, %d windows, %d points, %v a week", report.Series, report.Windows, len(report.Plot), report.PerWeek)
	}
	half, err := Backtest(t.Context(), d, w.catalog, begin.Add(450*time.Minute), begin.Add(898*time.Minute), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range half.Incidents {
		if diff := cmp.Diff(got[i.ID], i, ignore); diff != "" {
			t.Errorf("from the middle on (-all +half):\n%s", diff)
		}
	}
	if _, err := Backtest(t.Context(), d, w.catalog, begin.Add(9000*time.Minute), time.Time{}, nil); err == nil {
		t.Error("a range without windows is no error")
	}
}
