// Withalertmanager runs a command with a real Alertmanager at hand, whose binary
// it names in ALERTMANAGER:
//
//	withalertmanager go test ./anomaly/notify
//
// It takes the one of ALERTMANAGER or of the PATH. Where there is none, and it is
// root on Debian, it installs Debian's package; that sets up a service too, where
// the system starts services. Where that cannot be done either, it says so and
// runs the command without: the tests then hold what is sent against the
// published API alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

const (
	variable = "ALERTMANAGER"
	debian   = "prometheus-alertmanager"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		say("%v", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "withalertmanager: "+format+"\n", args...)
}

func run(ctx context.Context, command []string) error {
	if len(command) == 0 {
		return errors.New("it wants a command to run")
	}
	binary, err := find(ctx)
	if err != nil {
		say("no Alertmanager: %v; running without, so that what is sent is held against the published API alone", err)
	} else if version, err := exec.CommandContext(ctx, binary, "--version").CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not run: %w: %s", binary, err, version)
	} else {
		first, _, _ := strings.Cut(string(version), "\n")
		say("with %s", first)
	}
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Env = append(os.Environ(), variable+"="+binary)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	return c.Run()
}

// find returns the path of an Alertmanager, which it installs if need be.
func find(ctx context.Context) (string, error) {
	if given := os.Getenv(variable); given != "" {
		return given, nil
	}
	for _, name := range []string{debian, "alertmanager"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%s is not installed, and only root may install it", debian)
	}
	if err := install(ctx); err != nil {
		// The list of packages may be missing, or old.
		if updating := apt(ctx, "update"); updating != nil {
			return "", errors.Join(err, updating)
		}
		if err := install(ctx); err != nil {
			return "", err
		}
	}
	return exec.LookPath(debian)
}

func install(ctx context.Context) error {
	return apt(ctx, "install", "--yes", "--no-install-recommends", debian)
}

func apt(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "apt-get", args...)
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
