package notify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// The log keeps what is done for so long, and so many messages of a webhook.
const (
	keepTime     = 30 * 24 * time.Hour
	keepMessages = 10_000
	pruneAtOnce  = 1000
)

// history is what the names of a message's attempts tell.
type history struct {
	attempts []attemptName // by number
	tries    int           // requests since the schedule began
	done     bool
	what     what
	next     time.Time // if it has to be tried again
	again    int       // the number of the last wish to send it again; 0 if there is none
}

// add takes the attempts in the order of their names.
func (h *history) add(a attemptName) {
	h.attempts = append(h.attempts, a)
	if a.n == h.again && a.what != whatAgain {
		return // it was under way when it was asked for again
	}
	switch a.what {
	case whatAgain:
		h.tries, h.done, h.next, h.again = 0, false, time.Time{}, a.n
	case whatRetry:
		h.tries++
		if !h.done {
			h.next = a.next
		}
	default:
		h.tries++
		h.done, h.next = true, time.Time{}
	}
	if !h.done || a.what != whatRetry { // another node may try on after one was done
		h.what = a.what
	}
}

func (h *history) last() int {
	if h == nil || len(h.attempts) == 0 {
		return 0
	}
	return h.attempts[len(h.attempts)-1].n
}

func (h *history) state() weir.DeliveryState {
	switch {
	case h == nil || !h.done:
		return weir.DeliveryPending
	case h.what == whatDelivered:
		return weir.Delivered
	}
	return weir.DeliveryFailed
}

// listing is all that the names in a webhook's folder tell.
type listing struct {
	messages  []key // in order
	histories map[key]*history
}

// list reads the names. Attempts are listed first: whatever was attempted had
// been stored before, so none of them lacks its message for having come since.
func (e *endpoint) list(ctx context.Context) (*listing, error) {
	l := &listing{histories: map[key]*history{}}
	folder := e.folder + attemptPart
	for name, err := range e.bucket.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("webhook %s: list attempts: %w", e.config.Name, err)
		}
		if a, err := parseAttempt(strings.TrimPrefix(name, folder)); err == nil {
			h := l.histories[a.key]
			if h == nil {
				h = &history{}
				l.histories[a.key] = h
			}
			h.add(a)
		}
	}
	folder = e.folder + messagePart
	for name, err := range e.bucket.List(ctx, folder, "") {
		if err != nil {
			return nil, fmt.Errorf("webhook %s: list messages: %w", e.config.Name, err)
		}
		if k, err := parseKey(strings.TrimPrefix(name, folder)); err == nil {
			l.messages = append(l.messages, k)
		}
	}
	slices.SortFunc(l.messages, key.compare)
	return l, nil
}

// history reads the names of one message's attempts.
func (e *endpoint) history(ctx context.Context, k key) (*history, error) {
	h := &history{}
	folder := e.folder + attemptPart
	prefix := folder + k.String() + "~"
	for name, err := range e.bucket.List(ctx, folder, prefix) {
		if err != nil {
			return nil, fmt.Errorf("webhook %s: list attempts of %s: %w", e.config.Name, k.id(), err)
		}
		if !strings.HasPrefix(name, prefix) {
			break
		}
		if a, err := parseAttempt(strings.TrimPrefix(name, folder)); err == nil {
			h.add(a)
		}
	}
	return h, nil
}

// expired reports whether a message is so old that the log does not keep it.
// Whether it was delivered is forgotten, and nobody needs to be told any more.
func expired(k key, now time.Time) bool { return k.recorded.Before(now.Add(-keepTime)) }

// prune deletes what is done and old, or more than is kept: the oldest first,
// each message before its attempts, for a message without attempts is pending.
func (e *endpoint) prune(ctx context.Context, l *listing) error {
	done := 0
	for _, k := range l.messages {
		if h := l.histories[k]; h != nil && h.done {
			done++
		}
	}
	now, deleted := e.now(), 0
	known := make(map[key]bool, len(l.messages))
	for _, k := range l.messages {
		known[k] = true
	}
	for _, k := range l.messages {
		h := l.histories[k]
		if h == nil || !h.done || done <= e.keep && !expired(k, now) || deleted >= pruneAtOnce {
			continue
		}
		if err := e.delete(ctx, e.folder+messagePart+k.String()); err != nil {
			return err
		}
		if err := e.deleteAttempts(ctx, h); err != nil {
			return err
		}
		done--
		deleted++
	}
	for k, h := range l.histories {
		if !known[k] && deleted < pruneAtOnce { // whoever deleted the message did not come as far
			if err := e.deleteAttempts(ctx, h); err != nil {
				return err
			}
			deleted++
		}
	}
	e.metrics.forgotten.WithLabelValues(e.config.Name).Add(float64(deleted))
	return nil
}

func (e *endpoint) deleteAttempts(ctx context.Context, h *history) error {
	for _, a := range h.attempts {
		if err := e.delete(ctx, e.folder+attemptPart+a.String()); err != nil {
			return err
		}
	}
	return nil
}

// delete deletes what another node may have deleted.
func (e *endpoint) delete(ctx context.Context, name string) error {
	if err := e.bucket.Delete(ctx, name); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("webhook %s: %w", e.config.Name, err)
	}
	return nil
}

// record stores what an attempt came to, under the next number that is free.
func (e *endpoint) record(ctx context.Context, a *attemptName, body weir.Attempt) error {
	for {
		body.N = a.n
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("webhook %s: attempt %s: %w", e.config.Name, a, err)
		}
		name := e.folder + attemptPart + a.String()
		err = e.bucket.Put(ctx, name, data)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrExists) {
			return fmt.Errorf("webhook %s: record attempt: %w", e.config.Name, err)
		}
		stored, err := e.bucket.Read(ctx, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("webhook %s: record attempt: %w", e.config.Name, err)
		}
		if bytes.Equal(stored, data) { // by a put that seemed to fail
			return nil
		}
		a.n++ // another node has counted as far
	}
}

const (
	defaultLimit = 100
	maxLimit     = 1000
	readers      = 8 // of attempts at a time
)

// Deliveries returns how it went with what webhooks were told, the newest
// first, and what to ask Before for the next page; it is empty on the last one.
func (n *Notifier) Deliveries(ctx context.Context, f weir.DeliveryFilter) (_ []weir.Delivery, next string, err error) {
	limit := min(cmp.Or(f.Limit, defaultLimit), maxLimit)
	if f.Webhook != "" && n.endpoints[f.Webhook] == nil {
		return nil, "", n.unknown(f.Webhook)
	}
	type found struct {
		e *endpoint
		k key
		h *history
	}
	var all []found
	for name, e := range n.endpoints {
		if f.Webhook != "" && f.Webhook != name {
			continue
		}
		l, err := e.list(ctx)
		if err != nil {
			return nil, "", err
		}
		for _, k := range l.messages {
			h := l.histories[k]
			if (f.Incident == "" || f.Incident == k.incident) && (f.State == "" || f.State == h.state()) &&
				(f.Before == "" || cursor(k, name) < f.Before) {
				all = append(all, found{e, k, h})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return strings.Compare(cursor(b.k, b.e.config.Name), cursor(a.k, a.e.config.Name))
	})
	if len(all) > limit {
		all = all[:limit]
		last := all[limit-1]
		next = cursor(last.k, last.e.config.Name)
	}
	page := make([]weir.Delivery, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, d := range all {
		group.Go(func() (err error) {
			page[i], err = d.e.delivery(ctx, d.k, d.h)
			return err
		})
	}
	return page, next, group.Wait()
}

// cursor orders deliveries of all webhooks.
func cursor(k key, webhook string) string { return k.String() + "~" + webhook }

// delivery reads a message's attempts.
func (e *endpoint) delivery(ctx context.Context, k key, h *history) (weir.Delivery, error) {
	d := weir.Delivery{
		Webhook: e.config.Name, ID: k.id(), Incident: k.incident, Version: k.version, Type: "incident." + k.kind,
		State: h.state(), Recorded: k.recorded, Attempts: []weir.Attempt{},
	}
	if h == nil {
		return d, nil
	}
	if d.State == weir.DeliveryPending {
		d.Next = h.next
	}
	for _, a := range h.attempts {
		data, err := e.bucket.Read(ctx, e.folder+attemptPart+a.String())
		if errors.Is(err, store.ErrNotFound) {
			continue // pruned since it was listed
		}
		var attempt weir.Attempt
		if err == nil {
			err = json.Unmarshal(data, &attempt)
		}
		if err != nil {
			return weir.Delivery{}, fmt.Errorf("webhook %s: attempt %s: %w", e.config.Name, a, err)
		}
		d.Attempts = append(d.Attempts, attempt)
	}
	return d, nil
}

// Status is what the log says of one webhook.
type Status struct {
	Pending, Delivered, Failed int
	Disabled                   bool // it answered that it is gone
}

// Status counts what a webhook was told.
func (n *Notifier) Status(ctx context.Context, webhook string) (Status, error) {
	e := n.endpoints[webhook]
	if e == nil {
		return Status{}, n.unknown(webhook)
	}
	var s Status
	l, err := e.list(ctx)
	if err != nil {
		return Status{}, err
	}
	for _, k := range l.messages {
		switch l.histories[k].state() {
		case weir.DeliveryPending:
			s.Pending++
		case weir.Delivered:
			s.Delivered++
		default:
			s.Failed++
		}
	}
	last, err := e.lastSwitch(ctx)
	s.Disabled = strings.HasSuffix(last, e.offSuffix())
	return s, err
}
