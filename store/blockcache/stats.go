package blockcache

import "github.com/prometheus/client_golang/prometheus"

// Stats counts what became of the blocks that were asked for.
type Stats struct {
	MemoryHits, DiskHits int64
	Joined               int64 // another was reading the same block
	Misses               int64 // read from the bucket

	MemoryEvictions, DiskEvictions int64
	DiskErrors                     int64 // reads and writes of the file that failed
	Forgotten                      int64 // blocks that a reader found damaged

	MemoryBytes, DiskBytes int64 // held now
}

// Stats returns how the cache fares.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.MemoryBytes = c.memory.cost
	if c.disk != nil {
		s.DiskBytes = int64(c.disk.blocks.len()) * blockBytes
	}
	return s
}

var (
	descHits      = prometheus.NewDesc("weir_block_cache_hits_total", "Blocks of segments that were found, by where.", []string{"level"}, nil)
	descMisses    = prometheus.NewDesc("weir_block_cache_misses_total", "Blocks of segments that were read from the object store.", nil, nil)
	descEvictions = prometheus.NewDesc("weir_block_cache_evictions_total", "Blocks given up for others. What memory gives up goes to the disk, if there is one.", []string{"level"}, nil)
	descErrors    = prometheus.NewDesc("weir_block_cache_disk_errors_total", "Reads and writes of the cache's file that failed.", nil, nil)
	descForgotten = prometheus.NewDesc("weir_block_cache_forgotten_total", "Blocks whose checksum was wrong, so that they were read again.", nil, nil)
	descBytes     = prometheus.NewDesc("weir_block_cache_bytes", "Size of the blocks that are held.", []string{"level"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Cache) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHits, descMisses, descEvictions, descErrors, descForgotten, descBytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Cache) Collect(ch chan<- prometheus.Metric) {
	s := c.Stats()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	send(descHits, prometheus.CounterValue, s.MemoryHits, "memory")
	send(descHits, prometheus.CounterValue, s.DiskHits, "disk")
	send(descHits, prometheus.CounterValue, s.Joined, "joined")
	send(descMisses, prometheus.CounterValue, s.Misses)
	send(descEvictions, prometheus.CounterValue, s.MemoryEvictions, "memory")
	send(descEvictions, prometheus.CounterValue, s.DiskEvictions, "disk")
	send(descErrors, prometheus.CounterValue, s.DiskErrors)
	send(descForgotten, prometheus.CounterValue, s.Forgotten)
	send(descBytes, prometheus.GaugeValue, s.MemoryBytes, "memory")
	send(descBytes, prometheus.GaugeValue, s.DiskBytes, "disk")
}
