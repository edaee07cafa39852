package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/objects"
)

// settle waits until a node counts everything, and nothing else.
func (w *world) settle(n *node) {
	var last string
	for deadline := time.Now().Add(patience); w.ctx.Err() == nil; pause(w.ctx, 200*time.Millisecond) {
		a, err := n.ask(w.ctx, forever)
		if err != nil {
			last = err.Error()
		} else if last = w.truth.differs(a); last == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("node %d: %s\n%s", n.name, last, tail(n.output()))
			return
		}
	}
}

// differs says how an answer of all there is is not the truth.
func (t *truth) differs(a *answer) string {
	want, users := t.all()
	got, err := a.totals()
	if err != nil {
		return err.Error()
	}
	if got != want {
		return fmt.Sprintf("counts and sums are %v, want exactly %v; %v", got, want, a)
	}
	for _, s := range a.Series {
		k, _ := strconv.Atoi(strings.TrimPrefix(s.By["key"], "k"))
		d := s.Values["user.distinct"]
		if len(d.Value) != 1 || int(math.Round(d.Value[0])) != users[k] || d.Lower[0] > float64(users[k]) || d.Upper[0] < float64(users[k]) {
			return fmt.Sprintf("key %d has %+v users, want %d", k, d, users[k])
		}
	}
	return ""
}

// checkStore compares what a process without any memory finds in the store.
func (w *world) checkStore() {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, w.run.bin, "query", "-c", filepath.Join(w.nodes[0].dir, "weir.yaml"), "--stream", "numbers",
		"--select", selected, "--by", "key", "--from", earliest, "--to", forever, "-o", "json").Output()
	var a answer
	if err == nil {
		err = json.Unmarshal(out, &a)
	}
	if w.ctx.Err() != nil {
		return
	}
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		w.t.Fatalf("ask the store: %v\n%s%+v", err, out, exit)
	}
	if d := w.truth.differs(&a); d != "" {
		w.t.Errorf("the store: %s", d)
	}
}

// checkChains looks at every segment: each is on the chain of its partition,
// which has no gap and one log, and ends where the log does.
func (w *world) checkChains() {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	bucket, err := objects.Open(ctx, w.store)
	if err != nil {
		w.t.Fatal(err)
	}
	defer bucket.Close()
	catalog := store.NewCatalog(bucket, &weir.Stream{Name: "numbers", Window: window}, slog.New(slog.DiscardHandler))
	snapshot, err := catalog.Refresh(ctx)
	if err != nil {
		w.t.Error(err)
		return
	}
	if gaps := snapshot.Gaps(); len(gaps) > 0 || len(snapshot.Quarantined) > 0 {
		w.t.Errorf("the chains have gaps %v and damage %v, and nothing was lost", gaps, snapshot.Quarantined)
	}
	var walked, stored int
	for i := range snapshot.Chains {
		chain := &snapshot.Chains[i]
		p, ok := partitionOf(chain.Partition)
		if !ok {
			w.t.Fatalf("a chain of partition %q", chain.Partition)
		}
		if end := w.truth.ends()[int32(p)]; chain.End != end || chain.Shift != 0 {
			w.t.Errorf("the chain of partition %d ends at %d, shifted by %d; the log has %d events", p, chain.End, chain.Shift, end)
		}
		for _, s := range chain.Segments {
			if n := s.Meta.To - s.Meta.From; s.Meta.Events != n {
				w.t.Errorf("%v has %d events of %d offsets", &s.Meta, s.Meta.Events, n)
			}
		}
		walked += len(chain.Segments)
		folder := store.SegmentName("numbers", chain.Partition, 0)
		folder = folder[:strings.LastIndexByte(folder, '/')+1]
		for _, err := range bucket.List(ctx, folder, "") {
			if err != nil {
				w.t.Error(err)
				return
			}
			stored++
		}
	}
	if stored != walked || len(snapshot.Chains) != partitions {
		w.t.Errorf("%d segments are stored, and %d are on %d chains", stored, walked, len(snapshot.Chains))
	}
	f := &w.run.found
	f.mu.Lock()
	defer f.mu.Unlock()
	f.segments += stored
}

// settleGroup waits until tools for lag see that nothing is left to be read.
func (w *world) settleGroup() {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ends := w.truth.ends()
	for deadline := time.Now().Add(patience); w.ctx.Err() == nil; pause(w.ctx, 200*time.Millisecond) {
		committed, err := w.committed(client)
		if err == nil && maps.Equal(committed, ends) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("the group has the partitions at %v (%v), and they end at %v", committed, err, ends)
			return
		}
	}
}

// committed gives the offsets that the group has.
func (w *world) committed(client *kgo.Client) (map[int32]int64, error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = w.topic
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic = w.topic
	group := kmsg.NewOffsetFetchRequestGroup() // how newer brokers are asked
	group.Group = w.topic
	inGroup := kmsg.NewOffsetFetchRequestGroupTopic()
	inGroup.Topic = w.topic
	for p := range int32(partitions) {
		topic.Partitions, inGroup.Partitions = append(topic.Partitions, p), append(inGroup.Partitions, p)
	}
	request.Topics = append(request.Topics, topic)
	group.Topics = append(group.Topics, inGroup)
	request.Groups = append(request.Groups, group)
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	committed := make(map[int32]int64)
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			committed[p.Partition] = p.Offset
		}
	}
	for _, g := range response.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				committed[p.Partition] = p.Offset
			}
		}
	}
	return committed, nil
}
