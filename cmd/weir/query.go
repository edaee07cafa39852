package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

func newQuery() *cobra.Command {
	var (
		q       query.Text
		config  string
		address string
		output  string
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Asks a question, of a server or of a store",
		Long: `Query asks a server, or reads the store itself when nothing serves it. Which one
is told by --url, or by the configuration, whose listen address is tried first.

What to ask (--select, separated by commas):
  count, rate                           of events; rate is per second
  m.sum  m.min  m.max  m.mean           of a measure m, exactly
  m.p50  m.p99.9  m.quantile(0.95)      how slow
  m.rank(30)  m.histogram               which fraction is at most 30; the shape
  m.distinct                            how many different
  m.top(10)  m.frequency("ORD")         which most; how often this one

A range is given by --from and --to: a time (2001-01-01T12:00:00Z, 2001-01-01),
or one before now (-6h, now-1d). Left out, it is all that is stored. With --step
the answer is a time series; with a --window wider than the step, a sliding one.`,
		Example: `  weir query --stream requests --select count,latency.p99 --by service --from -1h
  weir query --stream requests --select user.distinct --step 1h --window 24h
  weir query --stream requests --select 'path.top(10)' --where 'service = "cart"'
  weir query --url http://weir.example:8080 --stream flights --select delay.p90 --step 1d -o csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, err := answerWriter(cmd, output)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("url") && cmd.Flags().Changed("config") {
				return usagef(cmd, "--url and --config both say whom to ask; give one of them")
			}
			if q.Stream == "" {
				if q.Stream, err = onlyStream(cmd, config); err != nil {
					return err
				}
			}
			if _, err := query.Parse(q); err != nil {
				return &usageError{cmd.CommandPath(), err}
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("no answer within %s (--timeout)", timeout))
			defer cancel()
			var answer *query.Answer
			if cmd.Flags().Changed("url") {
				answer, err = askServer(ctx, address, q)
			} else {
				answer, err = askConfigured(ctx, cmd.ErrOrStderr(), config, cmd.Flags().Changed("config"), address, q)
			}
			if err != nil {
				if cause := context.Cause(ctx); cause != nil && cmd.Context().Err() == nil {
					return cause
				}
				return err
			}
			return write(answer)
		},
	}
	configFlag(cmd, &config)
	flags := cmd.Flags()
	flags.StringVar(&address, "url", "http://127.0.0.1:8080", "address of the `server`")
	flags.StringVar(&q.Stream, "stream", "", "`name` of the stream (default: the only one of the configuration)")
	flags.StringVar(&q.Select, "select", "count", "what to ask, such as `count,latency.p99`")
	flags.StringVar(&q.By, "by", "", "`dimensions` to group by, such as service,region")
	flags.StringVar(&q.Where, "where", "", "`condition` on dimensions, such as 'service = \"cart\"'")
	flags.StringVar(&q.From, "from", "", "beginning of the range, a `time` (default: the oldest event)")
	flags.StringVar(&q.To, "to", "", "end of the range, a `time` (default: the newest window)")
	flags.StringVar(&q.Step, "step", "", "`distance` of the points of a time series, such as 1h (default: one answer)")
	flags.StringVar(&q.Window, "window", "", "how much each point looks back on, a `duration` (default: the step)")
	flags.StringVar(&q.Confidence, "confidence", "", "`probability` that the truth lies between lower and upper (default 0.95)")
	flags.StringVarP(&output, "output", "o", "table", "`form` of the answer: table, json or csv")
	flags.DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the answer")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "csv"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("stream", completeFrom(&config, streamNames)))
	must(cmd.RegisterFlagCompletionFunc("by", completeFrom(&config, func(c *weir.Config) []string { return dimensionNames(c, q.Stream) })))
	must(cmd.RegisterFlagCompletionFunc("select", completeFrom(&config, func(c *weir.Config) []string { return questions(c, q.Stream) })))
	return cmd
}

// onlyStream is the stream meant when none is named.
func onlyStream(cmd *cobra.Command, config string) (string, error) {
	if cmd.Flags().Changed("url") {
		return "", usagef(cmd, "a server is asked: name the stream with --stream")
	}
	c, err := load(config)
	if errors.Is(err, fs.ErrNotExist) {
		return "", usagef(cmd, "there is no %s: name the stream with --stream", config)
	}
	if err != nil {
		return "", err
	}
	return theStream(cmd, c, "")
}

// must is for what fails only when this program itself is wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// askServer asks the server of that address.
func askServer(ctx context.Context, address string, q query.Text) (*query.Answer, error) {
	c, err := newRemote(address)
	if err != nil {
		return nil, err
	}
	return c.query(ctx, q)
}

// askConfigured asks the server that a configuration describes, or its store
// when nothing listens there, or something else does, which is said on stderr.
// Without any configuration it asks the fallback.
func askConfigured(ctx context.Context, stderr io.Writer, path string, given bool, fallback string, q query.Text) (*query.Answer, error) {
	c, err := load(path)
	if errors.Is(err, fs.ErrNotExist) && !given {
		return askServer(ctx, fallback, q)
	}
	if err != nil {
		return nil, err
	}
	server, err := newRemote(reachable(c.Listen))
	if err != nil {
		return nil, err
	}
	server.store = storeID(c)
	answer, err := server.query(ctx, q)
	var refused *net.OpError
	switch {
	case errors.Is(err, errOtherStore):
		fmt.Fprintf(stderr, "weir: %v; reading %s itself\n", err, c.Store)
		return askStore(ctx, c, q)
	case errors.As(err, &refused) && refused.Op == "dial":
		return askStore(ctx, c, q)
	}
	return answer, err
}

// reachable is where a listener of that address is reached from this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// answerWriter returns what writes an answer in the form that was asked for.
func answerWriter(cmd *cobra.Command, form string) (func(*query.Answer) error, error) {
	out := cmd.OutOrStdout()
	switch form {
	case "table":
		width := terminalWidth(out)
		return func(a *query.Answer) error { return a.WriteTable(out, width) }, nil
	case "json":
		return func(a *query.Answer) error { return a.WriteJSON(out) }, nil
	case "csv":
		return func(a *query.Answer) error { return a.WriteCSV(out) }, nil
	}
	return nil, usagef(cmd, "--output %q is not one of table, json, csv", form)
}

// isTerminal reports whether people read what is written.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth returns the width of the terminal, or a usual one.
func terminalWidth(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 20 {
			return width
		}
	}
	return 100
}

// terminalHeight returns the height of the terminal, or a usual one.
func terminalHeight(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if _, height, err := term.GetSize(int(file.Fd())); err == nil && height > 10 {
			return height
		}
	}
	return 50
}

// completeFrom completes a flag from the configuration, where there is one.
func completeFrom(config *string, words func(*weir.Config) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c, err := weir.Load(*config)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		// A list is completed at its last element.
		done := typed[:strings.LastIndexByte(typed, ',')+1]
		var completions []string
		for _, word := range words(c) {
			completions = append(completions, done+word)
		}
		return completions, cobra.ShellCompDirectiveNoFileComp
	}
}

func streamNames(c *weir.Config) []string {
	var names []string
	for _, s := range c.AllStreams() {
		names = append(names, s.Name)
	}
	return names
}

func dimensionNames(c *weir.Config, stream string) []string {
	var names []string
	if s := c.Stream(stream); s != nil {
		for _, d := range s.Dimensions {
			names = append(names, d.Name)
		}
	}
	return names
}

// questions are what can be asked of a stream's measures.
func questions(c *weir.Config, stream string) []string {
	words := []string{"count", "rate"}
	s := c.Stream(stream)
	if s == nil {
		return words
	}
	functions := map[weir.Kind][]string{
		weir.Sum:       {"sum", "min", "max", "mean"},
		weir.Quantile:  {"sum", "min", "max", "mean", "p50", "p90", "p99", "histogram"},
		weir.Distinct:  {"distinct"},
		weir.Top:       {"top(10)"},
		weir.Frequency: {"frequency("},
	}
	for _, m := range s.Measures {
		for _, f := range functions[m.Kind] {
			words = append(words, m.Name+"."+f)
		}
	}
	return words
}
