package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
)

// nodes are processes of the program that share a topic and a store.
type nodes struct {
	t        *testing.T
	bin      string
	dir      string
	brokers  string
	producer *kgo.Client
	started  int
	sent     atomic.Int64 // acknowledged, or about to be
}

const clusterConfig = `
store: %s
listen: %s
flush: {interval: %s}
streams:
  numbers:
    source: {kafka: {brokers: ["%s"], topic: numbers, session: 6s}}
    time: {field: t, format: unix_ms, lateness: 1s}
    window: 1s
    measures: {n: {sum: n}}
`

func newNodes(t *testing.T, bin string, partitions int32) *nodes {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "numbers"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("numbers"),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	return &nodes{t: t, bin: bin, dir: t.TempDir(), brokers: cluster.ListenAddrs()[0], producer: producer}
}

// produce sends numbered events of a time, and returns when they are there.
func (c *nodes) produce(n int, at time.Time) {
	c.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Value: fmt.Appendf(nil, `{"t": %d, "n": 1}`, at.UnixMilli())}
	}
	c.sent.Add(int64(n))
	if err := c.producer.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		c.t.Error(err)
	}
}

// member is one of the processes.
type member struct {
	t     *testing.T
	url   string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended, once ended is closed

	mu   sync.Mutex
	said []string // guarded by mu
}

// start starts a node. listen may have port 0; more are lines of configuration.
func (c *nodes) start(listen, interval string, more ...string) *member {
	c.t.Helper()
	c.started++
	file := filepath.Join(c.dir, fmt.Sprintf("node-%d.yaml", c.started))
	text := fmt.Sprintf(clusterConfig, filepath.Join(c.dir, "store"), listen, interval, c.brokers) + strings.Join(more, "\n") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	m := &member{t: c.t, cmd: exec.Command(c.bin, "serve", "-c", file), ended: make(chan struct{})}
	log, err := m.cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	serving := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			m.mu.Lock()
			m.said = append(m.said, lines.Text())
			m.mu.Unlock()
			if _, after, ok := strings.Cut(lines.Text(), " url=http"); ok {
				address, _, _ := strings.Cut(after, " ")
				serving <- "http" + address
			}
		}
		m.err = m.cmd.Wait()
		close(m.ended)
	}()
	c.t.Cleanup(func() {
		m.cmd.Process.Kill()
		<-m.ended
	})
	select {
	case m.url = <-serving:
	case <-m.ended:
		c.t.Fatalf("the node ended with %v\n%s", m.err, m.output())
	}
	c.eventually("the node is ready", func() bool {
		_, err := m.get("/-/ready")
		return err == nil
	})
	return m
}

func (m *member) output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.said, "\n")
}

func (m *member) address() string { return strings.TrimPrefix(m.url, "http://") }

func (m *member) get(path string) ([]byte, error) {
	response, err := http.Get(m.url + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

func (m *member) cluster() *api.ClusterAnswer {
	m.t.Helper()
	body, err := m.get("/v1/cluster")
	if err != nil {
		m.t.Fatal(err)
	}
	out := new(api.ClusterAnswer)
	if err := json.Unmarshal(body, out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// ask asks for the number of events, of [from, to) if to is not zero.
func (m *member) ask(from, to time.Time) (*query.Answer, error) {
	values := url.Values{"stream": {"numbers"}, "select": {"count"}}
	if !to.IsZero() {
		values.Set("from", from.Format(time.RFC3339Nano))
		values.Set("to", to.Format(time.RFC3339Nano))
	}
	body, err := m.get("/v1/query?" + values.Encode())
	if err != nil {
		return nil, err
	}
	a := new(query.Answer)
	return a, json.Unmarshal(body, a)
}

func counted(a *query.Answer) int64 {
	if len(a.Series) == 0 {
		return 0
	}
	return int64(a.Series[0].Columns[0].Value[0])
}

func (c *nodes) eventually(what string, f func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !f(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s", what)
		}
	}
}

// shared reports whether so many nodes answer and share the partitions evenly.
func shared(a *api.ClusterAnswer, nodes int) bool {
	owned := map[string]int{}
	for _, p := range a.Streams[0].Partitions {
		if p.Owner == nil || p.Position == nil {
			return false
		}
		owned[*p.Owner]++
	}
	for _, n := range a.Nodes {
		if !n.Answers || owned[n.Name] != len(a.Streams[0].Partitions)/nodes {
			return false
		}
	}
	return len(a.Nodes) == nodes && len(owned) == nodes
}

// Each of two nodes knows both, whose the partitions are, and how far they have
// come.
func TestClusterOfTwo(t *testing.T) {
	c := newNodes(t, program(t), 4)
	both := []*member{c.start("127.0.0.1:0", "100ms"), c.start("127.0.0.1:0", "100ms")}
	at := time.Now().Truncate(time.Second)
	c.produce(400, at)
	for i, m := range both {
		done := func(p api.ClusterPartitionInfo) bool { return *p.Committed == 100 && *p.Position == 100 }
		c.eventually("the nodes share the partitions and have read them", func() bool {
			a := m.cluster()
			return shared(a, 2) && !slices.ContainsFunc(a.Streams[0].Partitions, func(p api.ClusterPartitionInfo) bool { return !done(p) })
		})
		a := m.cluster()
		if !a.Nodes[0].Self || a.Nodes[0].Address != m.address() || a.Nodes[1].Self || a.Nodes[1].Address != both[1-i].address() {
			t.Errorf("node %s says that the nodes are %+v", m.address(), a.Nodes)
		}
		for _, p := range a.Streams[0].Partitions {
			if p.Lag == nil || *p.Lag != 0 || p.Watermark == nil || !p.Watermark.Equal(at.Add(-time.Second)) {
				t.Errorf("partition %s: lag %v, watermark %v, want 0 and %v", p.Partition, p.Lag, p.Watermark, at.Add(-time.Second))
			}
		}
	}
}

// Nodes are asked where they say that they are, whatever they listen on. One that
// does not answer there makes answers incomplete, which name its partitions and
// do not wait for long.
func TestAdvertise(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	own, bin := freeAddress(t), program(t)
	_, port, _ := net.SplitHostPort(own)
	for name, test := range map[string]struct {
		listen, advertise, reason string
	}{
		"another name": {own, "localhost:" + port, ""},
		"silent":       {"127.0.0.1:0", silent.Addr().String(), "no answer within"},
		"nobody there": {"127.0.0.1:0", "127.0.0.1:1", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newNodes(t, bin, 4)
			asked := c.start("127.0.0.1:0", "1h") // what is read stays in memory
			other := c.start(test.listen, "1h", "advertise: "+test.advertise)
			at := time.Now().Truncate(time.Second)
			// The nodes share, by what the one says that the other can reach.
			c.eventually("the nodes share the partitions", func() bool { return shared(other.cluster(), 2) })
			time.Sleep(2 * time.Second) // a second after it began, a partition is stored for the first time
			c.produce(400, at)
			c.eventually("all is read", func() bool {
				a, err := other.ask(time.Time{}, time.Time{})
				return err == nil && counted(a) == 400
			})
			c.eventually("the nodes know each other", func() bool { return len(asked.cluster().Nodes) == 2 })
			if n := asked.cluster().Nodes[1]; n.Address != test.advertise || n.Answers != (test.reason == "") {
				t.Errorf("the other node is %+v", n)
			}
			var theirs []string
			for _, p := range other.cluster().Streams[0].Partitions {
				if *p.Owner == other.cluster().Nodes[0].Name {
					theirs = append(theirs, p.Partition)
				}
			}
			for range 3 {
				began := time.Now()
				a, err := asked.ask(at.Add(-time.Minute), at.Add(time.Minute))
				if err != nil {
					t.Fatal(err)
				}
				if spent := time.Since(began); spent > 8*time.Second {
					t.Errorf("an answer took %v", spent)
				}
				notes := strings.Join(a.Notes, "\n")
				if test.reason == "" {
					if counted(a) != 400 || strings.Contains(notes, "nobody answers") {
						t.Errorf("%d of 400, and %s", counted(a), notes)
					}
					continue
				}
				if a.Complete || counted(a) != 200 || !strings.Contains(notes, "nobody answers for partitions "+strings.Join(theirs, ", ")) {
					t.Errorf("complete %v, %d of the 200 that are not of %v, and %s", a.Complete, counted(a), theirs, notes)
				}
				if !strings.Contains(notes, test.advertise) || !strings.Contains(notes, test.reason) && !strings.Contains(notes, "silent a moment ago") {
					t.Errorf("the answer says %s, want %s and %s in it", notes, test.advertise, test.reason)
				}
			}
		})
	}
}

// One node after the other is replaced while events keep coming and both are
// asked all the time. No answer has too much. One that has less than another
// before it says of which partitions something is missing just then; one that is
// complete has all. None fails but for lack of a process to give it.
func TestRollingRestart(t *testing.T) {
	c := newNodes(t, program(t), 4)
	began := time.Now().Truncate(time.Second)
	producing, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() {
		for producing.Err() == nil {
			c.produce(20, time.Now())
			time.Sleep(10 * time.Millisecond)
		}
	})
	type place struct {
		*member
		leaving bool // it was told to
	}
	var mu sync.Mutex
	places := []place{{member: c.start("127.0.0.1:0", "300ms")}, {member: c.start("127.0.0.1:0", "300ms")}}
	c.eventually("the nodes share the partitions", func() bool { return shared(places[0].cluster(), 2) })

	past := time.Now().Truncate(time.Second)
	var inPast int64
	c.eventually("the past is complete", func() bool {
		a, err := places[0].ask(began, past)
		if err == nil && a.Complete {
			inPast = counted(a)
		}
		return inPast > 0
	})
	reasons := []string{"nobody answers for partition", "are being read again", "are left out: they do not connect"}
	answers, complete, fell, refused := 0, 0, 0, 0
	group.Go(func() {
		most := int64(0)
		for i := 0; producing.Err() == nil; i++ {
			mu.Lock()
			p := places[i%2]
			mu.Unlock()
			to := began.Add(10 * time.Minute)
			if i%4 > 1 {
				to = past
			}
			a, err := p.ask(began, to)
			if err != nil {
				mu.Lock()
				gone := places[i%2].leaving || places[i%2].member != p.member
				mu.Unlock()
				if !gone || !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("a node that was not told to leave, or is still there, answers with %v", err)
				}
				refused++
				time.Sleep(5 * time.Millisecond)
				continue
			}
			answers++
			n := counted(a)
			if sent := c.sent.Load(); n > sent || to.Equal(past) && n > inPast {
				t.Errorf("%d events are counted, %d were sent, %d of them up to %v; asked up to %v", n, sent, inPast, past, to)
			}
			if to.Equal(past) {
				if a.Complete {
					complete++
				}
				if a.Complete && n != inPast {
					t.Errorf("an answer is complete with %d of %d events", n, inPast)
				}
				continue
			}
			if n < most {
				fell++
				if notes := fmt.Sprint(a.Notes); !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(notes, r) }) {
					t.Errorf("an answer fell from %d to %d and does not say why: %v", most, n, a.Notes)
				}
			}
			most = max(most, n)
		}
	})
	for i := range 4 {
		mu.Lock()
		old := places[i%2]
		places[i%2].leaving = true
		mu.Unlock()
		if err := old.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-old.ended
		if old.err != nil {
			t.Errorf("the node ended with %v\n%s", old.err, old.output())
		}
		fresh := c.start("127.0.0.1:0", "300ms")
		mu.Lock()
		places[i%2] = place{member: fresh}
		mu.Unlock()
		c.eventually("the nodes share the partitions", func() bool { return shared(fresh.cluster(), 2) })
	}
	stop()
	group.Wait()
	c.eventually("all is counted", func() bool {
		a, err := places[0].ask(time.Time{}, time.Time{})
		return err == nil && counted(a) == c.sent.Load()
	})
	t.Logf("%d answers, %d about the past complete, %d fell and said so, %d refused; %d events", answers, complete, fell, refused, c.sent.Load())
	if answers < 100 || complete < 5 {
		t.Error("there were too few answers to tell")
	}
}
