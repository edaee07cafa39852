package pulsar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/apache/pulsar-client-go/pulsar/backoff"
	"github.com/apache/pulsar-client-go/pulsar/log"
)

// stream is a reader of a partition for as long as it can be trusted: on one
// connection, and without an error that the client met. After that it may have
// passed over messages, since the client mends its readers by itself: of a batch
// that it had half handed out, it forgets the rest.
type stream struct {
	name   string
	reader pulsargo.Reader
	client *client
	asking sync.WaitGroup // calls of the reader under way

	// The client asks for a new backoff whenever it begins to connect again, and
	// at the begin of each call for the last message.
	backoffs, asked atomic.Int64
	error           atomic.Pointer[string] // that the client met first
}

const queueMessages = 1000

// errUntrusted says that a stream may have passed over messages.
var errUntrusted = errors.New("the connection was lost")

// open begins a stream with the message at the place, or with the first one
// after it that is there.
func (c *client) open(ctx context.Context, topic string, at place) (*stream, error) {
	s := &stream{name: fmt.Sprintf("weir-reader-%016x", rand.Uint64()), client: c}
	c.logger.streams.Store(s.name, s)
	reader, err := await(ctx, c, func() (pulsargo.Reader, error) {
		return c.CreateReader(pulsargo.ReaderOptions{
			Topic: topic, SubscriptionName: s.name, Name: c.node,
			StartMessageID: at.id(), StartMessageIDInclusive: true,
			ReceiverQueueSize: queueMessages, MaxPendingChunkedMessage: 1, ExpireTimeOfIncompleteChunk: time.Second,
			BackoffPolicyFunc: func() backoff.Policy {
				s.backoffs.Add(1)
				return backoff.NewDefaultBackoff()
			},
		})
	}, pulsargo.Reader.Close)
	if err != nil {
		c.logger.streams.Delete(s.name)
		return nil, fmt.Errorf("read topic %s from %v: %w", topic, at, err)
	}
	s.reader = reader
	return s, nil
}

// next waits for the next message, which is right behind the one before it as
// far as this reader can know.
func (s *stream) next(ctx context.Context) (pulsargo.Message, error) {
	m, err := s.reader.Next(ctx)
	if doubt := s.doubt(); doubt != nil {
		return nil, doubt
	}
	return m, err
}

// doubt says why the stream is not to be trusted any more.
func (s *stream) doubt() error {
	if text := s.error.Load(); text != nil {
		return fmt.Errorf("the client of Pulsar says: %s", *text)
	}
	if s.backoffs.Load() > s.asked.Load() {
		return errUntrusted
	}
	return nil
}

// last asks the broker for the last message of the partition. There may be none.
func (s *stream) last(ctx context.Context) (place, error) {
	if err := s.doubt(); err != nil {
		return place{}, err
	}
	s.asked.Add(1)
	s.asking.Add(1)
	id, err := await(ctx, s.client, func() (pulsargo.MessageID, error) {
		defer s.asking.Done()
		return s.reader.GetLastMessageID()
	}, func(pulsargo.MessageID) {})
	if err == nil {
		err = s.doubt()
	}
	if err != nil {
		return place{}, fmt.Errorf("ask for the last message: %w", err)
	}
	if id.EntryID() < 0 {
		return place{}, nil
	}
	at := placeOf(id)
	at.size = max(at.size, at.batch+1) // brokers name the last message of a batch, not how many it has
	return at, nil
}

// close gives the stream up, without waiting for the broker.
func (s *stream) close() {
	s.client.logger.streams.Delete(s.name)
	s.client.calls.Go(func() {
		// A reader that is closed forgets the calls under way, unless they wait
		// for a connection: then only its close ends them.
		idle := make(chan struct{})
		go func() {
			s.asking.Wait()
			close(idle)
		}()
		select {
		case <-idle:
		case <-time.After(2 * s.client.limit):
		}
		s.reader.Close()
	})
}

// client is a client of Pulsar whose calls can be left alone.
type client struct {
	pulsargo.Client
	node   string
	limit  time.Duration // of a call
	logger *clientLogger
	calls  sync.WaitGroup
}

// await makes a call that cannot be cancelled, and leaves it alone when ctx is
// done. What comes of it late is undone.
func await[T any](ctx context.Context, c *client, call func() (T, error), undo func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	c.calls.Go(func() {
		value, err := call()
		select {
		case done <- result{value, err}:
		case <-ctx.Done():
			if err == nil {
				undo(value)
			}
		}
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// close ends the client when its calls have come back, or should have.
func (c *client) close() {
	back := make(chan struct{})
	go func() {
		c.calls.Wait()
		close(back)
	}()
	select {
	case <-back:
	case <-time.After(4 * c.limit):
		c.logger.logger.Warn("the client of Pulsar has not come back from a call; leaving it")
	}
	c.Client.Close()
}

// clientLogger takes what the client logs. It is all for debugging, since what
// matters is told where it matters; but an error that concerns a stream is a
// reason to doubt it.
type clientLogger struct {
	logger  *slog.Logger
	streams *sync.Map // *stream by name; shared with all sub-loggers
	stream  *stream   // whose sub-logger it is, nil if none's
}

var _ log.Logger = (*clientLogger)(nil)

func (l *clientLogger) with(fields ...any) *clientLogger {
	return &clientLogger{logger: l.logger.With(fields...), streams: l.streams, stream: l.stream}
}

func (l *clientLogger) fields(f log.Fields) *clientLogger {
	list := make([]any, 0, 2*len(f))
	for k, v := range f {
		list = append(list, k, v)
	}
	out := l.with(list...)
	if name, ok := f["subscription"].(string); ok {
		if s, ok := l.streams.Load(name); ok {
			out.stream = s.(*stream)
		}
	}
	return out
}

func (l *clientLogger) SubLogger(f log.Fields) log.Logger      { return l.fields(f) }
func (l *clientLogger) WithFields(f log.Fields) log.Entry      { return l.fields(f) }
func (l *clientLogger) WithField(name string, v any) log.Entry { return l.with(name, v) }
func (l *clientLogger) WithError(err error) log.Entry          { return l.with("error", err) }

func (l *clientLogger) Debug(...any)                   {} // of every message
func (l *clientLogger) Debugf(string, ...any)          {}
func (l *clientLogger) Info(args ...any)               { l.say("info", fmt.Sprint(args...)) }
func (l *clientLogger) Infof(format string, a ...any)  { l.say("info", fmt.Sprintf(format, a...)) }
func (l *clientLogger) Warn(args ...any)               { l.say("warning", fmt.Sprint(args...)) }
func (l *clientLogger) Warnf(format string, a ...any)  { l.say("warning", fmt.Sprintf(format, a...)) }
func (l *clientLogger) Error(args ...any)              { l.fail(fmt.Sprint(args...)) }
func (l *clientLogger) Errorf(format string, a ...any) { l.fail(fmt.Sprintf(format, a...)) }

func (l *clientLogger) say(level, text string) {
	l.logger.Debug("the client of Pulsar: "+text, "its_level", level)
}

func (l *clientLogger) fail(text string) {
	l.say("error", text)
	if l.stream != nil {
		l.stream.error.CompareAndSwap(nil, &text)
	}
}
