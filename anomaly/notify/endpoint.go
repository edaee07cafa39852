package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// schedule is how long after the one before each further attempt is made, as
// Standard Webhooks proposes, ending after a day and a half. Each is jittered.
var schedule = [...]time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
}

const (
	grace      = 5 * time.Second  // for the request under way when we end
	scanEvery  = time.Minute      // how often the store is looked at for what others did
	freshScan  = 5 * time.Second  // how old a look may be before a message is sent again
	adoptEvery = time.Second      // how often that may be for incidents that another may have begun
	overdue    = 2 * time.Minute  // what another node left so long is taken up
	firstHold  = 5 * time.Second  // of an endpoint that fails as a whole, doubled each time
	maxHold    = 5 * time.Minute  // and no longer than this
	storeTime  = 10 * time.Second // for a write that may outlive ctx
	storeRetry = 5 * time.Second
)

// endpoint delivers to one webhook.
type endpoint struct {
	*sender
	folder  string
	bucket  store.Bucket
	log     *slog.Logger
	metrics *metrics
	link    string // to which an incident's ID is appended; may be empty
	keep    int    // messages that the log keeps when they are done
	wake    chan struct{}

	mu      sync.Mutex
	waiting queue           // guarded by mu
	putting map[key]int     // being stored by Notify, which adds them; guarded by mu
	adopt   map[string]bool // incidents of which another node may have left messages; guarded by mu
	scans   int             // that have begun; guarded by mu

	// Of the goroutine of run alone.
	scanned   time.Time // the last look at the store
	heldUntil time.Time // nothing is sent before
	holds     int       // failures of the endpoint on end
	off       bool      // disabled
	repeats   []key     // what an Alertmanager has to be told again; see repeat.go
	repeated  time.Time
}

// run delivers until ctx ends. It fails only if the store cannot be trusted.
func (e *endpoint) run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait, err := e.step(ctx)
		switch {
		case errors.Is(err, store.ErrSync):
			return err
		case err != nil && ctx.Err() == nil:
			e.log.Warn("webhook waits for the store", "webhook", e.config.Name, "error", err)
			wait = storeRetry
		}
		if wait <= 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-e.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// step does the next thing and says how long to wait for the one after it.
func (e *endpoint) step(ctx context.Context) (time.Duration, error) {
	if e.now().Sub(e.scanned) >= scanEvery {
		if err := e.scan(ctx); err != nil {
			return 0, err
		}
	}
	if err := e.giveUp(ctx); err != nil {
		return 0, err
	}
	if err := e.repeat(ctx); err != nil {
		return 0, err
	}
	now := e.now()
	next := e.scanned.Add(scanEvery)
	first, adopted := e.next()
	if first != nil {
		due := first.due
		if look := e.scanned.Add(adoptEvery); adopted && !look.After(now) {
			return 0, e.scan(ctx)
		} else if adopted && due.Before(look) {
			due = look
		}
		if due.Before(e.heldUntil) {
			due = e.heldUntil
		}
		if !due.After(now) {
			return 0, e.deliver(ctx, first)
		}
		if due.Before(next) {
			next = due
		}
	}
	return next.Sub(now), nil
}

// next returns a copy of the entry that is due first, or nil, and whether the
// store has to be looked at before.
func (e *endpoint) next() (first *entry, adopted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if first = e.waiting.first(); first == nil {
		return nil, false
	}
	c := *first
	return &c, e.adopt[c.key.incident]
}

// scan looks at the store: at the start for all that is pending, and then for
// what other nodes have done, or have left undone for too long.
func (e *endpoint) scan(ctx context.Context) error {
	start := e.scanned.IsZero()
	if err := e.readSwitch(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	adopted := maps.Clone(e.adopt)
	e.scans++
	e.mu.Unlock()
	l, err := e.list(ctx)
	if err != nil {
		return err
	}
	now := e.now()
	e.mu.Lock()
	maps.DeleteFunc(e.adopt, func(incident string, _ bool) bool { return adopted[incident] })
	left := map[string]bool{} // incidents of which another node is going to send a message: later ones wait for it
	for _, k := range l.messages {
		h := l.histories[k]
		known := e.waiting.find(k)
		switch {
		case known != nil && known.added == e.scans: // what was listed may be older
		case h != nil && h.done:
			e.waiting.remove(k)
		case known != nil:
			if h.last() > known.n {
				known.n, known.tries, known.due, known.held = h.last(), h.tries, h.next, false
				e.waiting.moved(k)
			}
		case e.putting[k] > 0:
		default:
			due := k.recorded
			found := &entry{key: k, added: e.scans}
			if h != nil {
				due = h.next
				found.n, found.tries, found.due = h.last(), h.tries, h.next
			}
			if start || adopted[k.incident] || !left[k.incident] && now.Sub(due) > overdue {
				e.waiting.add(found)
			} else {
				left[k.incident] = true
			}
		}
	}
	waiting := e.waiting.size
	e.mu.Unlock()
	e.scanned = now
	if start && waiting > 0 {
		e.log.Info("webhook goes on with what waited", "webhook", e.config.Name, "messages", waiting)
	}
	e.planRepeats(l)
	return e.prune(ctx, l)
}

// giveUp ends what is not going to be delivered: more than may wait, and what a
// disabled endpoint is not to be sent.
func (e *endpoint) giveUp(ctx context.Context) error {
	for n := 0; ; n++ {
		e.mu.Lock()
		var oldest *entry
		if e.off || e.waiting.size > e.config.MaxQueue {
			oldest = e.waiting.oldest()
		}
		if oldest != nil {
			c := *oldest
			oldest = &c
		}
		e.mu.Unlock()
		if oldest == nil {
			return nil
		}
		reason, text := "overflow", fmt.Sprintf("more than %d messages waited: the oldest was given up", e.config.MaxQueue)
		if e.off {
			reason, text = "disabled", "the webhook is disabled, since it answered that it is gone"
		}
		if n == 0 {
			e.log.Error("webhook gives up a message", "webhook", e.config.Name, "message", oldest.key.id(), "reason", text)
		}
		a := &attemptName{key: oldest.key, n: oldest.n + 1, what: whatFailed}
		if err := e.store(ctx, a, weir.Attempt{At: e.now().UTC(), Error: text}); err != nil {
			return err
		}
		e.metrics.givenUp.WithLabelValues(e.config.Name, reason).Inc()
		e.drop(oldest.key)
	}
}

func (e *endpoint) drop(k key) {
	e.mu.Lock()
	e.waiting.remove(k)
	e.mu.Unlock()
}

// deliver makes one attempt.
func (e *endpoint) deliver(ctx context.Context, w *entry) error {
	if w.n > 0 && e.now().Sub(e.scanned) > freshScan {
		return e.scan(ctx) // another node may have been first
	}
	m, err := e.read(ctx, w.key)
	if errors.Is(err, store.ErrNotFound) {
		e.drop(w.key) // given up and forgotten by another node
		return nil
	}
	if err != nil {
		return err
	}
	body, err := e.render(m, e.now())
	var o outcome
	if err != nil {
		o = outcome{at: e.now(), err: err}
	} else if o = e.request(ctx, m.ID, body); o.aborted {
		return nil // it is pending still
	}
	return e.judge(ctx, w, &o)
}

// request sends a body. When ctx ends it may take the grace.
func (e *endpoint) request(ctx context.Context, id string, body []byte) outcome {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var timer *time.Timer
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		timer = time.AfterFunc(grace, cancel)
		close(ended)
	})
	o := e.send(lasting, id, body)
	if !stop() {
		<-ended
		timer.Stop()
	}
	e.metrics.seconds.WithLabelValues(e.config.Name).Observe(o.took.Seconds())
	return o
}

// judge decides what an outcome means, and records it.
func (e *endpoint) judge(ctx context.Context, w *entry, o *outcome) error {
	a := &attemptName{key: w.key, n: w.n + 1}
	var next time.Time
	switch {
	case o.err == nil:
		a.what = whatDelivered
	case o.status == gone || w.tries >= len(schedule):
		a.what = whatFailed
	default:
		a.what = whatRetry
		next = e.now().Add(max(jitter(schedule[w.tries]), o.retryAfter))
		a.next = next
	}
	e.tell(w, o, a)
	if o.status == gone {
		if err := e.disable(ctx); err != nil {
			return err
		}
	}
	if err := e.store(ctx, a, o.attempt(a.n, next)); err != nil {
		return err
	}
	e.settle(w, o, a)
	return nil
}

// settle brings the queue to where the attempt has led.
func (e *endpoint) settle(w *entry, o *outcome, a *attemptName) {
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.waiting.find(w.key)
	switch {
	case known == nil || known.n != w.n: // it was asked for again meanwhile
	case a.what != whatRetry:
		e.waiting.remove(w.key)
	default:
		known.n, known.tries, known.due, known.held = a.n, w.tries+1, a.next, o.endpointFailed()
		e.waiting.moved(w.key)
	}
	if o.err != nil && o.endpointFailed() {
		hold := min(firstHold<<min(e.holds, 10), maxHold)
		e.heldUntil = now.Add(max(jitter(hold), o.retryAfter))
		e.holds++
		return
	}
	if e.holds > 0 && o.status != 0 {
		e.holds, e.heldUntil = 0, time.Time{}
		e.waiting.release(now)
	}
}

// tell logs and counts an attempt.
func (e *endpoint) tell(w *entry, o *outcome, a *attemptName) {
	e.metrics.attempts.WithLabelValues(e.config.Name, string(a.what)).Inc()
	log := e.log.With("webhook", e.config.Name, "message", w.key.id(), "attempt", w.tries+1)
	switch a.what {
	case whatDelivered:
		e.metrics.delay.WithLabelValues(e.config.Name).Observe(max(0, e.now().Sub(w.key.recorded).Seconds()))
		log.Debug("webhook told", "status", o.status, "took", o.took)
	case whatRetry:
		log.Warn("webhook not told; to be tried again", "error", o.err, "next", a.next.UTC())
	case whatFailed:
		e.metrics.givenUp.WithLabelValues(e.config.Name, "failed").Inc()
		log.Error("webhook not told; given up", "error", o.err)
	}
}

// store records an attempt also while ctx ends.
func (e *endpoint) store(ctx context.Context, a *attemptName, body weir.Attempt) error {
	for {
		lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		err := e.record(lasting, a, body)
		cancel()
		if err == nil || errors.Is(err, store.ErrSync) || ctx.Err() != nil {
			return err
		}
		e.log.Warn("webhook waits for the store", "webhook", e.config.Name, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(storeRetry):
		}
	}
}

// jitter spreads a time by a fifth to each side, so that what failed together is
// not tried together.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*2-1)*float64(d)/5)
}
