package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/zeebo/xxh3"

	"github.com/weir-stream/weir/store"
)

// fileLog is a file of NDJSON, gzip by its suffix, as a partition. Its offsets
// are positions in the uncompressed bytes.
//
// A file is known by its path. When the bytes before the place where the chain
// ends are still the same, it has at most grown and is read on from there.
// Otherwise it is another log, read from its beginning.
type fileLog struct {
	path    string
	follow  bool // wait for the file to grow, and notice when another takes its place
	maxLine int
	logger  *slog.Logger
	now     func() time.Time

	file  *os.File
	lines lineReader
	at    int64 // chain offset of the next batch
	shift int64 // chain offset = position + shift

	read atomic.Int64 // bytes of the file, compressed as they are
	size atomic.Int64
	end  atomic.Int64 // chain offset behind the last byte; -1 when unknown
}

const pollInterval = 500 * time.Millisecond

// errMoved says that another log stands where this one was.
var errMoved = fmt.Errorf("another file stands at the path: %w", ErrMoved)

func newFileLog(path string, follow bool, maxLine int, logger *slog.Logger, now func() time.Time) *fileLog {
	l := &fileLog{path: path, follow: follow, maxLine: maxLine, logger: logger, now: now}
	l.end.Store(-1)
	return l
}

// FilePartition names the partition of a file: its absolute path.
func FilePartition(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the absolute path of %s: %w", path, err)
	}
	name := "file:" + filepath.ToSlash(abs)
	const longest = 150 // a name in the store is at most 255 bytes, its slashes escaped
	if escaped := len(name) + 2*strings.Count(name, "/"); escaped > longest {
		name = fmt.Sprintf("file:%016x…%s", xxh3.HashString(name), cutUTF8FromEnd(filepath.Base(abs), 60))
	}
	return name, nil
}

func cutUTF8FromEnd(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[len(s)-n:], "")
}

func (l *fileLog) Open(ctx context.Context, at store.Position) (Start, error) {
	position := at.Next - at.Shift
	if at.Log == "" { // nothing was ever read
		position = 0
	}
	if err := l.await(ctx); err != nil {
		return Start{}, err
	}
	same, err := l.seek(ctx, position, at.Tail)
	if err != nil {
		return Start{}, err
	}
	start := Start{From: at.Next, Log: at.Log, Shift: at.Shift, Tail: at.Tail}
	switch {
	case at.Log == "":
		start.Log, start.Shift = rand.Text(), at.Next
	case !same:
		l.logger.Warn("the file was replaced by another; reading it as a new log", "file", l.path, "read_before", position)
		if err := l.open(); err != nil {
			return Start{}, err
		}
		start.Gap = &store.GapMeta{Reason: store.GapNewLog, WatermarkBefore: at.Watermark, Noticed: l.now().UTC()}
		start.From, start.Log, start.Shift, start.Tail = at.Next+1, rand.Text(), at.Next+1, nil
	case position > 0:
		l.logger.Info("going on where the last run ended", "file", l.path, "byte", position)
	}
	l.at, l.shift = start.From, start.Shift
	return start, nil
}

// await opens the file, and waits for it to appear if it is to be followed.
func (l *fileLog) await(ctx context.Context) error {
	for waited := false; ; waited = true {
		err := l.open()
		if !l.follow || !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if !waited {
			l.logger.Warn("no such file yet; waiting for it", "file", l.path)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open opens the file at its beginning.
func (l *fileLog) open() error {
	l.Close()
	f, err := os.Open(l.path)
	if err != nil {
		return err // it names operation and path
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a directory")
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("read %s: %w", l.path, err)
	}
	l.file = f
	l.size.Store(info.Size())
	l.read.Store(0)
	l.lines = lineReader{r: countingReader{f, &l.read}, maxLine: l.maxLine}
	if l.compressed() {
		z, err := gzip.NewReader(l.lines.r)
		if errors.Is(err, io.EOF) { // an empty file
			l.lines.r = strings.NewReader("")
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s as gzip, as its suffix says: %w", l.path, err)
		}
		l.lines.r = z
	}
	return nil
}

func (l *fileLog) compressed() bool { return strings.HasSuffix(l.path, ".gz") }

// seek moves from the beginning to a position, and reports whether the bytes
// before it have the given hash.
func (l *fileLog) seek(ctx context.Context, position int64, tail []byte) (bool, error) {
	if position == 0 {
		return len(tail) == 0, nil
	}
	skip := max(0, position-tailBytes)
	if !l.compressed() {
		if l.size.Load() < position {
			return false, nil
		}
		if _, err := l.file.Seek(skip, io.SeekStart); err != nil {
			return false, fmt.Errorf("seek in %s: %w", l.path, err)
		}
		l.read.Store(skip)
	} else if _, err := io.CopyN(io.Discard, contextReader{ctx, l.lines.r}, skip); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("skip what was read of %s before: %w", l.path, err)
	}
	last := make([]byte, position-skip)
	_, err := io.ReadFull(l.lines.r, last)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s before byte %d: %w", l.path, position, err)
	}
	l.lines.note(last)
	return bytes.Equal(l.lines.tail(), tail), nil
}

func (l *fileLog) Next(ctx context.Context, buf []byte) (Batch, error) {
	if err := ctx.Err(); err != nil {
		return Batch{}, err
	}
	lines, consumed, err := l.lines.next(buf)
	asked := l.now()
	if errors.Is(err, io.EOF) && len(lines) == 0 && !l.follow {
		if line, ok := l.lines.unterminated(); ok {
			lines, consumed = line, int64(len(line))
		} else if n := l.lines.pending(); n > 0 {
			l.logger.Warn("the file ends within a line; it is left for when the line is whole", "file", l.path, "bytes", n)
		}
	}
	if len(lines) > 0 {
		b := Batch{From: l.at, To: l.at + consumed, Data: lines, Arrival: asked}
		l.at = b.To
		b.Tail = l.lines.tail()
		if !l.compressed() {
			l.end.Store(l.shift + l.size.Load())
		}
		return b, nil // an error comes again
	}
	if errors.Is(err, io.EOF) {
		l.end.Store(l.at)
		if !l.follow || l.compressed() {
			return Batch{}, io.EOF
		}
		return l.wait(ctx, asked)
	}
	return Batch{}, fmt.Errorf("read %s at byte %d: %w", l.path, l.at-l.shift, err)
}

// wait pauses at the end of a followed file and says that it is idle.
func (l *fileLog) wait(ctx context.Context, asked time.Time) (Batch, error) {
	select {
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	case <-time.After(pollInterval):
	}
	now, err := os.Stat(l.path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) { // being rotated
			return Batch{From: l.at, To: l.at, Arrival: asked, Idle: true}, nil
		}
		return Batch{}, err
	}
	open, err := l.file.Stat()
	if err != nil {
		return Batch{}, fmt.Errorf("stat %s: %w", l.path, err)
	}
	l.size.Store(open.Size())
	position := l.at - l.shift + l.lines.pending()
	if !os.SameFile(now, open) && open.Size() <= position || open.Size() < position {
		return Batch{}, errMoved
	}
	return Batch{From: l.at, To: l.at, Arrival: asked, Idle: open.Size() <= position}, nil
}

func (l *fileLog) Committed(int64) {}

func (l *fileLog) End() int64 { return l.end.Load() }

func (l *fileLog) Close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
