// Command weir measures event streams: it keeps small mergeable sketches for
// every series and window of event time, and answers questions about any range.
//
// This is the only place where the rooms meet: a file a subcommand, each of
// which reads the configuration, builds what it needs, runs it and returns.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong; nothing was done
)

// run is main without the process: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks to finish; the next one, unhandled, ends the process.
	context.AfterFunc(ctx, stop)

	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return report(stderr, err)
}

// report writes an error for people and returns the exit code it means.
func report(w io.Writer, err error) int {
	var mistakes weir.Mistakes
	if errors.As(err, &mistakes) {
		fmt.Fprintln(w, mistakes.Error())
		plural := "mistakes"
		if len(mistakes) == 1 {
			plural = "mistake"
		}
		fmt.Fprintf(w, "weir: %d %s in %s\n", len(mistakes), plural, mistakes[0].File)
		return exitUsage
	}
	fmt.Fprintf(w, "weir: %v\n", err)
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "Run '%s --help' for what it takes.\n", usage.command)
		return exitUsage
	}
	return exitFailed
}

// usageError says that a command was called wrongly.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Measures event streams in one pass",
		Long: `Weir measures event streams in one pass. It keeps small mergeable sketches for
every series and window of time instead of the events, and answers "how many,
how many different, how slow, which most" for any range with a stated error.`,
		Example: `  weir demo                                # see it work, with nothing to set up
  weir check -c weir.yaml                  # is this configuration right?
  weir serve -c weir.yaml                  # run it
  weir query --stream web --select count,latency.p99 --by service`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %q?", near[0])
			}
			return usagef(cmd, "unknown command %q%s", args[0], hint)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd.CommandPath(), err}
	})
	root.AddCommand(
		newServe(),
		newDemo(),
		newLoad(),
		newQuery(),
		newCheck(),
		newInspect(),
		newDetect(),
		newBacktest(),
		newIncident(),
		newSilence(),
		newWebhook(),
		newSketch(),
		newVersion(),
	)
	for _, cmd := range root.Commands() {
		cmd.Args = usageArgs(cmd.Args)
	}
	return root
}

// usageArgs makes complaints about arguments usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return &usageError{cmd.CommandPath(), err}
		}
		return nil
	}
}

// usagef returns a usage error of the command.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// defaultConfig is the configuration file that is read when none is named.
const defaultConfig = "weir.yaml"

// configFlag gives the command the flag that names its configuration.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", defaultConfig, "configuration `file`")
	if err := cmd.MarkFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // the flag was defined in the line above
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Prints the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "weir %s\n", version())
			return err
		},
	}
}

// version describes the build: the module's version or the commit, and the
// compiler.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown build)"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		var dirty string
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v = s.Value[:min(12, len(s.Value))]
			case "vcs.modified":
				if s.Value == "true" {
					dirty = "+changes"
				}
			}
		}
		v += dirty
	}
	return v + " " + strings.TrimSpace(info.GoVersion)
}
