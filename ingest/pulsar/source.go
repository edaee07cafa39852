package pulsar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir/ingest"
)

// Source is a topic that nodes share by a subscription.
type Source struct {
	config  Config
	name    string // of this node's consumers
	logger  *slog.Logger
	changed chan struct{} // of capacity 1: a lock was won or lost

	mu    sync.Mutex
	locks map[string]*lock         // by partition's topic; guarded by mu
	logs  map[string]*partitionLog // the newest of each partition held; guarded by mu
}

// New returns a source that does nothing yet.
func New(config Config) (*Source, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	config.Topic = fullName(config.Topic)
	return &Source{config: config, name: fmt.Sprintf("%s/%08x", config.Node, rand.Uint32()), changed: make(chan struct{}, 1),
		logger: config.Logger.With("topic", config.Topic, "subscription", config.Subscription),
		locks:  make(map[string]*lock), logs: make(map[string]*partitionLog)}, nil
}

const (
	domain           = "persistent://"
	defaultNamespace = "public/default/"
	partitionSuffix  = "-partition-" // and the number, in the name of the topic that a partition is
)

// fullName gives the name of a topic with its domain, tenant and namespace.
func fullName(topic string) string {
	topic = strings.TrimPrefix(topic, domain)
	if !strings.Contains(topic, "/") {
		topic = defaultNamespace + topic
	}
	return domain + topic
}

const partitionPrefix = "pulsar:"

// Partition names a partition for good, by its topic: that of the partition, or,
// where there are none, the topic itself.
func Partition(topic string) string {
	const longest = 100 // a name in the store has at most 255 bytes, its slashes escaped
	name := strings.TrimPrefix(fullName(topic), domain)
	name, number, partitioned := cutLast(name, partitionSuffix)
	if escaped := len(name) + 2*strings.Count(name, "/"); escaped > longest {
		end := name[len(name)-longest/4:]
		name = fmt.Sprintf("%016x…%s", xxh3.HashString(name), strings.ToValidUTF8(end, ""))
	}
	if partitioned {
		name += ":" + number
	}
	return partitionPrefix + name
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Run takes part in the subscription until ctx is done.
func (s *Source) Run(ctx context.Context, owner ingest.Owner) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	defer c.close()
	defer s.leave(c)
	trouble := ingest.Trouble{Logger: s.logger}
	var had []string
	for {
		err := s.watch(ctx, c)
		if ctx.Err() != nil {
			return nil
		}
		if held := s.held(); !slices.Equal(held, had) {
			had = held
			s.logger.Info("partitions assigned", "partitions", held)
			owner.Assigned(s.assigned(c, held))
		}
		if err != nil {
			if err := trouble.Wait(ctx, err); err != nil {
				return nil
			}
			continue
		}
		trouble.Over()
		select {
		case <-s.changed:
		case <-time.After(s.config.Watch):
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Source) connect() (*client, error) {
	l := &clientLogger{logger: s.logger, streams: new(sync.Map)}
	inner, err := s.config.client(l)
	if err != nil {
		return nil, err
	}
	return &client{Client: inner, node: s.name, limit: s.config.Call, logger: l}, nil
}

// wake has Run look at the locks.
func (s *Source) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

const subscribing = 16 // at a time

// watch subscribes to partitions that are new.
func (s *Source) watch(ctx context.Context, c *client) error {
	topics, err := await(ctx, c, func() ([]string, error) { return c.TopicPartitions(s.config.Topic) }, func([]string) {})
	if err != nil {
		return fmt.Errorf("ask for the partitions of topic %s: %w", s.config.Topic, err)
	}
	s.mu.Lock()
	known := maps.Clone(s.locks)
	s.mu.Unlock()
	if len(known) > 0 && slices.Equal(topics, []string{s.config.Topic}) && known[s.config.Topic] == nil {
		return errors.New("the topic has no partitions any more; it was deleted, or made anew without")
	}
	var group errgroup.Group
	group.SetLimit(subscribing)
	for _, topic := range topics {
		if known[topic] != nil {
			continue
		}
		group.Go(func() error {
			k, err := s.subscribe(ctx, c, topic)
			if err != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.locks[topic] = k
			return nil
		})
	}
	return group.Wait()
}

// held gives the partitions' topics that are to be read here, sorted.
func (s *Source) held() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var held []string
	for topic, k := range s.locks {
		if k.held.Load() {
			held = append(held, topic)
		}
	}
	maps.DeleteFunc(s.logs, func(topic string, _ *partitionLog) bool { return !slices.Contains(held, topic) })
	slices.Sort(held)
	return held
}

// assigned gives what opens the logs of partitions.
func (s *Source) assigned(c *client, held []string) map[string]func() ingest.Log {
	out := make(map[string]func() ingest.Log, len(held))
	for _, topic := range held {
		out[Partition(topic)] = func() ingest.Log {
			l := newPartitionLog(c, &s.config, topic, s.acknowledge)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.logs[topic] = l
			return l
		}
	}
	return out
}

// acknowledge tells the subscription how far segments speak of a partition. One
// that is another node's by now is that node's to tell of.
func (s *Source) acknowledge(topic string, to place) {
	s.mu.Lock()
	k := s.locks[topic]
	s.mu.Unlock()
	if k == nil || !k.held.Load() {
		return
	}
	if err := k.acknowledge(to); err != nil {
		s.logger.Debug("an acknowledgement failed; the next one includes it", "partition", topic, "error", err)
	}
}

// leave gives all partitions up, so that others are made active at once.
func (s *Source) leave(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.locks {
		c.calls.Go(k.consumer.Close)
	}
	clear(s.locks)
	clear(s.logs)
}

// Lag gives how the reading of this node's partitions stands, by name.
func (s *Source) Lag() map[string]Lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Lag, len(s.logs))
	for topic, l := range s.logs {
		out[Partition(topic)] = *l.lag.Load()
	}
	return out
}

var _ pulsargo.ConsumerEventListener = (*lock)(nil)
