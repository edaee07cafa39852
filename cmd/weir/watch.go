package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/anomaly/notify"
	"github.com/weir-stream/weir/anomaly/watch"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/query"
)

// load reads a configuration. What its detectors watch is checked too, by those
// who know the language of questions.
func load(path string) (*weir.Config, error) {
	c, err := weir.Load(path)
	if err != nil {
		return nil, err
	}
	var mistakes weir.Mistakes
	for i, d := range c.Detectors {
		if key, err := watch.Check(d, c.Stream(d.Stream)); err != nil {
			path := fmt.Sprintf("detectors.%d", i)
			if key != "" {
				path += "." + key
			}
			text := err.Error()
			if bad := (*query.ParamError)(nil); errors.As(err, &bad) {
				text = strings.TrimPrefix(text, bad.Param+": ") // here it is another key
			}
			mistakes = append(mistakes, c.Mistake(path, "detector %s: %s", d.Name, text)...)
		}
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return c, nil
}

// watching is what runs where detectors or webhooks are configured.
type watching struct {
	log      *incident.Log
	silences *incident.Silences
	notifier *notify.Notifier // nil without webhooks
	watcher  *watch.Watcher
}

// incidents is what is kept of the incidents of a configuration.
func (r *rooms) incidents() (*incident.Log, *incident.Silences) {
	o := incident.Options{Logger: r.log, Now: time.Now}
	if i := r.config.Incidents; i != nil {
		o.Keep = i.Keep
	}
	var refs []incident.Ref
	for _, d := range r.config.Detectors {
		refs = append(refs, incident.Ref{Stream: d.Stream, Detector: d.Name})
	}
	return incident.NewLog(r.bucket, refs, o), incident.NewSilences(r.bucket, r.config.Maintenance, o)
}

// watching makes what watches and tells, or nil if nothing is to be watched.
func (r *rooms) watching(live query.Live, node *ingest.Node, external string) (*watching, error) {
	if len(r.config.Detectors) == 0 && len(r.config.Webhooks) == 0 {
		return nil, nil
	}
	w := new(watching)
	w.log, w.silences = r.incidents()
	o := watch.Options{Detectors: r.config.Detectors, Catalogs: make(map[string]query.Catalog), Bucket: r.bucket, Log: w.log, Live: live,
		Mute: w.silences.Match, Logger: r.log, Now: time.Now}
	for name, c := range r.catalogs {
		o.Catalogs[name] = c
	}
	o.Mine = func(stream string) (partitions []string, all bool) {
		if s := r.config.Stream(stream); s == nil || !s.Source.Kind.Shared() {
			return nil, true
		}
		status, err := node.Status(stream)
		if err != nil {
			return nil, false
		}
		for _, p := range status.Partitions {
			partitions = append(partitions, p.Partition)
		}
		return partitions, false
	}
	var err error
	if len(r.config.Webhooks) > 0 {
		w.notifier, err = notify.New(notify.Options{Webhooks: r.config.Webhooks, Bucket: r.bucket, Logger: r.log, Now: time.Now, External: external})
		if err != nil {
			return nil, err
		}
		o.Tell = func(ctx context.Context, i *weir.Incident, hooks []string) error {
			return w.notifier.Notify(ctx, *i, hooks)
		}
	}
	w.watcher, err = watch.New(o)
	return w, err
}

// collectors give what is done to Prometheus.
func (w *watching) collectors() []prometheus.Collector {
	out := []prometheus.Collector{w.watcher.Collector(), w.log.Collector(), w.silences.Collector()}
	if w.notifier != nil {
		out = append(out, w.notifier.Collector())
	}
	return out
}

// serve gives the API what it shows.
func (w *watching) serve(o *api.Options) {
	o.Incidents, o.Silences = w.log, w.silences
	if w.notifier != nil {
		o.Deliveries = w.notifier
	}
}

// run watches and tells until ctx is done. Who tells goes on until who watches
// has ended.
func (w *watching) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stop()
		return w.watcher.Run(ctx)
	})
	if w.notifier != nil {
		group.Go(func() error { return w.notifier.Run(telling) })
	}
	return group.Wait()
}
