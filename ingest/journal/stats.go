package journal

import "time"

// Stats is what the journal tells the metrics.
type Stats struct {
	Files   int
	Bytes   int64 // of the files
	Pending int   // batches waiting for the owner of the log

	Records   int64         // written since the journal was opened, keys records included
	Written   int64         // bytes of records, before wlog's framing
	Fsyncs    int64         // of the log's files; each makes a group of batches durable
	FsyncTime time.Duration // total
	Slowest   time.Duration // fsync
	Rotations int64
	Deleted   int64 // files
	Relogged  int64 // keys carried over before a file went

	Streams map[string]StreamStats
}

// StreamStats is what concerns one stream.
type StreamStats struct {
	StreamCounts
	Keys       int // remembered now
	Partitions []PartitionStats
}

// StreamCounts only grow.
type StreamCounts struct {
	Batches     int64
	Events      int64
	Bytes       int64 // of bodies
	Duplicates  int64 // batches whose key was known: not logged again
	KeysReused  int64 // refused: key known with another body
	KeysExpired int64
	KeysEvicted int64 // forgotten early, over Options.MaxKeys
	Behind      int64 // refused: readers too far behind
}

// PartitionStats is how far a partition is. Offsets ascend: what is committed,
// read, on disk.
type PartitionStats struct {
	Partition   int
	Committed   int64
	Position    int64
	End         int64
	BehindBytes int64 // not read yet; an estimate after a seek
	TailBytes   int64 // in memory, with what holds them
}

type counters struct {
	records, written   int64
	fsyncs             int64
	fsyncTime, slowest time.Duration
	rotations          int64
	deleted, relogged  int64
}

// Stats returns the present figures.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{
		Files:     len(j.files),
		Pending:   len(j.pending),
		Records:   j.counts.records,
		Written:   j.counts.written,
		Fsyncs:    j.counts.fsyncs,
		FsyncTime: j.counts.fsyncTime,
		Slowest:   j.counts.slowest,
		Rotations: j.counts.rotations,
		Deleted:   j.counts.deleted,
		Relogged:  j.counts.relogged,
		Streams:   make(map[string]StreamStats, len(j.streams)),
	}
	for _, f := range j.files {
		st.Bytes += f.size
	}
	for name, s := range j.streams {
		ss := StreamStats{StreamCounts: s.counts, Keys: len(s.keys.known)}
		ss.KeysExpired, ss.KeysEvicted = s.keys.expired, s.keys.evicted
		for _, i := range sortedKeys(s.partitions) {
			p := s.partitions[i]
			ps := PartitionStats{Partition: i, Committed: p.committed, Position: p.committed, End: p.end, BehindBytes: p.behind(), TailBytes: p.kept}
			if p.reader != nil {
				ps.Position = p.reader.pos
			}
			ss.Partitions = append(ss.Partitions, ps)
		}
		st.Streams[name] = ss
	}
	return st
}
