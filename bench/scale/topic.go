package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/bench/workload"
)

// topic makes a topic, to which it gives a producer.
func (b *bench) topic(ctx context.Context, name string, partitions int, options ...kgo.Opt) (*producer, error) {
	compression := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	how, ok := compression[b.codec]
	if !ok {
		return nil, fmt.Errorf("there is no codec %q", b.codec)
	}
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(b.brokers), kgo.ProducerBatchCompression(how), kgo.DefaultProduceTopic(name),
		kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(100_000), kgo.UnknownTopicRetries(20))...)
	if err != nil {
		return nil, err
	}
	p := &producer{client: client}
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), 1
	request.Topics = append(request.Topics, topic)
	if _, err := request.RequestWith(ctx, client); err != nil {
		client.Close()
		return nil, err
	}
	return p, nil
}

// producer sends the workload to a topic. A request's key is its series, so that
// a series is in one partition, as it is where keys say what events are about.
type producer struct {
	client *kgo.Client
	failed atomic.Pointer[error]
}

func (p *producer) send(ctx context.Context, r *workload.Request) {
	line := r.Append(nil)
	key := fmt.Appendf(nil, "%d/%d", r.Service, r.Region)
	p.client.Produce(ctx, &kgo.Record{Key: key, Value: line[:len(line)-1]}, func(_ *kgo.Record, err error) {
		if err != nil {
			p.failed.CompareAndSwap(nil, &err)
		}
	})
}

// flush waits until all that was sent is acknowledged.
func (p *producer) flush(ctx context.Context) error {
	err := p.client.Flush(ctx)
	if first := p.failed.Load(); first != nil {
		err = errors.Join(*first, err)
	}
	return err
}

// fill makes a topic with the whole workload in it.
func (b *bench) fill(ctx context.Context, name string, partitions int) error {
	p, err := b.topic(ctx, name, partitions)
	if err != nil {
		return err
	}
	defer p.client.Close()
	return b.pour(ctx, p, name)
}

// fillUnseen makes a topic with the whole workload in it, in a transaction that
// is still to be committed: only then can it be read. Its partitions are longer
// by a marker each then.
func (b *bench) fillUnseen(ctx context.Context, name string, partitions int) (p *producer, err error) {
	p, err = b.topic(ctx, name, partitions, kgo.TransactionalID(name), kgo.TransactionTimeout(2*limit))
	if err != nil {
		return nil, err
	}
	if err = p.client.BeginTransaction(); err == nil {
		err = b.pour(ctx, p, name)
	}
	if err != nil {
		p.client.Close()
		return nil, err
	}
	return p, nil
}

func (b *bench) pour(ctx context.Context, p *producer, name string) error {
	say("filling topic %s with %d events", name, b.events)
	err := b.web().Each(func(r *workload.Request) error {
		p.send(ctx, r)
		return ctx.Err()
	})
	return errors.Join(err, p.flush(ctx))
}
