package notify

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// alert is one series of an incident, as Alertmanager sees alerts. Its labels
// are its identity and the same for as long as the series is strange: what
// changes from window to window is in the annotations. The severity is a label
// too, since routes go by it; where it changes, the alert of the other severity
// is ended.
type alert struct {
	Status       string            `json:"status,omitempty"` // not in the API
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
	Fingerprint  string            `json:"fingerprint,omitempty"` // not in the API
}

// alertGroup is the body of Alertmanager's webhooks, version 4.
type alertGroup struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []alert           `json:"alerts"`
}

// group makes an incident a group of alerts.
func (e *endpoint) group(i *weir.Incident, left Omitted) *alertGroup {
	labels := identity(i)
	g := &alertGroup{
		Version:         "4",
		GroupKey:        fmt.Sprintf("{}/{incident=%q}:{alertname=%q, detector=%q, stream=%q}", i.ID, i.Detector, i.Detector, i.Stream),
		TruncatedAlerts: left.Series,
		Status:          string(i.State),
		Receiver:        e.config.Name,
		GroupLabels:     labels,
		ExternalURL:     strings.TrimSuffix(e.link, "/v1/incidents/"),
		Alerts:          []alert{},
	}
	for n := range i.Series {
		a := e.alert(i, &i.Series[n])
		a.Status = string(seriesState(i, &i.Series[n]))
		a.Fingerprint = fingerprint(a.Labels)
		g.Alerts = append(g.Alerts, a)
	}
	g.CommonLabels = common(g.Alerts, func(a alert) map[string]string { return a.Labels })
	g.CommonAnnotations = common(g.Alerts, func(a alert) map[string]string { return a.Annotations })
	return g
}

// apiAlerts are what an Alertmanager is told of an incident at a time. What
// fires lasts until it would have been told again several times.
func (e *endpoint) apiAlerts(m *message, now time.Time) []alert {
	i := &m.Incident
	alerts := []alert{}
	for n := range i.Series {
		s := &i.Series[n]
		a := e.alert(i, s)
		firing := seriesState(i, s) == weir.Firing
		if firing {
			a.EndsAt = now.UTC().Add(alertLasts)
		}
		alerts = append(alerts, within(a, now, firing))
		if m.key.kind != typeUpdated || !firing {
			continue
		}
		other := a
		other.Labels = maps.Clone(a.Labels)
		other.Labels["severity"] = string(weir.Warning)
		if i.Severity == weir.Warning {
			other.Labels["severity"] = string(weir.Critical)
		}
		other.EndsAt = i.Updated.UTC()
		alerts = append(alerts, within(other, now, false))
	}
	return alerts
}

// within keeps event time from going past the clock, by which an Alertmanager
// judges.
func within(a alert, now time.Time, firing bool) alert {
	if !firing && a.EndsAt.After(now) {
		a.EndsAt = now.UTC()
	}
	if a.StartsAt.After(now) {
		a.StartsAt = now.UTC()
	}
	if a.EndsAt.Before(a.StartsAt) {
		a.StartsAt = a.EndsAt
	}
	return a
}

// seriesState is resolved where the incident is.
func seriesState(i *weir.Incident, s *weir.IncidentSeries) weir.IncidentState {
	if i.State == weir.Resolved || s.State == weir.Resolved {
		return weir.Resolved
	}
	return weir.Firing
}

// identity is what all alerts of a detector have in common for good.
func identity(i *weir.Incident) map[string]string {
	return map[string]string{"alertname": i.Detector, "detector": i.Detector, "stream": i.Stream}
}

func (e *endpoint) alert(i *weir.Incident, s *weir.IncidentSeries) alert {
	labels := identity(i)
	labels["severity"] = string(i.Severity)
	for _, dimension := range slices.Sorted(maps.Keys(s.By)) {
		label := labelName(dimension)
		if _, taken := labels[label]; taken {
			label = "dimension_" + label
		}
		labels[label] = s.By[dimension]
	}
	a := alert{
		Labels: labels,
		Annotations: map[string]string{
			"summary":     headline(i),
			"description": describe(i, s),
			"incident":    i.ID,
			"value":       number(s.Value),
			"expected":    number(s.Expected),
			"lower":       number(s.Lower),
			"upper":       number(s.Upper),
			"score":       strconv.FormatFloat(s.Score, 'g', 4, 64),
			"members":     strconv.Itoa(i.Members),
		},
		StartsAt:     s.Since.UTC(),
		GeneratorURL: e.linkTo(i),
	}
	if text := causes(i); text != "" {
		a.Annotations["causes"] = text
	}
	if seriesState(i, s) == weir.Resolved {
		a.EndsAt = i.Updated.UTC()
		if !i.Resolved.IsZero() {
			a.EndsAt = i.Resolved.UTC()
		}
	}
	return a
}

// describe says what is strange about a series.
func describe(i *weir.Incident, s *weir.IncidentSeries) string {
	return fmt.Sprintf("%s of %s was %s, expected %s (%s to %s): %s", i.Value, name(s), number(s.Value), number(s.Expected),
		number(s.Lower), number(s.Upper), s.Reason)
}

// labelName makes a dimension's name one that labels may have.
func labelName(dimension string) string {
	mapped := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, dimension)
	if mapped == "" || '0' <= mapped[0] && mapped[0] <= '9' || strings.HasPrefix(mapped, "__") {
		mapped = "dimension_" + strings.TrimLeft(mapped, "_")
	}
	return mapped
}

// fingerprint is how Alertmanager identifies a set of labels: the 64-bit FNV-1a
// of names and values in order, each followed by a byte that is in no text.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		h.Write([]byte(label + "\xff" + labels[label] + "\xff"))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// common is what is the same in all alerts.
func common(alerts []alert, of func(alert) map[string]string) map[string]string {
	shared := map[string]string{}
	for n, a := range alerts {
		if n == 0 {
			maps.Copy(shared, of(a))
			continue
		}
		maps.DeleteFunc(shared, func(label, value string) bool { return of(a)[label] != value })
	}
	return shared
}
