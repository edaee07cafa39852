package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

const (
	callTimeout     = 10 * time.Second
	fetchMaxBytes   = 16 << 20 // of a response, all partitions together
	partitionBytes  = 1 << 20  // of a response, one partition
	partitionMost   = 256 << 20
	hotWait         = 20 * time.Millisecond // for hotMin bytes, where there was something the last time
	hotMin          = 64 << 10
	idleWait        = 250 * time.Millisecond // for a first byte, where there was nothing
	readCommitted   = 1
	fetchByIDs      = 13
	fetchByIDsMost  = 16
	fetchWithoutIDs = 11
)

// want is what a partition asks for, and the answer. After an error it belongs
// to the exchange that failed and is not used again.
type want struct {
	id        topicID
	partition int32
	offset    int64
	maxBytes  int32
	done      chan error // of capacity 1

	answered bool
	code     kafkago.Error
	high     int64 // high watermark
	start    int64 // of the log
	aborted  []abortedTxn
	raw      []byte
	sent     time.Time
	byID     bool // the answer is of the topic that was meant
}

// lane carries fetches to one broker, one at a time, each for all partitions
// that wait. There are two to a broker: one for partitions that had something
// the last time, and one for those that had nothing, so that a busy partition
// does not wait for silent ones.
//
// A lane has no goroutine. Whoever comes to an idle lane fetches for all who
// wait by then; the others find their answers.
type lane struct {
	fetcher *fetcher
	broker  int32
	wait    time.Duration
	least   int32
	turn    chan struct{} // of capacity 1: held by the one who fetches

	mu      sync.Mutex
	waiting []*want // guarded by mu
}

// fetch returns when w is answered. After an error, w is gone.
func (l *lane) fetch(ctx context.Context, w *want) error {
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	l.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		l.mu.Lock()
		l.waiting = slices.DeleteFunc(l.waiting, func(o *want) bool { return o == w })
		l.mu.Unlock()
		return ctx.Err()
	case l.turn <- struct{}{}:
	}
	l.mu.Lock()
	wants := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for len(wants) > 0 { // as a rule once: all mean the same topic
		same, others := wants[:0:0], wants[:0:0]
		for _, o := range wants {
			if o.id == wants[0].id {
				same = append(same, o)
			} else {
				others = append(others, o)
			}
		}
		err := l.fetcher.exchange(ctx, l, same)
		for _, o := range same {
			o.settle(err)
		}
		wants = others
	}
	<-l.turn
	return <-w.done
}

func (w *want) settle(err error) {
	if err == nil && !w.answered {
		err = fmt.Errorf("%w: partition %d was asked for and not answered", errMalformed, w.partition)
	}
	w.done <- err
}

// exchange fetches for some partitions of one leader.
func (f *fetcher) exchange(ctx context.Context, l *lane, wants []*want) error {
	id := wants[0].id
	err := f.client.call(ctx, l.broker, apiFetch, l.wait+callTimeout, func(x *exchange) error {
		v, named := int16(0), false
		if id != (topicID{}) {
			v, named = x.version(fetchByIDs, fetchByIDsMost)
		}
		if !named {
			var ok bool
			if v, ok = x.version(fetchWithoutIDs, fetchWithoutIDs); !ok {
				return x.tooOld("Fetch")
			}
		}
		r, err := x.send(apiFetch, v, v >= 12, func(w *requestWriter) { f.request(w, v, l, id, wants) })
		if err != nil {
			return err
		}
		return f.response(r, v, id, wants)
	})
	if err != nil {
		return fmt.Errorf("fetch topic %s from broker %d: %w", f.topic, l.broker, err)
	}
	return nil
}

func (f *fetcher) request(w *requestWriter, v int16, l *lane, id topicID, wants []*want) {
	if v < 15 {
		w.int32(-1) // no replica
	}
	w.int32(int32(l.wait / time.Millisecond))
	w.int32(l.least)
	w.int32(fetchMaxBytes)
	w.int8(readCommitted)
	w.int32(0)  // no session:
	w.int32(-1) // its epoch says so
	w.count(1)
	if v >= fetchByIDs {
		w.id(id)
	} else {
		w.string(f.topic)
	}
	w.count(len(wants))
	sent := f.now()
	for _, p := range wants {
		p.sent = sent
		w.int32(p.partition)
		w.int32(-1) // whatever the leader's epoch is
		w.int64(p.offset)
		if v >= 12 {
			w.int32(-1) // nor that of the last record
		}
		w.int64(-1) // no replica's log start
		w.int32(p.maxBytes)
		w.end()
	}
	w.end()
	w.count(0)   // nothing forgotten
	w.string("") // rack
	w.end()
}

func (f *fetcher) response(r *responseReader, v int16, id topicID, wants []*want) error {
	r.int32() // throttled for
	if code := kafkago.Error(r.int16()); code != 0 {
		return code
	}
	r.int32() // session
	for range r.elements() {
		var ours bool
		if v >= fetchByIDs {
			ours = r.id() == id
		} else {
			ours = r.string() == f.topic
		}
		for range r.elements() {
			w := answers(wants, r.int32())
			if r.err == nil && (w == nil || !ours) {
				return fmt.Errorf("%w: it tells of what was not asked", errMalformed)
			}
			if r.err != nil {
				return r.err
			}
			w.answered, w.byID = true, v >= fetchByIDs
			w.code = kafkago.Error(r.int16())
			w.high = r.int64()
			r.int64() // last stable offset
			w.start = r.int64()
			w.aborted = w.aborted[:0]
			for range r.elements() {
				w.aborted = append(w.aborted, abortedTxn{producer: r.int64(), first: r.int64()})
				r.end()
			}
			r.int32() // a replica that would be nearer
			w.raw = r.records(w.raw)
			r.end()
		}
		r.end()
	}
	r.end()
	return r.finish()
}

// answers finds the partition that an answer is for. One that was answered is
// not asked any more.
func answers(wants []*want, partition int32) *want {
	for _, w := range wants {
		if w.partition == partition && !w.answered {
			return w
		}
	}
	return nil
}

// fetcher fetches the partitions of one topic.
type fetcher struct {
	client *client
	topic  string
	now    func() time.Time

	asking chan struct{} // of capacity 1: held by the one who asks for the layout

	mu    sync.Mutex
	known layout            // guarded by mu
	lanes map[laneKey]*lane // guarded by mu; two to a broker that ever led
}

type laneKey struct {
	broker int32
	hot    bool
}

func newFetcher(c *client, topic string, now func() time.Time) *fetcher {
	return &fetcher{client: c, topic: topic, now: now, asking: make(chan struct{}, 1), lanes: make(map[laneKey]*lane)}
}

func (f *fetcher) lane(broker int32, hot bool) *lane {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := laneKey{broker, hot}
	l := f.lanes[key]
	if l == nil {
		l = &lane{fetcher: f, broker: broker, wait: idleWait, least: 1, turn: make(chan struct{}, 1)}
		if hot {
			l.wait, l.least = hotWait, hotMin
		}
		f.lanes[key] = l
	}
	return l
}

// layout gives what the brokers say of the topic, asked for after the given
// time. Of those who want to know, one asks.
func (f *fetcher) layout(ctx context.Context, after time.Time) (layout, error) {
	select {
	case f.asking <- struct{}{}:
	case <-ctx.Done():
		return layout{}, ctx.Err()
	}
	defer func() { <-f.asking }()
	f.mu.Lock()
	known := f.known
	f.mu.Unlock()
	if known.at.After(after) {
		return known, nil
	}
	fresh, err := f.client.metadata(ctx, f.topic)
	if err != nil {
		return layout{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = fresh
	return fresh, nil
}

// leader gives the broker that leads a partition by the layout.
func (l *layout) leader(partition int) (int32, error) {
	switch {
	case l.code != 0:
		return 0, l.code
	case partition >= len(l.leaders):
		return 0, kafkago.UnknownTopicOrPartition
	case l.leaders[partition] < 0:
		return 0, kafkago.LeaderNotAvailable
	}
	return l.leaders[partition], nil
}
