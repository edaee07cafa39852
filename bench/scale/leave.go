package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-stream/weir/bench/workload"
)

const (
	liveRate = 20_000 // events a second while nodes come and go
	ask      = 50 * time.Millisecond
)

// leave takes one of three nodes away, by a kill and in order, while events keep
// coming and another node is asked all the time.
func (b *bench) leave(ctx context.Context) error {
	fmt.Printf("\none of three nodes leaves, %d events/s in %d partitions, session %v, seconds until\n", liveRate, b.partitions, b.session)
	fmt.Printf("  %-10s %-22s %-26s %-24s %s\n", "", "others own all of it", "answers are complete again", "incomplete answers", "in all")
	for _, how := range []string{"SIGKILL", "SIGTERM"} {
		if err := b.leaveBy(ctx, how); err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
	}
	return nil
}

func (b *bench) leaveBy(ctx context.Context, how string) error {
	store := "left-by-" + how
	defer os.RemoveAll(filepath.Join(b.dir, store))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := b.topic(ctx, store, b.partitions)
	if err != nil {
		return err
	}
	defer p.client.Close()
	began := time.Now().Truncate(10 * time.Second)
	produced := make(chan int, 1)
	producing, stopProducing := context.WithCancel(ctx)
	defer stopProducing()
	go func() { produced <- p.live(producing) }()

	nodes := make([]*node, 3)
	for i := range nodes {
		if nodes[i], err = b.start(ctx, store, store); err != nil {
			return err
		}
		defer nodes[i].kill()
	}
	witness, leaver := nodes[0], nodes[2]
	if err := b.until(ctx, nodes, func(s *sharing) bool { return s.balanced(3, b.partitions) }); err != nil {
		return err
	}
	// A range in the past, some of which is in no segment yet, once it is complete.
	to := time.Now()
	if _, err := b.complete(ctx, witness, began, to); err != nil {
		return err
	}
	left := time.Now()
	exited := make(chan error, 1)
	go func() {
		if how == "SIGKILL" {
			leaver.kill()
			exited <- nil
			return
		}
		_, err := leaver.end()
		exited <- err
	}()
	owned := make(chan time.Duration, 1)
	failed := make(chan error, 2)
	go func() {
		err := b.until(ctx, nodes[:2], func(s *sharing) bool { return s.balanced(2, b.partitions) && s.answering == 2 })
		failed <- err
		owned <- time.Since(left)
	}()
	// Answers are asked for until the others own all and have read it.
	asked, incomplete, least := 0, 0, int64(0)
	var lastBad, taken time.Duration
	for taken == 0 || time.Since(left) < taken+3*time.Second || lastBad > time.Since(left)-2*time.Second {
		count, complete, err := witness.count(ctx, began, to)
		if err != nil {
			return err
		}
		asked++
		if !complete {
			incomplete++
			lastBad = time.Since(left)
		}
		if complete && count < least {
			return fmt.Errorf("a complete answer fell from %d to %d", least, count)
		}
		if complete {
			least = count
		}
		select {
		case taken = <-owned:
		default:
		}
		if time.Since(left) > limit {
			return fmt.Errorf("answers are still incomplete after %v", limit)
		}
		time.Sleep(ask)
	}
	if err := <-failed; err != nil {
		return err
	}
	if err := <-exited; err != nil {
		return err
	}
	stopProducing()
	want := <-produced
	if err := b.until(ctx, nodes[:2], func(s *sharing) bool { return s.position >= int64(want) }); err != nil {
		return err
	}
	if count, _, err := witness.count(ctx, time.Time{}, time.Time{}); err != nil || count != int64(want) {
		return fmt.Errorf("%d events are counted, %d were produced; %w", count, want, err)
	}
	again := "never incomplete"
	if incomplete > 0 {
		again = fmt.Sprintf("%.1f", lastBad.Seconds())
	}
	fmt.Printf("  %-10s %-22.1f %-26s %-24s %s\n", how, taken.Seconds(), again, fmt.Sprintf("%d of %d", incomplete, asked), "every event counted once")
	for _, n := range nodes[:2] {
		if _, err := n.end(); err != nil {
			return err
		}
	}
	return nil
}

// complete waits until a range is answered for completely.
func (b *bench) complete(ctx context.Context, n *node, from, to time.Time) (int64, error) {
	for began := time.Now(); ; time.Sleep(ask) {
		count, complete, err := n.count(ctx, from, to)
		if err != nil || complete {
			return count, err
		}
		if time.Since(began) > limit {
			return count, fmt.Errorf("the answer is not complete after %v", limit)
		}
	}
}

// live sends events as they happen until ctx is done, and gives how many.
func (p *producer) live(ctx context.Context) (sent int) {
	w := workload.Standard()
	w.Start, w.PerSecond, w.Events = time.Now().UTC(), liveRate, int(limit.Seconds()*3)*liveRate
	_ = w.Each(func(r *workload.Request) error { // it ends when it is told to
		if ahead := time.Until(r.Time); ahead > 5*time.Millisecond {
			select {
			case <-time.After(ahead):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.send(context.WithoutCancel(ctx), r)
		sent++
		return nil
	})
	if err := p.flush(context.WithoutCancel(ctx)); err != nil {
		say("produce: %v", err)
		return -1
	}
	return sent
}
