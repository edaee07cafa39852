package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/api"
)

func newSilence() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "silence",
		Short: "Keeps webhooks from being told of incidents for a time",
		Long: `Silence keeps webhooks from being told of incidents while it lasts. What detectors
find is recorded all the same. It asks a server, or the store itself when nothing
serves it. Which one is told by --url, or by the configuration, whose listen
address is tried first.`,
		Example: `  weir silence add origin=JFK --for 2h --comment snow
  weir silence list
  weir silence delete 3f7k2m9q4x1z`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSilenceAdd(), newSilenceList(), newSilenceDelete())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func newSilenceAdd() *cobra.Command {
	var k keeper
	var from, to, comment, author string
	var lasts string
	cmd := &cobra.Command{
		Use:   "add MATCHER...",
		Short: "Silences the incidents that match",
		Long: `Add silences incidents all of whose series match all matchers: a label, =, !=, =~
or !~, and a value or regular expression. Labels are detector, stream, severity,
value, and the dimensions of the detector's series.`,
		Example: `  weir silence add origin=JFK --for 2h --comment snow
  weir silence add 'detector=~"traffic|slower"' severity!=critical --from 2026-11-22T02:00:00Z --to 2026-11-22T04:00:00Z`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			matchers, err := incident.ParseMatchers(strings.Join(args, ","))
			if err != nil {
				return usagef(cmd, "%v", err)
			}
			body := api.SilenceBody{From: from, To: to, Comment: comment, Author: author}
			for _, m := range matchers {
				body.Matchers = append(body.Matchers, api.SilenceMatcher(m))
			}
			switch {
			case (to == "") == (lasts == ""):
				return usagef(cmd, "when does it end? Give --for or --to")
			case lasts != "":
				if body.To, err = endOf(from, lasts); err != nil {
					return usagef(cmd, "%v", err)
				}
			}
			if u, err := user.Current(); err == nil && author == "" {
				body.Author = u.Username
			}
			return k.ask(cmd, http.MethodPost, "/v1/silences", nil, body, func(w io.Writer, answer []byte) error {
				var made incident.Silence
				if err := json.Unmarshal(answer, &made); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
				writeSilences(w, []incident.Silence{made}, time.Now())
				return nil
			})
		},
	}
	k.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&lasts, "for", "", "how long it lasts, a `duration` such as 2h")
	flags.StringVar(&from, "from", "", "when it begins, a `time` (default: now)")
	flags.StringVar(&to, "to", "", "when it ends, a `time`")
	flags.StringVar(&comment, "comment", "", "what it is for, a `text`")
	flags.StringVar(&author, "author", "", "who makes it, a `name` (default: who runs this)")
	return cmd
}

// endOf is the end of a silence that lasts so long.
func endOf(from, lasts string) (string, error) {
	d, err := weir.ParseDuration(lasts)
	if err != nil || d <= 0 {
		return "", fmt.Errorf("--for %q: it wants a duration such as 2h", lasts)
	}
	begin := time.Now()
	if from != "" {
		if begin, err = time.Parse(time.RFC3339Nano, from); err != nil {
			return "", fmt.Errorf("--from %q: with --for, it wants a time such as 2026-11-22T02:00:00Z", from)
		}
	}
	return begin.Add(d).UTC().Format(time.RFC3339Nano), nil
}

func newSilenceList() *cobra.Command {
	var k keeper
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists silences, and maintenance of the configuration",
		Long: `List prints a line a silence, those that end last first. Maintenance of the
configuration is among them. A silence can be seen for a day after its end.`,
		Example: `  weir silence list`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.ask(cmd, http.MethodGet, "/v1/silences", nil, nil, func(w io.Writer, answer []byte) error {
				var list api.SilencesAnswer
				if err := json.Unmarshal(answer, &list); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
				writeSilences(w, list.Silences, time.Now())
				return nil
			})
		},
	}
	k.flags(cmd)
	return cmd
}

func writeSilences(w io.Writer, list []incident.Silence, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(w, "No silences.")
		return
	}
	t := &textTable{right: make([]bool, 7)}
	t.add("silence", "is", "from", "to", "matches", "author", "comment")
	for i := range list {
		s := &list[i]
		is := "active"
		switch {
		case now.Before(s.From):
			is = "to come"
		case !now.Before(s.To):
			is = "over"
		}
		matchers := make([]string, len(s.Matchers))
		for i, m := range s.Matchers {
			matchers[i] = m.String()
		}
		author := s.Author
		if s.Configured {
			author = "the configuration"
		}
		matches := strings.Join(matchers, ",")
		if matches == "" {
			matches = "everything"
		}
		t.add(s.ID, is, eventTime(s.From), eventTime(s.To), visible(matches), visible(author), visible(s.Comment))
	}
	t.write(w)
}

func newSilenceDelete() *cobra.Command {
	var k keeper
	cmd := &cobra.Command{
		Use:     "delete ID",
		Short:   "Ends a silence for good",
		Example: `  weir silence delete 3f7k2m9q4x1z`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.ask(cmd, http.MethodDelete, "/v1/silences/"+url.PathEscape(args[0]), nil, nil, nil)
		},
	}
	k.flags(cmd)
	return cmd
}
