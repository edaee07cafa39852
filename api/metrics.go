package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the API tells of itself.
type metrics struct {
	requests *prometheus.CounterVec   // route, method, code
	duration *prometheus.HistogramVec // route
	inFlight prometheus.Gauge
	panics   prometheus.Counter
	query    *prometheus.HistogramVec // outcome
	waiting  prometheus.GaugeFunc
	pushing  prometheus.GaugeFunc
	pushed   *prometheus.CounterVec // stream
	bytes    *prometheus.CounterVec // stream
	refused  *prometheus.CounterVec // reason
}

// The outcomes of a query.
const (
	answered  = "answered"
	refused   = "refused" // a wrong question, a limit, or too many at a time
	timedOut  = "timed_out"
	abandoned = "abandoned" // by the client
	failed    = "failed"
)

func newMetrics(registry prometheus.Registerer, pushing, waiting func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_requests_total", Help: "Requests answered.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_http_requests_in_flight", Help: "Requests being answered.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_http_panics_total", Help: "Handlers that panicked.",
		}),
		query: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_query_duration_seconds", Help: "Time a question took, waiting for its turn included.",
			Buckets: []float64{.001, .0025, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}, []string{"outcome"}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_query_waiting", Help: "Questions that wait for their turn.",
		}, waiting),
		pushing: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_push_memory_bytes", Help: "Memory of pushed bodies that are being read or made durable.",
		}, pushing),
		pushed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_push_events_total", Help: "Events acknowledged, duplicates not included.",
		}, []string{"stream"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_push_bytes_total", Help: "Bytes of events acknowledged, after decompression, duplicates not included.",
		}, []string{"stream"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_push_refused_total", Help: "Pushes that were not acknowledged, by the kind of problem.",
		}, []string{"problem"}),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.inFlight, m.panics, m.query, m.waiting, m.pushing, m.pushed, m.bytes, m.refused,
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the API: %w", err)
		}
	}
	for _, outcome := range []string{answered, refused, timedOut, abandoned, failed} {
		m.query.WithLabelValues(outcome)
	}
	return m, nil
}

func (m *metrics) request(route, method string, status int, elapsed time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(elapsed.Seconds())
}

// outcome names how a query ended.
func outcome(p *Problem) string {
	switch {
	case p == nil:
		return answered
	case p.Status == cancelled.status:
		return abandoned
	case p.Status == http.StatusGatewayTimeout:
		return timedOut
	case p.Status >= 500:
		return failed
	}
	return refused
}
