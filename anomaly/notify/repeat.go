package notify

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/weir-stream/weir/store"
)

// An Alertmanager forgets an alert that it is not told of again. So each minute
// it is told what fires, and for a while what is over: it may have been away
// when it was told. These requests are not messages: they are counted and not
// logged, and the next one makes up for one that fails.
const (
	alertLasts   = 5 * time.Minute    // an alert that is not repeated
	repeatEnded  = 5 * time.Minute    // after an incident was resolved
	repeatFiring = 7 * 24 * time.Hour // after it was last heard of: its detector may be gone
	maxRepeats   = 1000               // incidents, the newest
)

// planRepeats picks the last message of each incident of which an Alertmanager
// was told.
func (e *endpoint) planRepeats(l *listing) {
	if e.config.Format != "alertmanager_api" {
		return
	}
	now := e.now()
	last := map[string]key{}
	for _, k := range l.messages {
		if h := l.histories[k]; h == nil || !h.done || h.what != whatDelivered {
			continue
		}
		if known, found := last[k.incident]; !found || known.version < k.version {
			last[k.incident] = k
		}
	}
	e.repeats = e.repeats[:0]
	for i := len(l.messages) - 1; i >= 0 && len(e.repeats) < maxRepeats; i-- {
		k := l.messages[i]
		age, bound := now.Sub(k.recorded), repeatFiring
		if k.kind == typeResolved {
			bound = repeatEnded
		}
		if last[k.incident] == k && age < bound {
			e.repeats = append(e.repeats, k)
		}
	}
}

// repeat tells an Alertmanager again what it was told, once after each scan.
func (e *endpoint) repeat(ctx context.Context) error {
	now := e.now()
	if len(e.repeats) == 0 || e.off || e.repeated.Equal(e.scanned) || now.Before(e.heldUntil) {
		return nil
	}
	e.repeated = e.scanned
	var batch []alert
	size := 0
	flush := func() bool {
		if len(batch) == 0 {
			return true
		}
		body, err := json.Marshal(batch)
		batch, size = nil, 0
		if err != nil {
			return false
		}
		o := e.request(ctx, "repeat", body)
		result := "delivered"
		if o.err != nil {
			result = "failed"
			e.log.Debug("webhook not told again", "webhook", e.config.Name, "error", o.err)
		}
		e.metrics.repeats.WithLabelValues(e.config.Name, result).Inc()
		return o.err == nil
	}
	for _, k := range e.repeats {
		m, err := e.read(ctx, k)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, a := range e.apiAlerts(m, now) {
			text, err := json.Marshal(a)
			if err != nil {
				return err
			}
			if size+len(text)+2 > maxBody && !flush() {
				return nil
			}
			batch, size = append(batch, a), size+len(text)+1
		}
	}
	flush()
	return nil
}
