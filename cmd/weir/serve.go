package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
	"github.com/weir-stream/weir/store"
)

func newServe() *cobra.Command {
	var (
		config string
		level  slog.Level
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Runs: takes events, stores cells, answers questions",
		Long: `Serve reads the sources of all streams and answers over HTTP until it is told to
stop (Ctrl-C, SIGTERM). Then it finishes the requests under way, stores what is
in memory, and ends. After a crash it goes on from what is stored: nothing that
was acknowledged is lost, and nothing is counted twice.`,
		Example: `  weir serve -c weir.yaml
  curl --data-binary @events.ndjson http://127.0.0.1:8080/v1/streams/requests/events`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(config)
			if err != nil {
				return err
			}
			options := &slog.HandlerOptions{Level: level}
			var handler slog.Handler = slog.NewTextHandler(cmd.ErrOrStderr(), options)
			if asJSON {
				handler = slog.NewJSONHandler(cmd.ErrOrStderr(), options)
			}
			log := slog.New(handler)
			for _, note := range c.Notes() {
				log.Warn(note)
			}
			return serve(cmd.Context(), c, log, func(addr net.Addr) {
				log.Info("serving", "url", "http://"+addr.String(), "store", c.Store, "version", version())
			})
		},
	}
	configFlag(cmd, &config)
	cmd.Flags().TextVar(&level, "log-level", slog.LevelInfo, "what to log: debug, info, warn or error")
	cmd.Flags().BoolVar(&asJSON, "log-json", false, "log one JSON object a line")
	return cmd
}

// leaveGrace is how long giving up shared partitions may take before the API
// stops all the same.
const leaveGrace = 25 * time.Second

// serve runs a server until ctx ends. It calls started once it listens.
func serve(ctx context.Context, c *weir.Config, log *slog.Logger, started func(net.Addr)) (err error) {
	// Listening comes first: a port that is taken should cost nothing.
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	var admin net.Listener
	if c.Admin != "" {
		if admin, err = net.Listen("tcp", c.Admin); err != nil {
			return fmt.Errorf("listen for profiles: %w", err)
		}
		defer admin.Close()
	}
	r, err := openRooms(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := store.Probe(ctx, r.bucket); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it had begun
		}
		return err
	}
	j, err := r.journal()
	if err != nil {
		return err
	}
	if j != nil {
		defer func() { err = errors.Join(err, j.Close()) }()
		for _, name := range j.Streams() {
			if c.Stream(name) == nil {
				log.Warn("the journal keeps events of a stream that is not configured any more; they are counted once it is again", "stream", name)
			}
		}
	}
	address := advertised(c, listener.Addr())
	sources, err := r.sources(address)
	if err != nil {
		return err
	}
	node := r.node(j, sources)
	nodes := r.cluster(node, sources, address)
	defer nodes.Close()
	engine := r.engine(nodes)
	watching, err := r.watching(nodes, node, "http://"+address)
	if err != nil {
		return err
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		node.Collector(),
		nodes.Collector(),
		engine.Collector(),
		store.Collector(slices.Collect(maps.Values(r.catalogs))),
	)
	registry.MustRegister(r.collectors...)
	if watching != nil {
		registry.MustRegister(watching.collectors()...)
	}
	options := api.Options{
		Streams:  r.streams,
		Ingester: node,
		Engine:   engine,
		Cluster:  nodes,
		Ready:    func() error { return cmp.Or(node.Ready(), nodes.Ready()) },
		Registry: registry,
		Logger:   log,
		Version:  version(),
		Store:    storeID(c),
		Limits:   api.Limits{Body: int64(c.Limits.Body), QueryTime: c.Limits.Query.Time},
	}
	if watching != nil {
		watching.serve(&options)
	}
	server, err := api.New(options)
	if err != nil {
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	// The node outlives the API: a push that is under way ends with its fsync.
	nodeCtx, stopNode := context.WithCancel(context.WithoutCancel(ctx))
	// The API outlives what is shared with other nodes: they ask for what is in
	// memory until it is stored.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopNode()
		return server.Run(serving, listener)
	})
	group.Go(func() error {
		defer stopServing()
		<-ctx.Done()
		server.Drain()
		patience, done := context.WithTimeout(context.WithoutCancel(ctx), leaveGrace)
		defer done()
		if err := node.Leave(patience); err != nil {
			log.Warn("others read on what this node has not stored", "error", err)
		}
		return nil
	})
	group.Go(func() error { return node.Run(nodeCtx) })
	if watching != nil {
		group.Go(func() error { return watching.run(ctx) })
	}
	if admin != nil {
		group.Go(func() error { return api.Serve(ctx, admin, api.Admin(), log, 10*time.Minute) })
		log.Info("profiles", "url", "http://"+admin.Addr().String()+"/debug/pprof/")
	}
	started(listener.Addr())
	if err := group.Wait(); err != nil {
		return err
	}
	log.Info("stopped; everything that was taken is stored")
	return nil
}
