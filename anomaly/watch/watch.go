package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
)

// Options of a Watcher. Tell and Mute may be nil.
type Options struct {
	Detectors []*weir.DetectorConfig
	Catalogs  map[string]query.Catalog // by stream
	Bucket    store.Bucket             // for the state of detectors
	Log       *incident.Log

	// Live answers with what owners hold; of that only who is idle matters.
	Live query.Live

	// Mine gives the partitions of a stream that this process reads, or all true
	// if nobody else reads any.
	Mine func(stream string) (partitions []string, all bool)

	// Tell makes sure that the webhooks will be told. It returns when that
	// survives a crash, and may be called twice for one version of an incident.
	Tell func(ctx context.Context, i *weir.Incident, hooks []string) error

	// Mute gives the reason why nobody is to be told of an incident, or "".
	Mute func(ctx context.Context, i *weir.Incident, now time.Time) (string, error)

	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
}

// Watcher judges closed windows.
type Watcher struct {
	o       Options
	streams []*watched
	counts  *counts
}

// watched is a stream with its detectors.
type watched struct {
	stream  *weir.Stream
	catalog query.Catalog
	runners []*runner
	closing closing
	every   time.Duration // looked at
}

// New compiles detectors. Nothing runs yet.
func New(o Options) (*Watcher, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	var names []string
	for _, c := range o.Detectors {
		names = append(names, c.Name)
	}
	w := &Watcher{o: o, counts: newCounts(names)}
	for _, c := range o.Detectors {
		catalog := o.Catalogs[c.Stream]
		if catalog == nil {
			return nil, fmt.Errorf("detector %s: there is no stream %q", c.Name, c.Stream)
		}
		d, key, err := define(c, catalog.Stream())
		if err != nil {
			return nil, fmt.Errorf("detector %s: %s: %w", c.Name, key, err)
		}
		i := slices.IndexFunc(w.streams, func(s *watched) bool { return s.stream.Name == c.Stream })
		if i < 0 {
			i = len(w.streams)
			w.streams = append(w.streams, &watched{stream: catalog.Stream(), catalog: catalog, every: 5 * time.Second})
		}
		s := w.streams[i]
		s.every = max(min(s.every, c.Window/4), 200*time.Millisecond)
		s.runners = append(s.runners, &runner{def: d, catalog: catalog, counts: w.counts, turn: turn, logger: o.Logger, now: o.Now, tell: o.Tell, mute: o.Mute,
			keeper: &keeper{bucket: o.Bucket, log: o.Log, logger: o.Logger}})
	}
	return w, nil
}

// Collector gives what detectors do to Prometheus.
func (w *Watcher) Collector() prometheus.Collector { return w.counts }

// Run watches until ctx is done, and saves the state of all detectors then.
func (w *Watcher) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range w.streams {
		group.Go(func() error { return w.watch(ctx, s) })
	}
	return group.Wait()
}

// turn is how long a detector that has much to catch up with may hold up the
// others of its stream.
const turn = 2 * time.Second

// savePatience bounds the saving at the end.
const savePatience = 10 * time.Second

func (w *Watcher) watch(ctx context.Context, s *watched) (err error) {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	defer func() {
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), savePatience)
		defer cancel()
		for _, r := range s.runners {
			err = errors.Join(err, r.save(saving))
		}
	}()
	failing := ""
	for {
		if err := w.look(ctx, s); ctx.Err() != nil {
			return nil
		} else if errors.Is(err, store.ErrSync) {
			return err
		} else if err != nil && err.Error() != failing { // what lasts is said once
			failing = err.Error()
			w.o.Logger.Warn("windows wait to be judged", "stream", s.stream.Name, "error", err)
		} else if err == nil && failing != "" {
			failing = ""
			w.o.Logger.Info("windows are judged again", "stream", s.stream.Name)
		}
		if slices.ContainsFunc(s.runners, func(r *runner) bool { return r.behind }) {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look judges the windows of a stream that have been closed since the last look.
// Who is live is asked first: what is stored meanwhile then is in the snapshot.
func (w *Watcher) look(ctx context.Context, s *watched) error {
	pieces, err := w.o.Live.Live(ctx, s.stream.Name, weir.Selection{})
	if err != nil {
		return fmt.Errorf("ask who reads stream %s: %w", s.stream.Name, err)
	}
	now := w.o.Now()
	snapshot := s.catalog.Snapshot()
	if now.Sub(snapshot.Taken) >= max(time.Second, s.every) {
		if snapshot, err = s.catalog.Refresh(ctx); err != nil {
			return err
		}
	}
	watermark, known := s.closing.watermark(snapshot, pieces, s.stream.Time.Lateness, now)
	if !known {
		return nil
	}
	var failed error
	for _, r := range s.runners {
		if !w.mine(r.def, snapshot, pieces) {
			r.machine, r.behind = nil, false // whoever has it now goes on from what is stored
			w.counts.released(r.def.config.Name)
			continue
		}
		if err := r.advance(ctx, snapshot, watermark); err != nil {
			w.counts.failed(r.def.config.Name)
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// mine reports whether this process runs the detector: whether it reads the
// partition that the detector's name is hashed to.
func (w *Watcher) mine(d *definition, snapshot *store.Snapshot, pieces []weir.Piece) bool {
	if w.o.Mine == nil {
		return true
	}
	partitions, all := w.o.Mine(d.stream.Name)
	if all {
		return true
	}
	known := make(map[string]bool)
	for i := range snapshot.Chains {
		if name := snapshot.Chains[i].Partition; !strings.HasPrefix(name, loadedPrefix) {
			known[name] = true
		}
	}
	for _, p := range pieces {
		known[p.Partition] = true
	}
	if len(known) == 0 {
		return false
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Contains(partitions, names[xxh3.HashString(d.config.Name)%uint64(len(names))])
}
