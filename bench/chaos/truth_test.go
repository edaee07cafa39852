package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	keys  = 7
	users = 1000 // few enough for their distinct count to be exact

	// Times of events jump back by up to as much, so that they are not in order.
	disorder = 3 * time.Second

	// sumsEvery is after how many events of a partition their sums are kept.
	sumsEvery = 64
)

func keyOf(n int64) int  { return int(n % keys) }
func userOf(n int64) int { return int(n*7919%users + users) }

// totals are what is to be known of a key.
type totals struct{ count, sum int64 }

func (t *totals) add(n, sign int64) {
	t.count += sign
	t.sum += sign * n
}

type perKey [keys]totals

// truth is what was produced: numbered events, each with its place in the log.
type truth struct {
	lateness time.Duration

	mu         sync.Mutex
	partitions [partitions]history // guarded by mu
	late       []place             // of events that took longer than the lateness to be in the log; guarded by mu
	slowest    time.Duration       // to be in the log; guarded by mu
	failure    error               // the first; guarded by mu
}

// history is a partition of the log, from its beginning on.
type history struct {
	events  []event
	sums    []perKey    // of the events below each multiple of sumsEvery
	pending []time.Time // when those were sent that are not known to be in the log
}

// place is where an event is in the log.
type place struct {
	partition int32
	offset    int64
}

type event struct {
	n       int64
	at      int64 // its time, Unix milliseconds
	highest int64 // time of it and of those before it
}

// sent notes that an event is under way.
func (t *truth) sent(p int32, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.partitions[p]
	h.pending = append(h.pending, now)
}

// stored notes where an event is in the log. Those of a partition come in order.
func (t *truth) stored(p int32, offset, n, at int64, now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &t.partitions[p]
	switch {
	case err != nil:
		err = fmt.Errorf("event %d was not produced: %w", n, err)
	case offset != int64(len(h.events)):
		err = fmt.Errorf("event %d is at offset %d of partition %d, which has %d events before it", n, offset, p, len(h.events))
	}
	if t.failure == nil {
		t.failure = err
	}
	if t.failure != nil {
		return
	}
	took := now.Sub(time.UnixMilli(at))
	if t.slowest = max(t.slowest, took); took > t.lateness {
		t.late = append(t.late, place{p, offset})
	}
	h.pending = h.pending[1:]
	h.add(n, at)
}

func (h *history) add(n, at int64) {
	e := event{n: n, at: at, highest: at}
	if len(h.events) > 0 {
		e.highest = max(at, h.events[len(h.events)-1].highest)
	}
	if len(h.events)%sumsEvery == 0 {
		h.sums = append(h.sums, h.below(int64(len(h.events))))
	}
	h.events = append(h.events, e)
}

// below sums up the events below an offset.
func (h *history) below(offset int64) (sum perKey) {
	from := int64(0)
	if last := min(offset/sumsEvery, int64(len(h.sums))-1); last >= 0 {
		sum, from = h.sums[last], last*sumsEvery
	}
	for _, e := range h.events[from:offset] {
		sum[keyOf(e.n)].add(e.n, 1)
	}
	return sum
}

// belowBefore sums up the events below an offset whose time is before end.
func (h *history) belowBefore(offset int64, end time.Time) perKey {
	sum, to := h.below(offset), end.UnixMilli()
	first := sort.Search(int(offset), func(i int) bool { return h.events[i].highest >= to })
	for _, e := range h.events[first:offset] {
		if e.at >= to {
			sum[keyOf(e.n)].add(e.n, -1)
		}
	}
	return sum
}

// at sums up what lies below offsets and before a time. It is not known yet
// where some of it may not be known to be in the log.
func (t *truth) at(offsets map[string]int64, end time.Time) (sum perKey, known bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, offset := range offsets {
		p, ok := partitionOf(name)
		if !ok || offset < 0 {
			return sum, true, fmt.Errorf("offset %d of partition %q is none of the topic's", offset, name)
		}
		h := &t.partitions[p]
		switch size := int64(len(h.events)); {
		case offset > size+int64(len(h.pending)):
			return sum, true, fmt.Errorf("partition %s was read up to offset %d, and has %d events and %d under way", name, offset, size, len(h.pending))
		case offset > size:
			return sum, false, nil
		}
		sum.join(h.belowBefore(offset, end))
	}
	return sum, true, nil
}

func partitionOf(name string) (p int, ok bool) {
	p, err := strconv.Atoi(name[strings.LastIndexByte(name, ':')+1:])
	return p, err == nil && p >= 0 && p < partitions
}

func (k *perKey) join(o perKey) {
	for i := range k {
		k[i].count += o[i].count
		k[i].sum += o[i].sum
	}
}

// before sums up what happened before a time. Of what was under way to the log
// for longer than the lateness, only that is asked for which lies below offsets.
// The sum is not known yet while some of it may be under way.
func (t *truth) before(end time.Time, offsets map[string]int64) (sum perKey, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var reached [partitions]int64
	for name, offset := range offsets {
		if p, ok := partitionOf(name); ok {
			reached[p] = offset
		}
	}
	for p := range t.partitions {
		h := &t.partitions[p]
		first := time.Now()
		if len(h.pending) > 0 {
			first = h.pending[0]
		}
		if first.Add(-disorder).Before(end) {
			return sum, false
		}
		sum.join(h.belowBefore(int64(len(h.events)), end))
	}
	for _, at := range t.late {
		e := t.partitions[at.partition].events[at.offset]
		if e.at < end.UnixMilli() && at.offset >= reached[at.partition] {
			sum[keyOf(e.n)].add(e.n, -1)
		}
	}
	return sum, true
}

// all sums up everything, and counts the users of each key.
func (t *truth) all() (sum perKey, distinct [keys]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := map[[2]int]bool{}
	for p := range t.partitions {
		h := &t.partitions[p]
		sum.join(h.below(int64(len(h.events))))
		for _, e := range h.events {
			if id := [2]int{keyOf(e.n), userOf(e.n)}; !seen[id] {
				seen[id] = true
				distinct[id[0]]++
			}
		}
	}
	return sum, distinct
}

// ends gives the offset behind the last event of each partition.
func (t *truth) ends() map[int32]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	ends := make(map[int32]int64)
	for p := range t.partitions {
		ends[int32(p)] = int64(len(t.partitions[p].events))
	}
	return ends
}

func (t *truth) events() (n int64) {
	for _, end := range t.ends() {
		n += end
	}
	return n
}

// produce sends a thousand numbered events a second until it is told to stop.
func (w *world) produce() {
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers), kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000))
	if err != nil {
		w.t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(w.run.seed, 3))
	w.making.Go(func() {
		defer client.Close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := int64(1); ; {
			select {
			case <-w.stopMaking:
				flushing, cancel := context.WithTimeout(w.ctx, patience)
				defer cancel()
				if err := client.Flush(flushing); err != nil {
					w.t.Errorf("produce what is left: %v", err)
				}
				return
			case <-tick.C:
			}
			for range 10 {
				w.send(client, n, rng)
				n++
			}
		}
	})
}

func (w *world) send(client *kgo.Client, n int64, rng *rand.Rand) {
	now := time.Now()
	at := now.Add(-time.Duration(rng.Int64N(int64(disorder)))).Truncate(time.Millisecond)
	r := &kgo.Record{Partition: int32(n / keys % partitions), Key: fmt.Append(nil, "k", keyOf(n)), Timestamp: at,
		Value: fmt.Appendf(nil, `{"n": %d, "user": "u%d"}`, n, userOf(n))}
	w.truth.sent(r.Partition, now)
	client.Produce(w.ctx, r, func(r *kgo.Record, err error) {
		w.truth.stored(r.Partition, r.Offset, n, at.UnixMilli(), time.Now(), err)
	})
}

// stopProducing returns once all that was produced is in the log.
func (w *world) stopProducing() {
	close(w.stopMaking)
	w.making.Wait()
	w.truth.mu.Lock()
	defer w.truth.mu.Unlock()
	if err := w.truth.failure; err != nil && w.ctx.Err() == nil {
		w.t.Fatalf("the producer: %v", err)
	}
}
