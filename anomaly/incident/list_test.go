package incident

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store/storetest"
)

var slower = Ref{"flights", "slower"}

// model is all incidents as they stand, as the batches of a test say.
type model map[string]weir.Incident

// grow appends n random windows of a detector.
func (m model) grow(t *testing.T, c *chance, l *Log, ref Ref, n int) {
	t.Helper()
	for range n {
		next, open, _, err := l.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		changes := states{}
		for _, r := range open {
			opened, _ := ref.opened(r.ID)
			if c.n(3) == 0 {
				changes[opened] = []weir.IncidentState{weir.Firing, weir.Resolved, weir.Resolved}[c.n(3)]
			}
		}
		if c.n(3) > 0 || len(changes) == 0 {
			changes[next] = weir.Firing
		}
		b := mustAppend(t, l, window(ref, next, changes))
		for _, r := range b.Records {
			m[r.ID] = r.Incident
		}
	}
}

// list returns the IDs and versions of those that a filter wants, in order.
func (m model) list(want func(*weir.Incident) bool) []string {
	all := slices.SortedFunc(maps.Values(m), func(a, b weir.Incident) int {
		if c := b.Opened.Compare(a.Opened); c != 0 {
			return c
		}
		return strings.Compare(a.Detector, b.Detector)
	})
	var list []string
	for _, inc := range all {
		if want(&inc) {
			list = append(list, fmt.Sprintf("%s-%d %s", inc.ID, inc.Version, inc.State))
		}
	}
	return list
}

// pages lists all pages.
func pages(t *testing.T, l *Log, f Filter, between func()) []string {
	t.Helper()
	var list []string
	for {
		found, next, err := l.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > max(1, f.Limit) && f.Limit > 0 {
			t.Fatalf("%d incidents on a page of %d", len(found), f.Limit)
		}
		for _, inc := range found {
			list = append(list, fmt.Sprintf("%s-%d %s", inc.ID, inc.Version, inc.State))
		}
		if next == "" {
			return list
		}
		f.Page = next
		if between != nil {
			between()
		}
	}
}

// TestListAgainstModel holds lists against what the batches say: of a log that
// appended them, of one that was there all the time, and of one that begins, all
// of which hold few incidents in memory and read the others.
func TestListAgainstModel(t *testing.T) {
	c := &chance{random: seeded(t)}
	for range 2 {
		bucket, m := new(storetest.Memory), model{}
		few := func() *Log {
			return NewLog(bucket, []Ref{traffic, slower}, Options{MaxAge: -1, Now: (&clock{midnight.Add(24 * time.Hour)}).now, held: 1 + c.n(8)})
		}
		writer, reader := few(), few()
		for range 4 {
			m.grow(t, c, writer, traffic, c.n(25))
			m.grow(t, c, writer, slower, c.n(25))
			if _, _, err := reader.List(t.Context(), Filter{Limit: 1 + c.n(30)}); err != nil {
				t.Fatal(err)
			}
		}
		for name, l := range map[string]*Log{"writer": writer, "reader": reader, "new": few()} {
			since, until := midnight.Add(time.Duration(c.n(60))*time.Minute), midnight.Add(time.Duration(40+c.n(100))*time.Minute)
			for _, f := range []Filter{
				{}, {Detector: "traffic"}, {Stream: "nowhere"}, {State: weir.Firing}, {State: weir.Resolved}, {Severity: weir.Critical},
				{Since: since}, {Until: until}, {Since: since, Until: until, State: weir.Resolved}, {Labels: []Matcher{{"origin", "=~", "O.?[02468]"}}},
			} {
				wants, err := f.Match()
				if err != nil {
					t.Fatal(err)
				}
				f.Limit = 1 + c.n(50)
				if diff := cmp.Diff(m.list(wants), pages(t, l, f, nil)); diff != "" {
					t.Errorf("%s: %+v -want +got:\n%s", name, f, diff)
				}
			}
		}

		// New incidents come between pages, and shift none.
		before := m.list(func(*weir.Incident) bool { return true })
		ids := func(list []string) (ids []string) {
			for _, s := range list {
				id, _, _ := strings.Cut(s, "-")
				ids = append(ids, id)
			}
			return ids
		}
		got := pages(t, reader, Filter{Limit: 1 + c.n(9)}, func() { m.grow(t, c, writer, traffic, c.n(3)) })
		there := slices.DeleteFunc(ids(got), func(id string) bool { return !slices.Contains(ids(before), id) })
		if diff := cmp.Diff(ids(before), there); diff != "" {
			t.Errorf("pages shift -before +got:\n%s", diff)
		}
	}
}

// TestStory tells incidents as they were, through any log.
func TestStory(t *testing.T) {
	c := &chance{random: seeded(t)}
	bucket, m := new(storetest.Memory), model{}
	writer := newLog(bucket, slower, traffic)
	told := map[string][]int64{}
	for range 100 {
		m.grow(t, c, writer, traffic, 1)
		_, _, last, err := writer.Open(t.Context(), traffic)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range last.Records {
			told[r.ID] = append(told[r.ID], last.N)
		}
	}
	for _, l := range []*Log{writer, newLog(bucket, traffic, slower)} {
		for id, want := range told {
			versions, batches, err := l.Incident(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for i, r := range versions {
				got = append(got, r.Version)
				if batches[i].N != r.Version || len(batches[i].Records) != 1 || len(r.All) != 1 {
					t.Errorf("%s: version %d is told by batch %+v", id, r.Version, batches[i])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: versions -want +got: %s", id, diff)
			}
		}
		for _, id := range []string{"traffic.100", "traffic.x", "", "slower.0", "nobody.0", "traffic.-1"} {
			if _, _, err := l.Incident(t.Context(), id); !errors.Is(err, ErrUnknown) {
				t.Errorf("%q: %v", id, err)
			}
		}
	}
}

// TestStoryIsBounded keeps the first and the newest versions.
func TestStoryIsBounded(t *testing.T) {
	l := newLog(new(storetest.Memory), traffic)
	for n := range int64(MaxVersions + 50) {
		mustAppend(t, l, window(traffic, n, states{0: weir.Firing}))
	}
	versions, _, err := l.Incident(t.Context(), "traffic.0")
	if err != nil || len(versions) != MaxVersions || versions[0].Version != 0 || versions[1].Version != 51 || versions[MaxVersions-1].Version != MaxVersions+49 {
		t.Errorf("%d versions, %v", len(versions), err)
	}
	first, err := l.Batches(t.Context(), traffic, -1)
	if err != nil || len(first) != MaxBatches {
		t.Fatalf("%d batches, %v", len(first), err)
	}
	rest, err := l.Batches(t.Context(), traffic, first[len(first)-1].N)
	if err != nil || len(rest) != 50 {
		t.Errorf("%d batches follow, %v", len(rest), err)
	}
}

// TestHeld holds few incidents in memory, and of those that fire all.
func TestHeld(t *testing.T) {
	l := NewLog(new(storetest.Memory), []Ref{traffic}, Options{MaxAge: -1, Now: (&clock{midnight}).now, held: 3})
	m := model{}
	m.grow(t, &chance{random: seeded(t)}, l, traffic, 200)
	pages(t, l, Filter{}, nil)
	h := l.histories[traffic]
	for i, e := range h.entries {
		if held := e.incident != nil; held != (i < 3 || e.firing) {
			t.Errorf("entry %d of batch %d, firing %v: held %v", i, e.n, e.firing, held)
		}
	}
}

// TestListed lists the newest batches where there are more than may be listed.
// Older incidents are found by their ID, and the one that fires all the while is
// never lost.
func TestListed(t *testing.T) {
	const windows, listed = 300, 40
	bucket := new(storetest.Memory)
	few := func() *Log {
		return NewLog(bucket, []Ref{traffic}, Options{MaxAge: -1, Now: (&clock{midnight}).now, held: 5, listed: listed})
	}
	writer := few()
	mustAppend(t, writer, window(traffic, 0, states{0: weir.Firing}))
	for n := int64(1); n < windows; n += 2 {
		mustAppend(t, writer, window(traffic, n, states{n: weir.Firing}))
		mustAppend(t, writer, window(traffic, n+1, states{n: weir.Resolved}))
	}
	for name, l := range map[string]*Log{"writer": writer, "new": few()} {
		list := pages(t, l, Filter{Limit: 7}, nil)
		if len(list) < listed/2*7/8 || len(list) > listed/2+2 || list[0] != "traffic.299-300 resolved" {
			t.Errorf("%s: %d incidents from %s on", name, len(list), list[0])
		}
		if firing := pages(t, l, Filter{State: weir.Firing}, nil); len(firing) != 1 || firing[0] != "traffic.0-0 firing" {
			t.Errorf("%s: firing are %v", name, firing)
		}
		if versions, _, err := l.Incident(t.Context(), "traffic.11"); err != nil || len(versions) != 2 {
			t.Errorf("%s: an old incident: %v, %v", name, versions, err)
		}
		for at, got := int64(-1), 0; ; {
			batches, err := l.Batches(t.Context(), traffic, at)
			if err != nil {
				t.Fatal(err)
			}
			if len(batches) == 0 {
				if got != windows+1 {
					t.Errorf("%s: %d batches", name, got)
				}
				break
			}
			got += len(batches)
			at = batches[len(batches)-1].N
		}
		if h := l.histories[traffic]; len(h.numbers) > listed || len(h.entries) > listed {
			t.Errorf("%s: %d numbers and %d entries in memory", name, len(h.numbers), len(h.entries))
		}
	}
}

// TestPageIsBounded looks for what is not there.
func TestPageIsBounded(t *testing.T) {
	l := newLog(new(storetest.Memory), traffic)
	for n := range int64(maxExamined + 10) {
		b := window(traffic, n, states{n: weir.Resolved})
		if n == 3 {
			b.Records[0].Severity = weir.Critical
		}
		mustAppend(t, l, b)
	}
	found, next, err := l.List(t.Context(), Filter{Severity: weir.Critical})
	if err != nil || len(found) != 0 || next == "" {
		t.Fatalf("%v, %q, %v", found, next, err)
	}
	found, next, err = l.List(t.Context(), Filter{Severity: weir.Critical, Page: next})
	if err != nil || len(found) != 1 || next != "" {
		t.Errorf("%v, %q, %v", found, next, err)
	}
}

func FuzzPage(f *testing.F) {
	f.Add(place{978307200000000000, "traffic", 17}.String())
	f.Add("")
	f.Add("MS54LjE")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err != nil {
			if !errors.Is(err, ErrPage) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if p.String() != text {
			t.Errorf("%q is read as %q", text, p.String())
		}
	})
}

func FuzzBatch(f *testing.F) {
	b := window(traffic, 3, states{1: weir.Firing, 3: weir.Resolved})
	b.Format, b.ID = formatVersion, "x"
	good, err := b.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("null"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodeBatch(traffic, 3, data)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		h := newHistory(newLog(new(storetest.Memory), traffic), traffic)
		h.log.feed.begin(traffic, 0)
		h.fold(b) // what is believed can be folded
	})
}
