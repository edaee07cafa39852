package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"
)

const (
	pageSize      = 32 << 10 // wlog's
	fragmentFrame = 7        // wlog's, before each fragment of a record

	// groupBytes bounds what one fsync makes durable, so that those who came
	// first do not wait for all who came after.
	groupBytes = 16 << 20
)

// owner is the goroutine of Run: what it alone touches.
type owner struct {
	j   *Journal
	log *wlog.WL
	dir *os.File

	// active is the file being written, opened here a second time: wlog only
	// logs a failed fsync when it changes files, this descriptor reports it.
	active *os.File
	file   *file
	size   int64    // of the file, with what is buffered
	buffer [][]byte // records for wlog, not handed to it yet

	seq, synced uint64 // of the last record buffered, and on disk
}

// Run owns the log until the context ends, then makes durable what is pending.
// It returns nil, or an [ErrFailed] upon which the process must end.
func (j *Journal) Run(ctx context.Context) error {
	j.mu.Lock()
	if j.err != nil || j.running {
		defer j.mu.Unlock()
		return fmt.Errorf("journal: run: %w", errors.Join(j.err, errIf(j.running, "it runs already")))
	}
	j.running = true
	j.mu.Unlock()

	o := &owner{j: j, seq: j.seq, synced: j.seq}
	err := o.open()
	for err == nil {
		select {
		case <-j.wake:
			err = o.turn()
			continue
		case <-ctx.Done():
		}
		err = o.finish()
		break
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: make room and start again; what was acknowledged is kept", err)
		}
		j.log.Error("the journal failed, the process must end", "err", err)
	}
	closeErr := o.close()

	j.mu.Lock()
	defer j.mu.Unlock()
	j.running = false
	j.seq = o.seq
	if err == nil {
		j.end(ErrClosed)
		return closeErr
	}
	j.end(err)
	return err
}

func errIf(is bool, what string) error {
	if is {
		return errors.New(what)
	}
	return nil
}

// open begins a new file. wlog never changes files by itself: its idea of their
// size leaves room for the largest record after ours.
func (o *owner) open() error {
	var err error
	if o.dir, err = os.Open(o.j.opts.Dir); err != nil {
		return err
	}
	size := (o.j.opts.SegmentSize + 2*MaxBody) / pageSize * pageSize
	if o.log, err = wlog.NewSize(o.j.log, nil, o.j.opts.Dir, size, compression.None); err != nil {
		return fmt.Errorf("begin a file: %w", err)
	}
	_, last, err := wlog.Segments(o.j.opts.Dir)
	if err != nil {
		return err
	}
	return o.begin(last)
}

// begin takes over a file that wlog has just made.
func (o *owner) begin(index int) error {
	var err error
	if o.active, err = os.OpenFile(wlog.SegmentName(o.j.opts.Dir, index), os.O_RDWR, 0); err != nil {
		return err
	}
	if err := o.j.sync(o.dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", o.dir.Name(), err)
	}
	o.size = 0
	o.file = &file{index: index}
	o.j.mu.Lock()
	o.j.files = append(o.j.files, o.file)
	o.j.mu.Unlock()
	return nil
}

// turn makes one group durable, then deletes what it can.
func (o *owner) turn() error {
	group, more := o.take()
	if more {
		o.j.poke()
	}
	if err := o.commit(group); err != nil {
		o.j.mu.Lock()
		for _, r := range group {
			o.j.settle(r, fmt.Errorf("%w: %w", ErrFailed, err))
		}
		o.j.mu.Unlock()
		return err
	}
	return o.truncate()
}

// take takes the next group and gives each batch its offsets.
func (o *owner) take() (group []*request, more bool) {
	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	n, bytes := 0, 0
	for n < len(o.j.pending) && (n == 0 || bytes+len(o.j.pending[n].rec) <= groupBytes) {
		r := o.j.pending[n]
		r.ack = Ack{Partition: r.partition.index, First: r.partition.next, Count: r.count}
		r.partition.next += r.count
		bytes += len(r.rec)
		n++
	}
	group, o.j.pending = o.j.pending[:n:n], o.j.pending[n:]
	if len(o.j.pending) == 0 {
		o.j.pending = nil
	}
	return group, len(o.j.pending) > 0
}

// commit writes a group, syncs it, and only then shows it to anyone.
func (o *owner) commit(group []*request) error {
	if len(group) == 0 {
		return nil
	}
	files := make([]*file, len(group))
	for i, r := range group {
		setPlace(r.rec, r.ack.Partition, r.ack.First)
		f, err := o.write(r.rec)
		if err != nil {
			return err
		}
		files[i], r.rec = f, nil
	}
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.fsync(); err != nil {
		return err
	}

	now := o.j.opts.Now()
	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	for i, r := range group {
		s, p, to := r.stream, r.partition, r.ack.First+r.count
		if r.keyed {
			o.j.remember(s, r.id, keyEntry{
				hash: r.hash, arrival: r.arrival.UnixNano(), first: r.ack.First,
				partition: uint32(p.index), count: uint32(r.count), file: files[i].index,
			}, files[i])
		}
		p.add(files[i].index, r.ack.First, to, int64(len(r.body)))
		p.keep(Batch{From: r.ack.First, To: to, Data: r.body, Arrival: r.arrival}, o.j.opts.MaxTail)
		s.counts.Batches++
		s.counts.Events += r.count
		s.counts.Bytes += int64(len(r.body))
		s.keys.expire(now)
		o.j.settle(r, nil)
	}
	return nil
}

// write buffers a record, in the next file if this one is full.
func (o *owner) write(rec []byte) (*file, error) {
	size := int64(len(rec) + fragmentFrame*(len(rec)/(pageSize-fragmentFrame)+2))
	if o.size > 0 && o.size+size > int64(o.j.opts.SegmentSize) {
		if err := o.rotate(); err != nil {
			return nil, err
		}
	}
	o.seq++
	setHead(rec, o.seq, o.synced)
	o.buffer = append(o.buffer, rec)
	o.size += size
	return o.file, nil
}

// flush hands the buffered records to the operating system.
func (o *owner) flush() error {
	if len(o.buffer) == 0 {
		return nil
	}
	if err := o.log.Log(o.buffer...); err != nil {
		return fmt.Errorf("append to %s: %w", o.active.Name(), err)
	}
	info, err := o.active.Stat()
	if err != nil {
		return err
	}
	o.size = info.Size()

	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	o.file.size = o.size
	for _, rec := range o.buffer {
		o.j.counts.records++
		o.j.counts.written += int64(len(rec))
	}
	clear(o.buffer)
	o.buffer = o.buffer[:0]
	return nil
}

func (o *owner) fsync() error {
	start := time.Now()
	if err := o.j.sync(o.active); err != nil {
		return fmt.Errorf("sync %s: %w", o.active.Name(), err)
	}
	took := time.Since(start)
	o.synced = o.seq

	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	o.j.counts.fsyncs++
	o.j.counts.fsyncTime += took
	o.j.counts.slowest = max(o.j.counts.slowest, took)
	return nil
}

// rotate begins the next file once this one is on disk: a file that is not the
// last one is never torn.
func (o *owner) rotate() error {
	if err := o.flush(); err != nil {
		return err
	}
	if err := o.fsync(); err != nil {
		return err
	}
	index, err := o.log.NextSegmentSync()
	if err != nil {
		return fmt.Errorf("begin the file after %s: %w", o.active.Name(), err)
	}
	if err := o.fsync(); err != nil { // the padding; wlog only logs a failure
		return err
	}
	if err := o.active.Close(); err != nil {
		return fmt.Errorf("close %s: %w", o.active.Name(), err)
	}
	o.j.mu.Lock()
	o.j.counts.rotations++
	o.j.mu.Unlock()
	return o.begin(index)
}

// finish ends the log in good order: with a mark that all of it is on disk.
func (o *owner) finish() error {
	o.j.mu.Lock()
	o.j.closing = true
	o.j.mu.Unlock()
	for pending := true; pending; {
		if err := o.turn(); err != nil {
			return err
		}
		o.j.mu.Lock()
		pending = len(o.j.pending) > 0
		o.j.mu.Unlock()
	}
	mark := make([]byte, headSize)
	newHead(mark, kindMark)
	if _, err := o.write(mark); err != nil {
		return err
	}
	if err := o.flush(); err != nil {
		return err
	}
	return o.fsync()
}

// close ends wlog's goroutine and closes the files. After a failure, errors are
// of no interest any more.
func (o *owner) close() error {
	var errs []error
	if o.log != nil {
		errs = append(errs, o.log.Close())
	}
	for _, f := range []*os.File{o.active, o.dir} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("journal: close files: %w", err)
	}
	return nil
}
