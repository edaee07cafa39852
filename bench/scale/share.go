package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/api"
)

// sharing is how far the nodes have come together.
type sharing struct {
	answering int
	owned     map[string]int   // partitions by node
	read      map[string]int64 // positions by node, summed up
	position  int64            // sum of all positions
	committed int64            // and of what is in segments
	known     int              // partitions whose owner says how far it has come
}

func sharingOf(a *api.ClusterAnswer) *sharing {
	s := &sharing{owned: make(map[string]int), read: make(map[string]int64)}
	for _, n := range a.Nodes {
		if n.Answers {
			s.answering++
		}
	}
	for _, stream := range a.Streams {
		for _, p := range stream.Partitions {
			if p.Owner == nil || p.Position == nil {
				continue
			}
			s.known++
			s.owned[*p.Owner]++
			s.read[*p.Owner] += *p.Position
			s.position += *p.Position
			s.committed += *p.Committed
		}
	}
	return s
}

// balance is how many partitions each node has.
func (s *sharing) balance() string {
	var counts []string
	for _, name := range slices.Sorted(maps.Keys(s.owned)) {
		counts = append(counts, fmt.Sprint(s.owned[name]))
	}
	return strings.Join(counts, "+")
}

// balanced reports whether so many nodes share all partitions, none of them with
// two more than another.
func (s *sharing) balanced(nodes, partitions int) bool {
	if s.known != partitions || len(s.owned) != nodes {
		return false
	}
	counts := slices.Collect(maps.Values(s.owned))
	return slices.Max(counts)-slices.Min(counts) <= 1
}

// limit is how long anything here may take.
const limit = 3 * time.Minute

// until asks the first of some nodes how far all have come until that is enough.
func (b *bench) until(ctx context.Context, nodes []*node, enough func(*sharing) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		answer, err := nodes[0].cluster(ctx)
		so := new(sharing)
		if err == nil {
			if so = sharingOf(answer); enough(so) {
				return nil
			}
		}
		for _, n := range nodes {
			if gone := n.ended(); gone != nil {
				return gone
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the nodes do not come so far within %v: %w; last %+v, %w", limit, ctx.Err(), *so, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// share lets one, two and three nodes read one topic.
func (b *bench) share(ctx context.Context) error {
	fmt.Printf("\nnodes that share a topic of %d events in %d partitions, from when it can be read until\n", b.events, b.partitions)
	fmt.Printf("  %-6s %-11s %-30s %-28s %s\n", "nodes", "partitions", "read: million events/s, wall", "stored: million/CPU-second", "million events by node")
	for nodes := 1; nodes <= 3; nodes++ {
		if err := b.shareAmong(ctx, nodes); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) shareAmong(ctx context.Context, count int) error {
	name := fmt.Sprintf("shared-by-%d", count)
	defer os.RemoveAll(filepath.Join(b.dir, name))
	topic, err := b.fillUnseen(ctx, name, b.partitions)
	if err != nil {
		return err
	}
	defer topic.client.Close()
	nodes := make([]*node, count)
	for i := range nodes {
		if nodes[i], err = b.start(ctx, name, name); err != nil {
			return err
		}
		defer nodes[i].kill()
	}
	if err := b.until(ctx, nodes, func(s *sharing) bool { return s.balanced(count, b.partitions) }); err != nil {
		return err
	}
	idle, err := spent(ctx, nodes)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := topic.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	var end *sharing
	err = b.until(ctx, nodes, func(s *sharing) bool { end = s; return s.position >= int64(b.events+b.partitions) })
	if err != nil {
		return err
	}
	wall := time.Since(began)
	err = b.until(ctx, nodes, func(s *sharing) bool { return s.committed == end.position })
	if err != nil {
		return err
	}
	busy, err := spent(ctx, nodes)
	if err != nil {
		return err
	}
	var each []string
	for _, name := range slices.Sorted(maps.Keys(end.read)) {
		each = append(each, fmt.Sprintf("%.2f", float64(end.read[name])/1e6))
	}
	fmt.Printf("  %-6d %-11s %-30.2f %-28.2f %s\n", count, end.balance(), float64(b.events)/1e6/wall.Seconds(),
		float64(b.events)/1e6/(busy-idle).Seconds(), strings.Join(each, " + "))
	for _, n := range nodes {
		if _, err := n.end(); err != nil {
			return err
		}
	}
	return nil
}

// spent gives the CPU time that nodes have used.
func spent(ctx context.Context, nodes []*node) (total time.Duration, err error) {
	for _, n := range nodes {
		one, err := n.spent(ctx)
		if err != nil {
			return 0, err
		}
		total += one
	}
	return total, nil
}
