package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
	"github.com/weir-stream/weir/store/blockcache"
	"github.com/weir-stream/weir/store/objects"
)

// rooms are what a configuration describes, as far as several commands need it:
// the store, and the streams in it.
type rooms struct {
	config   *weir.Config
	streams  []*weir.Stream
	bucket   store.Bucket
	catalogs map[string]*store.Catalog // by stream
	log      *slog.Logger

	collectors []prometheus.Collector // of an object store and its cache
	closers    []io.Closer            // the last one is closed first
}

// openRooms opens the store of a configuration. Nothing runs yet. Of an object
// store not even a request is made.
func openRooms(ctx context.Context, c *weir.Config, log *slog.Logger) (*rooms, error) {
	r := &rooms{config: c, streams: c.AllStreams(), catalogs: map[string]*store.Catalog{}, log: log}
	if err := r.openBucket(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	for _, s := range r.streams {
		r.catalogs[s.Name] = store.NewCatalog(r.bucket, s, log)
	}
	return r, nil
}

func (r *rooms) openBucket(ctx context.Context) error {
	c := r.config
	if !c.Remote() {
		directory, err := store.OpenDirectory(c.Store)
		r.bucket = directory
		return err
	}
	// Clients of object stores log by the standard logger what they also return.
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(r.log)
	remote, err := objects.Open(ctx, c.Store)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, remote)
	options := blockcache.Options{Memory: int64(c.Cache.Memory)}
	if disk := c.Cache.Disk; disk != nil {
		options.DiskPath, options.DiskSize = disk.Path, int64(disk.Size)
	}
	cache, err := blockcache.New(remote, options)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, cache)
	r.bucket = cache
	r.collectors = append(r.collectors, remote, cache)
	return nil
}

// close gives up the store, once nothing uses it any more.
func (r *rooms) close() error {
	var errs []error
	for _, c := range slices.Backward(r.closers) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// journal opens the journal behind the streams that need one, and behind those
// also named, or returns nil. One that exists is opened in any case: it may hold
// what was pushed before the configuration changed.
func (r *rooms) journal(also ...string) (*journal.Journal, error) {
	partitions := map[string]int{}
	for _, name := range also {
		partitions[name] = 1
	}
	for _, s := range r.streams {
		if s.Source.Kind.Journaled() {
			partitions[s.Name] = s.Source.Partitions
		}
	}
	c := &r.config.Journal
	if len(partitions) == 0 {
		if _, err := os.Stat(c.Path); c.Path == "" || errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if c.Path == "" {
		return nil, errors.New("a journal is needed, which holds what was read until it is in the object store: " +
			"name a local directory for it, such as journal: {path: /var/lib/weir/journal}")
	}
	return journal.Open(journal.Options{
		Dir:         c.Path,
		Streams:     partitions,
		SegmentSize: int(c.FileSize),
		KeyTTL:      c.Keys,
		MaxKeys:     c.MaxKeys,
		MaxBehind:   int64(c.MaxBehind),
		Logger:      r.log,
	})
}

// nodeName tells processes apart, for those who look at what they wrote.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// node makes what reads events. The journal may be nil when nothing is pushed.
func (r *rooms) node(j *journal.Journal, sources map[string]ingest.Source) *ingest.Node {
	return ingest.New(ingest.Options{
		Name:     nodeName(),
		Sources:  sources,
		Streams:  r.streams,
		Catalogs: r.catalogs,
		Journal:  j,
		Memory:   int64(r.config.Flush.Memory),
		Interval: r.config.Flush.Interval,
		Stdin:    os.Stdin,
		Logger:   r.log,
		Now:      time.Now,
	})
}

// engine makes what answers questions. Without live cells it answers from what
// is stored.
func (r *rooms) engine(live query.Live) *query.Engine {
	catalogs := make([]query.Catalog, 0, len(r.catalogs))
	for _, c := range r.catalogs {
		catalogs = append(catalogs, c)
	}
	l := &r.config.Limits.Query
	return query.New(catalogs, live, query.Options{Limits: query.Limits{
		Time:   l.Time,
		Cells:  int64(l.Cells),
		Series: l.Series,
		Points: l.Points,
		Bytes:  int64(l.Memory),
	}})
}

// askStore answers a question from the store alone.
func askStore(ctx context.Context, c *weir.Config, q query.Text) (_ *query.Answer, err error) {
	if _, err := os.Stat(c.Store); !c.Remote() && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no server of this configuration listens on %s, and there is no store in %s; load or serve something first", c.Listen, c.Store)
	}
	if c.Cache != nil {
		c.Cache.Disk = nil // a server may hold it, and one question warms nothing
	}
	r, err := openRooms(ctx, c, slog.New(slog.DiscardHandler)) // what is amiss with the store is in the answer's notes
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	request, err := query.Parse(q)
	if err != nil {
		return nil, err
	}
	return r.engine(nil).Query(ctx, request)
}
