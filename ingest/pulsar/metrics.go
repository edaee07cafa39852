package pulsar

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector tells how the reading of this node's partitions stands.
type collector struct {
	source                      *Source
	lagSeconds, chunked, looked *prometheus.Desc
}

// Collector gives the source's metrics to Prometheus.
func (s *Source) Collector() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"partition"},
			prometheus.Labels{"topic": s.config.Topic, "subscription": s.config.Subscription})
	}
	return &collector{source: s,
		lagSeconds: desc("weir_pulsar_lag_seconds", "Age of the newest message read, since it was published; 0 while all has been read."),
		chunked:    desc("weir_pulsar_chunked_messages", "Messages that were passed over because they came in chunks, since this node took the partition."),
		looked:     desc("weir_pulsar_looks_back", "Times that the last message was looked for again, to see that nothing was missed, since this node took the partition."),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lagSeconds, c.chunked, c.looked} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := c.source.config.Now()
	c.source.mu.Lock()
	defer c.source.mu.Unlock()
	for topic, l := range c.source.logs {
		partition := Partition(topic)
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, partition)
		}
		gauge(c.chunked, float64(l.chunked.Load()))
		gauge(c.looked, float64(l.looked.Load()))
		if age, known := l.lag.Load().Age(now); known {
			gauge(c.lagSeconds, age.Seconds())
		}
	}
}

// Age is how long ago the newest message read was published, while others wait
// behind it. It is not known before the first.
func (l Lag) Age(now time.Time) (age time.Duration, known bool) {
	switch {
	case l.End >= 0:
		return 0, true
	case l.Read <= 0:
		return 0, false
	}
	return max(0, now.Sub(time.UnixMilli(l.Read))), true
}
