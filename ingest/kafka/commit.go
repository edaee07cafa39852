package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-stream/weir/ingest"
)

// Segments are what counts; what is committed to the group only lets others
// see how far they speak. So a commit may be late, and one that fails is made
// again with the next.
const commitEvery = 500 * time.Millisecond

// committed notes how far segments speak of a partition. The last segment of a
// partition that is another member's by now is that member's to tell of: brokers
// take any offset from any member, and this one may be behind what is known.
func (s *Source) committed(partition int, next int64) {
	s.mu.Lock()
	mine := slices.Contains(s.mine, partition)
	if mine {
		s.progress[partition] = next
	}
	s.mu.Unlock()
	if mine {
		s.commitSoon()
	}
}

func (s *Source) commitSoon() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// commitLast commits what is noted, though ctx is done.
func (s *Source) commitLast(ctx context.Context) {
	if err := s.commit(context.WithoutCancel(ctx)); err != nil {
		s.logger.Warn("the last commit failed; others see less progress than was made", "error", err)
	}
}

// commitAll commits what is noted, until ctx is done.
func (s *Source) commitAll(ctx context.Context) {
	failing := ingest.Trouble{Logger: s.logger}
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		err := s.commit(ctx)
		if err == nil {
			failing.Over()
			select {
			case <-time.After(commitEvery): // to make one commit of many
			case <-ctx.Done():
			}
			continue
		}
		if failing.Wait(ctx, err) == nil {
			s.commitSoon()
		}
	}
}

// commit tells the group. What was noted meanwhile is left for the next time.
func (s *Source) commit(ctx context.Context) error {
	s.mu.Lock()
	g, progress := s.generation, maps.Clone(s.progress)
	s.mu.Unlock()
	if g == nil || len(progress) == 0 {
		return nil
	}
	var offsets []kafkago.OffsetCommit
	for p, next := range progress {
		offsets = append(offsets, kafkago.OffsetCommit{Partition: p, Offset: next})
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api := &kafkago.Client{Addr: s.client.addr, Transport: s.client.transport}
	response, err := api.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{GroupID: s.config.Group, GenerationID: int(g.ID), MemberID: g.MemberID,
		Topics: map[string][]kafkago.OffsetCommit{s.config.Topic: offsets}})
	if err != nil {
		return fmt.Errorf("commit to group %s: %w", s.config.Group, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range response.Topics[s.config.Topic] {
		switch {
		case p.Error != nil:
			err = fmt.Errorf("commit partition %d to group %s: %w", p.Partition, s.config.Group, p.Error)
		case s.progress[p.Partition] == progress[p.Partition]:
			delete(s.progress, p.Partition)
		}
	}
	return err
}
