package notify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
)

var formats = []string{"weir", "alertmanager", "alertmanager_api", "slack", "pagerduty"}

// one of each format.
func formatted(t *testing.T) *world {
	t.Helper()
	t.Setenv("ROUTING", "R0UTING")
	var hooks []*weir.WebhookConfig
	for _, format := range formats {
		h := hook(format, "http://ops.example")
		if h.Format = format; format == "pagerduty" {
			h.SecretEnv = "ROUTING"
		}
		hooks = append(hooks, h)
	}
	return newWorld(t, nil, hooks...)
}

func (w *world) render(format string, i weir.Incident, now time.Time) []byte {
	w.t.Helper()
	body, err := w.Render(format, i, now)
	if err != nil {
		w.t.Fatalf("%s: %v", format, err)
	}
	return body
}

// read decodes a body strictly: it holds nothing that is not looked at.
func read(t *testing.T, body []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
}

// big is an incident with many series, long values that JSON makes longer, and
// numbers that are none.
func big(series, bytes int) weir.Incident {
	i := incident(4, 4, weir.Firing)
	i.Series, i.Causes = nil, nil
	for n := range series {
		by := map[string]string{"n": fmt.Sprint(n)}
		for d := range 8 {
			by[fmt.Sprintf("dimension-%d", d)] = strings.Repeat("<\x01ü", bytes/4)
		}
		s := incident(4, 4, weir.Firing).Series[0]
		s.By, s.Expected, s.Lower, s.Reason = by, weir.Number(math.NaN()), weir.Number(math.Inf(-1)), strings.Repeat("because ", bytes/8)
		i.Series = append(i.Series, s)
		i.Causes = append(i.Causes, weir.Cause{Dimension: "origin", Value: strings.Repeat("<", bytes), Share: 0.5, Is: 1, Was: 2})
	}
	i.Members, i.Summary = 5*series, strings.Repeat("trouble ", bytes/8)
	return i
}

// No body reaches the bound, whatever the incident is, all are JSON, and each
// says how much it leaves out.
func TestBodiesAreBounded(t *testing.T) {
	w := formatted(t)
	for _, i := range []weir.Incident{incident(4, 4, weir.Firing), big(1, 8), big(20, 8), big(20, 100), big(20, 1000), big(3, 1<<16), {ID: "x.0", Recorded: time.Now()}} {
		for _, format := range formats {
			body := w.render(format, i, time.Now())
			if len(body) >= notify.MaxBody || !json.Valid(body) || !utf8.Valid(body) {
				t.Errorf("%s of %d series: %d bytes, valid %v", format, len(i.Series), len(body), json.Valid(body))
			}
			if again := w.render(format, i, time.Now()); format != "alertmanager_api" && !bytes.Equal(body, again) {
				t.Errorf("%s: rendered twice it differs", format)
			}
		}
	}
	i := big(20, 400)
	var event notify.Event
	read(t, w.render("weir", i, time.Now()), &event)
	if shown := len(event.Data.Series); shown == 0 || shown == 20 || event.Omitted == nil || event.Omitted.Series != 100-shown || event.Data.Members != 100 {
		t.Errorf("it shows %d of 100 series, and says that it omits %+v", shown, event.Omitted)
	}
	var group struct {
		TruncatedAlerts int
		Alerts          []any
	}
	if err := json.Unmarshal(w.render("alertmanager", i, time.Now()), &group); err != nil || group.TruncatedAlerts != 100-len(group.Alerts) || len(group.Alerts) == 0 {
		t.Errorf("truncatedAlerts is %d beside %d alerts, %v", group.TruncatedAlerts, len(group.Alerts), err)
	}
	text := string(w.render("slack", i, time.Now()))
	if shown := strings.Count(text, "• *"); shown == 0 || !strings.Contains(text, fmt.Sprintf("and %d more series", 100-shown)) {
		t.Errorf("Slack is shown %d series, and not how many more there are: %s", shown, text)
	}
	if text := string(w.render("pagerduty", i, time.Now())); !strings.Contains(text, `"omitted":{"series":`) {
		t.Errorf("PagerDuty is not told how many more there are: %s", text)
	}
}

// Alertmanager's webhook body, as its receivers know it.
func TestAlertmanagerGroup(t *testing.T) {
	w := formatted(t)
	i := incident(4, 4, weir.Firing)
	calm := i.Series[0]
	calm.By, calm.State = map[string]string{"origin": "JFK"}, weir.Resolved
	i.Series, i.Members = append(i.Series, calm), 2
	var got struct {
		Version, GroupKey, Status, Receiver, ExternalURL string
		TruncatedAlerts                                  int
		GroupLabels, CommonLabels, CommonAnnotations     map[string]string
		Alerts                                           []struct {
			Status, Fingerprint, GeneratorURL string
			Labels, Annotations               map[string]string
			StartsAt, EndsAt                  time.Time
		}
	}
	read(t, w.render("alertmanager", i, time.Now()), &got)
	if got.Version != "4" || got.Status != "firing" || got.Receiver != "alertmanager" || got.ExternalURL != "http://weir.example" ||
		!strings.Contains(got.GroupKey, "traffic.4") || got.TruncatedAlerts != 0 {
		t.Errorf("got %+v", got)
	}
	common := map[string]string{"alertname": "traffic", "detector": "traffic", "stream": "flights"}
	if !maps.Equal(got.GroupLabels, common) || got.CommonLabels["severity"] != "warning" || got.CommonLabels["origin"] != "" ||
		got.CommonAnnotations["incident"] != "traffic.4" || got.CommonAnnotations["description"] != "" {
		t.Errorf("in common: %v %v %v", got.GroupLabels, got.CommonLabels, got.CommonAnnotations)
	}
	fires, over := got.Alerts[0], got.Alerts[1]
	if fires.Status != "firing" || !fires.EndsAt.IsZero() || fires.Labels["origin"] != "ORD" || !fires.StartsAt.Equal(i.Series[0].Since) {
		t.Errorf("what fires: %+v", fires)
	}
	if over.Status != "resolved" || !over.EndsAt.Equal(i.Updated) || over.Fingerprint == fires.Fingerprint || len(over.Fingerprint) != 16 {
		t.Errorf("what is over: %+v", over)
	}
	if fires.GeneratorURL != "http://weir.example/v1/incidents/traffic.4" {
		t.Errorf("it links to %s", fires.GeneratorURL)
	}
}

// What is posted to an Alertmanager's API is what that takes: names of labels
// that it knows, times in order, and labels that stay while values change.
func TestAlertmanagerAlerts(t *testing.T) {
	w := formatted(t)
	type posted struct {
		Labels, Annotations map[string]string
		StartsAt, EndsAt    time.Time
		GeneratorURL        string
	}
	render := func(i weir.Incident) []posted {
		t.Helper()
		var alerts []posted
		read(t, w.render("alertmanager_api", i, time.Now()), &alerts)
		for _, a := range alerts {
			for name, value := range a.Labels {
				if !regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(name) || !utf8.ValidString(value) {
					t.Errorf("label %q=%q", name, value)
				}
			}
			if a.EndsAt.Before(a.StartsAt) || a.StartsAt.IsZero() {
				t.Errorf("from %v to %v", a.StartsAt, a.EndsAt)
			}
		}
		return alerts
	}
	i := incident(4, 4, weir.Firing)
	i.Series[0].By = map[string]string{"stream": "ours", "9lives": "a", "app.kubernetes.io/name": "b", "__name__": "c", "ü": "d"}
	first := render(i)
	want := map[string]string{
		"alertname": "traffic", "detector": "traffic", "stream": "flights", "severity": "warning", "dimension_stream": "ours",
		"dimension_9lives": "a", "app_kubernetes_io_name": "b", "dimension_name__": "c", "_": "d",
	}
	if len(first) != 1 || !maps.Equal(first[0].Labels, want) {
		t.Fatalf("labels %v, want %v", first[0].Labels, want)
	}
	if left := time.Until(first[0].EndsAt); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("it lasts %v unless it is sent again", left)
	}

	// Later the values are others and the labels are not; the other severity ends.
	i.Version, i.Series[0].Value, i.Series[0].Score = 5, 7, 12
	second := render(i)
	if len(second) != 2 || !maps.Equal(second[0].Labels, want) || second[0].Annotations["value"] != "7" {
		t.Errorf("an update: %+v", second)
	}
	if other := second[1]; other.Labels["severity"] != "critical" || time.Until(other.EndsAt) > 0 {
		t.Errorf("of the other severity: %+v", other)
	}

	// Event time may be ahead of the clock.
	i.Version, i.State, i.Updated, i.Resolved, i.Series[0].Since = 6, weir.Resolved, time.Now().Add(time.Hour), time.Now().Add(time.Hour), time.Now().Add(30*time.Minute)
	if over := render(i); len(over) != 1 || time.Until(over[0].EndsAt) > 0 {
		t.Errorf("resolved: %+v", over)
	}
}

// Slack's text can be read, and nothing in it is taken for markup.
func TestSlack(t *testing.T) {
	w := formatted(t)
	i := incident(4, 4, weir.Firing)
	i.Severity, i.Series[0].By["origin"] = weir.Critical, "<!channel>"
	var got struct {
		Text   string
		Blocks []struct {
			Type     string
			Text     *struct{ Type, Text string }
			Elements []struct{ Type, Text string }
		}
	}
	read(t, w.render("slack", i, time.Now()), &got)
	if !strings.Contains(got.Text, "Critical: traffic") || !strings.Contains(got.Text, i.Summary) {
		t.Errorf("the text is %q", got.Text)
	}
	var kinds []string
	for _, b := range got.Blocks {
		kinds = append(kinds, b.Type)
		if b.Text != nil && (strings.Contains(b.Text.Text, "<!channel>") || b.Text.Text == "" || len(b.Text.Text) > 3000) {
			t.Errorf("block %q", b.Text.Text)
		}
	}
	if !slices.Equal(kinds, []string{"header", "section", "section", "section", "context"}) {
		t.Errorf("blocks %v", kinds)
	}
	if text := got.Blocks[2].Text.Text; text != "• *origin=&lt;!channel&gt;*: 12, expected 100 (80 to 120)" {
		t.Errorf("the series reads %q", text)
	}
	if text := got.Blocks[4].Elements[0].Text; !strings.Contains(text, "<http://weir.example/v1/incidents/traffic.4|details>") {
		t.Errorf("the footer reads %q", text)
	}
	i = incident(4, 9, weir.Resolved)
	if text := string(w.render("slack", i, time.Now())); !strings.Contains(text, "Resolved: traffic") || !strings.Contains(text, "over at") {
		t.Errorf("resolved it reads %s", text)
	}
}

// PagerDuty is told when to begin and when to end, of the same thing.
func TestPagerDuty(t *testing.T) {
	w := formatted(t)
	type event struct {
		Routing_key, Event_action, Dedup_key, Client, Client_url string
		Payload                                                  struct {
			Summary, Source, Severity, Component, Group, Class string
			Timestamp                                          time.Time
			Custom_details                                     map[string]any
		}
	}
	for _, test := range []struct {
		i      weir.Incident
		action string
	}{{incident(4, 4, weir.Firing), "trigger"}, {incident(4, 5, weir.Firing), "trigger"}, {incident(4, 6, weir.Resolved), "resolve"}} {
		var got event
		read(t, w.render("pagerduty", test.i, time.Now()), &got)
		if got.Routing_key != "R0UTING" || got.Event_action != test.action || got.Dedup_key != "traffic.4" || got.Payload.Summary != test.i.Summary ||
			got.Payload.Source != "flights" || got.Payload.Severity != "warning" || got.Payload.Component != "traffic" {
			t.Errorf("got %+v", got)
		}
	}
}

// Names say what they are made of.
func TestNames(t *testing.T) {
	for _, i := range []weir.Incident{
		incident(0, 0, weir.Firing), incident(7, 1<<62, weir.Resolved),
		{ID: "a_B.9", Version: 10, Recorded: time.Date(2026, 1, 2, 3, 4, 5, 600, time.FixedZone("x", 3600))}, {ID: "x.1", Version: 1},
	} {
		text, same, err := notify.RoundTripKey(i, 12, time.Now())
		if err != nil || !same {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, i := range []weir.Incident{{ID: "traffic"}, {ID: "a/b.1"}, {ID: "~.1"}, {ID: ".1", Version: -1}, {ID: strings.Repeat("x", 200) + ".1"}} {
		if text, _, err := notify.RoundTripKey(i, 1, time.Now()); err == nil {
			t.Errorf("%q is named %s", i.ID, text)
		}
	}
}

// What can be read of a name is written so.
func FuzzNames(f *testing.F) {
	f.Add("20261122T172000.123456789Z-traffic.12-15~firing")
	f.Add("20261122T172000.123456789Z-traffic.12-15~firing~0003-retry-20261122T172005.000000000Z")
	f.Add("20261122T172000.123456789Z-traffic.12-15~resolved~0001-delivered")
	f.Fuzz(func(t *testing.T, text string) {
		for _, again := range notify.ParseName(text) {
			if again != text {
				t.Errorf("%q is read as %q", text, again)
			}
		}
	})
}
