package brokertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a broker's process, which can be stopped and started again.
type Process struct {
	Name  string                          // of the broker, for errors
	Dir   string                          // where it runs, and where its output goes
	Java  []string                        // what java is given
	Ready func(ctx context.Context) error // asks the broker; nil once it answers

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended, once done is closed
}

const (
	startLimit = 2 * time.Minute
	stopLimit  = 30 * time.Second
	askEvery   = 200 * time.Millisecond
	askLimit   = 2 * time.Second
)

// Start starts the broker, and waits until it answers. What it had stored before
// Stop or Kill is there again.
func (p *Process) Start(ctx context.Context) error {
	output, err := os.OpenFile(p.output(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command("java", p.Java...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, output, output
	EndWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		p.err = cmd.Wait()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		asking, stop := context.WithTimeout(ctx, askLimit)
		err := p.Ready(asking)
		stop()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("start %s: it ended (%v) with %s", p.Name, p.err, p.lastWords())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("start %s: no answer after %v: %w\n%s", p.Name, startLimit, err, p.lastWords())
		case <-time.After(askEvery):
		}
	}
}

// Stop lets the broker end in order, and ends it if it does not.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

// Kill ends the broker as a crash would.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

func (p *Process) end(how os.Signal) error {
	if err := p.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", p.Name, err)
		}
		<-p.done
	}
	return nil
}

func (p *Process) output() string { return filepath.Join(p.Dir, "output") }

func (p *Process) lastWords() string {
	const most = 4 << 10
	out, err := os.ReadFile(p.output())
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-most):])
}
