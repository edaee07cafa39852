//go:build unix

// Command kafka measures how much CPU it takes to fetch a topic: this program's
// own way beside kafka-go's Reader and franz-go, for several codecs, in one run
// against a real broker.
//
//	go run ./bench/kafka [-messages 2000000] [-version 4.1.1] [-codecs none,lz4,zstd] [-runs 3]
//
// The messages are web requests in JSON, in 8 partitions. The broker runs in a
// process of its own; what is printed is millions of messages a second of this
// process's CPU time, user and system: the median of the runs, and their range.
// Every reader must see every message, and looks at each value's length.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
	"github.com/weir-stream/weir/store"
)

const partitions = 8

// reader reads a topic to its end, and gives the number and bytes of its values.
type reader struct {
	name string
	read func(ctx context.Context, brokers []string, topic string, want int64) (count, size int64, err error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/kafka:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	messages := flag.Int64("messages", 2_000_000, "messages in each topic")
	version := flag.String("version", "4.1.1", "version of the broker")
	names := flag.String("codecs", "none,lz4,zstd", "codecs: none, gzip, snappy, lz4, zstd")
	runs := flag.Int("runs", 3, "counted runs of each, after one that is not")
	flag.Parse()
	dir, err := os.MkdirTemp("", "weir-bench-kafka-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	broker, err := kafkatest.Start(ctx, *version, dir, say)
	if err != nil {
		return err
	}
	defer broker.Stop()
	brokers := []string{broker.Addr}

	codecs := strings.Split(*names, ",")
	sizes := make(map[string]int64)
	for _, codec := range codecs {
		if sizes[codec], err = produce(ctx, brokers, codec, *messages); err != nil {
			return fmt.Errorf("produce with %s: %w", codec, err)
		}
		say("produced %d messages with codec %s", *messages, codec)
	}
	readers := []reader{{"this program", readOurs}, {"kafka-go Reader", readKafkaGo}, {"franz-go", readFranz}}
	rates := make(map[string][]float64)
	for pass := range *runs + 1 {
		for _, codec := range codecs {
			for _, r := range readers {
				before := cpu()
				count, size, err := r.read(ctx, brokers, codec, *messages)
				spent := cpu() - before
				if err == nil && (count != *messages || size != sizes[codec]) {
					err = fmt.Errorf("%d messages of %d bytes, want %d of %d", count, size, *messages, sizes[codec])
				}
				if err != nil {
					return fmt.Errorf("%s, codec %s: %w", r.name, codec, err)
				}
				if pass > 0 {
					rates[r.name+codec] = append(rates[r.name+codec], float64(count)/1e6/spent.Seconds())
				}
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "million messages per CPU-second\t%s\n", strings.Join(codecs, "\t"))
	for _, r := range readers {
		fmt.Fprint(w, r.name)
		for _, codec := range codecs {
			all := rates[r.name+codec]
			slices.Sort(all)
			fmt.Fprintf(w, "\t%.2f (%.2f to %.2f)", all[len(all)/2], all[0], all[len(all)-1])
		}
		fmt.Fprintln(w)
	}
	return nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only a bad argument can be the cause
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// produce makes a topic that is called like the codec, and fills it.
func produce(ctx context.Context, brokers []string, codec string, n int64) (size int64, err error) {
	compression := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	how, ok := compression[codec]
	if !ok {
		return 0, errors.New("no such codec")
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerBatchCompression(how), kgo.DefaultProduceTopic(codec),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = codec, partitions, 1
	request.Topics = append(request.Topics, topic)
	if _, err := request.RequestWith(ctx, c); err != nil {
		return 0, err
	}
	var failed atomic.Pointer[error]
	for i := range n {
		value := fmt.Appendf(nil, `{"time":"2026-01-01T%02d:%02d:%02dZ","service":"checkout-%d","latency":%d.%d,"user":"u%d","path":"/p/%d"}`,
			i/360_000%24, i/6000%60, i/100%60, i*7919%200, i*104729%1000, i%10, i*15485863%1_000_000, i*32452843%20_000)
		size += int64(len(value))
		c.Produce(ctx, &kgo.Record{Partition: int32(i % partitions), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	err = c.Flush(ctx)
	if first := failed.Load(); first != nil {
		err = *first
	}
	return size, err
}

// tally counts what several goroutines read, and ends them when it is all.
type tally struct {
	count, size atomic.Int64
	want        int64
	done        context.CancelFunc
}

func (t *tally) add(count, size int64) {
	t.size.Add(size)
	if t.count.Add(count) >= t.want {
		t.done()
	}
}

// member is an owner of partitions that only counts.
type member struct {
	ctx   context.Context
	tally *tally
	group sync.WaitGroup
	once  sync.Once
	errs  chan error
}

func (m *member) Assigned(partitions map[string]func() ingest.Log) {
	m.once.Do(func() {
		for _, open := range partitions {
			m.group.Go(func() {
				if err := m.read(open()); err != nil && m.ctx.Err() == nil {
					m.errs <- err
					m.tally.done()
				}
			})
		}
	})
}

func (m *member) Revoked() {}

func (m *member) read(log ingest.Log) error {
	defer log.Close()
	if _, err := log.Open(m.ctx, store.Position{}); err != nil {
		return err
	}
	for {
		b, err := log.Next(m.ctx, nil)
		if err != nil {
			return err
		}
		size := int64(0)
		for i := range b.Records {
			size += int64(len(b.Records[i].Value.In(b.Data)))
		}
		m.tally.add(int64(len(b.Records)), size)
		if b.Release != nil {
			b.Release()
		}
	}
}

func readOurs(ctx context.Context, brokers []string, topic string, want int64) (count, size int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	source, err := kafka.New(kafka.Config{Brokers: brokers, Topic: topic, Group: "ours-" + topic})
	if err != nil {
		return 0, 0, err
	}
	m := &member{ctx: ctx, tally: &tally{want: want, done: cancel}, errs: make(chan error, partitions)}
	err = source.Run(ctx, m)
	m.group.Wait()
	select {
	case e := <-m.errs:
		err = cmp.Or(err, e)
	default:
	}
	return m.tally.count.Load(), m.tally.size.Load(), err
}

func readKafkaGo(ctx context.Context, brokers []string, topic string, want int64) (count, size int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &tally{want: want, done: cancel}
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for p := range partitions {
		group.Go(func() {
			r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: brokers, Topic: topic, Partition: p, MinBytes: 1, MaxBytes: 1 << 20})
			defer r.Close()
			for {
				m, err := r.FetchMessage(ctx)
				if err != nil {
					if ctx.Err() == nil {
						failed.CompareAndSwap(nil, &err)
						cancel()
					}
					return
				}
				t.add(1, int64(len(m.Value)))
			}
		})
	}
	group.Wait()
	if first := failed.Load(); first != nil {
		err = *first
	}
	return t.count.Load(), t.size.Load(), err
}

func readFranz(ctx context.Context, brokers []string, topic string, want int64) (count, size int64, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.FetchMaxPartitionBytes(1<<20),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	for count < want {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return count, size, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			count++
			size += int64(len(r.Value))
		})
	}
	return count, size, nil
}
