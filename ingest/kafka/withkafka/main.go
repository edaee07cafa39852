// Withkafka runs a command with a real Kafka broker, whose address it gives in
// KAFKA_BROKERS; once for each version:
//
//	withkafka -versions 4.1.1,3.9.1 go test ./ingest/kafka
//
// Where KAFKA_BROKERS is set already, the command runs once, with those. Where
// java or mvn is missing, it runs once without, which for the tests here means
// a broker in the test's own process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
)

const (
	brokersVariable = "KAFKA_BROKERS"
	versionVariable = "KAFKA_VERSION" // for tests that start, and kill, brokers of their own
)

func main() {
	versions := flag.String("versions", "4.1.1,3.9.1", "versions of Apache Kafka, one after the other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*versions, ","), flag.Args()); err != nil {
		say("%v", err)
		stop()
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "withkafka: "+format+"\n", args...) }

func run(ctx context.Context, versions, command []string) error {
	if len(command) == 0 {
		return errors.New("no command; see its source")
	}
	if given := os.Getenv(brokersVariable); given != "" {
		say("%s is set: running with the brokers at %s, and starting none", brokersVariable, given)
		return execute(ctx, command, given, os.Getenv(versionVariable))
	}
	for _, version := range versions {
		err := with(ctx, version, command)
		if errors.Is(err, kafkatest.ErrMissing) {
			say("%v; running without a real broker: the tests use one inside their process", err)
			return execute(ctx, command, "", "")
		}
		if err != nil {
			return fmt.Errorf("with Kafka %s: %w", version, err)
		}
	}
	return nil
}

func with(ctx context.Context, version string, command []string) error {
	dir, err := os.MkdirTemp("", "withkafka-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := kafkatest.Start(ctx, version, dir, say)
	if err != nil {
		return err
	}
	say("Kafka %s is at %s", version, b.Addr)
	return errors.Join(execute(ctx, command, b.Addr, version), b.Stop())
}

func execute(ctx context.Context, command []string, brokers, version string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), brokersVariable+"="+brokers, versionVariable+"="+version)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
	}
	return nil
}
