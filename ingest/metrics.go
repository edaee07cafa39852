package ingest

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of a node. Labels are the stream, the partition and the reason: all
// of them bounded by the configuration.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newMetric(kind prometheus.ValueType, name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), kind}
}

func (m metric) send(ch chan<- prometheus.Metric, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
}

// collector reads the state of the workers when it is scraped: nothing is
// counted twice, and the way of an event has no atomics.
type collector struct {
	node *Node

	events, late, rejected, overflow, cut, lost      metric
	lag, position, committed, watermark, cells, size metric
	series                                           metric
	journalBytes, journalFiles, fsyncs, fsyncSeconds metric
	batches, duplicates, refused, keysEvicted        metric
}

// Collector gives the node's metrics to Prometheus.
func (n *Node) Collector() prometheus.Collector {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return &collector{node: n,
		events:    newMetric(counter, "weir_events_total", "Events read and accepted, those read again after a lost race included.", "stream"),
		late:      newMetric(counter, "weir_events_late_total", "Events accepted whose window was believed complete when they came.", "stream"),
		rejected:  newMetric(counter, "weir_events_rejected_total", "Events refused, by reason.", "stream", "reason"),
		overflow:  newMetric(counter, "weir_events_overflow_total", "Events counted under the overflow series, the stream's budget of series being spent.", "stream"),
		cut:       newMetric(counter, "weir_items_cut_total", "Items of top measures that were cut to their longest length.", "stream"),
		lost:      newMetric(counter, "weir_segments_lost_total", "Segments that another writer put first; their events were read again.", "stream", "partition"),
		lag:       newMetric(gauge, "weir_lag_offsets", "What the log holds and the shard has not read, in offsets of the log (events, or bytes of a file).", "stream", "partition"),
		position:  newMetric(gauge, "weir_position_offset", "Offset of the next event to be read.", "stream", "partition"),
		committed: newMetric(gauge, "weir_committed_offset", "Offset up to which segments speak.", "stream", "partition"),
		watermark: newMetric(gauge, "weir_watermark_timestamp_seconds", "Event time up to which the partition is believed complete.", "stream", "partition"),
		cells:     newMetric(gauge, "weir_live_cells", "Cells in memory, not yet in a segment.", "stream", "partition"),
		size:      newMetric(gauge, "weir_live_bytes", "Memory of the cells not yet in a segment.", "stream", "partition"),
		series:    newMetric(gauge, "weir_live_series", "Series that count against the stream's budget.", "stream"),

		journalBytes: newMetric(gauge, "weir_journal_bytes", "Size of the journal's files."),
		journalFiles: newMetric(gauge, "weir_journal_files", "Number of the journal's files."),
		fsyncs:       newMetric(counter, "weir_journal_fsyncs_total", "Group fsyncs of the journal."),
		fsyncSeconds: newMetric(counter, "weir_journal_fsync_seconds_total", "Time spent in the journal's fsyncs."),
		batches:      newMetric(counter, "weir_journal_batches_total", "Batches logged.", "stream"),
		duplicates:   newMetric(counter, "weir_journal_duplicates_total", "Batches whose idempotency key was known, and which were not logged again.", "stream"),
		refused:      newMetric(counter, "weir_journal_refused_total", "Batches refused because the shards were behind.", "stream"),
		keysEvicted:  newMetric(counter, "weir_journal_keys_evicted_total", "Idempotency keys forgotten before their time, the table being full.", "stream"),
	}
}

func (c *collector) all() []metric {
	return []metric{c.events, c.late, c.rejected, c.overflow, c.cut, c.lost, c.lag, c.position, c.committed, c.watermark,
		c.cells, c.size, c.series, c.journalBytes, c.journalFiles, c.fsyncs, c.fsyncSeconds, c.batches, c.duplicates,
		c.refused, c.keysEvicted}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.all() {
		ch <- m.desc
	}
	c.node.flushSeconds.Describe(ch)
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.node.flushSeconds.Collect(ch)
	for name, r := range c.node.streams {
		total := r.tally()
		r.mu.Lock()
		workers := slices.Clone(r.workers)
		r.mu.Unlock()
		for _, w := range workers {
			s := w.snapshot()
			p := s.Partition
			c.lost.send(ch, float64(s.lost), name, p)
			if s.Lag >= 0 {
				c.lag.send(ch, float64(s.Lag), name, p)
			}
			c.position.send(ch, float64(s.Position), name, p)
			c.committed.send(ch, float64(s.Committed), name, p)
			if !s.Watermark.IsZero() {
				c.watermark.send(ch, float64(s.Watermark.UnixNano())/1e9, name, p)
			}
			c.cells.send(ch, float64(s.cells), name, p)
			c.size.send(ch, float64(s.bytes), name, p)
		}
		c.events.send(ch, float64(total.events), name)
		c.late.send(ch, float64(total.late), name)
		for reason := NotJSON; reason < reasons; reason++ {
			c.rejected.send(ch, float64(total.rejected[reason]), name, reason.String())
		}
		c.overflow.send(ch, float64(total.overflow), name)
		c.cut.send(ch, float64(total.cut), name)
		c.series.send(ch, float64(r.budget.used.Load()), name)
	}
	if j := c.node.options.Journal; j != nil {
		s := j.Stats()
		c.journalBytes.send(ch, float64(s.Bytes))
		c.journalFiles.send(ch, float64(s.Files))
		c.fsyncs.send(ch, float64(s.Fsyncs))
		c.fsyncSeconds.send(ch, s.FsyncTime.Seconds())
		for name, t := range s.Streams {
			c.batches.send(ch, float64(t.Batches), name)
			c.duplicates.send(ch, float64(t.Duplicates), name)
			c.refused.send(ch, float64(t.Behind), name)
			c.keysEvicted.send(ch, float64(t.KeysEvicted), name)
		}
	}
}
