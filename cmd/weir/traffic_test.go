package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// The made-up requests are the same for the same seed, in order, inside their
// range, and follow the hours of the day.
func TestTraffic(t *testing.T) {
	monday := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	first, n := newTraffic(7, 3600).appendRequests(nil, monday, monday.Add(time.Hour))
	again, _ := newTraffic(7, 3600).appendRequests(nil, monday, monday.Add(time.Hour))
	if !bytes.Equal(first, again) {
		t.Error("the same seed gives other requests")
	}
	if other, _ := newTraffic(8, 3600).appendRequests(nil, monday, monday.Add(time.Hour)); bytes.Equal(first, other) {
		t.Error("another seed gives the same requests")
	}
	lines := bytes.Split(bytes.TrimSuffix(first, []byte("\n")), []byte("\n"))
	if len(lines) != n {
		t.Fatalf("%d lines, said to be %d", len(lines), n)
	}
	previous := monday
	for _, line := range lines {
		var event struct {
			Time                        time.Time
			Service, Region, Path, User string
			Latency                     float64 `json:"latency_ms"`
		}
		if err := json.Unmarshal(line, &event); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if event.Time.Before(previous) || !event.Time.Before(monday.Add(time.Hour)) {
			t.Fatalf("%s: not in order, or outside its hour", line)
		}
		if event.Service == "" || event.Region == "" || event.Path == "" || event.User == "" || event.Latency <= 0 {
			t.Fatalf("%s: a field is missing", line)
		}
		previous = event.Time
	}
	night, evening := season(monday.Add(8*time.Hour)), season(monday.Add(20*time.Hour))
	if evening < 2*night {
		t.Errorf("evening has %.2f of the average and the quiet hour %.2f; that is no season", evening, night)
	}
}
