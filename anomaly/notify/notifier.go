package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// Options are what a notifier is made of.
type Options struct {
	Webhooks []*weir.WebhookConfig
	Bucket   store.Bucket // nil: nothing is kept, and only Test can be used
	Logger   *slog.Logger
	Now      func() time.Time
	External string        // our own URL, for links; empty: there are none
	Resolver *net.Resolver // of names of hosts; nil: the system's
}

// Notifier tells webhooks of incidents.
type Notifier struct {
	endpoints map[string]*endpoint // by the webhook's name
	bucket    store.Bucket
	log       *slog.Logger
	now       func() time.Time
	metrics   *metrics
}

// New reads the secrets and starts nothing.
func New(o Options) (*Notifier, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Notifier{endpoints: map[string]*endpoint{}, bucket: o.Bucket, log: o.Logger, now: o.Now, metrics: newMetrics()}
	link := strings.TrimSuffix(o.External, "/")
	if link != "" {
		link += "/v1/incidents/"
	}
	var errs []error
	for _, c := range o.Webhooks {
		s, err := newSender(c, o.Resolver, o.Now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n.endpoints[c.Name] = &endpoint{
			sender: s, folder: webhookFolder(c.Name), bucket: o.Bucket, log: o.Logger, metrics: n.metrics, link: link,
			keep: keepMessages, wake: make(chan struct{}, 1), putting: map[key]int{}, adopt: map[string]bool{},
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return n, nil
}

// Run delivers until ctx ends: at first what waits in the store. Then it gives
// the requests under way a few seconds, and returns after all it started has
// ended. It fails only when the store cannot be trusted any more.
func (n *Notifier) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, e := range n.endpoints {
		group.Go(func() error {
			if err := e.run(ctx); err != nil {
				return fmt.Errorf("deliver to webhook %s: %w", e.config.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Notify takes what each of the named webhooks is to be told of the incident.
// Once it returns nil that is durable. The incident is given as it was stored:
// to tell of the same version again changes nothing, also long after it was
// delivered, and whatever process did it. Notify waits for the store and never
// for a receiver. An incident that is muted is not told of, and a webhook that
// is not configured any more is passed over, with a warning.
func (n *Notifier) Notify(ctx context.Context, incident weir.Incident, hooks []string) error {
	if incident.Muted != "" {
		return nil
	}
	m, err := newMessage(incident)
	if err != nil {
		return fmt.Errorf("notify of incident: %w", err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("notify of incident %s: %w", incident.ID, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range hooks {
		e := n.endpoints[name]
		if e == nil {
			n.log.Warn("an incident is for a webhook that is not configured", "incident", incident.ID, "webhook", name)
			continue
		}
		group.Go(func() error {
			if err := e.take(ctx, m.key, data); err != nil {
				return fmt.Errorf("notify webhook %s of incident %s: %w", name, incident.ID, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// take stores a message, and queues it unless it is done.
func (e *endpoint) take(ctx context.Context, k key, data []byte) error {
	count := func(result string) { e.metrics.messages.WithLabelValues(e.config.Name, result).Inc() }
	if expired(k, e.now()) {
		count("expired")
		return nil
	}
	e.mu.Lock()
	e.putting[k]++ // so that a scan leaves it to us
	e.mu.Unlock()
	known, err := e.put(ctx, k, data)
	w := &entry{key: k}
	if err == nil && known {
		var h *history
		if h, err = e.history(ctx, k); err == nil && h.done {
			w = nil
		} else if err == nil {
			w.n, w.tries, w.due = h.last(), h.tries, h.next
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.putting[k]--; e.putting[k] == 0 {
		delete(e.putting, k)
	}
	if err != nil {
		return err
	}
	if known {
		count("known")
	} else {
		count("queued")
	}
	if w != nil && e.waiting.find(k) == nil {
		if k.kind != typeFiring {
			// Another node may have begun to tell of the incident: what it has
			// left undone is not to be overtaken.
			e.adopt[k.incident] = true
		}
		w.added = e.scans
		e.waiting.add(w)
		e.stir()
	}
	return nil
}

// put stores a message, and reports whether it was there.
func (e *endpoint) put(ctx context.Context, k key, data []byte) (known bool, err error) {
	name := e.folder + messagePart + k.String()
	for {
		err := e.bucket.Put(ctx, name, data)
		if err == nil || !errors.Is(err, store.ErrExists) {
			return false, err
		}
		if _, err = e.bucket.Read(ctx, name); err == nil || !errors.Is(err, store.ErrNotFound) {
			return true, err
		}
		if err := ctx.Err(); err != nil { // it was there and is not any more, over and over
			return false, err
		}
	}
}

// stir makes run look at the queue.
func (e *endpoint) stir() {
	select {
	case e.wake <- struct{}{}:
	default: // it is going to look
	}
}

// Redeliver has a message sent again, whatever became of it; its schedule begins
// anew. The id is that of the message, as the log of deliveries shows it.
func (n *Notifier) Redeliver(ctx context.Context, id, webhook string) error {
	e := n.endpoints[webhook]
	if e == nil {
		return n.unknown(webhook)
	}
	l, err := e.list(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(l.messages, func(k key) bool { return k.id() == id })
	if at < 0 {
		return fmt.Errorf("redeliver %s to webhook %s: %w", id, webhook, weir.ErrUnknownMessage)
	}
	k := l.messages[at]
	a := &attemptName{key: k, n: l.histories[k].last() + 1, what: whatAgain}
	if err := e.record(ctx, a, weir.Attempt{At: e.now().UTC(), Error: "to be sent again, as somebody asked"}); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting.remove(k)
	e.waiting.add(&entry{key: k, n: a.n, added: e.scans})
	e.stir()
	return nil
}

// Test sends a sample at once, and once. If it succeeds, a webhook that was
// disabled is enabled again. The error says that nothing could be sent; whether
// it was taken stands in the delivery.
func (n *Notifier) Test(ctx context.Context, webhook string) (weir.Delivery, error) {
	e := n.endpoints[webhook]
	if e == nil {
		return weir.Delivery{}, n.unknown(webhook)
	}
	m, err := newMessage(sample(e.now()))
	if err != nil {
		return weir.Delivery{}, err
	}
	body, err := e.render(m, e.now())
	if err != nil {
		return weir.Delivery{}, err
	}
	o := e.send(ctx, m.ID, body)
	d := weir.Delivery{
		Webhook: webhook, ID: m.ID, Incident: m.Incident.ID, Version: m.Incident.Version, Type: m.Type,
		State: weir.Delivered, Recorded: m.Incident.Recorded, Attempts: []weir.Attempt{o.attempt(1, time.Time{})},
	}
	if o.err != nil {
		d.State = weir.DeliveryFailed
		return d, nil
	}
	if n.bucket == nil {
		return d, nil
	}
	last, err := e.lastSwitch(ctx)
	if err == nil && strings.Contains(last, "-off-") {
		err = e.putSwitch(ctx, "on")
	}
	return d, err
}

// sample is an incident that is none.
func sample(now time.Time) weir.Incident {
	now = now.UTC().Truncate(time.Second)
	since := now.Add(-time.Minute)
	return weir.Incident{
		ID: weir.IncidentID("test", now.Unix()), Detector: "test", Stream: "test", Value: "count",
		Summary: "This is a test: a webhook of Weir is being tried. Nothing is wrong.",
		State:   weir.Firing, Version: now.Unix(), Severity: weir.Warning,
		Since: since, Opened: now, Updated: now, Recorded: now,
		Series: []weir.IncidentSeries{{
			By: map[string]string{"sample": "yes"}, State: weir.Firing, Since: since, Window: since,
			Value: 12, Expected: 100, Lower: 80, Upper: 120, Score: 4.2, Direction: "down", Reason: "a sample",
		}},
		Members: 1,
		Causes:  []weir.Cause{{Dimension: "sample", Value: "yes", Share: 1, Is: 12, Was: 100}},
	}
}

func (n *Notifier) unknown(webhook string) error {
	names := slices.Sorted(maps.Keys(n.endpoints))
	return fmt.Errorf("webhook %q: %w; there are: %s", webhook, weir.ErrUnknownWebhook, cmp.Or(strings.Join(names, ", "), "none"))
}
