package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A stream whose day has 24 seconds of event time, 120 windows, and in which
// these things happen on its sixth day and later.
const (
	watchWindow = 200 * time.Millisecond
	watchDay    = 120 // windows

	dropFrom, dropTo     = 600, 612 // of all, to a fifth
	spikeFrom, spikeTo   = 660, 662 // of all, to three times as much
	outageFrom, outageTo = 720, 740 // of auth
	gapFrom, gapTo       = 790, 805 // nothing at all comes
	shiftFrom            = 850      // of web, to twice as much, for good
	watchWindows         = 940
)

const watchConfig = `
listen: %s
flush: {interval: 20ms}
streams:
  requests:
    source: {push: {partitions: 2}}
    time: {field: t, format: unix_ms, lateness: 200ms}
    window: 200ms
    dimensions: [service, region]
detectors:
  - {name: total, window: 200ms, seasonal: {periods: [24s], one_in: 2000, warmup: 72s}, max_age: 1y}
  - {name: service, by: [service], window: 200ms, seasonal: {periods: [24s], one_in: 2000, warmup: 72s}, max_age: 1y}
  - {name: silent, by: [service], window: 200ms, threshold: {below: 1}, gap: alarm, for: 2, max_age: 1y}
  - {name: level, by: [service], window: 200ms, breakout: {periods: [24s]}, gap: ignore, max_age: 1y}
webhooks:
  - {name: ops, url: "%s", allow_private: true, secret_env: WEIR_TEST_SECRET}
`

var watchBegin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// requestsIn are the events of a window, always the same.
func requestsIn(window int) []byte {
	var body bytes.Buffer
	rng := rand.New(rand.NewPCG(7, uint64(window)))
	if window >= gapFrom && window < gapTo {
		return nil
	}
	for _, service := range []string{"api", "auth", "web"} {
		x := 60 + 30*math.Sin(2*math.Pi*float64(window%watchDay)/watchDay) + 2*rng.NormFloat64()
		switch {
		case window >= dropFrom && window < dropTo:
			x *= 0.2
		case window >= spikeFrom && window < spikeTo:
			x *= 3
		case window >= outageFrom && window < outageTo && service == "auth":
			x = 0
		case window >= shiftFrom && service == "web":
			x *= 2
		}
		for i := range int(x) {
			at := watchBegin.Add(time.Duration(window)*watchWindow + time.Duration(i)*time.Millisecond)
			fmt.Fprintf(&body, "{\"t\":%d,\"service\":%q,\"region\":%q}\n", at.UnixMilli(), service, []string{"eu", "us"}[i%2])
		}
	}
	return body.Bytes()
}

// received is what a receiver has got, by webhook-id.
type received struct {
	mu       sync.Mutex
	messages map[string]string // guarded by mu
	again    int               // messages that came more than once; guarded by mu
	wrong    []string          // guarded by mu
}

// receiver checks what comes as the specification's own library does.
func receiver(t *testing.T, secret string) (*received, string) {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &received{messages: make(map[string]string)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = verifier.Verify(body, req.Header)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := req.Header.Get("webhook-id")
		before, known := r.messages[id]
		switch {
		case err != nil:
			r.wrong = append(r.wrong, fmt.Sprintf("%s: %v", id, err))
		case known && before != string(body):
			r.wrong = append(r.wrong, fmt.Sprintf("%s was %s, and then %s", id, before, body))
		case known:
			r.again++
		}
		r.messages[id] = string(body)
	}))
	t.Cleanup(server.Close)
	return r, server.URL
}

// told is a message without what the clock says.
type told struct {
	ID, Type, Summary, Severity string
	Since, Updated              int // windows
	Members                     int
	Causes                      []string
}

func (r *received) told(t *testing.T) map[string]told {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]told)
	for id, body := range r.messages {
		var m struct {
			Type string
			Data struct {
				ID, Summary, Severity string
				Since, Updated        time.Time
				Members               int
				Causes                []struct{ Dimension, Value string }
			}
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		d := m.Data
		x := told{ID: d.ID, Type: m.Type, Summary: d.Summary, Severity: d.Severity, Members: d.Members,
			Since: int(d.Since.Sub(watchBegin) / watchWindow), Updated: int(d.Updated.Sub(watchBegin) / watchWindow)}
		for _, c := range d.Causes {
			x.Causes = append(x.Causes, c.Dimension+"="+c.Value)
		}
		if x.Updated <= watchWindows { // what comes later depends on how long nothing is pushed any more
			out[id] = x
		}
	}
	return out
}

// watchRun serves, pushes everything, kills the server now and then, and waits
// until all has been judged.
func watchRun(t *testing.T, bin string, kills int, rng *rand.Rand, want func(*received) bool) *received {
	t.Helper()
	secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	t.Setenv("WEIR_TEST_SECRET", secret)
	r, hook := receiver(t, secret)
	address := freeAddress(t)
	s := &server{t: t, bin: bin, dir: t.TempDir(), url: "http://" + address}
	if err := os.WriteFile(filepath.Join(s.dir, "weir.yaml"), fmt.Appendf(nil, watchConfig, address, hook), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
	})
	s.awaitReady()
	done := make(chan error, 1)
	go func() {
		for window := range watchWindows {
			if body := requestsIn(window); body != nil {
				if err := pushUntilTaken(s.url, fmt.Sprint("window-", window), body); err != nil {
					done <- err
					return
				}
			}
			if kills > 0 {
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
		}
		done <- nil
	}()
	random := rand.New(rand.NewPCG(rng.Uint64(), 1))
	pushing := true
	for deadline := time.Now().Add(4 * time.Minute); pushing || kills > 0 || !want(r); {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			pushing = false
		case <-time.After(time.Duration(200+random.IntN(1200)) * time.Millisecond):
		}
		if kills > 0 {
			kills--
			s.kill()
			s.start()
			s.awaitReady()
		}
		if time.Now().After(deadline) {
			t.Errorf("not all was told in four minutes\n%s", s.output.String())
			break
		}
	}
	time.Sleep(2 * time.Second) // for what should not come
	s.stop()
	replayed := make(map[string]bool)
	for id := range r.told(t) {
		id, _, _ = strings.Cut(id, "-")
		if replayed[id] {
			continue
		}
		replayed[id] = true
		out, err := exec.Command(bin, "incident", "replay", id, "-c", filepath.Join(s.dir, "weir.yaml")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "the same, to the bit") {
			t.Errorf("replay %s: %v\n%s", id, err, out)
		}
	}
	for pattern, want := range map[string]string{"requests/watch/total/*": "series           1,", "requests/incident/total/*": `"id": "total.0"`,
		"~notify/*/*/*": "{"} {
		files, err := filepath.Glob(filepath.Join(s.dir, "weir-data", pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("no file %s: %v", pattern, err)
			continue
		}
		out, err := exec.Command(bin, "inspect", files[0]).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("inspect %s: %v\n%s", files[0], err, out)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) > 0 {
		t.Errorf("wrong messages:\n%s", strings.Join(r.wrong, "\n"))
	}
	return r
}

func pushUntilTaken(base, key string, body []byte) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodPost, base+"/v1/streams/requests/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		req.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			switch resp.StatusCode {
			case http.StatusOK:
				return nil
			case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			default:
				return fmt.Errorf("push: %s: %s", resp.Status, text)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("push %s: not taken in a minute: %v", key, err)
		}
	}
}

// What is planted is found, named and told, with signatures that verify; nothing
// else is told; and killing the server at random moments changes nothing of it.
func TestKilledServerTellsTheSame(t *testing.T) {
	_, rng := killSettings(t)
	const kills = 30
	bin := program(t)
	quiet := time.Now()
	seen := 0
	reference := watchRun(t, bin, 0, rng, func(r *received) bool { // until nothing more has come for a while
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.messages) != seen {
			seen, quiet = len(r.messages), time.Now()
		}
		return seen > 0 && time.Since(quiet) > 8*time.Second
	})
	want := reference.told(t)
	var list []told
	for _, m := range want {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b told) int { return a.Updated - b.Updated })
	for _, m := range list {
		t.Logf("window %d to %d: %s %s %s: %s %v", m.Since, m.Updated, m.ID, strings.TrimPrefix(m.Type, "incident."), m.Severity, m.Summary, m.Causes)
	}
	for _, planted := range []struct {
		detector string
		from, to int // the first anomalous window
		resolved bool
		members  int // at least
		names    string
	}{
		{"total", dropFrom, dropFrom + 1, true, 1, ""},
		{"service", dropFrom, dropFrom + 1, true, 3, ""},
		{"total", spikeFrom, spikeFrom + 1, true, 1, ""},
		{"total", outageFrom, outageFrom + 1, true, 1, "service=auth"},
		{"service", outageFrom, outageFrom + 1, true, 1, ""},
		{"silent", outageFrom, outageFrom, true, 1, ""},
		{"silent", gapFrom, gapFrom, true, 3, ""},
		{"service", gapFrom, gapFrom + 1, true, 3, ""},
		{"service", shiftFrom, shiftFrom + 1, false, 1, ""}, // it lasts
	} {
		i := slices.IndexFunc(list, func(m told) bool {
			return strings.HasPrefix(m.ID, planted.detector+".") && m.Type == "incident.firing" && m.Since >= planted.from && m.Since <= planted.to &&
				(planted.names == "" || slices.Contains(m.Causes, planted.names))
		})
		if i < 0 {
			t.Errorf("%s was not told of window %d to %d, with %q", planted.detector, planted.from, planted.to, planted.names)
			continue
		}
		last := i
		for j, m := range list {
			if m.ID == list[i].ID {
				last = j
			}
		}
		if list[last].Members < planted.members {
			t.Errorf("%s has %d series, want %d", list[i].ID, list[last].Members, planted.members)
		}
		if planted.resolved && list[last].Type != "incident.resolved" {
			t.Errorf("%s was not resolved", list[i].ID)
		}
	}
	for _, m := range list { // nothing else: each lies within what happened, and a while after
		explained := false
		for _, trouble := range [][2]int{{dropFrom, dropTo}, {spikeFrom, spikeTo}, {outageFrom, outageTo}, {gapFrom, gapTo}, {shiftFrom, watchWindows}} {
			explained = explained || m.Since >= trouble[0]-1 && m.Since <= trouble[1]+25
		}
		if !explained {
			t.Errorf("%s is told of window %d, in which nothing happened: %s", m.ID, m.Since, m.Summary)
		}
	}

	killed := watchRun(t, bin, kills, rng, func(r *received) bool { return len(r.told(t)) >= len(want) })
	if diff := cmp.Diff(want, killed.told(t)); diff != "" {
		t.Errorf("told (-without kills +with %d):\n%s", kills, diff)
	}
	t.Logf("%d messages, and the same with %d kills, %d of them more than once", len(want), kills, killed.again)
}
