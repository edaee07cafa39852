package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Beside the files of the log, whose names are numbers, a directory holds:
const (
	lockName     = "LOCK"     // flocked while the journal is open; says by whom
	identityName = "IDENTITY" // JSON: who this log is
	tmpSuffix    = ".tmp"     // a file being made; left behind only by a crash
)

type identity struct {
	Format int       `json:"format"`
	ID     uuid.UUID `json:"id"`
}

// Open locks the directory, reads the whole log, and makes sure of its end. It
// starts no goroutine: [Journal.Run] does.
func Open(opts Options) (_ *Journal, err error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	j := &Journal{
		opts:    opts,
		log:     opts.Logger.With("journal", opts.Dir),
		sync:    (*os.File).Sync,
		wake:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
		streams: make(map[string]*stream),
	}
	for name, partitions := range opts.Streams {
		j.streams[name] = newStream(name, partitions, opts.KeyTTL, opts.MaxKeys)
	}

	if err := os.MkdirAll(opts.Dir, 0o777); err != nil {
		return nil, fmt.Errorf("journal: make directory: %w", err)
	}
	if j.lock, err = lock(opts.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.lock.Release())
		}
	}()
	for _, dir := range []string{filepath.Dir(opts.Dir), opts.Dir} {
		if err := syncPath(dir); err != nil {
			return nil, fmt.Errorf("journal: sync directory %s: %w", dir, err)
		}
	}
	if err := removeLeftovers(opts.Dir); err != nil {
		return nil, err
	}
	first, last, err := wlog.Segments(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, opts.Dir, err)
	}
	if j.id, err = identify(opts.Dir, last < 0); err != nil {
		return nil, err
	}
	for i := first; i <= last && last >= 0; i++ {
		if err := j.load(i, i == last); err != nil {
			return nil, err
		}
	}
	now := opts.Now()
	for _, s := range j.streams {
		s.keys.sort()
		s.keys.expire(now)
		if s.configured == 0 {
			j.log.Warn("the journal holds a stream that is not configured; its files and all later ones stay until its events are committed", "stream", s.name)
		}
	}
	return j, nil
}

func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("journal: no directory given")
	}
	for name, n := range o.Streams {
		if name == "" || len(name) > maxStreamName || n < 1 || n > maxPartitions {
			return fmt.Errorf("journal: stream %q with %d partitions: names have 1 to %d bytes, streams 1 to %d partitions", name, n, maxStreamName, maxPartitions)
		}
	}
	o.SegmentSize = orDefault(o.SegmentSize, 64<<20)
	o.KeyTTL = orDefault(o.KeyTTL, 24*time.Hour)
	o.MaxKeys = orDefault(o.MaxKeys, 1<<20)
	o.MaxBehind = orDefault(o.MaxBehind, 64<<20)
	o.MaxTail = orDefault(o.MaxTail, 16<<20)
	if o.SegmentSize < 0 || o.KeyTTL < 0 || o.MaxKeys < 0 || o.MaxBehind < 0 || o.MaxTail < 0 {
		return errors.New("journal: sizes, bounds and times must not be negative")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("journal: directory %s: %w", o.Dir, err)
	}
	o.Dir = dir
	return nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// lock takes the lock of the directory, or says who has it.
func lock(dir string) (fileutil.Releaser, error) {
	path := filepath.Join(dir, lockName)
	l, _, err := fileutil.Flock(path)
	if err != nil {
		holder, readErr := os.ReadFile(path)
		if who := strings.TrimSpace(string(holder)); readErr == nil && who != "" {
			return nil, fmt.Errorf("%w: %s is held by %s: %w", ErrLocked, dir, who, err)
		}
		return nil, fmt.Errorf("%w: lock %s: %w", ErrLocked, path, err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	who := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(who), 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: write %s: %w", path, err), l.Release())
	}
	return l, nil
}

func removeLeftovers(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+tmpSuffix))
	if err != nil {
		return fmt.Errorf("journal: list %s: %w", dir, err)
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("journal: remove leftover: %w", err)
		}
	}
	return nil
}

// identify reads the identity of the log. Only an empty log is given one.
func identify(dir string, empty bool) (string, error) {
	path := filepath.Join(dir, identityName)
	id, err := readIdentity(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && empty:
		id = identity{Format: version, ID: uuid.New()}
		data, err := json.Marshal(id)
		if err != nil {
			return "", fmt.Errorf("journal: encode identity: %w", err)
		}
		err = replace(path, func(w io.Writer) error {
			_, err := w.Write(append(data, '\n'))
			return err
		})
		if err != nil {
			return "", err
		}
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %s holds a log but no %s: restore it, or move the log away", ErrCorrupt, dir, identityName)
	case err != nil:
		return "", err
	}
	return id.ID.String(), nil
}

func readIdentity(path string) (identity, error) {
	var id identity
	data, err := os.ReadFile(path)
	if err != nil {
		return id, fmt.Errorf("journal: read identity: %w", err)
	}
	if err := json.Unmarshal(data, &id); err != nil {
		return id, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	if id.Format != version || id.ID == uuid.Nil {
		return id, fmt.Errorf("%w: %s: format %d, this program reads %d; id %s", ErrCorrupt, path, id.Format, version, id.ID)
	}
	return id, nil
}

// load reads one file of the log into memory: who is in it, not what. It makes
// sure that the last file's good records are on disk, and only they.
func (j *Journal) load(index int, last bool) error {
	path := wlog.SegmentName(j.opts.Dir, index)
	f := &file{index: index}
	j.files = append(j.files, f)
	good, err := scan(path, func(rec []byte) error { return j.apply(f, rec, last) })
	if err != nil {
		if !last || !errors.Is(err, errTorn) {
			return fmt.Errorf("%w: %s at byte %d, after record %d: %w", ErrCorrupt, path, good, j.seq, err)
		}
		if later := acknowledged(path, good, j.seq+1); later != nil {
			return fmt.Errorf("%w: %s at byte %d, after record %d: %w, and %w", ErrCorrupt, path, good, j.seq, err, later)
		}
	}
	info, statErr := os.Stat(path)
	if statErr != nil {
		return fmt.Errorf("journal: %w", statErr)
	}
	f.size = info.Size()
	if !last {
		return nil
	}
	if err != nil {
		j.log.Warn("dropping the torn end of the journal; nothing in it was acknowledged", "file", path, "kept", good, "dropped", f.size-good, "reason", err)
	}
	f.size = good
	return replace(path, func(w io.Writer) error {
		old, err := os.Open(path)
		if err != nil {
			return err
		}
		// A record whose last bytes are zeros is whole without them: wlog reads
		// zeros behind the end of a file.
		_, err = io.CopyN(w, io.MultiReader(old, zeros{}), good)
		return errors.Join(err, old.Close())
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// scan calls fn with each record of the file. It returns where the last good
// one ends. Errors of reading are errTorn; those of fn are what fn makes them.
func scan(path string, fn func(rec []byte) error) (good int64, err error) {
	segment, err := wlog.OpenReadSegment(path)
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	source := wlog.NewSegmentBufReader(segment)
	defer func() {
		if closeErr := source.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close: %w", closeErr)
		}
	}()
	records := wlog.NewReader(source)
	for records.Next() {
		if err := fn(records.Record()); err != nil {
			return good, err
		}
		good = records.Offset()
	}
	if err := records.Err(); err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) { // the disk failed, not the log
			return good, err
		}
		return good, fmt.Errorf("%w: %w", errTorn, err)
	}
	return good, nil
}

// apply takes over what a record tells.
func (j *Journal) apply(f *file, rec []byte, thorough bool) error {
	h, err := decodeHead(rec)
	switch {
	case err != nil:
		return err
	case h.length != len(rec):
		return fmt.Errorf("%w: record %d has %d bytes of %d", errTorn, h.seq, len(rec), h.length)
	case j.seq != 0 && h.seq > j.seq+1:
		return fmt.Errorf("%w: record %d is followed by %d", errTorn, j.seq, h.seq)
	case j.seq != 0 && h.seq <= j.seq:
		return fmt.Errorf("record %d is followed by %d", j.seq, h.seq)
	}
	switch h.kind {
	case kindBatch:
		b, err := decodeBatch(rec)
		if err != nil {
			return err
		}
		if thorough {
			if _, err := b.body(); err != nil {
				return fmt.Errorf("%w: record %d: %w", errTorn, h.seq, err)
			}
		}
		s := j.found(string(b.stream))
		p := s.partition(b.partition)
		if b.first < p.end {
			return fmt.Errorf("record %d: offset %d of partition %d of stream %q comes twice, its end was %d", h.seq, b.first, b.partition, s.name, p.end)
		}
		p.add(f.index, b.first, b.end(), int64(b.size))
		if len(b.key) > 0 {
			j.remember(s, hashKey(b.key), keyEntry{
				hash: b.hash, arrival: b.arrival.UnixNano(), first: b.first,
				partition: uint32(b.partition), count: uint32(b.count), file: f.index,
			}, f)
		}
	case kindKeys:
		name, entries, err := decodeKeys(rec)
		if err != nil {
			return err
		}
		s := j.found(string(name))
		for _, e := range entries {
			e.file = f.index
			j.remember(s, e.id, e.keyEntry, f)
		}
	}
	j.seq = h.seq
	return nil
}

func (j *Journal) found(name string) *stream {
	s := j.streams[name]
	if s == nil {
		s = newStream(name, 0, j.opts.KeyTTL, j.opts.MaxKeys)
		j.streams[name] = s
	}
	return s
}

// remember notes that the file tells of a key.
func (j *Journal) remember(s *stream, id keyID, e keyEntry, f *file) {
	s.keys.add(id, e)
	f.keys = append(f.keys, streamKey{s, id})
}

// replace puts a new file in the place of the path, durably.
func replace(path string, write func(io.Writer) error) (err error) {
	tmp := path + tmpSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	err = errors.Join(write(f), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncPath(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("journal: write %s anew: %w", path, err)
	}
	return nil
}

// syncPath makes a directory's entries durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
