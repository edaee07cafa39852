package notify

import "github.com/prometheus/client_golang/prometheus"

// metrics count what the endpoints do, by webhook.
type metrics struct {
	messages  *prometheus.CounterVec
	attempts  *prometheus.CounterVec
	givenUp   *prometheus.CounterVec
	forgotten *prometheus.CounterVec
	repeats   *prometheus.CounterVec
	disabled  *prometheus.GaugeVec
	seconds   *prometheus.HistogramVec
	delay     *prometheus.HistogramVec
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"webhook"}, labels...))
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"webhook"})
	}
	return &metrics{
		messages:  counter("weir_webhook_messages_total", "Messages taken, by what was done: queued, known (it was there), expired (too old to be told).", "result"),
		attempts:  counter("weir_webhook_attempts_total", "Requests made, by what they came to: delivered, retry, failed.", "result"),
		givenUp:   counter("weir_webhook_given_up_total", "Messages that were not delivered and will not be, by reason.", "reason"),
		forgotten: counter("weir_webhook_forgotten_total", "Messages that the log of deliveries no longer keeps."),
		repeats:   counter("weir_webhook_repeats_total", "Requests that tell an Alertmanager again what is firing, by what they came to.", "result"),
		disabled: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_webhook_disabled",
			Help: "1 if the webhook answered that it is gone, and is sent nothing."}, []string{"webhook"}),
		seconds: histogram("weir_webhook_request_seconds", "How long requests took.", []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60}),
		delay: histogram("weir_webhook_delay_seconds", "From recording an incident to delivering the message.",
			[]float64{.1, .5, 1, 5, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600}),
	}
}

// Collector exposes the metrics, and how much waits.
func (n *Notifier) Collector() prometheus.Collector { return collector{n} }

type collector struct{ n *Notifier }

var (
	queueDescription = prometheus.NewDesc("weir_webhook_queue", "Messages that wait for the webhook.", []string{"webhook"}, nil)
	ageDescription   = prometheus.NewDesc("weir_webhook_queue_age_seconds", "Age of the oldest message that waits; 0 if none does.", []string{"webhook"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.n.metrics.all() {
		m.Describe(out)
	}
	out <- queueDescription
	out <- ageDescription
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.n.metrics.all() {
		m.Collect(out)
	}
	for name, e := range c.n.endpoints {
		e.mu.Lock()
		size, oldest := e.waiting.size, e.waiting.oldest()
		age := 0.0
		if oldest != nil {
			age = max(0, e.now().Sub(oldest.key.recorded).Seconds())
		}
		e.mu.Unlock()
		out <- prometheus.MustNewConstMetric(queueDescription, prometheus.GaugeValue, float64(size), name)
		out <- prometheus.MustNewConstMetric(ageDescription, prometheus.GaugeValue, age, name)
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.messages, m.attempts, m.givenUp, m.forgotten, m.repeats, m.disabled, m.seconds, m.delay}
}
