package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/journal"
	"github.com/weir-stream/weir/query"
	"github.com/weir-stream/weir/store"
)

// rooms are what a configuration describes, as far as several commands need it:
// the store, and the streams in it.
type rooms struct {
	config   *weir.Config
	streams  []*weir.Stream
	bucket   *store.Directory
	catalogs map[string]*store.Catalog // by stream
	log      *slog.Logger
}

// openRooms opens the store of a configuration. Nothing runs yet.
func openRooms(c *weir.Config, log *slog.Logger) (*rooms, error) {
	bucket, err := store.OpenDirectory(c.Store)
	if err != nil {
		return nil, err
	}
	r := &rooms{config: c, streams: c.AllStreams(), bucket: bucket, catalogs: map[string]*store.Catalog{}, log: log}
	for _, s := range r.streams {
		r.catalogs[s.Name] = store.NewCatalog(bucket, s, log)
	}
	return r, nil
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
		if s.Source.Kind != weir.File {
			partitions[s.Name] = s.Source.Partitions
		}
	}
	c := &r.config.Journal
	if len(partitions) == 0 {
		if _, err := os.Stat(c.Path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
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

// node makes what reads events. The journal may be nil when nothing is pushed.
func (r *rooms) node(j *journal.Journal) *ingest.Node {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return ingest.New(ingest.Options{
		Name:     fmt.Sprintf("%s/%d", host, os.Getpid()),
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
func askStore(ctx context.Context, c *weir.Config, q query.Text) (*query.Answer, error) {
	if _, err := os.Stat(c.Store); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nothing listens on %s, and there is no store in %s; load or serve something first", c.Listen, c.Store)
	}
	r, err := openRooms(c, slog.New(slog.DiscardHandler)) // what is amiss with the store is in the answer's notes
	if err != nil {
		return nil, err
	}
	request, err := query.Parse(q)
	if err != nil {
		return nil, err
	}
	return r.engine(nil).Query(ctx, request)
}
