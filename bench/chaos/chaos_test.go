// Package chaos runs three nodes over one topic and one bucket, does to them
// what a bad month does, and compares every answer with the truth.
//
//	producer ─→ Kafka ─→ 3 × weir serve ─→ S3, which fails on demand
//	   │ offset of each event    │ answers, with the offsets that they reached
//	   └────────── truth ── = ───┘
//
// Events are numbered, and where each lies in the log is known. So an answer
// that is given in the midst of faults has exactly one right value: the events
// below the offsets that it says it reached. One that says it is complete must
// have all events before its end, those included that nobody had read. One that
// reaches less far than another did before must say so.
//
//	make chaos                          100 faults, with a real broker
//	make chaos CHAOS=1000 SEED=7        as many as wanted, the same again
//	go test ./bench/chaos               a few, with a broker inside the test
//
// A run is made of rounds of 100 faults, each with a topic and a bucket of its
// own; a round is made of bursts of 20, after each of which every node must give
// a complete answer. README.md has what is compared, and what was found.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pace is how long things take with a broker.
type pace struct {
	session  time.Duration // how long a silent node keeps its partitions
	lateness time.Duration // more than an event is under way, even while the broker restarts
}

// paceOf gives that of a real broker, and that of one inside the test, which is
// not restarted.
func paceOf(real bool) pace {
	p := pace{session: 2500 * time.Millisecond, lateness: 8 * time.Second}
	if real {
		p.lateness = 25 * time.Second
	}
	return p
}

const (
	nodes      = 3
	partitions = 6
	patience   = 90 * time.Second // with the cluster, once the faults have stopped
	readLimit  = 3 * time.Second  // how long a node that reads nothing is spared
)

// run is the whole of it.
type run struct {
	seed   uint64
	pace   pace
	plan   []fault
	bin    string
	broker *restartable // nil: each round has one inside the test
	began  time.Time
	struck int // faults so far
	found  findings
}

func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("three processes are struck for some twenty seconds; not with -short")
	}
	n, err := strconv.Atoi(setting("WEIR_FAULTS", "5"))
	if err != nil {
		t.Fatalf("WEIR_FAULTS: %v", err)
	}
	seed, err := strconv.ParseUint(setting("WEIR_SEED", strconv.FormatInt(time.Now().UnixNano()%1_000_000, 10)), 10, 64)
	if err != nil {
		t.Fatalf("WEIR_SEED: %v", err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r := &run{seed: seed, bin: build(t), broker: realBroker(ctx, t), began: time.Now()}
	r.pace = paceOf(r.broker != nil)
	r.plan = schedule(seed, n, r.broker != nil)
	t.Logf("WEIR_SEED=%d WEIR_FAULTS=%d: %s", seed, n, describe(r.plan))
	for round := 0; r.struck < n && !t.Failed(); round++ {
		plan := r.plan[r.struck:min(n, r.struck+perRound)]
		t.Run(fmt.Sprint("Round", round+1), func(t *testing.T) { r.round(ctx, t, round, plan) })
	}
	t.Logf("WEIR_SEED=%d, %d of %d faults in %v: %s\n%v", seed, r.struck, n, time.Since(r.began).Round(time.Second), describe(r.plan[:r.struck]), &r.found)
	if err := ctx.Err(); err != nil {
		t.Errorf("interrupted: %v", context.Cause(ctx))
	}
}

func setting(name, otherwise string) string {
	if s := os.Getenv(name); s != "" {
		return s
	}
	return otherwise
}

// round strikes one topic and one bucket.
func (r *run) round(ctx context.Context, t *testing.T, number int, plan []fault) {
	w := newWorld(ctx, t, r, number)
	defer w.close()
	w.produce()
	for _, n := range w.nodes {
		n.start()
	}
	w.recover("the start")
	for i, f := range plan {
		if ctx.Err() != nil || t.Failed() {
			return
		}
		if i > 0 && i%perBurst == 0 {
			w.recover(fmt.Sprintf("%d faults", i))
		}
		pause(ctx, f.after)
		w.strike(f)
		r.struck++
		w.progress(f.String())
	}
	w.recover("all faults")
	w.finish()
}

// finish compares what is left when nothing is produced any more.
func (w *world) finish() {
	w.stopProducing()
	for _, n := range w.nodes {
		w.settle(n)
	}
	w.settleGroup()
	w.stopWatching()
	for _, n := range w.nodes {
		n.stop()
	}
	w.checkStore()
	w.checkChains()
	if !w.t.Failed() && w.ctx.Err() == nil {
		w.progress("round over: counts, sums and distinct counts exact from every node and from the store")
	}
}

// realBroker starts the broker of KAFKA_VERSION.
func realBroker(ctx context.Context, t *testing.T) *restartable {
	version := os.Getenv("KAFKA_VERSION")
	if version == "" {
		t.Log("KAFKA_VERSION is not set: the broker is one inside the test, and is not restarted")
		return nil
	}
	b, err := kafkatest.Start(ctx, version, t.TempDir(), t.Logf)
	if errors.Is(err, kafkatest.ErrMissing) {
		t.Logf("%v: the broker is one inside the test, and is not restarted", err)
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Kill() })
	return &restartable{broker: b}
}

func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "weir")
	race := "-race=" + strconv.FormatBool(os.Getenv("WEIR_RACE") != "")
	if out, err := exec.Command("go", "build", race, "-ldflags", "-s -w", "-o", bin, "../../cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
