package watch

import (
	"math"
	"strings"

	"github.com/weir-stream/weir/anomaly"
)

// series is what is known of one series: its detector's state, and the run of
// anomalous or normal windows that it is in.
type series struct {
	by       []string
	detector anomaly.Detector

	seen      int64   // start of the last window with events
	previous  float64 // value of the last window that had one; NaN before
	unlearned int     // anomalous windows on end that were not learned
	bad       int     // anomalous windows on end, before an incident is opened
	good      int     // normal windows on end
	since     int64   // start of the first anomalous window of the run
	incident  string  // of which it is a member; "" if of none
	peak      peak    // the strangest window since then
}

// peak is the strangest window of a run.
type peak struct {
	window int64
	said   anomaly.Explanation
}

// absentScore is that of a window where the absence of events is the anomaly. No
// chance can be given for it; a score as high is critical unless the
// configuration wants more.
const absentScore = 10

const reasonAbsent = "absent"

// key tells series apart.
func key(by []string) string { return strings.Join(by, "\x00") }

func (s *series) key() string { return key(s.by) }

// verdict is what a window brought to a series.
type verdict struct {
	judged    bool // or nothing was known of it in this window
	anomalous bool
	said      anomaly.Explanation
}

// judge scores and learns the value of a window. Without events in it, the
// policy for gaps says what that means.
func (d *definition) judge(s *series, window int64, value, events float64) verdict {
	absent := events == 0
	if absent {
		switch d.config.Gap {
		case "zero":
			value = 0
		case "previous":
			value = s.previous
		case "alarm":
			return verdict{judged: true, anomalous: true, said: anomaly.Explanation{Value: math.NaN(), Expected: math.NaN(),
				Lower: math.NaN(), Upper: math.NaN(), Score: absentScore, Anomalous: true, Direction: anomaly.Down}}
		default:
			return verdict{}
		}
	} else {
		s.seen = window
	}
	if math.IsNaN(value) {
		return verdict{}
	}
	s.previous = value
	p := d.point(window, value)
	said := s.detector.Score(p)
	v := verdict{judged: true, anomalous: d.anomalous(&said), said: said}
	if v.anomalous && s.unlearned < d.patience {
		s.unlearned++ // a trouble that taught the detector would hide the next one
		return v
	}
	s.detector.Learn(p)
	if !v.anomalous {
		s.unlearned = 0
	}
	return v
}

// follow takes the verdict into the run of the series. It reports whether the
// series breaks now, or is well again.
func (d *definition) follow(s *series, window int64, v verdict) (breaks, recovers bool) {
	switch {
	case !v.judged:
		return false, false
	case !v.anomalous:
		s.good++
		if s.incident == "" {
			s.bad = 0
		}
		return false, s.incident != "" && s.good >= d.config.ResolveAfter
	}
	s.good = 0
	s.bad++
	if s.bad == 1 {
		s.since = window
	}
	if s.bad == 1 || v.said.Score > s.peak.said.Score {
		s.peak = peak{window, v.said}
	}
	return s.incident == "" && (s.bad >= d.config.For || d.config.AtOnce > 0 && v.said.Score >= d.config.AtOnce), false
}

// leave ends the membership of an incident.
func (s *series) leave() { s.incident, s.bad = "", 0 }
