package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/api"
)

func newIncident() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "incident",
		Short: "Lists what detectors found, tells of it, and takes what is said of it",
		Long: `Incident shows what the detectors of the configuration found. It asks a server,
or reads the store itself when nothing serves it. Which one is told by --url, or
by the configuration, whose listen address is tried first.`,
		Example: `  weir incident list --state firing
  weir incident show traffic.17
  weir incident feedback traffic.17 --false --note "a holiday"
  weir incident replay traffic.17`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newIncidentList(), newIncidentShow(), newIncidentFeedback(), newReplay())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func newIncidentList() *cobra.Command {
	var k keeper
	var limit int
	choice := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists incidents, those opened last first",
		Long: `List prints a line an incident, those opened last first. Labels that --match knows
are detector, stream, severity, value and the dimensions of its series; matchers
are separated by commas, with =, !=, =~ and !~, and one of the incident's series
matches them all.`,
		Example: `  weir incident list --state firing
  weir incident list --detector traffic --since -7d
  weir incident list --match 'origin=~"J.*",severity=critical' -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range choice {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			query.Set("limit", strconv.Itoa(limit))
			return k.ask(cmd, http.MethodGet, "/v1/incidents", query, nil, func(w io.Writer, answer []byte) error {
				var page api.IncidentsAnswer
				if err := json.Unmarshal(answer, &page); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
				writeIncidents(w, page.Incidents)
				if page.Next != "" {
					fmt.Fprintf(cmd.ErrOrStderr(), "There may be more: --page %s\n", page.Next)
				}
				return nil
			})
		},
	}
	k.flags(cmd)
	flags := cmd.Flags()
	for name, usage := range map[string]string{
		"detector": "`name` of the detector",
		"stream":   "`name` of the stream",
		"state":    "`state`: firing or resolved",
		"severity": "`severity`: warning or critical",
		"match":    "`matchers` of labels, such as origin=JFK",
		"since":    "opened at or after this event `time`, such as -7d",
		"until":    "opened before this event `time`",
		"page":     "where to go on, as the `page` before said",
	} {
		choice[name] = flags.String(name, "", usage)
	}
	flags.IntVar(&limit, "limit", 100, "how `many`")
	must(cmd.RegisterFlagCompletionFunc("detector", completeFrom(&k.config, detectorNames)))
	must(cmd.RegisterFlagCompletionFunc("stream", completeFrom(&k.config, streamNames)))
	must(cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"firing", "resolved"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]string{"warning", "critical"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func writeIncidents(w io.Writer, list []weir.Incident) {
	if len(list) == 0 {
		fmt.Fprintln(w, "No incidents.")
		return
	}
	t := &textTable{right: []bool{false, false, false, false, true, true, false}}
	t.add("incident", "state", "severity", "opened", "lasted", "series", "summary")
	for i := range list {
		inc := &list[i]
		lasted := inc.Updated
		if inc.State == weir.Resolved {
			lasted = inc.Resolved
		}
		summary := inc.Summary
		if inc.Muted != "" {
			summary += " (muted: " + inc.Muted + ")"
		}
		t.add(inc.ID, string(inc.State), string(inc.Severity), eventTime(inc.Opened), weir.FormatDuration(lasted.Sub(inc.Since)),
			strconv.Itoa(inc.Members), visible(summary))
	}
	t.write(w)
}

func newIncidentShow() *cobra.Command {
	var k keeper
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Tells all that is known of an incident",
		Example: `  weir incident show traffic.17`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := weir.ParseIncidentID(args[0]); err != nil {
				return usagef(cmd, "%v", err)
			}
			return k.ask(cmd, http.MethodGet, "/v1/incidents/"+url.PathEscape(args[0]), nil, nil, func(w io.Writer, answer []byte) error {
				var told api.IncidentAnswer
				if err := json.Unmarshal(answer, &told); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
				writeIncident(w, &told)
				return nil
			})
		},
	}
	k.flags(cmd)
	return cmd
}

// maxShownSeries bounds the series that show prints. JSON has them all.
const maxShownSeries = 50

func writeIncident(w io.Writer, told *api.IncidentAnswer) {
	inc := &told.Incident
	fmt.Fprintf(w, "%s  %s, %s\n", inc.ID, inc.State, inc.Severity)
	if inc.Summary != "" {
		fmt.Fprintf(w, "  %s\n", visible(inc.Summary))
	}
	for _, c := range inc.Causes {
		fmt.Fprintf(w, "  %s\n", visible(c.String()))
	}
	if inc.Overflow {
		fmt.Fprintf(w, "  it stands for all that detector %s found beyond the incidents it may have open\n", inc.Detector)
	}
	if inc.Muted != "" {
		fmt.Fprintf(w, "  nobody was told: %s\n", visible(inc.Muted))
	}
	fmt.Fprintf(w, "\ndetector %s watches %s of stream %s\n", inc.Detector, inc.Value, inc.Stream)
	fmt.Fprintf(w, "since %s, opened %s", eventTime(inc.Since), eventTime(inc.Opened))
	if inc.State == weir.Resolved {
		fmt.Fprintf(w, ", resolved %s\n", eventTime(inc.Resolved))
	} else {
		fmt.Fprintf(w, ", updated %s\n", eventTime(inc.Updated))
	}

	series := told.All
	if len(series) == 0 {
		series = inc.Series
	}
	fmt.Fprintln(w)
	t := &textTable{right: []bool{false, false, false, true, true, true, true, true}}
	t.add("series", "state", "window", "value", "expected", "lower", "upper", "score")
	for i := range series[:min(len(series), maxShownSeries)] {
		s := &series[i]
		label := s.Label()
		if label == "" {
			label = "all"
		}
		t.add(visible(label), string(s.State), eventTime(s.Window), shortNumber(float64(s.Value)), shortNumber(float64(s.Expected)),
			shortNumber(float64(s.Lower)), shortNumber(float64(s.Upper)), strconv.FormatFloat(s.Score, 'f', 1, 64))
	}
	t.write(w)
	if more := len(series) - maxShownSeries; more > 0 {
		fmt.Fprintf(w, "and %d more; -o json has them all\n", more)
	}

	fmt.Fprintln(w)
	t = &textTable{right: []bool{true, false, false, false, false, false, false}}
	t.add("version", "window", "state", "severity", "recorded", "definition", "events before")
	for i := range told.Versions {
		v := &told.Versions[i]
		t.add(strconv.FormatInt(v.Incident.Version, 10), eventTime(v.From)+" to "+eventTime(v.To), string(v.Incident.State), string(v.Incident.Severity),
			eventTime(v.Recorded), v.Definition[:min(12, len(v.Definition))], offsets(v.Offsets))
	}
	t.write(w)
	for i, f := range told.Feedback {
		if i == 0 {
			fmt.Fprintln(w)
		}
		writeFeedback(w, &f)
	}
}

// offsets writes those of a few partitions.
func offsets(of map[string]int64) string {
	const shown = 4
	var parts []string
	for _, partition := range slices.Sorted(maps.Keys(of)) {
		if len(parts) == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(of)-shown))
			break
		}
		parts = append(parts, fmt.Sprintf("%s:%d", visible(partition), of[partition]))
	}
	return strings.Join(parts, " ")
}

func newIncidentFeedback() *cobra.Command {
	var k keeper
	var yes, no bool
	var note, author string
	cmd := &cobra.Command{
		Use:   "feedback ID --true|--false",
		Short: "Says whether an incident was a true alarm",
		Example: `  weir incident feedback traffic.17 --true
  weir incident feedback traffic.18 --false --note "a holiday"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := weir.ParseIncidentID(args[0]); err != nil {
				return usagef(cmd, "%v", err)
			}
			if yes == no {
				return usagef(cmd, "was it a true alarm? Give --true or --false")
			}
			body := api.FeedbackBody{Alarm: yes, Note: note, Author: author}
			return k.ask(cmd, http.MethodPost, "/v1/incidents/"+url.PathEscape(args[0])+"/feedback", nil, body, func(w io.Writer, answer []byte) error {
				var f incident.Feedback
				if err := json.Unmarshal(answer, &f); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
				writeFeedback(w, &f)
				return nil
			})
		},
	}
	k.flags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&yes, "true", false, "it was a true alarm")
	flags.BoolVar(&no, "false", false, "it was a false alarm")
	flags.StringVar(&note, "note", "", "what should be known of it, a `text`")
	flags.StringVar(&author, "author", "", "who says so, a `name`")
	return cmd
}

func writeFeedback(w io.Writer, f *incident.Feedback) {
	was := "a false alarm"
	if f.Alarm {
		was = "a true alarm"
	}
	fmt.Fprintf(w, "%s: %s was %s", eventTime(f.Recorded), f.Incident, was)
	if f.Author != "" {
		fmt.Fprintf(w, ", says %s", visible(f.Author))
	}
	if f.Note != "" {
		fmt.Fprintf(w, ": %s", visible(f.Note))
	}
	fmt.Fprintln(w)
}

// eventTime writes a time as short as it can be read again.
func eventTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// visible keeps what came from events or strangers from moving the cursor.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
