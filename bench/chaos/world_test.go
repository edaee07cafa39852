package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/store/storetest/s3test"
)

const config = `
store: %s
listen: %s
flush: {interval: 500ms}
streams:
  numbers:
    source: {kafka: {brokers: ["%s"], topic: %s, group: %s, session: %s}}
    time: {field: _timestamp, lateness: %s}
    window: %s
    dimensions: [{key: _key}]
    measures:
      n: {sum: n}
      user: {distinct: user}
`

// world is all that runs in a round.
type world struct {
	ctx     context.Context
	t       *testing.T
	run     *run
	nodes   []*node
	brokers string // address
	topic   string // and the group
	store   string // its URL
	s3      *flaky
	http    *http.Client
	truth   *truth
	judge   *judge
	began   time.Time

	faults     sync.WaitGroup // that last
	making     sync.WaitGroup // the producer
	stopMaking chan struct{}
	asking     sync.WaitGroup  // those who ask
	watching   context.Context // until it is over with asking
	stopAsking context.CancelFunc
}

func newWorld(ctx context.Context, t *testing.T, r *run, round int) *world {
	w := &world{ctx: ctx, t: t, run: r, topic: fmt.Sprint("numbers-", round+1), http: &http.Client{Transport: new(http.Transport)},
		truth: &truth{lateness: r.pace.lateness}, stopMaking: make(chan struct{}), began: time.Now()}
	w.watching, w.stopAsking = context.WithCancel(ctx)
	w.judge = newJudge(w.truth, &r.found, t.Errorf)
	if r.broker != nil {
		w.brokers = r.broker.broker.Addr
		w.createTopic()
	} else {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, w.topic), kfake.GroupMinSessionTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		w.brokers = cluster.ListenAddrs()[0]
	}
	s3test.Setenv(t)
	w.s3 = newFlaky(s3test.New(t, s3test.Kept), r.seed+uint64(round))
	w.store = s3test.Location(s3test.Serve(t, w.s3), "/chaos")
	for i := range nodes {
		n := &node{w: w, name: i, dir: t.TempDir(), address: freeAddress(t)}
		text := fmt.Sprintf(config, w.store, n.address, w.brokers, w.topic, w.topic, r.pace.session, r.pace.lateness, window)
		if err := os.WriteFile(filepath.Join(n.dir, "weir.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, n)
		w.asking.Go(func() { w.watch(n) })
	}
	return w
}

// close leaves nothing behind, however the round has gone.
func (w *world) close() {
	w.stopWatching()
	w.faults.Wait()
	for _, n := range w.nodes {
		n.close()
	}
	select {
	case <-w.stopMaking:
	default:
		w.stopProducing()
	}
	w.s3.ghosts.Wait()
	w.http.CloseIdleConnections()
	f := &w.run.found
	f.mu.Lock()
	f.events += w.truth.events()
	f.slowestEvent = max(f.slowestEvent, w.truth.slowest)
	for _, n := range w.nodes {
		out, err := os.ReadFile(n.output())
		if err != nil {
			continue // it was not started
		}
		if i := bytes.Index(out, []byte("WARNING: DATA RACE")); i >= 0 {
			w.t.Errorf("node %d:\n%s", n.name, out[i:min(i+4000, len(out))])
		}
		f.races += bytes.Count(out, []byte("another writer was first"))
		if keep := os.Getenv("WEIR_KEEP"); keep != "" {
			if err := os.WriteFile(filepath.Join(keep, fmt.Sprintf("%s-node%d.log", w.topic, n.name)), out, 0o600); err != nil {
				w.t.Error(err)
			}
		}
	}
	f.mu.Unlock()
}

func (w *world) createTopic() {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = w.topic, partitions, 1
	request.Topics = append(request.Topics, topic)
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	response, err := request.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	}
	if err != nil {
		w.t.Fatalf("create topic %s: %v", w.topic, err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// strike makes a fault happen. It lasts while others follow; a node, and the
// broker, has one at a time.
func (w *world) strike(f fault) {
	switch f.kind {
	case storage:
		w.s3.fail(f.trouble, f.hold)
	case broker:
		b := w.run.broker
		b.busy.Lock()
		w.faults.Go(func() {
			defer b.busy.Unlock()
			if err := b.strike(w.ctx, f); err != nil {
				w.t.Error(err)
			}
		})
	default:
		n := w.nodes[f.node]
		n.busy.Lock()
		w.awaitReading(n)
		w.faults.Go(func() {
			defer n.busy.Unlock()
			n.strike(f)
		})
	}
}

// awaitReading waits until a node reads a partition, for what happens to one that
// does not means little; but not for long, since the others are in trouble, too.
func (w *world) awaitReading(n *node) {
	reads := n.reads(w.ctx)
	for began := time.Now(); !reads && time.Since(began) < readLimit && w.ctx.Err() == nil; reads = n.reads(w.ctx) {
		pause(w.ctx, 50*time.Millisecond)
	}
	f := &w.run.found
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.struck++; reads {
		f.reading++
	}
}

// storeTroubled reports whether the store has failed since a time, or so shortly
// before that requests may still have been repeated.
func (w *world) storeTroubled(since time.Time) bool {
	return w.s3.lastFailed().Add(5 * time.Second).After(since)
}

// recover waits until all faults are over, and every node is ready and gives
// complete answers again.
func (w *world) recover(after string) {
	w.faults.Wait()
	w.s3.fail(0, 0)
	began := time.Now()
	for _, n := range w.nodes {
		for !n.ready(w.ctx) || !w.judge.completeSince(n.name, began) {
			if w.ctx.Err() != nil || w.t.Failed() {
				return
			}
			if time.Since(began) > patience {
				a, err := n.ask(w.ctx, forever)
				w.t.Fatalf("after %s, node %d has given no complete answer for %v; now it says %v (%v)\n%s", after, n.name, patience, a, err, tail(n.output()))
			}
			pause(w.ctx, 50*time.Millisecond)
		}
	}
	took := time.Since(began)
	if after != "the start" {
		f := &w.run.found
		f.mu.Lock()
		f.slowest = max(f.slowest, took)
		f.mu.Unlock()
	}
	w.progress(fmt.Sprintf("after %s: all nodes give complete answers within %v", after, took.Round(100*time.Millisecond)))
}

// stopWatching ends the questions, and judges the last answers.
func (w *world) stopWatching() {
	w.stopAsking()
	w.asking.Wait()
	if w.ctx.Err() == nil && !w.t.Failed() {
		w.judge.finish()
	}
}

// progress tells how far the run is.
func (w *world) progress(what string) {
	if !testing.Verbose() {
		return
	}
	f := &w.run.found
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Printf("%7v  fault %d of %d  %8d events  %6d answers, %5d complete  %s\n", time.Since(w.run.began).Round(time.Second),
		w.run.struck, len(w.run.plan), f.events+w.truth.events(), f.answers, f.complete, what)
}
