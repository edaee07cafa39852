package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-stream/weir"
)

// slackMessage is what Slack's incoming webhooks take: blocks for those who
// read, and a text for notifications.
type slackMessage struct {
	Text   string       `json:"text"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// Slack's bounds on texts, and how many series a person reads.
const (
	slackHeader  = 150
	slackSection = 3000
	slackName    = 200 // of a series; ours
	readSeries   = 10
)

var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func mrkdwn(text string) slackText { return slackText{"mrkdwn", text} }

func (e *endpoint) slack(m *message, i *weir.Incident, left Omitted) *slackMessage {
	sign, word := "🟠", "Warning"
	switch {
	case i.State == weir.Resolved:
		sign, word = "🟢", "Resolved"
	case i.Severity == weir.Critical:
		sign, word = "🔴", "Critical"
	}
	if m.key.kind == typeUpdated {
		word += ", still there"
	}
	title := fmt.Sprintf("%s %s: %s", sign, word, i.Detector)
	out := &slackMessage{Text: slackEscape.Replace(title + ": " + headline(i))}
	section := func(text string) {
		t := mrkdwn(clip(text, slackSection))
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: &t})
	}
	out.Blocks = append(out.Blocks, slackBlock{Type: "header", Text: &slackText{"plain_text", clip(title, slackHeader)}})
	section(slackEscape.Replace(headline(i)))

	var lines []string
	size := 0
	for n := range i.Series[:min(len(i.Series), readSeries)] {
		s := &i.Series[n]
		line := fmt.Sprintf("• *%s*: %s, expected %s (%s to %s)", slackEscape.Replace(clip(name(s), slackName)),
			number(s.Value), number(s.Expected), number(s.Lower), number(s.Upper))
		if size += len(line) + 1; size > slackSection-100 { // room to say how many more there are
			break
		}
		lines = append(lines, line)
	}
	if more := left.Series + len(i.Series) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more series", more))
	}
	if len(lines) > 0 {
		section(strings.Join(lines, "\n"))
	}
	if len(i.Causes) > 0 {
		section("*Where it comes from*: " + slackEscape.Replace(causes(i)))
	}
	footer := fmt.Sprintf("%s · since %s", slackEscape.Replace(i.ID), i.Since.UTC().Format("2006-01-02 15:04 MST"))
	if i.State == weir.Resolved {
		footer += " · over at " + i.Resolved.UTC().Format("2006-01-02 15:04 MST")
	}
	if link := e.linkTo(i); link != "" {
		footer += " · <" + link + "|details>"
	}
	out.Blocks = append(out.Blocks, slackBlock{Type: "context", Elements: []slackText{mrkdwn(footer)}})
	return out
}

// pagerDutyEvent is an event of PagerDuty's Events API, version 2.
type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"` // trigger or resolve
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client"`
	ClientURL  string            `json:"client_url,omitempty"`
	Payload    *pagerDutyPayload `json:"payload"`
}

type pagerDutyPayload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp time.Time      `json:"timestamp"`
	Component string         `json:"component"`
	Group     string         `json:"group"`
	Class     string         `json:"class"`
	Details   map[string]any `json:"custom_details"`
}

const pagerDutySummary = 1024

func (e *endpoint) pagerDuty(m *message, i *weir.Incident, left Omitted) *pagerDutyEvent {
	action := "trigger"
	if i.State == weir.Resolved {
		action = "resolve"
	}
	var series []string
	for n := range i.Series {
		series = append(series, describe(i, &i.Series[n]))
	}
	details := map[string]any{"incident": i.ID, "message": m.ID, "value": i.Value, "series": series, "members": i.Members}
	if len(i.Causes) > 0 {
		details["causes"] = causes(i)
	}
	if left != (Omitted{}) {
		details["omitted"] = left
	}
	return &pagerDutyEvent{
		RoutingKey: e.routing, Action: action, DedupKey: i.ID, Client: "Weir", ClientURL: e.linkTo(i),
		Payload: &pagerDutyPayload{
			Summary: clip(headline(i), pagerDutySummary), Source: i.Stream, Severity: string(i.Severity), Timestamp: i.Since.UTC(),
			Component: i.Detector, Group: i.Stream, Class: i.Value, Details: details,
		},
	}
}
