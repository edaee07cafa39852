package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir/ingest"
)

// Source is a topic that the members of a group share.
type Source struct {
	config  Config
	client  *client
	fetcher *fetcher
	dialer  *kafkago.Dialer
	logger  *slog.Logger
	wake    chan struct{} // of capacity 1: there is something to commit

	mu         sync.Mutex
	generation *kafkago.Generation   // the newest; guarded by mu
	mine       []int                 // partitions of it; guarded by mu
	logs       map[int]*partitionLog // the newest of each partition that is or was mine; guarded by mu
	progress   map[int]int64         // by partition, not yet committed; guarded by mu
	members    []Member              // when they were last known; guarded by mu
}

// Member is a member of the group, and what it reads.
type Member struct {
	Node
	Partitions []string
}

// New returns a source that does nothing yet.
func New(config Config) (*Source, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := config.client()
	if err != nil {
		return nil, err
	}
	dialer := &kafkago.Dialer{ClientID: config.Client, Timeout: callTimeout, TLS: c.transport.TLS, SASLMechanism: c.transport.SASL}
	return &Source{config: config, client: c, dialer: dialer, logger: config.Logger.With("topic", config.Topic, "group", config.Group),
		fetcher: newFetcher(c, config.Topic, config.Now), wake: make(chan struct{}, 1),
		logs: make(map[int]*partitionLog), progress: make(map[int]int64)}, nil
}

const partitionPrefix = "kafka:"

// Partition names a partition of a topic for good.
func Partition(topic string, n int) string {
	const longest = 100 // a name in the store has at most 255 bytes
	if len(topic) > longest {
		topic = fmt.Sprintf("%016x…%s", xxh3.HashString(topic), topic[len(topic)-longest/2:])
	}
	return partitionPrefix + topic + ":" + strconv.Itoa(n)
}

// Run takes part in the group until ctx is done. What is to be committed then
// still is.
func (s *Source) Run(ctx context.Context, owner ingest.Owner) error {
	defer s.client.transport.CloseIdleConnections()
	committing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() { s.commitAll(committing) })
	defer func() {
		stop()
		group.Wait()
		s.mu.Lock()
		s.generation, s.mine = nil, nil
		s.mu.Unlock()
	}()
	waiting := ingest.Trouble{Logger: s.logger}
	for {
		// Joining a group makes brokers create a missing topic, if they may.
		err := s.exists(ctx)
		if err == nil {
			waiting.Over()
			err = s.join(ctx, owner)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if err := waiting.Wait(ctx, err); err != nil {
				return nil
			}
		}
	}
}

func (s *Source) exists(ctx context.Context) error {
	lay, err := s.fetcher.layout(ctx, s.config.Now())
	if err == nil && !lay.exists() {
		err = fmt.Errorf("topic %s: %w", s.config.Topic, lay.code)
	}
	return err
}

// errGone ends a membership: the topic is not there any more.
var errGone = errors.New("the topic is gone")

// join is a member of the group until ctx is done or the topic is gone.
func (s *Source) join(ctx context.Context, owner ingest.Owner) error {
	cg, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{ID: s.config.Group, Brokers: s.config.Brokers,
		Dialer: s.dialer, Topics: []string{s.config.Topic}, GroupBalancers: []kafkago.GroupBalancer{balancer{s.claim}},
		HeartbeatInterval: s.config.Session / 10, SessionTimeout: s.config.Session, RebalanceTimeout: s.config.Session,
		JoinGroupBackoff: time.Second, Timeout: callTimeout})
	if err != nil {
		return fmt.Errorf("join group %s: %w", s.config.Group, err)
	}
	defer func() {
		if ctx.Err() != nil {
			s.commitLast(ctx) // while still a member
		}
		cg.Close()
	}()
	gone := make(chan struct{}, 1)
	joining := ingest.Trouble{Logger: s.logger}
	for {
		g, err := cg.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if err := joining.Wait(ctx, fmt.Errorf("join group %s: %w", s.config.Group, err)); err != nil {
				return nil
			}
			continue
		}
		joining.Over()
		var mine []int
		for _, p := range g.Assignments[s.config.Topic] {
			mine = append(mine, p.ID)
		}
		slices.Sort(mine)
		s.mu.Lock()
		s.generation, s.mine = g, mine
		maps.DeleteFunc(s.progress, func(p int, _ int64) bool { return !slices.Contains(mine, p) })
		maps.DeleteFunc(s.logs, func(p int, _ *partitionLog) bool { return !slices.Contains(mine, p) })
		s.mu.Unlock()
		s.logger.Info("partitions assigned", "generation", g.ID, "partitions", mine)
		owner.Assigned(s.assigned(mine))
		s.commitSoon()
		ended := make(chan struct{})
		g.Start(func(ctx context.Context) {
			defer close(ended)
			if errors.Is(s.watch(ctx), errGone) {
				gone <- struct{}{}
				<-ctx.Done() // a new generation would make brokers create the topic
			}
			owner.Revoked()
		})
		select {
		case <-ended:
		case <-gone:
			owner.Assigned(nil)
			return errGone
		case <-ctx.Done():
			return nil // Close ends the generation
		}
	}
}

// watch returns when the generation ends, or should: when the topic has got
// partitions or is gone.
func (s *Source) watch(ctx context.Context) error {
	had := -1
	for {
		if lay, err := s.fetcher.layout(ctx, s.config.Now()); err == nil {
			if had < 0 {
				had = len(lay.leaders)
			}
			switch {
			case lay.code == kafkago.UnknownTopicOrPartition:
				return errGone
			case lay.exists() && len(lay.leaders) != had:
				s.logger.Info("the topic's partitions have changed", "from", had, "to", len(lay.leaders))
				return nil
			}
		}
		select {
		case <-time.After(s.config.Watch):
		case <-ctx.Done():
			return nil
		}
	}
}

// assigned gives what opens the logs of partitions.
func (s *Source) assigned(mine []int) map[string]func() ingest.Log {
	out := make(map[string]func() ingest.Log, len(mine))
	for _, p := range mine {
		out[Partition(s.config.Topic, p)] = func() ingest.Log { return s.open(p) }
	}
	return out
}

func (s *Source) open(p int) *partitionLog {
	l := newPartitionLog(s.fetcher, p, s.config.Headers, s.committed, s.config.Logger)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[p] = l
	return l
}

// claim is what the balancer may know of this member.
func (s *Source) claim() claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := claim{Node: s.config.Node, Partitions: s.mine}
	if s.generation != nil {
		c.Generation = s.generation.ID
	}
	return c
}

// Members gives the members of the group. While the group deals its partitions
// out, nobody knows; then it is what was known before.
func (s *Source) Members(ctx context.Context) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api := &kafkago.Client{Addr: s.client.addr, Transport: s.client.transport}
	response, err := api.DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{s.config.Group}})
	if err == nil && len(response.Groups) != 1 {
		err = errMalformed
	}
	if err == nil {
		err = response.Groups[0].Error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.members != nil {
			return slices.Clone(s.members), nil
		}
		return nil, fmt.Errorf("ask who is in group %s: %w", s.config.Group, err)
	}
	g := response.Groups[0]
	if g.GroupState != "Stable" {
		return slices.Clone(s.members), nil
	}
	s.members = nil
	for _, m := range g.Members {
		var c claim
		if err := json.Unmarshal(m.MemberMetadata.UserData, &c); err != nil {
			c.Name = m.ClientID + "@" + strings.TrimPrefix(m.ClientHost, "/")
		}
		member := Member{Node: c.Node}
		for _, t := range m.MemberAssignments.Topics {
			for _, p := range t.Partitions {
				if t.Topic == s.config.Topic {
					member.Partitions = append(member.Partitions, Partition(t.Topic, p))
				}
			}
		}
		s.members = append(s.members, member)
	}
	return slices.Clone(s.members), nil
}

// Lag gives how the reading of this member's partitions stands, by name.
func (s *Source) Lag() map[string]Lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Lag)
	for p, l := range s.logs {
		if lag := l.lag.Load(); lag != nil {
			out[Partition(s.config.Topic, p)] = *lag
		}
	}
	return out
}
