package pulsar

import (
	"context"
	"errors"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"

	"github.com/weir-stream/weir/ingest"
)

// memory is what a batch lies in, between the log and the shard.
type memory struct {
	batch   ingest.Batch
	release func()
}

const (
	batchBytes   = 1 << 20              // of a batch handed out, unless one message is larger
	batchRecords = 10_000               // likewise
	batchLinger  = 5 * time.Millisecond // for more messages, once there is one
	memoryBytes  = 8 << 20              // more is not kept for the next batch
	batchesOut   = 3                    // handed out and not yet released; more are left to the garbage collector
)

func (l *partitionLog) memory() *memory {
	select {
	case m := <-l.free:
		return m
	default:
	}
	m := &memory{batch: ingest.Batch{Records: []ingest.Record{}}}
	m.release = func() {
		if cap(m.batch.Data) > memoryBytes {
			return
		}
		select {
		case l.free <- m:
		default:
		}
	}
	return m
}

// collect makes a batch of the message and those that come right after it. What
// the batch holds is good, whatever error ended it.
func (l *partitionLog) collect(ctx context.Context, m pulsargo.Message) (ingest.Batch, error) {
	memory := l.memory()
	b := &memory.batch
	b.Data, b.Records, b.Headers = b.Data[:0], b.Records[:0], b.Headers[:0]
	b.From, b.Release = l.at, memory.release
	soon, cancel := context.WithTimeout(ctx, batchLinger)
	defer cancel()
	var last pulsargo.Message
	var err error
	for {
		var counts bool
		if counts, err = l.accept(m); err != nil {
			break
		}
		if counts {
			l.add(b, m)
			last = m
		}
		if len(b.Data) >= batchBytes || len(b.Records) >= batchRecords {
			break
		}
		if m, err = l.stream.next(soon); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				err = nil
			}
			break
		}
	}
	if last != nil {
		l.last = mark{place: placeOf(last.ID()), sum: sumOf(last)}
		l.lag.Store(&Lag{End: -1, Read: last.PublishTime().UnixMilli()})
		l.mu.Lock()
		l.note(l.at, l.last)
		l.mu.Unlock()
	}
	if err != nil {
		l.forget()
	}
	b.To, b.Tail = l.at, l.last.encode()
	return *b, err
}

// add copies a message: the client's memory is the garbage collector's.
func (l *partitionLog) add(b *ingest.Batch, m pulsargo.Message) {
	put := func(s []byte) ingest.Span {
		at := len(b.Data)
		b.Data = append(b.Data, s...)
		return ingest.Span{At: uint32(at), Len: int32(len(s))}
	}
	r := ingest.Record{Offset: l.at, Millis: m.PublishTime().UnixMilli(), Key: ingest.Missing, Value: put(m.Payload())}
	if at := m.EventTime().UnixMilli(); at > 0 {
		r.Millis = at
	}
	if key := m.Key(); key != "" {
		r.Key = put([]byte(key))
	}
	r.Headers[0] = uint32(len(b.Headers))
	if l.headers {
		for name, value := range m.Properties() {
			b.Headers = append(b.Headers, ingest.Header{Name: put([]byte(name)), Value: put([]byte(value))})
		}
	}
	r.Headers[1] = uint32(len(b.Headers))
	b.Records = append(b.Records, r)
	l.at++
}
