package pulsar

import (
	"context"
	"fmt"
	"sync/atomic"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/backoff"
)

// lock is this node's consumer of the subscription on one partition. It says
// whether the partition is to be read here, and receives nothing.
type lock struct {
	topic    string // of the one partition
	consumer pulsargo.Consumer
	changed  func()
	held     atomic.Bool
}

// subscribe makes this node one of those that may read the partition.
func (s *Source) subscribe(ctx context.Context, c *client, topic string) (*lock, error) {
	k := &lock{topic: topic, changed: s.wake}
	consumer, err := await(ctx, c, func() (pulsargo.Consumer, error) {
		return c.Subscribe(pulsargo.ConsumerOptions{
			Topic: topic, SubscriptionName: s.config.Subscription, Name: s.name,
			Type: pulsargo.Failover, SubscriptionInitialPosition: pulsargo.SubscriptionPositionEarliest,
			EnableZeroQueueConsumer: true, EventListener: k,
			BackOffPolicyFunc: func() backoff.Policy { // it begins to connect again
				k.set(false) // until the broker says who is active
				return backoff.NewDefaultBackoff()
			},
		})
	}, pulsargo.Consumer.Close)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s to topic %s: %w", s.config.Subscription, topic, err)
	}
	k.consumer = consumer
	return k, nil
}

func (k *lock) set(held bool) {
	if k.held.Swap(held) != held {
		k.changed()
	}
}

// BecameActive and BecameInactive are how the client tells.
func (k *lock) BecameActive(pulsargo.Consumer, string, int32)   { k.set(true) }
func (k *lock) BecameInactive(pulsargo.Consumer, string, int32) { k.set(false) }

// acknowledge lets Pulsar drop what segments speak for.
func (k *lock) acknowledge(to place) error {
	return k.consumer.AckIDCumulative(pulsargo.NewMessageID(to.ledger, to.entry, -1, -1))
}
