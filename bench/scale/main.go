// Command scale measures what several nodes do that one does not: how they
// share the partitions of a topic, how fast they read it together, how long it
// takes them to replace one of them, and what reading a topic costs beside
// reading a file of the very same events.
//
//	go run ./bench/scale [-events 4000000] [-partitions 12] [-version 4.1.1] [-codec lz4] [-session 10s] [-only file,share,leave,catalog]
//
// The nodes are the program as users have it, each in a process of its own with
// GOMAXPROCS=1, over a directory that they share and a real broker on this
// machine. What they do is rates of CPU time, user and system, of the nodes
// alone: on a machine with fewer cores than nodes and a broker, the clock on the
// wall measures who had to wait, and is printed beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
)

// bench is one run of the command.
type bench struct {
	dir        string // of this run, deleted at its end
	bin        string // the program
	brokers    string
	events     int
	partitions int
	codec      string
	session    time.Duration
	runs       int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	b := &bench{}
	flag.IntVar(&b.events, "events", 4_000_000, "events in a topic")
	flag.IntVar(&b.partitions, "partitions", 12, "partitions of the topic that nodes share")
	flag.StringVar(&b.codec, "codec", "lz4", "how the topic is compressed: none, gzip, snappy, lz4, zstd")
	flag.DurationVar(&b.session, "session", 10*time.Second, "session of the group")
	flag.IntVar(&b.runs, "runs", 3, "counted runs of file and topic")
	version := flag.String("version", "4.1.1", "version of the broker")
	only := flag.String("only", "file,share,leave,catalog", "what to measure")
	flag.Parse()
	steps := map[string]func(context.Context) error{"file": b.besideFile, "share": b.share, "leave": b.leave, "catalog": b.catalog}
	wanted := strings.Split(*only, ",")
	for _, name := range wanted {
		if steps[name] == nil {
			return fmt.Errorf("there is nothing called %q to measure", name)
		}
	}
	if b.dir, err = os.MkdirTemp("", "weir-bench-scale-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.bin = filepath.Join(b.dir, "weir")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.bin, "github.com/weir-stream/weir/cmd/weir").CombinedOutput(); err != nil {
		return fmt.Errorf("build weir: %w\n%s", err, out)
	}
	broker, err := kafkatest.Start(ctx, *version, b.dir, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Stop()) }()
	b.brokers = broker.Addr
	for _, name := range []string{"file", "share", "leave", "catalog"} {
		if !slices.Contains(wanted, name) {
			continue
		}
		if err := steps[name](ctx); err != nil {
			return err
		}
	}
	return nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// web is the stream that is measured with.
func (b *bench) web() workload.Web {
	w := workload.Standard()
	w.Events = b.events
	return w
}

// ranged is a median and the range around it.
type ranged []float64

func (r ranged) String() string {
	s := slices.Sorted(slices.Values(r))
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s[len(s)/2], s[0], s[len(s)-1])
}

func (r ranged) median() float64 { return slices.Sorted(slices.Values(r))[len(r)/2] }
