package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/storetest"
)

var (
	traffic = incident.Ref{Stream: "flights", Detector: "traffic"}
	slower  = incident.Ref{Stream: "flights", Detector: "slower"}
)

// watch is a log of incidents that a test appends to.
type watch struct {
	*incident.Log
	t *testing.T
}

func newWatch(t *testing.T, bucket store.Bucket) *watch {
	return &watch{incident.NewLog(bucket, []incident.Ref{traffic, slower}, incident.Options{MaxAge: 20 * time.Millisecond}), t}
}

// append stores the next window of a detector: its incidents, by the number of
// the window that opened them.
func (w *watch) append(ref incident.Ref, states map[int64]weir.IncidentState) {
	w.t.Helper()
	n, _, _, err := w.Open(context.Background(), ref)
	if err != nil {
		w.t.Fatal(err)
	}
	w.appendAt(ref, n, states)
}

// appendAt stores a window whose number is known to be the next.
func (w *watch) appendAt(ref incident.Ref, n int64, states map[int64]weir.IncidentState) {
	w.t.Helper()
	end := midnight.Add(time.Duration(n+1) * time.Minute)
	b := &incident.Batch{
		N: n, Stream: ref.Stream, Detector: ref.Detector, Definition: "d1", From: end.Add(-time.Minute), To: end,
		Recorded: time.Now(), Offsets: map[string]int64{"3": 10 * n}, Config: json.RawMessage(`{"name":"` + ref.Detector + `"}`),
	}
	for opened := range n + 1 {
		state, ok := states[opened]
		if !ok {
			continue
		}
		series := []weir.IncidentSeries{{
			By: map[string]string{"origin": fmt.Sprintf("O%d", opened)}, State: state, Value: 3, Lower: weir.Number(math.NaN()),
		}}
		r := incident.Record{All: series, Incident: weir.Incident{
			ID: weir.IncidentID(ref.Detector, opened), Detector: ref.Detector, Stream: ref.Stream, Value: "count", State: state, Version: n,
			Severity: weir.Critical, Opened: midnight.Add(time.Duration(opened+1) * time.Minute), Updated: end, Recorded: b.Recorded, Series: series, Members: 1,
		}}
		if state == weir.Resolved {
			r.Resolved = end
		}
		b.Records = append(b.Records, r)
	}
	if _, mine, err := w.Append(context.Background(), b); err != nil || !mine {
		w.t.Fatalf("append %d: mine %v, %v", n, mine, err)
	}
}

var midnight = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

type states = map[int64]weir.IncidentState

func newIncidentBench(t *testing.T) (*bench, *watch) {
	bucket := new(storetest.Memory)
	w := newWatch(t, bucket)
	maintenance := []*weir.MaintenanceConfig{{
		Name: "upgrade", From: weir.Instant{Time: midnight}, To: weir.Instant{Time: midnight.Add(time.Hour)}, Detectors: []string{"slower"},
	}}
	b := newBench(t, func(o *api.Options) {
		o.Incidents, o.Silences = w, incident.NewSilences(bucket, maintenance, incident.Options{})
		o.Limits.Listeners = 2
	})
	return b, w
}

func decode[T any](t *testing.T, r reply, status int) T {
	t.Helper()
	var v T
	if r.status != status {
		t.Fatalf("got %d, want %d: %s", r.status, status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	return v
}

func TestIncidents(t *testing.T) {
	b, w := newIncidentBench(t)
	b.checkSchema("/v1/incidents", "200", "application/json", b.do("GET", "/v1/incidents", nil).body)
	w.append(traffic, states{0: weir.Firing})
	w.append(traffic, states{1: weir.Firing})
	w.append(traffic, states{0: weir.Resolved})
	w.append(slower, states{0: weir.Firing})
	time.Sleep(30 * time.Millisecond)

	ids := func(query string) (ids []string, next string) {
		t.Helper()
		r := b.do("GET", "/v1/incidents"+query, nil)
		b.checkSchema("/v1/incidents", "200", "application/json", r.body)
		page := decode[api.IncidentsAnswer](t, r, http.StatusOK)
		for _, inc := range page.Incidents {
			ids = append(ids, inc.ID)
		}
		return ids, page.Next
	}
	for query, want := range map[string]string{
		"":                                 "traffic.1 slower.0 traffic.0",
		"?state=firing":                    "traffic.1 slower.0",
		"?detector=slower":                 "slower.0",
		"?match=origin=O0":                 "slower.0 traffic.0",
		"?match=origin!~O0":                "traffic.1",
		"?severity=warning":                "",
		"?since=2001-01-01T00:02:00Z":      "traffic.1",
		"?until=2001-01-01T00:02:00Z":      "slower.0 traffic.0",
		"?stream=weblog":                   "",
		"?state=resolved&detector=traffic": "traffic.0",
	} {
		if got, next := ids(query); strings.Join(got, " ") != want || next != "" {
			t.Errorf("%s: got %v and %q, want %s", query, got, next, want)
		}
	}
	first, next := ids("?limit=1")
	w.append(traffic, states{3: weir.Firing}) // shifts no page
	second, next := ids("?limit=1&page=" + next)
	third, next := ids("?limit=1&page=" + next)
	if got := fmt.Sprint(first, second, third); got != "[traffic.1] [slower.0] [traffic.0]" || next != "" {
		t.Errorf("pages are %s and %q", got, next)
	}

	for query, want := range map[string][2]string{
		"?detector=trafic": {"detector", "traffic"},
		"?stream=flihgts":  {"stream", "flights"},
		"?sate=firing":     {"sate", "state"},
		"?state=open":      {"state", ""},
		"?match=origin":    {"match", ""},
		"?match=origin=~(": {"match", ""},
		"?since=yesterday": {"since", ""},
		"?until=newest":    {"until", ""},
		"?page=no":         {"page", ""},
		"?limit=0":         {"limit", ""},
		"?limit=1001":      {"limit", ""},
	} {
		r := b.do("GET", "/v1/incidents"+query, nil)
		p := decode[api.Problem](t, r, r.status)
		if r.status/100 != 4 || len(p.Errors) != 1 || p.Errors[0].Parameter != want[0] || p.Errors[0].Suggestion != want[1] {
			t.Errorf("%s: got %d %s", query, r.status, r.body)
		}
	}
}

func TestIncident(t *testing.T) {
	b, w := newIncidentBench(t)
	w.append(traffic, states{0: weir.Firing})
	w.append(traffic, states{1: weir.Firing})
	w.append(traffic, states{0: weir.Resolved})
	said := b.do("POST", "/v1/incidents/traffic.0/feedback", strings.NewReader(`{"alarm":false,"note":"a storm"}`), "Content-Type", "application/json")
	if f := decode[incident.Feedback](t, said, http.StatusCreated); f.Alarm || f.N != 0 || f.Incident != "traffic.0" {
		t.Errorf("feedback is %+v", f)
	}
	r := b.do("GET", "/v1/incidents/traffic.0", nil)
	b.checkSchema("/v1/incidents/{id}", "200", "application/json", r.body)
	got := decode[api.IncidentAnswer](t, r, http.StatusOK)
	if got.Incident.State != weir.Resolved || len(got.All) != 1 || len(got.Versions) != 2 || string(got.Definition) != `{"name":"traffic"}` ||
		got.Versions[1].Offsets["3"] != 20 || len(got.Feedback) != 1 || got.Feedback[0].Note != "a storm" {
		t.Errorf("got %s", r.body)
	}
	for _, id := range []string{"traffic.7", "traffic.2", "nobody.0", "traffic", "traffic.00", "..%2f..%2fetc"} {
		b.problem(b.do("GET", "/v1/incidents/"+id, nil), http.StatusNotFound, "unknown-incident")
		b.problem(b.do("POST", "/v1/incidents/"+id+"/feedback", strings.NewReader(`{"alarm":true}`), "Content-Type", "application/json"),
			http.StatusNotFound, "unknown-incident")
	}
	for _, body := range []string{`{}`, `{"alarm":"yes"}`, `{"alarm":true,"note":"` + strings.Repeat("x", 4001) + `"}`, `{"alarm":true,"nte":"x"}`} {
		b.problem(b.do("POST", "/v1/incidents/traffic.0/feedback", strings.NewReader(body), "Content-Type", "application/json"),
			http.StatusBadRequest, "invalid-request")
	}
}

func TestSilences(t *testing.T) {
	b, _ := newIncidentBench(t)
	post := func(body string) reply {
		return b.do("POST", "/v1/silences", strings.NewReader(body), "Content-Type", "application/json")
	}
	made := decode[incident.Silence](t, post(`{"matchers":[{"name":"origin","op":"=~","value":"J.K"}],"to":"+2h","comment":"upgrade"}`), http.StatusCreated)
	if d := made.To.Sub(made.From); d < time.Hour || d > 3*time.Hour || made.ID == "" {
		t.Errorf("made %+v", made)
	}
	r := b.do("GET", "/v1/silences", nil)
	b.checkSchema("/v1/silences", "200", "application/json", r.body)
	list := decode[api.SilencesAnswer](t, r, http.StatusOK).Silences
	if len(list) != 2 || list[0].ID != made.ID || !list[1].Configured || list[1].ID != "maintenance-1" {
		t.Errorf("silences are %s", r.body)
	}
	b.problem(b.do("DELETE", "/v1/silences/maintenance-1", nil), http.StatusConflict, "configured")
	b.problem(b.do("DELETE", "/v1/silences/nosuch", nil), http.StatusNotFound, "unknown-silence")
	if r := b.do("DELETE", "/v1/silences/"+made.ID, nil); r.status != http.StatusNoContent || r.body != "" {
		t.Errorf("delete: %d %s", r.status, r.body)
	}
	b.problem(b.do("DELETE", "/v1/silences/"+made.ID, nil), http.StatusNotFound, "unknown-silence")

	for body, parameter := range map[string]string{
		`{"matchers":[],"to":"+1h"}`:                                            "matchers",
		`{"matchers":[{"name":"origin","value":"x"}]}`:                          "body",
		`{"matchers":[{"name":"origin","value":"x"}],"to":"-1h"}`:               "to",
		`{"matchers":[{"name":"origin","value":"x"}],"to":"2001-01-01"}`:        "to",
		`{"matchers":[{"name":"origin","value":"x"}],"to":"soon"}`:              "to",
		`{"matchers":[{"name":"origin","value":"x"}],"from":"soon","to":"+1h"}`: "from",
		`{"matchers":[{"name":"origin","value":"(","op":"=~"}],"to":"+1h"}`:     "matchers",
		`{"matchers":[{"name":"1","value":"x"}],"to":"+1h"}`:                    "matchers",
		`{"matchers":[{"name":"origin","value":"x","op":"=="}],"to":"+1h"}`:     "matchers[0].op",
		`{"matchers":[{"name":"origin","value":"x"}],"to":"+1h","coment":"x"}`:  "coment",
	} {
		p := b.problem(post(body), http.StatusBadRequest, "invalid-request")
		if len(p.Errors) == 0 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: got %+v", body, p)
		}
	}
}

func TestNothingIsWatched(t *testing.T) {
	b := newBench(t, nil)
	for _, path := range []string{"/v1/incidents", "/v1/incidents/traffic.0", "/v1/incidents/stream", "/v1/silences"} {
		if p := b.problem(b.do("GET", path, nil), http.StatusConflict, "no-detectors"); !strings.Contains(p.Detail, "no detectors are configured") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
}
