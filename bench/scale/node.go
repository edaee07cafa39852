package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/query"
)

// config is what every node runs. It is also what a file is loaded with.
const config = `
store: %s
listen: 127.0.0.1:0
flush: {memory: 512MiB}
streams:
  web:
    source: %s
    time: {field: time, lateness: 1s, max_ahead: 1h}
    window: 10s
    dimensions: [service, region]
    max_series: 1000000
    measures:
      latency: {quantile: latency}
      user:    {distinct: user}
      path:    {top: path, slots: 64}
`

// node is a running process of weir serve.
type node struct {
	address string // once it listens
	cmd     *exec.Cmd
	last    []string // lines that it said, the last few; read once done is closed
	done    chan struct{}
	err     error // how it ended, once done is closed
}

// said is how many lines of a node are kept, to tell why it ended.
const said = 50

// start starts a node over a store and a topic. Nodes of one store and topic are
// one cluster.
func (b *bench) start(ctx context.Context, store, topic string) (*node, error) {
	source := fmt.Sprintf(`{kafka: {brokers: ["%s"], topic: %s, session: %v}}`, b.brokers, topic, b.session)
	yaml, err := b.configure(store, source)
	if err != nil {
		return nil, err
	}
	n := &node{done: make(chan struct{})}
	n.cmd = exec.CommandContext(ctx, b.bin, "serve", "-c", yaml)
	n.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	log, err := n.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	listens := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if _, after, ok := strings.Cut(lines.Text(), "url=http://"); ok {
				address, _, _ := strings.Cut(after, " ")
				listens <- address
			}
			n.last = append(n.last[max(0, len(n.last)+1-said):], lines.Text())
		}
		n.err = n.cmd.Wait()
		close(n.done)
	}()
	select {
	case n.address = <-listens:
		return n, nil
	case <-n.done:
		return nil, n.ended()
	}
}

func (b *bench) configure(store, source string) (yaml string, err error) {
	yaml = filepath.Join(b.dir, store+".yaml")
	return yaml, os.WriteFile(yaml, fmt.Appendf(nil, config, filepath.Join(b.dir, store), source), 0o600)
}

// end lets the node finish, and gives what it cost from start to exit.
func (n *node) end() (cpu time.Duration, err error) {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	<-n.done
	if n.err != nil {
		return 0, fmt.Errorf("node %s: %w\n%s", n.address, n.err, strings.Join(n.last, "\n"))
	}
	return n.cmd.ProcessState.UserTime() + n.cmd.ProcessState.SystemTime(), nil
}

// kill ends it as a crash would.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may be gone already
	<-n.done
}

func (n *node) ended() error {
	select {
	case <-n.done:
		return fmt.Errorf("node %s ended by itself: %w\n%s", n.address, n.err, strings.Join(n.last, "\n"))
	default:
		return nil
	}
}

func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	if err := n.ended(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", n.address, path, response.Status, body)
	}
	return body, err
}

// cluster asks what the node knows of all of them.
func (n *node) cluster(ctx context.Context) (*api.ClusterAnswer, error) {
	body, err := n.get(ctx, "/v1/cluster")
	if err != nil {
		return nil, err
	}
	out := new(api.ClusterAnswer)
	return out, json.Unmarshal(body, out)
}

// count asks how many events there are in [from, to).
func (n *node) count(ctx context.Context, from, to time.Time) (count int64, complete bool, err error) {
	values := url.Values{"stream": {"web"}, "select": {"count"}}
	if !to.IsZero() {
		values.Set("from", from.Format(time.RFC3339Nano))
		values.Set("to", to.Format(time.RFC3339Nano))
	}
	body, err := n.get(ctx, "/v1/query?"+values.Encode())
	if err != nil {
		return 0, false, err
	}
	var a query.Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return 0, false, err
	}
	return countOf(&a), a.Complete, nil
}

// countOf gives the count of an answer that has nothing else.
func countOf(a *query.Answer) int64 {
	if len(a.Series) == 0 {
		return 0
	}
	return int64(a.Series[0].Columns[0].Value[0])
}

// spent gives the CPU time that the node has used so far, by what it says itself.
func (n *node) spent(ctx context.Context) (time.Duration, error) {
	body, err := n.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "process_cpu_seconds_total "); ok {
			seconds, err := strconv.ParseFloat(text, 64)
			return time.Duration(seconds * float64(time.Second)), err
		}
	}
	return 0, errors.New("the node does not say how much CPU time it has used")
}
