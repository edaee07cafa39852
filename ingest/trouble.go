package ingest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Trouble is what keeps a log from being read. It is told when it begins, now
// and then while it lasts, and when it is over.
type Trouble struct {
	Logger *slog.Logger

	tries int
	since time.Time
	told  time.Time
}

const (
	shortestWait = 50 * time.Millisecond
	longestWait  = 5 * time.Second
	tellAgain    = time.Minute
	worthTelling = 500 * time.Millisecond // what passes sooner is none
)

// Wait pauses before the next try, each time about twice as long.
func (t *Trouble) Wait(ctx context.Context, err error) error {
	now := time.Now()
	if t.tries++; t.tries == 1 {
		t.since = now
	}
	if now.Sub(t.since) >= worthTelling && now.Sub(t.told) >= tellAgain {
		t.Logger.Warn("cannot read; waiting", "error", err, "for", now.Sub(t.since).Round(time.Millisecond))
		t.told = now
	}
	pause := min(longestWait, shortestWait<<min(t.tries-1, 10))
	select {
	case <-time.After(pause/2 + rand.N(pause)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Over says that reading goes on.
func (t *Trouble) Over() {
	if !t.told.IsZero() {
		t.Logger.Info("reading again", "after", time.Since(t.since).Round(time.Millisecond))
	}
	t.tries, t.told = 0, time.Time{}
}
