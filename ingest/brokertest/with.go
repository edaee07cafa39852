package brokertest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// With runs a command with a broker of its own, once for each version.
type With struct {
	Product  string // as people call it
	Versions string // by default, separated by commas
	Address  string // the environment variable that tells the command where the broker is
	Version  string // that tells its version, for tests that start brokers of their own
	Without  string // what the tests do where there is no broker

	// Start starts a broker of the version in the directory.
	Start func(ctx context.Context, version, dir string, progress func(string, ...any)) (Broker, error)
}

// Broker is what a command runs with.
type Broker interface {
	// Environ are variables, "name=value", that tell the command where it is.
	Environ() []string
	Stop() error
}

// Main is what the program does. Where a broker is given already, the command
// runs once, with that one. Where java or mvn is missing, it runs once without.
func (w With) Main() {
	versions := flag.String("versions", w.Versions, "versions of "+w.Product+", one after the other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := w.run(ctx, strings.Split(*versions, ","), flag.Args()); err != nil {
		say("%v", err)
		stop()
		os.Exit(1)
	}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, filepath.Base(os.Args[0])+": "+format+"\n", args...)
}

func (w With) run(ctx context.Context, versions, command []string) error {
	if len(command) == 0 {
		return errors.New("no command; see its source")
	}
	if given := os.Getenv(w.Address); given != "" {
		say("%s is set: running with %s at %s, and starting none", w.Address, w.Product, given)
		return execute(ctx, command, nil)
	}
	for _, version := range versions {
		err := w.with(ctx, version, command)
		if errors.Is(err, ErrMissing) {
			say("%v; running without %s: %s", err, w.Product, w.Without)
			return execute(ctx, command, nil)
		}
		if err != nil {
			return fmt.Errorf("with %s %s: %w", w.Product, version, err)
		}
	}
	return nil
}

func (w With) with(ctx context.Context, version string, command []string) error {
	dir, err := os.MkdirTemp("", "broker-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := w.Start(ctx, version, dir, say)
	if err != nil {
		return err
	}
	say("%s %s: %s", w.Product, version, strings.Join(b.Environ(), " "))
	return errors.Join(execute(ctx, command, append(b.Environ(), w.Version+"="+version)), b.Stop())
}

func execute(ctx context.Context, command, environ []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), environ...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return nil
}
