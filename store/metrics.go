package store

import "github.com/prometheus/client_golang/prometheus"

// Collector gives what catalogs know, and how their caches fare, to Prometheus.
func Collector(catalogs []*Catalog) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"stream"}, nil)
	}
	return &collector{
		catalogs:    catalogs,
		segments:    desc("weir_segments", "Segments that the newest snapshot of the store reaches."),
		bytes:       desc("weir_segment_bytes", "Their size."),
		gaps:        desc("weir_gaps", "Stretches of a log whose events are missing."),
		quarantined: desc("weir_segments_quarantined", "Segments that are stored but damaged, and left out of answers."),
		retries:     desc("weir_segment_put_retries_total", "Puts of segments that failed or stayed unsettled, and were tried again."),
		hits:        desc("weir_segment_cache_hits_total", "Segments found opened when a question needed them."),
		misses:      desc("weir_segment_cache_misses_total", "Segments that had to be opened for a question."),
		evictions:   desc("weir_segment_cache_evictions_total", "Opened segments given up for others."),
		held:        desc("weir_segment_cache_bytes", "Estimated memory of opened segments."),
	}
}

type collector struct {
	catalogs                      []*Catalog
	segments, bytes, gaps         *prometheus.Desc
	quarantined, retries          *prometheus.Desc
	hits, misses, evictions, held *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.segments, c.bytes, c.gaps, c.quarantined, c.retries, c.hits, c.misses, c.evictions, c.held} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, catalog := range c.catalogs {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64) {
			ch <- prometheus.MustNewConstMetric(d, kind, float64(v), catalog.stream.Name)
		}
		var segments, bytes, gaps int64
		snapshot := catalog.Snapshot()
		for i := range snapshot.Chains {
			chain := &snapshot.Chains[i]
			segments += int64(len(chain.Segments))
			gaps += int64(len(chain.Gaps))
			for _, s := range chain.Segments {
				bytes += s.Size
			}
		}
		send(c.segments, prometheus.GaugeValue, segments)
		send(c.bytes, prometheus.GaugeValue, bytes)
		send(c.gaps, prometheus.GaugeValue, gaps)
		send(c.quarantined, prometheus.GaugeValue, int64(len(snapshot.Quarantined)))
		send(c.retries, prometheus.CounterValue, catalog.retries.Load())
		cache := catalog.CacheStats()
		send(c.hits, prometheus.CounterValue, cache.Hits)
		send(c.misses, prometheus.CounterValue, cache.Misses)
		send(c.evictions, prometheus.CounterValue, cache.Evictions)
		send(c.held, prometheus.GaugeValue, cache.Bytes)
	}
}
