package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/notify"
)

// grouped is what an Alertmanager sends to webhooks, version 4.
type grouped struct {
	Version     string
	GroupKey    string
	Status      string
	GroupLabels map[string]string
	Alerts      []struct {
		Status              string
		Labels, Annotations map[string]string
		Fingerprint         string
		StartsAt, EndsAt    time.Time
	}
}

// alertmanager starts a real one that tells the receiver of what it groups by
// alertname, and returns its address.
func alertmanager(t *testing.T, receiver string) string {
	t.Helper()
	binary := os.Getenv("ALERTMANAGER")
	if binary == "" {
		t.Skip("ALERTMANAGER names no binary; make test-alertmanager runs this with a real one")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	text := fmt.Sprintf(`
route: {receiver: weir, group_by: [alertname], group_wait: 500ms, group_interval: 500ms, repeat_interval: 1h}
receivers: [{name: weir, webhook_configs: [{url: %q, send_resolved: true}]}]
`, receiver)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := exec.Command(binary, "--config.file="+config, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--cluster.listen-address=", "--log.level=info")
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		c.Wait() // it ends with a status of its own
		if t.Failed() {
			t.Logf("Alertmanager says:\n%s", log.String())
		}
	})
	until(t, "Alertmanager is ready", func() bool {
		response, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return "http://" + address
}

// call asks the Alertmanager's API.
func call(t *testing.T, method, target string, body, answer any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, target, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s, %v", method, target, response.StatusCode, data, err)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		t.Fatalf("%s %s: %v in %s", method, target, err, data)
	}
}

// Incidents arrive at a real Alertmanager, are grouped and told on by it,
// escalate, and resolve. A silence made there keeps it from telling on; our
// deliveries go on.
func TestAlertmanager(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusOK) })
	base := alertmanager(t, r.URL)
	defer http.DefaultClient.CloseIdleConnections()
	t.Cleanup(func() {
		for _, q := range r.all() {
			if t.Failed() {
				t.Logf("at %v Alertmanager sent %s", q.at.UTC(), q.body)
			}
		}
	})
	theirs, ours := hook("am", base), newReceiver(t, nil)
	theirs.Format = "alertmanager_api"
	w := newWorld(t, nil, theirs, hook("ops", ours.URL)).run()

	// told waits for what Alertmanager sends on of an alertname and status, with
	// so many alerts at least: one that is over may be told of once more.
	told := func(name, status string, alerts int) grouped {
		t.Helper()
		var got grouped
		until(t, fmt.Sprintf("%s %s with %d alerts", name, status, alerts), func() bool {
			for _, q := range slices.Backward(r.all()) {
				got = grouped{}
				if err := json.Unmarshal(q.body, &got); err != nil {
					t.Fatal(err)
				}
				if got.GroupLabels["alertname"] == name && got.Status == status && len(got.Alerts) >= alerts {
					return true
				}
			}
			return false
		})
		return got
	}

	story := incident(3, 3, weir.Firing)
	other := story.Series[0]
	other.By = map[string]string{"origin": "JFK"}
	story.Series, story.Members = append(story.Series, other), 2
	w.notify(story, "am", "ops")
	got := told("traffic", "firing", 2)
	for _, a := range got.Alerts {
		if a.Labels["stream"] != "flights" || a.Labels["severity"] != "warning" || a.Annotations["incident"] != "traffic.3" ||
			a.Annotations["causes"] != "origin=ORD carries 81 % of the drop" || a.Fingerprint != notify.Fingerprint(a.Labels) {
			t.Errorf("Alertmanager tells of %+v", a)
		}
		if _, found := a.Labels["score"]; found {
			t.Errorf("a score is a label: %v", a.Labels)
		}
	}

	// It becomes critical: the same two series, of the other severity alone.
	story.Version, story.Severity, story.Updated, story.Recorded = 4, weir.Critical, time.Now(), time.Now()
	w.notify(story, "am", "ops")
	var alerts []struct{ Labels map[string]string }
	until(t, "two critical alerts and no other", func() bool {
		call(t, "GET", base+"/api/v2/alerts?active=true", nil, &alerts)
		return len(alerts) == 2 && alerts[0].Labels["severity"] == "critical" && alerts[1].Labels["severity"] == "critical"
	})

	told("traffic", "firing", 4) // two of which are over

	// A silence of theirs.
	call(t, "POST", base+"/api/v2/silences", map[string]any{
		"matchers":  []map[string]any{{"name": "alertname", "value": "quiet", "isRegex": false}},
		"startsAt":  time.Now().UTC(),
		"endsAt":    time.Now().Add(time.Hour).UTC(),
		"createdBy": "test", "comment": "theirs",
	}, new(map[string]any))
	quiet := incident(9, 9, weir.Firing)
	quiet.ID, quiet.Detector = "quiet.9", "quiet"
	w.notify(quiet, "am", "ops")
	until(t, "the silenced alert is suppressed", func() bool {
		var alerts []struct{ Status struct{ State string } }
		call(t, "GET", base+"/api/v2/alerts?filter="+url.QueryEscape(`alertname="quiet"`), nil, &alerts)
		return len(alerts) == 1 && alerts[0].Status.State == "suppressed"
	})
	w.awaitState("ops", weir.Delivered, 3)
	if ids := ours.ids(); !slices.Contains(ids, "quiet.9-9") {
		t.Errorf("their silence kept ours from %v", ids)
	}

	story.Version, story.State, story.Resolved, story.Updated, story.Recorded = 6, weir.Resolved, time.Now(), time.Now(), time.Now()
	w.notify(story, "am", "ops")
	resolved := told("traffic", "resolved", 2)
	critical := 0
	for _, a := range resolved.Alerts {
		if a.Labels["severity"] == "critical" {
			critical++
		}
		if a.Status != "resolved" || a.EndsAt.IsZero() || a.EndsAt.Before(a.StartsAt) {
			t.Errorf("resolved: %+v", a)
		}
	}
	if critical != 2 {
		t.Errorf("%d critical alerts are over, want 2", critical)
	}
	for _, q := range r.all() {
		if bytes.Contains(q.body, []byte("quiet")) {
			t.Errorf("what was silenced is told on: %s", q.body)
		}
	}
	if list := w.deliveries(weir.DeliveryFilter{Webhook: "am", State: weir.Delivered}); len(list) != 4 {
		t.Errorf("%d messages delivered to Alertmanager, want 4", len(list))
	}

	// What no Alertmanager would take is found out by a test.
	if d, err := w.Test(context.Background(), "am"); err != nil || d.State != weir.Delivered {
		t.Errorf("test: %+v, %v", d, err)
	}
}
