package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// known is what was last heard of a group.
type known struct {
	mu      sync.Mutex // held while the group is asked, so that one question does it for all
	members []Member   // guarded by mu
	err     error      // guarded by mu
	told    time.Time  // guarded by mu; when the group said so, or zero if it could not be asked
	until   time.Time  // guarded by mu; good until then
}

// Membership changes rarely, and a node that was missed is noticed by its
// partitions. A group that cannot be asked is left alone for a while.
const (
	membersTTL  = time.Second
	membersAge  = 100 * time.Millisecond // from which on a missed node is a reason to ask again
	troubledTTL = 5 * time.Second
)

// formingGrace is how long a node waits to be told of the others before it is
// used. A group that takes longer may not come about at all, for want of a topic.
const formingGrace = 30 * time.Second

// membersOf returns the members of a stream's group. While the group cannot be
// asked, those last known stand.
func (c *Cluster) membersOf(ctx context.Context, stream string, k *known) ([]Member, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Now().Before(k.until) {
		return k.members, k.err
	}
	asking, cancel := context.WithTimeout(ctx, c.options.Patience)
	defer cancel()
	members, err := c.options.Groups[stream].Members(asking)
	switch {
	case ctx.Err() != nil:
		return k.members, ctx.Err() // says nothing about the group
	case err == nil && len(members) > 0:
		now := time.Now()
		k.members, k.err, k.told, k.until = members, nil, now, now.Add(membersTTL)
	case err == nil:
		if k.members == nil {
			k.err = errForming
		}
		k.until = time.Now().Add(membersTTL / 4)
	default:
		c.metrics.groups.Inc()
		c.logger.Debug("a group does not say who is in it", "stream", stream, "error", err)
		if k.members == nil {
			k.err = err
		}
		k.told, k.until = time.Time{}, time.Now().Add(troubledTTL)
	}
	return k.members, k.err
}

// changed asks the group again, unless it was asked a moment ago or could not be,
// and reports whether others than these are its members by now: partitions that
// nobody answers for may have a new owner.
func (c *Cluster) changed(ctx context.Context, stream string, k *known, members []Member) bool {
	k.mu.Lock()
	if !k.told.IsZero() && time.Since(k.told) >= membersAge {
		k.until = time.Time{}
	}
	k.mu.Unlock()
	newer, err := c.membersOf(ctx, stream, k)
	return err == nil && !slices.EqualFunc(newer, members, func(a, b Member) bool {
		return a.Name == b.Name && a.Address == b.Address && slices.Equal(a.Partitions, b.Partitions)
	})
}

// Ready says which stream's nodes are still being dealt its partitions, since this
// one began, or nil: until then, answers lack what the others have in memory. A
// group that cannot be asked is no reason to keep back what is stored.
func (c *Cluster) Ready() error {
	if time.Since(c.began) > formingGrace {
		return nil
	}
	for stream, group := range c.members {
		if _, err := c.membersOf(context.Background(), stream, group); errors.Is(err, errForming) {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
	}
	return nil
}

// others are the members to ask: one an address, and not this node.
func (c *Cluster) others(members []Member) (nodes []Member) {
	for _, m := range members {
		if m.Name == c.options.Name || m.Address == "" || m.Address == c.options.Address ||
			slices.ContainsFunc(nodes, func(n Member) bool { return n.Address == m.Address }) {
			continue
		}
		nodes = append(nodes, m)
	}
	return nodes
}
