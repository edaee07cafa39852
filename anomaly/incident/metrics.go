package incident

import "github.com/prometheus/client_golang/prometheus"

// Collector gives what the log knows, and how it fares, to Prometheus.
func (l *Log) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		log:       l,
		open:      desc("weir_incidents_open", "Incidents that are firing, as far as this node knows.", "detector"),
		batches:   desc("weir_incident_batches", "Windows stored that changed an incident.", "detector"),
		appended:  desc("weir_incident_batches_appended_total", "Of them, those that this node stored."),
		lost:      desc("weir_incident_races_lost_total", "Batches that another node stored first."),
		retries:   desc("weir_incident_put_retries_total", "Puts of batches that failed or stayed unsettled, and were tried again."),
		expired:   desc("weir_incident_batches_expired_total", "Batches deleted after their time."),
		passed:    desc("weir_incident_objects_passed_over_total", "Objects among the incidents that are damaged, or no batch at all.", "reason"),
		listeners: desc("weir_incident_listeners", "Listeners for changes of incidents."),
		slow:      desc("weir_incident_listeners_slow_total", "Listeners cut off because they were too slow."),
	}
}

type collector struct {
	log                                      *Log
	open, batches                            *prometheus.Desc
	appended, lost, retries, expired, passed *prometheus.Desc
	listeners, slow                          *prometheus.Desc
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.open, c.batches, c.appended, c.lost, c.retries, c.expired, c.passed, c.listeners, c.slow} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	l := c.log
	for _, h := range l.order {
		h.mu.Lock()
		open, batches := len(h.open), len(h.numbers)
		h.mu.Unlock()
		gauge(c.open, open, h.ref.Detector)
		gauge(c.batches, batches, h.ref.Detector)
	}
	count(c.appended, l.appended.Load())
	count(c.lost, l.lost.Load())
	count(c.retries, l.retries.Load())
	count(c.expired, l.expired.Load())
	count(c.passed, l.damaged.Load(), "damaged")
	count(c.passed, l.foreign.Load(), "foreign")
	l.feed.mu.Lock()
	listeners := l.feed.listeners
	l.feed.mu.Unlock()
	gauge(c.listeners, listeners)
	count(c.slow, l.slow.Load())
}

// Collector gives what is known of silences to Prometheus.
func (s *Silences) Collector() prometheus.Collector {
	return &silenceCollector{
		silences: s,
		stored:   prometheus.NewDesc("weir_silences", "Silences in the store, and those of the configuration.", []string{"where"}, nil),
		passed:   prometheus.NewDesc("weir_silence_objects_passed_over_total", "Objects among the silences that are none.", nil, nil),
		retries:  prometheus.NewDesc("weir_silence_put_retries_total", "Puts of silences that failed or stayed unsettled, and were tried again.", nil, nil),
	}
}

type silenceCollector struct {
	silences                *Silences
	stored, passed, retries *prometheus.Desc
}

func (c *silenceCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.stored
	ch <- c.passed
	ch <- c.retries
}

func (c *silenceCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.silences
	configured := len(s.configured)
	ch <- prometheus.MustNewConstMetric(c.stored, prometheus.GaugeValue, float64(len(s.known())-configured), "store")
	ch <- prometheus.MustNewConstMetric(c.stored, prometheus.GaugeValue, float64(configured), "configuration")
	ch <- prometheus.MustNewConstMetric(c.passed, prometheus.CounterValue, float64(s.passed.Load()))
	ch <- prometheus.MustNewConstMetric(c.retries, prometheus.CounterValue, float64(s.retries.Load()))
}
