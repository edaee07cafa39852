package incident

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store/storetest"
)

func TestMatch(t *testing.T) {
	series := func(origins ...string) *weir.Incident {
		inc := &weir.Incident{Detector: "traffic", Stream: "flights", Severity: weir.Critical, Value: "delay.p99", Members: len(origins)}
		for _, o := range origins {
			inc.Series = append(inc.Series, weir.IncidentSeries{By: map[string]string{"origin": o, "carrier": "AA"}})
		}
		return inc
	}
	many := series("JFK")
	many.Members = 30
	overall := &weir.Incident{Detector: "traffic", Members: 1, Series: []weir.IncidentSeries{{}}}
	for _, test := range []struct {
		matchers string
		incident *weir.Incident
		all, any bool
	}{
		{`origin=JFK`, series("JFK"), true, true},
		{`origin=JFK`, series("JFK", "LAX"), false, true},
		{`origin=~"JFK|LAX"`, series("JFK", "LAX"), true, true},
		{`origin!=JFK`, series("JFK", "LAX"), false, true},
		{`origin!~J`, series("JFK"), true, true}, // whole values
		{`origin!~"J.."`, series("JFK"), false, false},
		{`origin=JFK,carrier=AA`, series("JFK"), true, true},
		{`origin=JFK,carrier=DL`, series("JFK"), false, false},
		{`detector=traffic, severity=critical, stream=flights, value="delay.p99"`, series("JFK", "LAX"), true, true},
		{`severity=warning`, series("JFK"), false, false},
		{`nosuch=""`, series("JFK"), true, true},
		{`origin=JFK`, many, false, true},
		{`detector=traffic`, many, true, true},
		{`origin=JFK`, overall, false, false},
		{`origin=""`, overall, true, true},
		{`detector=~"tra.*"`, overall, true, true},
		{``, series("JFK"), true, true},
	} {
		list, err := ParseMatchers(test.matchers)
		if err != nil {
			t.Fatalf("%s: %v", test.matchers, err)
		}
		ready, err := compile(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := ready.silences(test.incident); got != test.all {
			t.Errorf("%s of %v: silences %v", test.matchers, test.incident.Series, got)
		}
		if got := ready.matchesAny(test.incident); got != test.any {
			t.Errorf("%s of %v: matches any %v", test.matchers, test.incident.Series, got)
		}
	}
}

func TestParseMatchers(t *testing.T) {
	for text, want := range map[string][]Matcher{
		"":                      nil,
		" a = b , c!=d ":        {{"a", "=", "b"}, {"c", "!=", "d"}},
		`a="x, \"y\"",b=~"c|d"`: {{"a", "=", `x, "y"`}, {"b", "=~", "c|d"}},
		"a=,b!~^x$":             {{"a", "=", ""}, {"b", "!~", "^x$"}},
		"a==b":                  {{"a", "=", "=b"}},
	} {
		if got, err := ParseMatchers(text); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a", "=b", "a=b,", ",", `a="b`, `a="b"c`, `a=b"c`, "a=~(", "1a=b", "a b=c", "a!b", "a~b", "ä=b", `"a"=b`,
		strings.Repeat("a=b,", MaxMatchers) + "a=b", "a=" + strings.Repeat("x", maxMatcherBytes+1)} {
		if got, err := ParseMatchers(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzParseMatchers(f *testing.F) {
	f.Add(`a="x, \"y\"",b=~"c|d",c!=d`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseMatchers(text)
		if err != nil {
			return
		}
		var parts []string
		for _, m := range list {
			parts = append(parts, m.String())
		}
		again, err := ParseMatchers(strings.Join(parts, ","))
		if err != nil || !cmp.Equal(list, again) {
			t.Errorf("%q is read as %v, and written so as %v, %v", text, list, again, err)
		}
	})
}

func matchers(t *testing.T, text string) []Matcher {
	t.Helper()
	list, err := ParseMatchers(text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSilences makes one on one node, sees it hold on another, and end.
func TestSilences(t *testing.T) {
	bucket, now := new(storetest.Memory), &clock{midnight}
	maintenance := []*weir.MaintenanceConfig{
		{Name: "upgrade", From: weir.Instant{Time: midnight.Add(5 * time.Hour)}, To: weir.Instant{Time: midnight.Add(6 * time.Hour)}, Detectors: []string{"slow", "traffic"}},
		{Name: "move", From: weir.Instant{Time: midnight.Add(8 * time.Hour)}, To: weir.Instant{Time: midnight.Add(9 * time.Hour)}},
	}
	node := func() *Silences { return NewSilences(bucket, maintenance, Options{MaxAge: -1, Now: now.now}) }
	here, there := node(), node()
	inc := &weir.Incident{Detector: "traffic", Members: 1, Series: []weir.IncidentSeries{{By: map[string]string{"origin": "JFK"}}}}
	why := func(s *Silences, hour float64) string {
		t.Helper()
		reason, err := s.Match(t.Context(), inc, midnight.Add(time.Duration(hour*float64(time.Hour))))
		if err != nil {
			t.Fatal(err)
		}
		return reason
	}
	made, err := here.Add(t.Context(), Silence{Matchers: matchers(t, "origin=JFK"), From: midnight.Add(time.Hour), To: midnight.Add(2 * time.Hour), Comment: "snow"})
	if err != nil || !isSilenceID(made.ID) || !made.Created.Equal(midnight) {
		t.Fatalf("add: %+v, %v", made, err)
	}
	for name, s := range map[string]*Silences{"here": here, "there": there, "new": node()} {
		for hour, want := range map[float64]string{
			0.9: "", 1: "silence " + made.ID + ": snow", 1.9: "silence " + made.ID + ": snow", 2: "",
			5: "maintenance: upgrade", 6: "", 8.5: "maintenance: move",
		} {
			if got := why(s, hour); got != want {
				t.Errorf("%s, hour %v: %q, want %q", name, hour, got, want)
			}
		}
		list, err := s.List(t.Context())
		if err != nil || len(list) != 3 || list[0].Comment != "move" || list[2].ID != made.ID || !list[0].Configured || list[2].Configured {
			t.Errorf("%s: list: %+v, %v", name, list, err)
		}
	}
	if err := there.Delete(t.Context(), "maintenance-1"); !errors.Is(err, ErrConfigured) {
		t.Errorf("delete maintenance: %v", err)
	}
	for _, id := range []string{"", "x", "../x", "aaaaaaaaaaaa", "AAAAAAAAAAAA"} {
		if err := there.Delete(t.Context(), id); !errors.Is(err, ErrUnknownSilence) {
			t.Errorf("delete %q: %v", id, err)
		}
	}
	if err := there.Delete(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if got := why(here, 1); got != "" {
		t.Errorf("a deleted silence holds: %s", got)
	}

	// One that has ended can be seen for a day.
	made, err = here.Add(t.Context(), Silence{Matchers: matchers(t, "origin=JFK"), To: midnight.Add(2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	now.at = midnight.Add(26 * time.Hour)
	if list, err := there.List(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("list: %v, %v", list, err)
	}
	now.at = midnight.Add(27 * time.Hour)
	if list, err := there.List(t.Context()); err != nil || len(list) != 2 || len(bucket.Names()) != 0 {
		t.Errorf("list: %v, %v; stored are %v", list, err, bucket.Names())
	}
}

func TestSilencesRefuse(t *testing.T) {
	s := NewSilences(new(storetest.Memory), nil, Options{Now: (&clock{midnight}).now})
	hour := midnight.Add(time.Hour)
	for parameter, silences := range map[string][]Silence{
		"matchers": {{To: hour}, {To: hour, Matchers: []Matcher{{"a", "==", "b"}}}, {To: hour, Matchers: []Matcher{{"a", "=~", "("}}}, {To: hour, Matchers: []Matcher{{"", "=", "b"}}}},
		"to":       {{Matchers: matchers(t, "a=b")}, {Matchers: matchers(t, "a=b"), To: midnight}, {Matchers: matchers(t, "a=b"), From: midnight.Add(-2 * time.Hour), To: midnight.Add(-time.Hour)}},
		"comment":  {{Matchers: matchers(t, "a=b"), To: hour, Comment: strings.Repeat("x", maxNote+1)}},
		"author":   {{Matchers: matchers(t, "a=b"), To: hour, Author: strings.Repeat("x", maxAuthor+1)}},
	} {
		for _, silence := range silences {
			var invalid *InvalidError
			if _, err := s.Add(t.Context(), silence); !errors.As(err, &invalid) || invalid.Param != parameter {
				t.Errorf("%+v: %v", silence, err)
			}
		}
	}
}

// TestSilencesAreBounded reaches the bound.
func TestSilencesAreBounded(t *testing.T) {
	s := NewSilences(new(storetest.Memory), nil, Options{MaxAge: time.Hour, Now: (&clock{midnight}).now})
	var id string
	for i := range MaxSilences {
		made, err := s.Add(t.Context(), Silence{Matchers: matchers(t, "a=b"), To: midnight.Add(time.Hour)})
		if err != nil {
			t.Fatalf("silence %d: %v", i, err)
		}
		id = made.ID
	}
	one := Silence{Matchers: matchers(t, "a=b"), To: midnight.Add(time.Hour)}
	if _, err := s.Add(t.Context(), one); !errors.Is(err, ErrTooMany) {
		t.Fatalf("one more: %v", err)
	}
	if err := s.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(t.Context(), one); err != nil {
		t.Errorf("one for one: %v", err)
	}
}

// TestSilencesAmongDamage passes over what is no silence, and holds what was
// known while the store is away.
func TestSilencesAmongDamage(t *testing.T) {
	bucket := new(storetest.Memory)
	away := false
	faults := &storetest.Faults{Bucket: bucket, OnRead: func(string) error {
		if away {
			return storetest.ErrInjected
		}
		return nil
	}}
	s := NewSilences(faults, nil, Options{MaxAge: -1, Now: (&clock{midnight}).now})
	made, err := s.Add(t.Context(), Silence{Matchers: matchers(t, "detector=traffic"), To: midnight.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	for i, damage := range []string{
		"rotten", "null", "{}", `{"id":"aaaaaaaaaaa3"}`, `{"id":"aaaaaaaaaaa4","matchers":[{"name":"a","op":"=~","value":"("}],"from":"2001-01-01T00:00:00Z","to":"2001-01-02T00:00:00Z"}`,
		`{"id":"aaaaaaaaaaa5","configured":true,"matchers":[],"from":"2001-01-01T00:00:00Z","to":"2001-01-02T00:00:00Z"}`,
	} {
		bucket.Overwrite(fmt.Sprintf("%saaaaaaaaaaa%d", silenceFolder, i), []byte(damage))
	}
	bucket.Overwrite(silenceFolder+"folder/x", nil)
	inc := &weir.Incident{Detector: "traffic"}
	for range 3 {
		if reason, err := s.Match(t.Context(), inc, midnight); err != nil || reason != "silence "+made.ID {
			t.Errorf("match: %q, %v", reason, err)
		}
		away = true
	}
	if _, err := s.List(t.Context()); !errors.Is(err, storetest.ErrInjected) {
		t.Errorf("list: %v", err)
	}
	if passed := s.passed.Load(); passed != 6 {
		t.Errorf("%d objects were passed over", passed)
	}
	if got := testutil.CollectAndCount(s.Collector()); got != 4 {
		t.Errorf("%d metrics", got)
	}
	if _, err := NewSilences(faults, nil, Options{}).Match(t.Context(), inc, midnight); !errors.Is(err, storetest.ErrInjected) {
		t.Errorf("match without ever having known: %v", err)
	}
}

// TestFeedback keeps what several say at once, up to the bound.
func TestFeedback(t *testing.T) {
	c := &chance{random: seeded(t)}
	bucket := new(storetest.Memory)
	l := newLog(bucket, traffic)
	mustAppend(t, l, window(traffic, 0, states{0: weir.Firing}))
	mustAppend(t, l, window(traffic, 1, states{1: weir.Firing}))
	done := make(chan error)
	for who := range 4 {
		go func() {
			node := newLog(&storetest.Faults{Bucket: bucket, OnPut: faulty(bucket, c).OnPut}, traffic)
			for i := range 10 {
				if _, err := node.AddFeedback(t.Context(), Feedback{Incident: "traffic.0", Alarm: i%2 == 0, Note: fmt.Sprint(who, i)}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	bucket.Overwrite("flights/feedback/traffic.0/0000000000000000003", []byte("rotten"))
	list, err := l.Feedback(t.Context(), "traffic.0")
	if err != nil || len(list) != 39 {
		t.Fatalf("%d said, %v; want 39", len(list), err)
	}
	seen := map[string]bool{}
	for _, f := range list {
		seen[f.Note] = true
	}
	if len(seen) != 39 {
		t.Errorf("%d different notes", len(seen))
	}
	if list, err := l.Feedback(t.Context(), "traffic.1"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("of another incident: %v, %v", list, err)
	}
	for range MaxFeedback - 40 {
		if _, err := l.AddFeedback(t.Context(), Feedback{Incident: "traffic.0"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.AddFeedback(t.Context(), Feedback{Incident: "traffic.0"}); !errors.Is(err, ErrFeedbackFull) {
		t.Errorf("at the bound: %v", err)
	}
	for _, id := range []string{"traffic.2", "nobody.0", "../x", ""} {
		if _, err := l.AddFeedback(t.Context(), Feedback{Incident: id}); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
