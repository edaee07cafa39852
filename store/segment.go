package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Segment is a segment opened for reading: its end is read and checked, its
// cells are not. It holds no file open, never changes, and serves any number of
// goroutines.
type Segment struct {
	bucket  opener
	name    string
	size    int64
	meta    SegmentMeta
	end     *ending
	file    *parquet.File
	columns []column
}

// opener is what a segment needs of a Bucket.
type opener interface {
	Open(ctx context.Context, name string) (Object, error)
}

// reopened is a bucket of one object that was opened before.
type reopened struct{ object Reopener }

func (r reopened) Open(ctx context.Context, _ string) (Object, error) {
	return r.object.Reopen(ctx), nil
}

// firstRead is how much of the end of a segment is read at first. The end of a
// flush of ten thousand cells of four measures has about 5 KiB.
const firstRead = 32 << 10

// OpenSegment opens a segment. Its error is ErrNotFound if there is none, and
// ErrDamaged if there is something else.
func OpenSegment(ctx context.Context, bucket Bucket, name string) (*Segment, error) {
	object, err := bucket.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	defer object.Close()
	s := &Segment{bucket: bucket, name: name, size: object.Size()}
	if again, ok := object.(Reopener); ok {
		s.bucket = reopened{again}
	}
	if err := s.open(object); err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	return s, nil
}

// OpenFile opens a segment wherever its file lies.
func OpenFile(path string) (*Segment, error) {
	file := lonelyFile(path)
	object, err := file.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	defer object.Close()
	s := &Segment{bucket: file, name: path, size: object.Size()}
	if err := s.read(object); err != nil {
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	return s, nil
}

// lonelyFile is a bucket of one file, for reading.
type lonelyFile string

func (f lonelyFile) Open(_ context.Context, _ string) (Object, error) {
	return openFileObject(string(f))
}

func (s *Segment) open(object Object) error {
	if err := s.read(object); err != nil {
		return err
	}
	return checkName(s.name, &s.meta)
}

func (s *Segment) read(object Object) error {
	end, err := readEnding(object)
	if err != nil {
		return err
	}
	s.end = end
	s.file, err = parquet.OpenFile(&endReader{s}, s.size,
		parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return damaged("%v", err)
	}
	text, ok := s.file.Lookup(metadataKey)
	if !ok {
		return damaged("it has no metadata")
	}
	meta, err := parseMeta([]byte(text))
	if err != nil {
		return err
	}
	s.meta = *meta
	s.columns = columnsOf(&meta.Definition)
	return s.checkColumns()
}

// readEnding reads and checks the end of a file.
func readEnding(object Object) (*ending, error) {
	size := object.Size()
	take := min(firstRead, size)
	for {
		buf := make([]byte, take)
		if n, err := object.ReadAt(buf, size-take); n < len(buf) {
			if err == nil || errors.Is(err, io.EOF) {
				return nil, damaged("it is shorter than it was")
			}
			return nil, err
		}
		_, need, err := endingBytes(buf, size)
		if err != nil {
			return nil, err
		}
		if need <= take {
			return parseEnding(buf, size)
		}
		take = need
	}
}

// checkName refuses a segment that stands under another's name.
func checkName(name string, m *SegmentMeta) error {
	if own := SegmentName(m.Stream, m.Partition, m.From); own != name {
		return damaged("its metadata is that of %s", own)
	}
	return nil
}

// checkColumns compares what is stored with the definition.
func (s *Segment) checkColumns() error {
	stored := s.file.Metadata().Schema
	if len(stored) != 1+len(s.columns) {
		return damaged("%d columns, its definition has %d", len(stored)-1, len(s.columns))
	}
	for i := range s.columns {
		want, got := &s.columns[i], &stored[1+i]
		if got.Name != want.name || got.Type != thrift.New(want.physical()) || got.RepetitionType != thrift.New(format.Required) {
			return damaged("column %q, %v, in the place of %v", got.Name, got.Type.V, want)
		}
	}
	return nil
}

// Meta returns what the segment covers.
func (s *Segment) Meta() SegmentMeta { return s.meta }

// Name returns the name under which the segment is stored.
func (s *Segment) Name() string { return s.name }

// Size returns the bytes of the file.
func (s *Segment) Size() int64 { return s.size }

// Rows returns the number of cells.
func (s *Segment) Rows() int64 { return s.file.NumRows() }

// Verify reads the whole file and checks every byte, also of columns that are
// there for others.
func (s *Segment) Verify(ctx context.Context) error {
	const step = 64 * blockBytes
	object, err := s.bucket.Open(ctx, s.name)
	if err != nil {
		return fmt.Errorf("verify segment %s: %w", s.name, err)
	}
	defer object.Close()
	if object.Size() != s.size {
		return fmt.Errorf("verify segment %s: %w", s.name, damaged("it has %d bytes, it had %d", object.Size(), s.size))
	}
	blocks := &checked{ctx: ctx, object: object, end: s.end, name: s.name}
	for at := int64(0); at < s.end.dataBytes; at += step {
		if err := blocks.fetch(extent{at, min(at+step, s.end.dataBytes)}); err != nil {
			return fmt.Errorf("verify segment %s: %w", s.name, err)
		}
		blocks.forget()
	}
	return nil
}

// rescueMeta returns the copy of a segment's metadata at the head of its file.
func rescueMeta(ctx context.Context, bucket Bucket, name string) (*SegmentMeta, error) {
	object, err := bucket.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("rescue the metadata of segment %s: %w", name, err)
	}
	defer object.Close()
	head := make([]byte, min(object.Size(), maxHeadBytes+64))
	if n, err := object.ReadAt(head, 0); n < len(head) && err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("rescue the metadata of segment %s: %w", name, err)
	}
	meta, err := parseHead(head)
	if err == nil {
		err = checkName(name, meta)
	}
	if err != nil {
		return nil, fmt.Errorf("rescue the metadata of segment %s: %w", name, err)
	}
	return meta, nil
}

// endReader gives the Parquet library the footer, which is all that it reads
// while it opens a file. Columns are read through a reader of each call.
type endReader struct{ *Segment }

func (r *endReader) ReadAt(p []byte, at int64) (int, error) {
	from := at - (r.size - int64(len(r.end.footer)))
	if from < 0 || from > int64(len(r.end.footer)) {
		return 0, fmt.Errorf("read %s: bytes [%d, %d) are not in the footer", r.name, at, at+int64(len(p)))
	}
	n := copy(p, r.end.footer[from:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
