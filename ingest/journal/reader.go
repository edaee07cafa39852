package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
)

// Batch is one pushed batch, as it was pushed. It never changes.
type Batch struct {
	From, To int64     // offsets [From, To), one an event
	Skip     int64     // leading events of Data that a SeekTo passed over: From+Skip was asked for
	Data     []byte    // NDJSON, To-From lines
	Arrival  time.Time // when it was pushed
}

// Reader reads one partition in order. One goroutine may call Next and SeekTo;
// Idle is for any.
//
// In the steady state it takes from memory what has just become durable. After
// a seek, or when it has fallen behind, it reads the files until it meets what
// is in memory. There, it passes over the records of other partitions: a log
// has no index, and files are small.
type Reader struct {
	j    *Journal
	p    *partition
	pos  int64 // guarded by Journal.mu
	disk diskReader
}

// Reader opens the reader of a partition at its committed offset. There is one
// at a time.
func (j *Journal) Reader(stream string, partition int) (*Reader, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.streams[stream]
	if s == nil || s.partitions[partition] == nil {
		return nil, fmt.Errorf("journal: no partition %d of stream %q", partition, stream)
	}
	p := s.partitions[partition]
	if p.reader != nil {
		return nil, fmt.Errorf("journal: partition %d of stream %q has a reader already", partition, stream)
	}
	p.reader = &Reader{j: j, p: p, pos: p.committed}
	p.measure(p.committed)
	return p.reader, nil
}

// Close lets another reader be opened. No other method may be running.
func (r *Reader) Close() error {
	r.j.mu.Lock()
	if r.p.reader == r {
		r.p.reader = nil
	}
	r.j.mu.Unlock()
	return r.disk.close()
}

// SeekTo sets the offset that Next goes on from.
func (r *Reader) SeekTo(offset int64) error {
	r.j.mu.Lock()
	r.pos = offset
	r.p.measure(offset)
	r.j.mu.Unlock()
	return r.disk.close()
}

// Next returns the batch that holds the reader's offset, or else the first one
// after it, and waits for one if need be. After the journal has ended it
// returns what is left, then why it ended.
func (r *Reader) Next(ctx context.Context) (Batch, error) {
	for {
		r.j.mu.Lock()
		pos := r.pos
		b, kept := r.p.fromTail(pos)
		span, stored := r.p.spanOf(pos)
		err := r.j.err
		var grown chan struct{}
		if !kept && !stored && err == nil {
			grown = r.p.waitGrown()
		}
		r.j.mu.Unlock()

		switch {
		case kept:
			// What is in memory and on disk is the same: stop reading files.
			if err := r.disk.close(); err != nil {
				return Batch{}, err
			}
		case stored:
			b, err = r.disk.next(r.j.opts.Dir, span, r.p.stream.name, r.p.index, pos)
			if err != nil {
				return Batch{}, err
			}
		case err != nil:
			return Batch{}, err
		default:
			select {
			case <-grown:
			case <-r.j.ended:
			case <-ctx.Done():
				return Batch{}, context.Cause(ctx)
			}
			continue
		}
		b.Skip = max(0, pos-b.From)
		r.advance(b)
		return b, nil
	}
}

func (r *Reader) advance(b Batch) {
	now := r.j.opts.Now()
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	r.pos = b.To
	r.p.took(b.To, int64(len(b.Data)), now)
	for len(r.p.tail) > 0 && r.p.tail[0].To <= b.To {
		r.p.forget()
	}
}

// Idle tells whether the log has no event at or past the position, and since
// when at the latest any event still to come was pushed: then, or later. It
// is what an idle claim for the watermark is made of. The position is what the
// caller has applied, not what Next has returned.
func (r *Reader) Idle(position int64) (since time.Time, ok bool) {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	if position < r.p.end {
		return time.Time{}, false
	}
	// A request that is being written may still land here, stamped before now.
	if front := r.p.stream.inWork.Front(); front != nil {
		return front.Value.(*request).arrival, true
	}
	return r.j.opts.Now(), true
}

// fromTail finds the batch in memory. What lies before the tail is on disk only.
func (p *partition) fromTail(pos int64) (Batch, bool) {
	if len(p.tail) == 0 || pos < p.tail[0].From {
		return Batch{}, false
	}
	for _, b := range p.tail {
		if pos < b.To {
			return b, true
		}
	}
	return Batch{}, false
}

// diskReader reads the files of the log forwards. It is asked only for what
// is known to be durable, so it never meets a record being written.
type diskReader struct {
	file    int
	source  io.Closer
	records *wlog.Reader
}

func (d *diskReader) close() error {
	if d.source == nil {
		return nil
	}
	err := d.source.Close()
	*d = diskReader{}
	if err != nil {
		return fmt.Errorf("journal: close a file that was read: %w", err)
	}
	return nil
}

// next returns the first batch of the partition that ends after the offset,
// which the span's file holds.
func (d *diskReader) next(dir string, span span, stream string, partition int, offset int64) (Batch, error) {
	if d.source == nil || d.file != span.file {
		if err := d.open(dir, span.file); err != nil {
			return Batch{}, err
		}
	}
	for d.records.Next() {
		rec := d.records.Record()
		if len(rec) < headSize || rec[1] != kindBatch {
			continue
		}
		b, err := decodeBatch(rec)
		if err != nil {
			return Batch{}, d.corrupt(dir, err)
		}
		if b.partition != partition || string(b.stream) != stream || b.end() <= offset {
			continue
		}
		data, err := b.body()
		if err != nil {
			return Batch{}, d.corrupt(dir, err)
		}
		return Batch{From: b.first, To: b.end(), Data: data, Arrival: b.arrival}, nil
	}
	err := d.records.Err()
	if err == nil {
		err = fmt.Errorf("ends before offset %d of partition %d of stream %q", offset, partition, stream)
	}
	return Batch{}, d.corrupt(dir, err)
}

func (d *diskReader) open(dir string, index int) error {
	if err := d.close(); err != nil {
		return err
	}
	segment, err := wlog.OpenReadSegment(wlog.SegmentName(dir, index))
	if err != nil {
		return fmt.Errorf("journal: read: %w", err)
	}
	source := wlog.NewSegmentBufReader(segment)
	*d = diskReader{file: index, source: source, records: wlog.NewReader(source)}
	return nil
}

func (d *diskReader) corrupt(dir string, err error) error {
	return errors.Join(fmt.Errorf("%w: %s: %w", ErrCorrupt, wlog.SegmentName(dir, d.file), err), d.close())
}

// Lines returns the events of the batch from Skip on.
func (b Batch) Lines() []byte {
	data := b.Data
	for range b.Skip {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return nil
		}
		data = data[i+1:]
	}
	return data
}
