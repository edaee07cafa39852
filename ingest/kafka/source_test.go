package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/ingest"
)

// member is a process of the group under test.
type member struct {
	source *Source
	stop   func()

	mu      sync.Mutex
	has     map[string]func() ingest.Log // guarded by mu
	revoked int                          // guarded by mu
}

func (m *member) Assigned(partitions map[string]func() ingest.Log) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.has = partitions
}

func (m *member) Revoked() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revoked++
}

func (m *member) partitions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.has))
}

func (w *world) join(name, topic, group string) *member {
	w.t.Helper()
	source, err := New(Config{Brokers: w.brokers, Topic: topic, Group: group, Node: Node{Name: name, Address: "http://" + name},
		Session: 6 * time.Second, Watch: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(w.logs, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{source: source}
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, m) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(m.stop)
	return m
}

// eventually waits until f holds, and tells what does not.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s\n%s", what, w.logs)
		}
	}
}

func together(members ...*member) (all []string) {
	for _, m := range members {
		all = append(all, m.partitions()...)
	}
	slices.Sort(all)
	return all
}

func names(topic string, n int) []string {
	var out []string
	for p := range n {
		out = append(out, Partition(topic, p))
	}
	slices.Sort(out)
	return out
}

// committed asks the group itself.
func (w *world) committed(group, topic string, partition int) int64 {
	w.t.Helper()
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = topic, []int32{int32(partition)}
	g.Topics = append(g.Topics, t)
	request.Groups = append(request.Groups, g)
	t1 := kmsg.NewOffsetFetchRequestTopic()
	t1.Topic, t1.Partitions = topic, []int32{int32(partition)}
	request.Topics = append(request.Topics, t1)
	response, err := request.RequestWith(w.context(), w.admin)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range response.Groups {
		for _, t := range g.Topics {
			return t.Partitions[0].Offset
		}
	}
	return -1
}

// Members come and go, partitions are added, and all the while every partition
// ends with one member, few move, and everyone can be found.
func TestMembersShareTheTopic(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(6)
	group := "g-" + topic
	a := w.join("a", topic, group)
	w.eventually("a has all partitions", func() bool { return slices.Equal(a.partitions(), names(topic, 6)) })
	b := w.join("b", topic, group)
	w.eventually("a and b share", func() bool {
		return len(a.partitions()) == 3 && len(b.partitions()) == 3 && slices.Equal(together(a, b), names(topic, 6))
	})
	before := map[*member][]string{a: a.partitions(), b: b.partitions()}
	c := w.join("c", topic, group)
	w.eventually("a, b and c share", func() bool {
		return len(a.partitions()) == 2 && len(b.partitions()) == 2 && slices.Equal(together(a, b, c), names(topic, 6))
	})
	for m, had := range before {
		for _, p := range m.partitions() {
			if !slices.Contains(had, p) {
				t.Errorf("%s moved for nothing", p)
			}
		}
	}
	var members []Member
	w.eventually("the members are known", func() bool {
		var err error
		members, err = b.source.Members(w.context())
		return err == nil && len(members) == 3
	})
	for _, m := range members {
		of := map[string]*member{"a": a, "b": b, "c": c}[m.Name]
		slices.Sort(m.Partitions)
		if m.Address != "http://"+m.Name || !slices.Equal(m.Partitions, of.partitions()) {
			t.Errorf("member %+v, which has %v", m, of.partitions())
		}
	}
	if a.mu.Lock(); a.revoked < 2 {
		t.Errorf("told %d times that partitions are dealt out anew", a.revoked)
	}
	a.mu.Unlock()
	b.stop()
	w.eventually("a and c share", func() bool { return slices.Equal(together(a, c), names(topic, 6)) && len(a.partitions()) == 3 })
	request := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, 8
	request.Topics = append(request.Topics, rt)
	response, err := request.RequestWith(w.context(), w.admin)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("new partitions are found", func() bool { return slices.Equal(together(a, c), names(topic, 8)) && len(a.partitions()) == 4 })
}

// What segments speak for is committed to the group, also across a rebalance
// and at the end; and lag is known.
func TestProgressIsCommitted(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(2)
	group := "g-" + topic
	w.produce(w.admin, topic, 0, "a", "b", "c", "d")
	w.produce(w.admin, topic, 1, "a", "b", "c", "d")
	m := w.join("m", topic, group)
	w.eventually("partitions", func() bool { return len(m.partitions()) == 2 })
	logs := make([]*partitionLog, 2)
	for p := range logs {
		m.mu.Lock()
		logs[p] = m.has[Partition(topic, p)]().(*partitionLog)
		m.mu.Unlock()
		defer logs[p].Close()
		r := &reading{w: w, log: logs[p]}
		r.open()
		w.expect(r.read(), numbered(0, "a", "b", "c", "d"))
		logs[p].Committed(3)
		w.eventually("3 is committed", func() bool { return w.committed(group, topic, p) == 3 })
		if lag := m.source.Lag()[Partition(topic, p)]; lag.Next != 4 || lag.End != 4 || lag.Read == 0 {
			t.Errorf("lag %+v", lag)
		}
	}
	other := w.join("other", topic, group)
	w.eventually("both share", func() bool { return len(m.partitions()) == 1 && len(other.partitions()) == 1 })
	kept, left := 0, 1
	if m.partitions()[0] == Partition(topic, 1) {
		kept, left = 1, 0
	}
	logs[left].Committed(2) // a segment that was on its way: the partition is another's by now
	logs[kept].Committed(4)
	w.eventually("4 is committed", func() bool { return w.committed(group, topic, kept) == 4 })
	logs[kept].Committed(2)
	m.stop()
	if kept, left := w.committed(group, topic, kept), w.committed(group, topic, left); kept != 2 || left != 3 {
		t.Errorf("committed %d and %d at the end, want 2 of the partition that stayed and 3 of the one that went", kept, left)
	}
}

// A topic that is not there is not made by looking for it; one that goes and
// comes again is taken up again.
func TestTopicThatComesAndGoes(t *testing.T) {
	w := newWorld(t)
	topic := fmt.Sprintf("t-%x", rand.Uint64())
	m := w.join("m", topic, "g-"+topic)
	w.eventually("the log says what is missing", func() bool { return strings.Contains(w.logs.String(), "topic "+topic) })
	if lay, err := w.fetcher(topic).client.metadata(w.context(), topic); err != nil || lay.exists() {
		t.Fatalf("%+v, %v", lay, err)
	}
	w.create(topic, 2)
	w.eventually("partitions", func() bool { return slices.Equal(m.partitions(), names(topic, 2)) })
	w.delete(topic)
	w.eventually("nothing", func() bool { return len(m.partitions()) == 0 })
	w.create(topic, 3)
	w.eventually("partitions again", func() bool { return slices.Equal(m.partitions(), names(topic, 3)) })
}

func TestPartitionNamesFitTheStore(t *testing.T) {
	long := Partition(strings.Repeat("x", 249), 123456)
	if len(long) > 130 || long == Partition(strings.Repeat("x", 248)+"y", 123456) || Partition("t", 7) != "kafka:t:7" {
		t.Error(long)
	}
}
