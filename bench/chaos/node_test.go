package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
)

// node is a process that is started again whenever it has ended, as a
// supervisor would.
type node struct {
	w       *world
	name    int
	dir     string
	address string

	struck  atomic.Int64 // faults that it was the target of
	lives   atomic.Int64 // processes so far
	down    atomic.Bool  // from when a fault begins until the process answers again
	busy    sync.Mutex   // held while a fault lasts
	waiting sync.WaitGroup

	mu       sync.Mutex
	cmd      *exec.Cmd     // guarded by mu
	exited   chan struct{} // closed when cmd has ended; guarded by mu
	expected bool          // that it ends; guarded by mu
	born     time.Time     // guarded by mu
}

func (n *node) output() string { return filepath.Join(n.dir, "output") }

func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.startLocked()
}

func (n *node) startLocked() {
	out, err := os.OpenFile(n.output(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		n.w.t.Error(err)
		return
	}
	defer out.Close()
	cmd := exec.Command(n.w.run.bin, "serve", "-c", filepath.Join(n.dir, "weir.yaml"), "--log-level", "debug")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=256MiB")
	kafkatest.EndWithParent(cmd)
	n.lives.Add(1)
	if err := cmd.Start(); err != nil {
		n.w.t.Error(err)
		return
	}
	exited := make(chan struct{})
	n.cmd, n.exited, n.expected, n.born = cmd, exited, false, time.Now()
	n.waiting.Go(func() {
		err := cmd.Wait()
		n.ended(err)
	})
}

// ended is called when a process has ended: one that was told to must have
// ended well; any other must not have, unless it could not start because the
// store failed.
func (n *node) ended(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.exited) // nobody starts another one before the lock is free
	killed := n.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
	if n.expected && (err == nil || killed) || n.w.ctx.Err() != nil {
		return
	}
	last := lastLine(n.output())
	if strings.Contains(last, "probe the store") && n.w.storeTroubled(n.born) {
		f := &n.w.run.found
		f.mu.Lock()
		f.ended++
		f.mu.Unlock()
	} else {
		n.w.t.Errorf("node %d ended by itself (%v), told to end: %v:\n%s", n.name, err, n.expected, tail(n.output()))
	}
	if !n.expected {
		time.Sleep(200 * time.Millisecond) // with the lock held: what is to be struck next is there
		n.startLocked()
	}
}

func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.expected = n.expected || s == syscall.SIGKILL || s == syscall.SIGTERM
	if err := n.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.w.t.Errorf("signal node %d: %v", n.name, err)
	}
}

func (n *node) wait() {
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	select {
	case <-exited:
	case <-time.After(time.Minute):
		n.w.t.Errorf("node %d has not ended a minute after it was told to:\n%s", n.name, n.stacks())
		n.signal(syscall.SIGKILL)
		<-exited
	}
}

// stacks ends a process that hangs, and says where it hung.
func (n *node) stacks() string {
	n.signal(syscall.SIGQUIT)
	time.Sleep(time.Second)
	return tail(n.output())
}

// strike makes a fault happen to the node.
func (n *node) strike(f fault) {
	n.struck.Add(1)
	n.down.Store(true)
	switch f.kind {
	case kill, restart:
		n.signal(map[kind]syscall.Signal{kill: syscall.SIGKILL, restart: syscall.SIGTERM}[f.kind])
		n.wait()
		pause(n.w.ctx, f.hold)
		n.start()
	case zombie:
		n.signal(syscall.SIGSTOP)
		pause(n.w.ctx, f.hold)
		n.signal(syscall.SIGCONT)
	}
	pause(n.w.ctx, 500*time.Millisecond) // or it is struck before it has begun
	n.struck.Add(1)
	n.down.Store(false)
}

// stop lets the process end in order.
func (n *node) stop() {
	n.signal(syscall.SIGTERM)
	n.wait()
}

// close leaves no process behind.
func (n *node) close() {
	n.mu.Lock()
	cmd := n.cmd
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	n.signal(syscall.SIGKILL) // a stopped process ends, too
	n.wait()
	n.waiting.Wait()
}

// ready reports whether the process says that it is.
func (n *node) ready(ctx context.Context) bool {
	_, err := n.get(ctx, "/-/ready")
	return err == nil
}

// reads reports whether the process reads a partition.
func (n *node) reads(ctx context.Context) bool {
	body, err := n.get(ctx, "/internal/v1/status")
	var status struct {
		Streams map[string][]weir.PartitionStatus
	}
	return err == nil && json.Unmarshal(body, &status) == nil &&
		slices.ContainsFunc(status.Streams["numbers"], func(p weir.PartitionStatus) bool { return p.Partition != "" })
}

func (n *node) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := n.w.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}

// restartable is a broker whose faults last.
type restartable struct {
	broker *kafkatest.Broker
	busy   sync.Mutex // held while a fault lasts
}

func (b *restartable) strike(ctx context.Context, f fault) error {
	stop := b.broker.Stop
	if f.crash {
		stop = b.broker.Kill
	}
	if err := stop(); err != nil {
		return err
	}
	pause(ctx, f.hold)
	if err := b.broker.Start(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("start the broker again: %w", err)
	}
	return nil
}

// tail is the end of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-12_000):]))
}

func lastLine(path string) string {
	text := tail(path)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
