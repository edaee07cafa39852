package kafka

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// client speaks with brokers. Dialling, TLS, SASL and the pool of connections
// are kafka-go's; the messages that matter here are our own, exchanged over
// its connections.
type client struct {
	transport   *kafkago.Transport
	addr        net.Addr // of the brokers that the configuration names
	name        string
	correlation atomic.Int32

	mu       sync.Mutex
	versions map[int32]apiVersions // by broker, as long as it gives no error; guarded by mu
}

// apiVersions are the versions of each API that a broker speaks, from and to.
type apiVersions map[int16][2]int16

// topicID is what tells a topic from one of the same name that was there
// before. Brokers before 2.8 have none.
type topicID [16]byte

// String gives the ID as Kafka's own tools print it.
func (id topicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

const (
	apiFetch       = 1
	apiListOffsets = 2
	apiMetadata    = 3
	apiApiVersions = 18

	anyBroker = -1

	maxPartitions = 100_000 // of a topic
)

// call is one request to one broker. It owns all that it reads into: when its
// context ends first, the connection's goroutine may still be writing there, so
// after an error nothing of it is touched again.
type call struct {
	client *client
	broker int32
	api    int16
	do     func(x *exchange) error
}

// exchange is a call under way.
type exchange struct {
	request  requestWriter
	response responseReader
	versions apiVersions
	rw       io.ReadWriter
	client   *client
	api      int16
}

// ApiKey, Broker, Required and RawExchange are how kafka-go asks to be told
// what to send where.
func (c *call) ApiKey() protocol.ApiKey { return protocol.ApiKey(c.api) }

func (c *call) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: c.broker}, nil
}

func (c *call) Required(map[protocol.ApiKey]int16) bool { return true }

func (c *call) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	x := &exchange{rw: rw, client: c.client, api: c.api}
	if err := x.negotiate(c.broker); err != nil {
		return nil, err
	}
	return c, c.do(x)
}

// call sends a request and waits for its response, at most for the given time.
// Whatever do has read is good only if there is no error.
func (c *client) call(ctx context.Context, broker int32, api int16, limit time.Duration, do func(x *exchange) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := c.transport.RoundTrip(ctx, c.addr, &call{client: c, broker: broker, api: api, do: do})
	if err != nil {
		c.mu.Lock()
		delete(c.versions, broker) // it may come back as another version
		c.mu.Unlock()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = c.hungUp(err)
	}
	return err
}

// hungUp adds to an error why brokers end a connection without a word.
func (c *client) hungUp(err error) error {
	switch encrypted, named := c.transport.TLS != nil, c.transport.SASL != nil; {
	case named && encrypted:
		return fmt.Errorf("%w; brokers hang up so on a user or password that is wrong", err)
	case named:
		return fmt.Errorf("%w; brokers hang up so on a user or password that is wrong, and on whoever does not encrypt where they want tls", err)
	case !encrypted:
		return fmt.Errorf("%w; brokers that want tls or a password hang up so", err)
	}
	return err
}

// negotiate finds which versions the broker speaks.
func (x *exchange) negotiate(broker int32) error {
	c := x.client
	c.mu.Lock()
	x.versions = c.versions[broker]
	c.mu.Unlock()
	if x.versions != nil {
		return nil
	}
	r, err := x.send(apiApiVersions, 0, false, func(*requestWriter) {})
	if err != nil {
		return err
	}
	if code := kafkago.Error(r.int16()); code != 0 {
		return fmt.Errorf("ask the broker for its versions: %w", code)
	}
	x.versions = make(apiVersions)
	for range r.elements() {
		api := r.int16()
		x.versions[api] = [2]int16{r.int16(), r.int16()}
	}
	if err := r.finish(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.versions == nil {
		c.versions = make(map[int32]apiVersions)
	}
	c.versions[broker] = x.versions
	return nil
}

// version gives the newest version that both sides speak, of those from low to
// high.
func (x *exchange) version(low, high int16) (int16, bool) {
	theirs, ok := x.versions[x.api]
	v := min(high, theirs[1])
	return v, ok && v >= low && v >= theirs[0]
}

func (x *exchange) tooOld(what string) error {
	return fmt.Errorf("the broker speaks versions %v of %s, which are not ours; Kafka 2.8 and later do", x.versions[x.api], what)
}

// send writes a request and begins to read its response.
func (x *exchange) send(api, version int16, flexible bool, body func(w *requestWriter)) (*responseReader, error) {
	id := x.client.correlation.Add(1)
	w, r := &x.request, &x.response
	w.begin(api, version, id, x.client.name, flexible)
	body(w)
	if _, err := x.rw.Write(w.finish()); err != nil {
		return nil, fmt.Errorf("write a request to the broker: %w", err)
	}
	return r, r.begin(x.rw, id, flexible)
}

// layout is what the brokers say of a topic.
type layout struct {
	id      topicID
	leaders []int32 // by partition; -1 where there is none now
	code    kafkago.Error
	at      time.Time // when it was asked for
}

func (l *layout) exists() bool { return l.code == 0 }

// metadata asks for the layout of a topic.
func (c *client) metadata(ctx context.Context, topic string) (layout, error) {
	out := layout{at: time.Now()}
	err := c.call(ctx, anyBroker, apiMetadata, callTimeout, func(x *exchange) error {
		v, ok := x.version(10, 12)
		if !ok {
			return x.tooOld("Metadata")
		}
		r, err := x.send(apiMetadata, v, true, func(w *requestWriter) {
			w.count(1)
			w.id(topicID{})
			w.string(topic)
			w.end()
			w.bool(false) // do not create it
			if v == 10 {
				w.bool(false)
			}
			w.bool(false)
			w.end()
		})
		if err != nil {
			return err
		}
		l := layout{at: out.at, code: kafkago.UnknownTopicOrPartition}
		r.int32() // throttled for
		for range r.elements() {
			r.int32()
			r.string()
			r.int32()
			r.string()
			r.end()
		}
		r.string() // cluster
		r.int32()  // controller
		for range r.elements() {
			code, name := kafkago.Error(r.int16()), r.string()
			id := r.id()
			r.int8() // internal
			var leaders []int32
			for range r.elements() {
				r.int16() // without a leader, say
				n, leader := int(r.int32()), r.int32()
				r.int32()     // epoch
				for range 3 { // replicas, those in sync, those offline
					for range r.elements() {
						r.int32()
					}
				}
				r.end()
				if n >= 0 && n < maxPartitions {
					for len(leaders) <= n {
						leaders = append(leaders, -1)
					}
					leaders[n] = leader
				}
			}
			r.int32() // authorized operations
			r.end()
			if name == topic {
				l.id, l.leaders, l.code = id, leaders, code
			}
		}
		if v == 10 {
			r.int32()
		}
		r.end()
		if err := r.finish(); err != nil {
			return err
		}
		out = l
		return nil
	})
	if err != nil {
		return layout{}, fmt.Errorf("ask for the metadata of topic %s: %w", topic, err)
	}
	return out, nil
}

// bounds are the ends of a partition's log.
type bounds struct{ start, end int64 }

// bounds asks a partition's leader where its log begins and ends.
func (c *client) bounds(ctx context.Context, broker int32, topic string, partition int) (bounds, error) {
	var out bounds
	for when, to := range map[int64]*int64{-2: &out.start, -1: &out.end} {
		offset, err := c.offsetAt(ctx, broker, topic, partition, when)
		if err != nil {
			return bounds{}, fmt.Errorf("ask where partition %d of topic %s begins and ends: %w", partition, topic, err)
		}
		*to = offset
	}
	return out, nil
}

func (c *client) offsetAt(ctx context.Context, broker int32, topic string, partition int, when int64) (int64, error) {
	var out int64
	err := c.call(ctx, broker, apiListOffsets, callTimeout, func(x *exchange) error {
		v, ok := x.version(5, 5)
		if !ok {
			return x.tooOld("ListOffsets")
		}
		r, err := x.send(apiListOffsets, v, false, func(w *requestWriter) {
			w.int32(-1) // no replica
			w.int8(0)   // the end is that of all records, not that of the committed ones
			w.count(1)
			w.string(topic)
			w.count(1)
			w.int32(int32(partition))
			w.int32(-1) // whatever the leader's epoch is
			w.int64(when)
		})
		if err != nil {
			return err
		}
		offset, code := int64(-1), kafkago.UnknownTopicOrPartition
		r.int32() // throttled for
		for range r.elements() {
			name := r.string()
			for range r.elements() {
				n := r.int32()
				c := kafkago.Error(r.int16())
				r.int64() // time
				o := r.int64()
				r.int32() // epoch
				if name == topic && int(n) == partition {
					offset, code = o, c
				}
			}
		}
		if err := r.finish(); err != nil {
			return err
		}
		if code != 0 {
			return code
		}
		out = offset
		return nil
	})
	if err != nil {
		return 0, err // and out may be written yet
	}
	return out, nil
}
