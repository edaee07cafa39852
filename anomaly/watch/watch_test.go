package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
)

func steady(events int64) traffic {
	return func(int64, string, string) (int64, int64) { return events, 0 }
}

// A drop below a limit is an incident after `for` windows, names what carries
// it, and is resolved after `resolve_after` normal ones.
func TestDropIsToldAndResolved(t *testing.T) {
	w := newWorld(t)
	d := w.detector(weir.DetectorConfig{Name: "traffic", Threshold: &weir.ThresholdConfig{Below: limit(500)}, For: 2})
	watcher := w.watcher(d)
	for range 10 {
		w.write(1, steady(100))
	}
	w.look(watcher)
	down := func(_ int64, service, region string) (int64, int64) {
		if service == "api" && region == "us" || service == "auth" && region == "us" {
			return 30, 0
		}
		return 100, 0
	}
	w.write(1, down)
	w.look(watcher)
	if got := w.story(); len(got) != 0 {
		t.Errorf("told after one window of two: %q", got)
	}
	w.write(2, down)
	w.look(watcher)
	w.write(6, steady(100))
	w.look(watcher)
	want := []string{
		"traffic.0 firing 12m0s web count is 460, below 500; region=us carries 100 % of the drop",
		"traffic.0 resolved 16m0s web count is 460, below 500; region=us carries 100 % of the drop",
	}
	if got := w.story(); !slices.Equal(got, want) {
		t.Fatalf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	i := w.told[0]
	if i.Since != begin.Add(10*time.Minute) || i.Opened != begin.Add(12*time.Minute) || i.Members != 1 || len(i.Causes) < 3 ||
		fmt.Sprint(i.Causes[1:3]) != "[service=api carries 50 % of the drop service=auth carries 50 % of the drop]" {
		t.Errorf("%+v", i)
	}
}

// Series that break together are one incident; those that break soon after join
// it; it lasts until all are well.
func TestSeriesThatBreakTogetherAreOneIncident(t *testing.T) {
	w := newWorld(t)
	d := w.detector(weir.DetectorConfig{Name: "each", By: []string{"service", "region"}, Threshold: &weir.ThresholdConfig{Above: limit(150)}})
	watcher := w.watcher(d)
	w.write(5, steady(100))
	w.look(watcher)
	rises := func(when map[string][2]int64) traffic {
		return func(m int64, service, region string) (int64, int64) {
			if at, ok := when[service+region]; ok && m >= at[0] && m < at[1] {
				return 200, 0
			}
			return 100, 0
		}
	}
	of := rises(map[string][2]int64{"apieu": {5, 10}, "apius": {5, 8}, "autheu": {7, 12}, "webus": {20, 22}})
	for range 30 {
		w.write(1, of)
		w.look(watcher)
	}
	want := []string{
		"each.0 firing 6m0s web count of region=eu,service=api is 200, above 150, and one more series; service=api carries 100 % of the rise",
		"each.0 firing 8m0s web count of region=eu,service=api is 200, above 150, and 2 more series; service=api carries 100 % of the rise",
		"each.0 firing 11m0s web count of region=eu,service=api is 200, above 150, and 2 more series; service=api carries 100 % of the rise",
		"each.0 firing 13m0s web count of region=eu,service=auth is 200, above 150, and 2 more series; service=api carries 100 % of the rise",
		"each.0 resolved 15m0s web count of region=eu,service=api is 200, above 150, and 2 more series; service=api carries 100 % of the rise",
		"each.5 firing 21m0s web count of region=us,service=web is 200, above 150",
		"each.5 resolved 25m0s web count of region=us,service=web is 200, above 150",
	}
	if got := w.story(); !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A thousand series that break at once are told of once.
func TestThousandAtOnce(t *testing.T) {
	w := newWorld(t)
	w.services = nil
	for i := range 500 {
		w.services = append(w.services, fmt.Sprintf("s%03d", i))
	}
	d := w.detector(weir.DetectorConfig{Name: "each", By: []string{"service", "region"}, Threshold: &weir.ThresholdConfig{Above: limit(150)}})
	watcher := w.watcher(d)
	for _, events := range []int64{100, 100, 200, 200, 100, 100, 100} {
		w.write(1, steady(events))
		w.look(watcher)
	}
	want := []string{
		"each.0 firing 3m0s web count of region=eu,service=s000 is 200, above 150, and 999 more series",
		"each.0 resolved 7m0s web count of region=eu,service=s000 is 200, above 150, and 999 more series",
	}
	if got := w.story(); !slices.Equal(got, want) {
		t.Errorf("told\n%s", strings.Join(got, "\n"))
	}
	if len(w.told[0].Series) != weir.MaxIncidentSeries || w.told[0].Members != 1000 {
		t.Errorf("%d series of %d", len(w.told[0].Series), w.told[0].Members)
	}
}

// What is found above the bound on incidents is one more.
func TestIncidentsAreBounded(t *testing.T) {
	w := newWorld(t)
	d := w.detector(weir.DetectorConfig{Name: "each", By: []string{"service", "region"}, Threshold: &weir.ThresholdConfig{Above: limit(150)}, MaxIncidents: 2})
	watcher := w.watcher(d)
	w.write(5, steady(100))
	names := []string{"apieu", "apius", "autheu", "authus", "webeu", "webus"}
	for range 60 { // one more series every ten minutes
		w.write(1, func(m int64, service, region string) (int64, int64) {
			if i := int64(slices.Index(names, service+region)); m >= 10*(i+1) {
				return 200, 0
			}
			return 100, 0
		})
		w.look(watcher)
	}
	open := map[string]weir.Incident{}
	for _, i := range w.told {
		open[i.ID] = i
	}
	if len(open) != 3 || open["each.0"].Members != 1 || open["each.1"].Members != 1 || open["each.2"].Members != 4 || !open["each.2"].Overflow || open["each.1"].Overflow {
		t.Errorf("%+v", w.story())
	}
}

// What a gap means is the configuration's to say, and a window that is late is
// not one that is empty.
func TestGaps(t *testing.T) {
	for gap, want := range map[string][]string{
		"ignore":   nil,
		"previous": nil,
		"zero":     {"gap.0 firing 9m0s web count of service=api is 0, below 1", "gap.0 resolved 18m0s web count of service=api is 0, below 1"},
		"alarm":    {"gap.0 firing 9m0s web count of service=api is absent", "gap.0 resolved 18m0s web count of service=api is absent"},
	} {
		w := newWorld(t)
		d := w.detector(weir.DetectorConfig{Name: "gap", By: []string{"service"}, Where: "service=api", Gap: gap, Threshold: &weir.ThresholdConfig{Below: limit(1)}})
		watcher := w.watcher(d)
		for range 25 {
			w.write(1, func(m int64, service, _ string) (int64, int64) {
				if service == "api" && m >= 8 && m < 15 {
					return 0, 0
				}
				return 100, 0
			})
			w.look(watcher)
			w.now = w.now.Add(20 * time.Second) // it is late, and nothing is said
			w.look(watcher)
		}
		got := w.story()
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], ";")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: told\n%s\nwant\n%s", gap, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Nobody is told of what is silenced; once the silence is over, of what still
// lasts. What was told is told to its end.
func TestSilence(t *testing.T) {
	w := newWorld(t)
	d := w.detector(weir.DetectorConfig{Name: "traffic", Threshold: &weir.ThresholdConfig{Below: limit(500)}})
	watcher := w.watcher(d)
	w.write(5, steady(100))
	step := func(n int64, events int64, muting string) {
		w.muting = muting
		for range n {
			w.write(1, steady(events))
			w.look(watcher)
		}
	}
	step(2, 10, "silence 1")
	step(4, 100, "silence 1")
	step(2, 10, "silence 2")
	step(1, 10, "")
	step(1, 10, "silence 3")
	step(4, 100, "silence 3")
	want := []string{
		"traffic.2 firing 14m0s web count is 60, below 500", "traffic.2 resolved 18m0s web count is 60, below 500",
	}
	if got := w.story(); !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A silence is held against all series of an incident, however few it names.
func TestSilenceSeesAllSeries(t *testing.T) {
	w := newWorld(t)
	w.services = nil
	for i := range 2 * weir.MaxIncidentSeries {
		w.services = append(w.services, fmt.Sprintf("service%02d", i))
	}
	watcher := w.watcher(w.detector(weir.DetectorConfig{Name: "traffic", By: []string{"service"}, Threshold: &weir.ThresholdConfig{Below: limit(50)}}))
	w.write(5, steady(100))
	w.look(watcher)
	w.write(1, steady(10))
	w.look(watcher)
	if w.shown != 2*weir.MaxIncidentSeries {
		t.Errorf("a silence was shown %d series of %d", w.shown, 2*weir.MaxIncidentSeries)
	}
}

// What is found in old events is recorded, and told only if it lasts.
func TestOldIncidentsAreNotTold(t *testing.T) {
	w := newWorld(t)
	d := w.detector(weir.DetectorConfig{Name: "traffic", Threshold: &weir.ThresholdConfig{Below: limit(500)}})
	watcher := w.watcher(d)
	low := func(m int64, _, _ string) (int64, int64) {
		if m >= 10 && m < 20 || m >= 200 {
			return 10, 0
		}
		return 100, 0
	}
	w.write(150, low)
	w.write(100, low)
	w.look(watcher)
	want := []string{"traffic.2 firing 3h21m0s web count is 60, below 500"}
	if got := w.story(); !slices.Equal(got, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	batches, err := watcher.streams[0].runners[0].keeper.log.Batches(t.Context(), watcher.streams[0].runners[0].keeper.ref(watcher.streams[0].runners[0].def), -1)
	if err != nil || len(batches) != 3 || batches[0].Records[0].Muted == "" {
		t.Errorf("%d batches, %v", len(batches), err)
	}
}

// What is above the bound has one incident, also once another is over: two would
// leave it to chance which one a series joins.
func TestOverflowIsOne(t *testing.T) {
	w := newWorld(t)
	d := w.detector(weir.DetectorConfig{Name: "each", By: []string{"service", "region"}, Threshold: &weir.ThresholdConfig{Above: limit(150)}, MaxIncidents: 2})
	watcher := w.watcher(d)
	breaks := map[string][2]int64{"apieu": {10, 35}, "apius": {20, 100}, "autheu": {30, 100}, "authus": {50, 100}, "webeu": {60, 100}, "webus": {70, 100}}
	for range 80 {
		w.write(1, func(m int64, service, region string) (int64, int64) {
			if at := breaks[service+region]; m >= at[0] && m < at[1] {
				return 200, 0
			}
			return 100, 0
		})
		w.look(watcher)
		overflow := 0
		for _, r := range watcher.streams[0].runners[0].machine.open {
			if r.Overflow {
				overflow++
			}
		}
		if overflow > 1 {
			t.Fatalf("minute %d: %d incidents stand for what is above the bound", w.next, overflow)
		}
	}
	last := map[string]weir.Incident{}
	for _, i := range w.told {
		last[i.ID] = i
	}
	// apieu is over when authus breaks, which is within the bound then.
	if len(last) != 4 || last["each.0"].State != weir.Resolved || last["each.4"].Overflow || last["each.2"].Members != 3 || !last["each.2"].Overflow {
		t.Errorf("%+v", w.story())
	}
}

// An outage of all series takes time that grows with their number, not with its
// square.
func TestManySeriesBreakAndRecoverInTime(t *testing.T) {
	config := newWorld(t).detector(weir.DetectorConfig{Name: "each", By: []string{"service"}, Threshold: &weir.ThresholdConfig{Above: limit(150)}})
	d, _, err := define(config, web())
	if err != nil {
		t.Fatal(err)
	}
	spent := func(n int) time.Duration {
		m := newMachine(d, begin.UnixNano())
		var c changes
		for i := range n {
			s := &series{by: []string{fmt.Sprintf("s%06d", i)}, incident: "each.0"}
			m.series[s.key()] = s
			c.recovers = append(c.recovers, s)
		}
		all := make([]weir.IncidentSeries, n)
		for i, s := range c.recovers {
			all[i] = weir.IncidentSeries{By: m.labels(s), State: weir.Firing}
		}
		m.open["each.0"] = &incident.Record{Incident: weir.Incident{ID: "each.0", State: weir.Firing}, All: all}
		began := time.Now()
		if got := m.decide(c); len(got) != 1 || got[0].State != weir.Resolved {
			t.Fatalf("%d records", len(got))
		}
		return time.Since(began)
	}
	few, many := spent(2_000), spent(32_000)
	t.Logf("2,000 series: %v; 32,000: %v", few, many)
	if many > 60*few+2*time.Second { // 16 times, if it is linear; 256 if it is not
		t.Errorf("32,000 series take %v, and 2,000 take %v", many, few)
	}
}
