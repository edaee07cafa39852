package journal

import "fmt"

// Advance tells the journal where the chain of a partition ends. What lies
// below is committed, and the next event gets the larger of this offset and
// the log's own end: files are deleted, so the log alone may not remember.
// A partition takes no batch before it was called for it. A partition that
// neither the options nor the log name is made, so that the idle claims of a
// chain whose partition is gone can still be answered.
func (j *Journal) Advance(stream string, partition int, next int64) error {
	if partition < 0 || partition >= maxPartitions || next < 0 || next > maxOffset {
		return fmt.Errorf("journal: advance %q partition %d to %d: out of range", stream, partition, next)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.streams[stream]
	if s == nil {
		return fmt.Errorf("journal: advance: unknown stream %q", stream)
	}
	p := s.partition(partition)
	p.ready = true
	p.next = max(p.next, next)
	j.commit(p, next)
	return nil
}

// Committed says that segments hold all events of a partition below that
// offset, durably. Files that hold nothing else are deleted.
func (j *Journal) Committed(stream string, partition int, to int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.streams[stream]; s != nil && s.partitions[partition] != nil {
		j.commit(s.partitions[partition], to)
	}
}

// commit moves a committed offset. The caller holds mu.
func (j *Journal) commit(p *partition, to int64) {
	if to <= p.committed {
		return
	}
	p.committed = to
	if p.reader == nil {
		p.measure(to)
	}
	j.truncate = true
	j.poke()
}

// truncate deletes, oldest first, the files whose events are all committed. The
// keys that only they tell of are logged again before.
func (o *owner) truncate() error {
	files, carry := o.deletable()
	if len(files) == 0 {
		return nil
	}
	for s, entries := range carry {
		if err := o.carry(s, entries); err != nil {
			return fmt.Errorf("carry keys over: %w", err)
		}
	}
	for _, f := range files {
		if err := o.log.Truncate(f.index + 1); err != nil {
			return fmt.Errorf("delete file %d: %w", f.index, err)
		}
		if err := o.j.sync(o.dir); err != nil {
			return fmt.Errorf("sync directory %s: %w", o.dir.Name(), err)
		}
		o.j.mu.Lock()
		o.j.drop(f)
		o.j.mu.Unlock()
	}
	return nil
}

// deletable returns the oldest files that hold nothing that is needed, and the
// keys that only they tell of. It waits until the files hold more than twice
// what carrying their keys over would write, or a log full of keys would
// write itself anew at every flush of a shard.
func (o *owner) deletable() ([]*file, map[*stream][]keyedEntry) {
	now := o.j.opts.Now()
	o.j.mu.Lock()
	defer o.j.mu.Unlock()
	if !o.j.truncate {
		return nil, nil
	}
	o.j.truncate = false

	needed := o.file.index
	for _, s := range o.j.streams {
		for _, p := range s.partitions {
			if span, ok := p.spanOf(p.committed); ok {
				needed = min(needed, span.file)
			}
		}
	}
	n, size, keys := 0, int64(0), int64(0)
	carry := make(map[*stream][]keyedEntry)
	for ; o.j.files[n].index < needed; n++ {
		f := o.j.files[n]
		size += f.size
		for _, k := range f.keys {
			if e, ok := k.stream.keys.known[k.id]; ok && e.file == f.index && k.stream.keys.alive(e, now) {
				carry[k.stream] = append(carry[k.stream], keyedEntry{k.id, e})
				keys++
			}
		}
	}
	if keys > 0 && size < 2*keys*keyEntrySize {
		return nil, nil
	}
	return o.j.files[:n:n], carry
}

// carry logs keys again, durably.
func (o *owner) carry(s *stream, entries []keyedEntry) error {
	for len(entries) > 0 {
		part := entries[:min(len(entries), keysPerRecord)]
		entries = entries[len(part):]
		f, err := o.write(encodeKeys(s.name, part))
		if err != nil {
			return err
		}
		if err := o.flush(); err != nil {
			return err
		}
		if err := o.fsync(); err != nil {
			return err
		}
		o.j.mu.Lock()
		for _, e := range part {
			if known, ok := s.keys.known[e.id]; ok && known.arrival == e.arrival {
				e.file = f.index
				o.j.remember(s, e.id, e.keyEntry, f)
			}
		}
		o.j.counts.relogged += int64(len(part))
		o.j.mu.Unlock()
	}
	return nil
}

// drop forgets the oldest file. The caller holds mu.
func (j *Journal) drop(f *file) {
	j.files = j.files[1:]
	j.counts.deleted++
	for _, s := range j.streams {
		for _, p := range s.partitions {
			if len(p.spans) > 0 && p.spans[0].file == f.index {
				p.spans = p.spans[1:]
			}
		}
	}
}
