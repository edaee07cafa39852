package kafka

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector tells how the reading of this member's partitions stands.
type collector struct {
	source                *Source
	lag, lagSeconds, head *prometheus.Desc
}

// Collector gives the source's metrics to Prometheus.
func (s *Source) Collector() prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"partition"}, prometheus.Labels{"group": s.config.Group})
	}
	return &collector{source: s,
		lag:        desc("weir_kafka_lag_offsets", "What the partition's log holds and has not been read, in offsets."),
		lagSeconds: desc("weir_kafka_lag_seconds", "Age of the newest record read, by its own time; 0 while all has been read."),
		head:       desc("weir_kafka_headroom_offsets", "What retention may still drop before it drops something that has not been read, in offsets."),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lag, c.lagSeconds, c.head} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	now := c.source.config.Now()
	for partition, lag := range c.source.Lag() {
		ch <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, float64(lag.Behind()), partition)
		ch <- prometheus.MustNewConstMetric(c.head, prometheus.GaugeValue, float64(lag.Next-lag.Start), partition)
		if age, known := lag.Age(now); known {
			ch <- prometheus.MustNewConstMetric(c.lagSeconds, prometheus.GaugeValue, age.Seconds(), partition)
		}
	}
}

// Behind is how many offsets have not been read.
func (l Lag) Behind() int64 { return max(0, l.End-l.Next) }

// Age is how old the newest record read is, by its own time, while others wait
// behind it. It is not known before the first.
func (l Lag) Age(now time.Time) (age time.Duration, known bool) {
	switch {
	case l.Behind() == 0:
		return 0, true
	case l.Read <= 0:
		return 0, false
	}
	return max(0, now.Sub(time.UnixMilli(l.Read))), true
}
