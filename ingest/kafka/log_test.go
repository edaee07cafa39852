package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster: a fake one in this process, or a real one that
// KAFKA_BROKERS names.
type world struct {
	t       *testing.T
	fake    *kfake.Cluster // nil if it is real
	brokers []string
	admin   *kgo.Client
	logs    *logBuffer
}

func newWorld(t *testing.T, options ...kfake.Opt) *world {
	t.Helper()
	w := &world{t: t, logs: &logBuffer{}}
	if real := os.Getenv("KAFKA_BROKERS"); real != "" && options == nil {
		w.brokers = strings.Split(real, ",")
	} else {
		c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.GroupMinSessionTimeout(time.Second)}, options...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		w.fake, w.brokers = c, c.ListenAddrs()
	}
	w.admin = w.client()
	return w
}

// newFakeWorld is for tests of what only a fake cluster can be made to do.
func newFakeWorld(t *testing.T, options ...kfake.Opt) *world {
	if os.Getenv("KAFKA_BROKERS") != "" {
		t.Skip("KAFKA_BROKERS names a real cluster, and only a fake one can be made to do this")
	}
	return newWorld(t, options...)
}

func (w *world) client(options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.MetadataMinAge(50 * time.Millisecond)}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// topic makes a topic and gives its name.
func (w *world) topic(partitions int, config ...string) string {
	w.t.Helper()
	name := fmt.Sprintf("t-%x", rand.Uint64())
	w.create(name, partitions, config...)
	return name
}

func (w *world) create(name string, partitions int, config ...string) {
	w.t.Helper()
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), 1
	for _, c := range config {
		k, v, _ := strings.Cut(c, "=")
		set := kmsg.NewCreateTopicsRequestTopicConfig()
		set.Name, set.Value = k, kmsg.StringPtr(v)
		topic.Configs = append(topic.Configs, set)
	}
	request.Topics = append(request.Topics, topic)
	for {
		response, err := request.RequestWith(w.context(), w.admin)
		if err == nil {
			err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
		}
		if errors.Is(err, kerr.TopicAlreadyExists) { // it is still being deleted
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if err != nil {
			w.t.Fatalf("create topic %s: %v", name, err)
		}
		return
	}
}

func (w *world) delete(name string) {
	w.t.Helper()
	request := kmsg.NewPtrDeleteTopicsRequest()
	request.TopicNames = []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(w.context(), w.admin)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].ErrorCode)
	}
	if err != nil {
		w.t.Fatalf("delete topic %s: %v", name, err)
	}
}

// dropBefore makes the log begin at the offset, as retention does.
func (w *world) dropBefore(topic string, partition int, offset int64) {
	w.t.Helper()
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.TimeoutMillis = 5000
	rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = int32(partition), offset
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, rp)
	request.Topics = append(request.Topics, rt)
	response, err := request.RequestWith(w.context(), w.admin)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		w.t.Fatalf("delete the records of %s before %d: %v", topic, offset, err)
	}
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// produce appends values and returns when they are there.
func (w *world) produce(c *kgo.Client, topic string, partition int, values ...string) {
	w.t.Helper()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(partition), Value: []byte(v)}
	}
	if err := c.ProduceSync(w.context(), records...).FirstErr(); err != nil {
		w.t.Fatalf("produce to %s: %v", topic, err)
	}
}

// reading is a log under test.
type reading struct {
	w         *world
	log       *partitionLog
	client    *client
	committed atomic.Int64
	at        store.Position
	start     ingest.Start
}

func (w *world) fetcher(topic string, change ...func(*Config)) *fetcher {
	w.t.Helper()
	config := Config{Brokers: w.brokers, Topic: topic, Group: "g"}
	for _, f := range change {
		f(&config)
	}
	config, err := config.withDefaults()
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := config.client()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.transport.CloseIdleConnections)
	return newFetcher(c, topic, time.Now)
}

func (w *world) log(f *fetcher, partition int) *reading {
	r := &reading{w: w, client: f.client, at: store.Position{Watermark: store.NoWatermark}}
	r.committed.Store(-1)
	r.log = newPartitionLog(f, partition, true, func(_ int, next int64) { r.committed.Store(next) }, slog.New(slog.NewTextHandler(w.logs, nil)))
	w.t.Cleanup(func() { r.log.Close() })
	return r
}

func (r *reading) open() ingest.Start {
	r.w.t.Helper()
	start, err := r.log.Open(r.w.context(), r.at)
	if err != nil {
		r.w.t.Fatal(err)
	}
	r.start = start
	r.at.Next, r.at.Log, r.at.Shift = start.From, start.Log, start.Shift
	return start
}

// read gives the values up to where the log is idle, with their chain offsets.
func (r *reading) read() []string {
	r.w.t.Helper()
	values, err := r.tryRead(r.w.context())
	if err != nil {
		r.w.t.Fatal(err)
	}
	return values
}

func (r *reading) tryRead(ctx context.Context) (values []string, err error) {
	for {
		asked := time.Now()
		b, err := r.log.Next(ctx, nil)
		if err != nil {
			return values, err
		}
		if b.From != r.at.Next || b.To < b.From {
			return values, fmt.Errorf("batch [%d, %d) after %d", b.From, b.To, r.at.Next)
		}
		r.at.Next = b.To
		for _, record := range b.Records {
			values = append(values, fmt.Sprintf("%d:%s", record.Offset, record.Value.In(b.Data)))
		}
		if b.Release != nil {
			for i := range b.Data { // what is released may be written over
				b.Data[i] = 'X'
			}
			b.Release()
		}
		if b.Idle {
			if b.Arrival.Before(asked.Add(-time.Second)) || b.Arrival.After(time.Now()) {
				return values, fmt.Errorf("idle since %v, asked at %v", b.Arrival, asked)
			}
			return values, nil
		}
	}
}

func numbered(first int64, texts ...string) []string {
	var out []string
	for i, text := range texts {
		out = append(out, fmt.Sprintf("%d:%s", first+int64(i), text))
	}
	return out
}

func (w *world) expect(got, want []string) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Fatalf("read %d, want %d\ngot  %.500q\nwant %.500q", len(got), len(want), got, want)
	}
}

// logBuffer is what several goroutines log to.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

var compressions = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}

// Several partitions, read at once by one fetcher while they are written, give
// every record once and in order.
func TestPartitionsAreReadTogether(t *testing.T) {
	for name, codec := range compressions {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			const partitions, rounds = 4, 30
			topic := w.topic(partitions)
			f := w.fetcher(topic)
			producer := w.client(kgo.ProducerBatchCompression(codec))
			var group sync.WaitGroup
			want := make([][]string, partitions)
			got := make([][]string, partitions)
			errs := make([]error, partitions)
			for p := range partitions {
				for round := range rounds {
					for i := range (p * 37 * round) % 200 {
						want[p] = append(want[p], fmt.Sprintf("%d:value %d %d of\npartition %d", len(want[p]), round, i, p))
					}
				}
				r := w.log(f, p)
				r.open()
				group.Add(1)
				go func() {
					defer group.Done()
					for len(got[p]) < len(want[p]) && errs[p] == nil {
						var values []string
						values, errs[p] = r.tryRead(w.context())
						got[p] = append(got[p], values...)
					}
				}()
			}
			for p := range partitions {
				for values := range slices.Chunk(want[p], 100) {
					var texts []string
					for _, v := range values {
						_, text, _ := strings.Cut(v, ":")
						texts = append(texts, text)
					}
					w.produce(producer, topic, p, texts...)
				}
			}
			group.Wait()
			for p := range partitions {
				if errs[p] != nil {
					t.Fatal(errs[p])
				}
				w.expect(got[p], want[p])
			}
		})
	}
}

func TestRecordsKeepKeyTimeAndHeaders(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	at := time.UnixMilli(1_700_000_000_123)
	err := w.admin.ProduceSync(w.context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("v"), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}}}, &kgo.Record{Topic: topic}).FirstErr()
	if err != nil {
		t.Fatal(err)
	}
	r := w.log(w.fetcher(topic), 0)
	r.open()
	b, err := r.log.Next(w.context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := messagesOf(&b)
	if len(got) != 2 || fmt.Sprint(got[0]) != fmt.Sprint(message{0, at.UnixMilli(), "k", "v", "a=1 b=<nil>"}) || got[1].value != "<nil>" {
		t.Errorf("%+v", got)
	}
	if lag := r.log.lag.Load(); lag.Next != 2 || lag.End != 2 || lag.Start != 0 {
		t.Errorf("lag %+v", lag)
	}
}

// What a transaction aborted is not seen, and while one is open, the log is not
// idle: there are offsets that nobody may read yet.
func TestTransactions(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	producer := w.client(kgo.TransactionalID(topic))
	r := w.log(w.fetcher(topic), 0)
	r.open()
	begin := func() {
		t.Helper()
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	end := func(commit kgo.TransactionEndTry) {
		t.Helper()
		if err := producer.EndTransaction(w.context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	w.produce(w.admin, topic, 0, "before")
	begin()
	w.produce(producer, topic, 0, "committed", "too")
	end(kgo.TryCommit)
	begin()
	w.produce(producer, topic, 0, "aborted")
	w.produce(w.admin, topic, 0, "beside it")
	end(kgo.TryAbort)
	w.expect(r.read(), []string{"0:before", "1:committed", "2:too", "5:beside it"})
	if r.at.Next != 7 { // markers have offsets
		t.Errorf("next offset %d, want 7", r.at.Next)
	}
	begin()
	w.produce(producer, topic, 0, "open")
	for range 3 {
		b, err := r.log.Next(w.context(), nil)
		if err != nil || b.Idle || len(b.Records) > 0 || b.To != 7 {
			t.Fatalf("within a transaction: %+v, %v", b, err)
		}
	}
	end(kgo.TryCommit)
	w.expect(r.read(), []string{"7:open"})
}

// Compaction leaves holes and batches without records; reading goes through.
func TestCompactedTopic(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1, "cleanup.policy=compact", "segment.ms=100", "min.cleanable.dirty.ratio=0.01", "max.compaction.lag.ms=100")
	var all []string
	put := func(key string) {
		t.Helper()
		value := fmt.Sprint("v", len(all))
		err := w.admin.ProduceSync(w.context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}).FirstErr()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, numbered(int64(len(all)), value)...)
	}
	for i := range 20 {
		put([]string{"a", "b", "c"}[i%3])
	}
	f := w.fetcher(topic)
	var values []string
	w.eventually("the topic is compacted", func() bool {
		time.Sleep(150 * time.Millisecond)
		put("d") // what is in the newest segment is not compacted
		if w.fake != nil {
			w.fake.Compact()
		}
		r := w.log(f, 0)
		r.open()
		values = r.read()
		return len(values) < 15
	})
	for _, v := range append([]string{all[len(all)-1]}, all[17:20]...) {
		if !slices.Contains(values, v) {
			t.Errorf("%s is the newest of its key and was not read; read %q", v, values)
		}
	}
}

// A topic of the same name that was made anew is another log: a gap says so.
func TestRecreatedTopicIsAnotherLog(t *testing.T) {
	for name, options := range map[string][]kfake.Opt{"by ID": nil, "by name": {kfake.MaxVersions(kversion.V2_8_0())}} {
		t.Run(name, func(t *testing.T) {
			if options != nil && os.Getenv("KAFKA_BROKERS") != "" {
				t.Skip("KAFKA_BROKERS names a real cluster, which is not that old")
			}
			w := newWorld(t, options...)
			topic := w.topic(1)
			w.produce(w.admin, topic, 0, "a", "b", "c")
			r := w.log(w.fetcher(topic), 0)
			first := r.open()
			w.expect(r.read(), numbered(0, "a", "b", "c"))
			w.delete(topic)
			w.create(topic, 1)
			producer := w.client()
			w.produce(producer, topic, 0, "A", "B", "C", "D", "E")
			values, err := r.tryRead(w.context())
			if !errors.Is(err, ingest.ErrMoved) || len(values) > 0 {
				t.Fatalf("%v, %q", err, values)
			}
			start := r.open()
			if start.Log == first.Log || start.From != 4 || start.Shift != 4 || start.Gap == nil || start.Gap.Reason != store.GapNewLog {
				t.Fatalf("%+v, gap %+v", start, start.Gap)
			}
			w.expect(r.read(), numbered(4, "A", "B", "C", "D", "E"))
			if r.log.End() != 9 {
				t.Errorf("end %d, want 9", r.log.End())
			}
			r.log.Committed(7)
			if got := r.committed.Load(); got != 3 {
				t.Errorf("committed %d, want 3", got)
			}
		})
	}
}

func TestLogThatBeginsPastItsStart(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	w.produce(w.admin, topic, 0, "a", "b", "c", "d")
	w.dropBefore(topic, 0, 3)
	r := w.log(w.fetcher(topic), 0)
	if start := r.open(); start.From != 3 || start.Shift != 0 || start.Gap == nil || start.Gap.Reason != store.GapStart {
		t.Fatalf("%+v, gap %+v", start, start.Gap)
	}
	w.expect(r.read(), []string{"3:d"})
}

// Retention that overtakes the reader is an error at first and then a gap.
func TestRetentionOvertakes(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	w.produce(w.admin, topic, 0, "a", "b")
	r := w.log(w.fetcher(topic), 0)
	first := r.open()
	r.read()
	w.produce(w.admin, topic, 0, "c", "d", "e")
	w.dropBefore(topic, 0, 4)
	if values, err := r.tryRead(w.context()); !errors.Is(err, ingest.ErrMoved) || len(values) > 0 {
		t.Fatalf("%v, %q", err, values)
	}
	start := r.open()
	if start.Log != first.Log || start.From != 4 || start.Gap == nil || start.Gap.Reason != store.GapRetention {
		t.Fatalf("%+v, gap %+v", start, start.Gap)
	}
	w.expect(r.read(), []string{"4:e"})
}

// A log that ends before what was read of it, as after an unclean election,
// goes on from its end.
func TestLogThatShrank(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	w.produce(w.admin, topic, 0, "a", "b")
	r := w.log(w.fetcher(topic), 0)
	first := r.open()
	r.at.Next = 100
	start := r.open()
	if start.Log != first.Log || start.From != 101 || start.Shift != 99 || start.Gap == nil || start.Gap.Reason != store.GapLogShrank {
		t.Fatalf("%+v, gap %+v", start, start.Gap)
	}
	w.produce(w.admin, topic, 0, "c")
	w.expect(r.read(), []string{"101:c"})
}

func TestMissingTopicIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	topic := fmt.Sprintf("t-%x", rand.Uint64())
	r := w.log(w.fetcher(topic), 0)
	opened := make(chan ingest.Start, 1)
	go func() {
		start, _ := r.log.Open(w.context(), r.at)
		opened <- start
	}()
	for !strings.Contains(w.logs.String(), topic) {
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(w.logs.String(), "cannot read; waiting") {
		t.Errorf("the log does not say what is waited for: %s", w.logs)
	}
	w.create(topic, 1)
	if start := <-opened; start.Gap != nil || start.From != 0 || start.Log == "" {
		t.Errorf("%+v", start)
	}
}

func TestLeaderMoves(t *testing.T) {
	w := newFakeWorld(t)
	topic := w.topic(1)
	r := w.log(w.fetcher(topic), 0)
	r.open()
	for i := range 6 {
		w.produce(w.admin, topic, 0, fmt.Sprint("v", i))
		began := time.Now()
		w.expect(r.read(), numbered(int64(i), fmt.Sprint("v", i)))
		if spent := time.Since(began); spent > 3*time.Second {
			t.Errorf("round %d took %v", i, spent)
		}
		if err := w.fake.MoveTopicPartition(topic, 0, int32(i%2)); err != nil {
			t.Fatal(err)
		}
	}
}

// Errors of brokers that pass are waited for, whatever they are.
func TestPassingErrors(t *testing.T) {
	w := newFakeWorld(t)
	topic := w.topic(1)
	r := w.log(w.fetcher(topic), 0)
	r.open()
	var want []string
	var got []string
	for i, err := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.LeaderNotAvailable,
		kerr.CorruptMessage, kerr.KafkaStorageError, kerr.TopicAuthorizationFailed, kerr.UnknownServerError, kerr.OffsetNotAvailable} {
		for _, top := range []bool{false, true} {
			h := w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: err, Count: 2, TopLevel: top})
			w.produce(w.admin, topic, 0, fmt.Sprint("v", i, top))
			want = append(want, fmt.Sprintf("%d:v%d %v", len(want), i, top))
			for len(got) < len(want) {
				values, err := r.tryRead(w.context())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, values...)
			}
			h.Remove()
		}
	}
	w.expect(got, want)
}

// A broker's word that an offset is out of range is checked: if it is not, the
// log goes on where it was.
func TestOffsetOutOfRangeIsChecked(t *testing.T) {
	w := newFakeWorld(t)
	topic := w.topic(1)
	w.produce(w.admin, topic, 0, "a")
	r := w.log(w.fetcher(topic), 0)
	r.open()
	w.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: kerr.OffsetOutOfRange, Count: 3})
	for range 3 {
		if _, err := r.tryRead(w.context()); !errors.Is(err, ingest.ErrMoved) {
			t.Fatal(err)
		}
		if start := r.open(); start.Gap != nil || start.From != 0 {
			t.Fatalf("%+v", start)
		}
	}
	w.expect(r.read(), []string{"0:a"})
}

// spoiler flips a bit of what brokers send, or cuts it off, now and then.
type spoiler struct {
	net.Conn
	spoil func(p []byte) error
}

func (s spoiler) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		if e := s.spoil(p[:n]); e != nil {
			return 0, e
		}
	}
	return n, err
}

// On a wire that flips bits and breaks off, what is read is right all the same.
func TestSpoiltWire(t *testing.T) {
	w := newWorld(t)
	rng := random(t)
	topic := w.topic(1)
	var want []string
	for i := range 40 {
		texts := make([]string, 50)
		for j := range texts {
			texts[j] = fmt.Sprintf("%d %d %s", i, j, strings.Repeat("x", rng.IntN(100)))
		}
		w.produce(w.admin, topic, 0, texts...)
		want = append(want, numbered(int64(len(want)), texts...)...)
	}
	f := w.fetcher(topic)
	var mu sync.Mutex
	spoilt := 0
	f.client.transport.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return spoiler{c, func(p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if len(p) < 2000 || spoilt >= 30 || spoilt >= 5 && rng.IntN(2) == 0 { // heads are not under any checksum
				return nil
			}
			spoilt++
			if rng.IntN(3) == 0 {
				c.Close()
				return net.ErrClosed
			}
			p[500+rng.IntN(len(p)-500)] ^= 1 << rng.IntN(8)
			return nil
		}}, err
	}
	r := w.log(f, 0)
	r.log.maxBytes = 8 << 10
	r.open()
	var got []string
	for len(got) < len(want) {
		values, err := r.tryRead(w.context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, values...)
	}
	w.expect(got, want)
	if spoilt < 3 {
		t.Errorf("only %d responses were spoilt", spoilt)
	}
}

func TestBatchLargerThanAsked(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(1)
	large := strings.Repeat("large ", 100_000)
	w.produce(w.admin, topic, 0, large, "small")
	r := w.log(w.fetcher(topic), 0)
	r.log.maxBytes = 1000
	r.open()
	w.expect(r.read(), numbered(0, large, "small"))
}

// Reading ends when it is told to, even while a broker does not answer.
func TestNextEndsWithItsContext(t *testing.T) {
	w := newFakeWorld(t)
	topic := w.topic(1)
	r := w.log(w.fetcher(topic), 0)
	r.open()
	r.read()
	release := make(chan struct{})
	w.fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.fake.SleepControl(func() { <-release })
		return nil, nil, false
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	for {
		if _, err := r.log.Next(ctx, nil); err != nil {
			break
		}
	}
	if spent := time.Since(began); spent > 2*time.Second {
		t.Errorf("ended after %v", spent)
	}
}

// What a broker says when nobody listens any more is not looked at: the race
// detector would tell. Nothing that the caller does leads to the answer, or the
// detector would take it for synchronization.
func TestAnswersThatComeTooLate(t *testing.T) {
	w := newFakeWorld(t)
	topic := w.topic(1)
	f := w.fetcher(topic)
	lay, err := f.layout(w.context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for key, ask := range map[kmsg.Key]func(ctx context.Context) error{
		kmsg.ListOffsets: func(ctx context.Context) error {
			_, err := f.client.bounds(ctx, lay.leaders[0], topic, 0)
			return err
		},
		kmsg.Metadata: func(ctx context.Context) error {
			_, err := f.client.metadata(ctx, topic)
			return err
		},
	} {
		w.fake.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.fake.SleepControl(func() { time.Sleep(300 * time.Millisecond) })
			return nil, nil, false
		})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel) // a deadline would end the connection, too
		if err := ask(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", key.Name(), err)
		}
		time.Sleep(400 * time.Millisecond) // the answer comes
	}
}

func TestAuthentication(t *testing.T) {
	for mechanism, theirs := range map[string]string{Plain: "PLAIN", SCRAMSHA256: "SCRAM-SHA-256", SCRAMSHA512: "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			if os.Getenv("KAFKA_BROKERS") != "" {
				t.Skip("KAFKA_BROKERS names a real cluster, whose users are not ours to make")
			}
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(theirs, "me", "secret"), kfake.SeedTopics(1, "t"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			w := &world{t: t, fake: c, brokers: c.ListenAddrs(), logs: &logBuffer{}}
			r := w.log(w.fetcher("t", func(c *Config) { c.SASL = &SASL{mechanism, "me", "secret"} }), 0)
			r.open()
			w.expect(r.read(), nil)
			wrong := w.log(w.fetcher("t", func(c *Config) { c.SASL = &SASL{mechanism, "me", "wrong"} }), 0)
			ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			defer cancel()
			if _, err := wrong.log.Open(ctx, wrong.at); err == nil {
				t.Error("a wrong password was taken")
			}
			if !strings.Contains(w.logs.String(), "password") {
				t.Errorf("the log does not say why: %s", w.logs)
			}
		})
	}
}

// A partition that nobody asks for, because its shard is full, holds up no
// other, and goes on where it stopped.
func TestPausedPartitionHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(2)
	f := w.fetcher(topic)
	paused, other := w.log(f, 0), w.log(f, 1)
	paused.open()
	other.open()
	var want []string
	for i := range 5 {
		w.produce(w.admin, topic, 0, fmt.Sprint("p", i))
		w.produce(w.admin, topic, 1, fmt.Sprint("o", i))
		w.expect(other.read(), numbered(int64(i), fmt.Sprint("o", i)))
		want = append(want, fmt.Sprintf("%d:p%d", i, i))
	}
	w.expect(paused.read(), want)
}
