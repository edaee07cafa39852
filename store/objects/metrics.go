package objects

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// operation is what a request is for.
type operation string

const (
	opPut    operation = "put"
	opRead   operation = "read"  // a whole object
	opOpen   operation = "open"  // an object's size, with its end or beginning
	opRange  operation = "range" // a part of an object
	opList   operation = "list"
	opDelete operation = "delete"
)

// outcome is what became of a request.
type outcome string

const (
	outcomeOK        outcome = "ok"
	outcomeAbsent    outcome = "absent"
	outcomeTaken     outcome = "taken"
	outcomeThrottled outcome = "throttled"
	outcomeSlow      outcome = "slow"
	outcomeCancelled outcome = "cancelled"
	outcomeFailed    outcome = "failed"
)

type metrics struct {
	requests      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	read, written prometheus.Counter
	bytes         *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_object_store_requests_total",
			Help: "Requests to the object store by what became of them, repeated ones too. (S3 stores an object of 16 MiB or more by several requests, which count as one.)",
		}, []string{"operation", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "weir_object_store_request_seconds",
			Help:    "How long they took, with the body.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15), // to 16 s
		}, []string{"operation"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_object_store_bytes_total",
			Help: "Bytes of objects that were read, and that were written.",
		}, []string{"direction"}),
	}
	m.read, m.written = m.bytes.WithLabelValues("read"), m.bytes.WithLabelValues("written")
	return m
}

func (m *metrics) observe(op operation, what outcome, took time.Duration) {
	m.requests.WithLabelValues(string(op), string(what)).Inc()
	m.seconds.WithLabelValues(string(op)).Observe(took.Seconds())
}

func (b *Bucket) outcomeOf(op operation, err error) outcome {
	switch status := b.service.status(err); {
	case err == nil:
		return outcomeOK
	case isTaken(err):
		return outcomeTaken
	case b.service.absent(op, err):
		return outcomeAbsent
	case errors.Is(err, errSlow):
		return outcomeSlow
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return outcomeCancelled
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return outcomeThrottled
	}
	return outcomeFailed
}

// Describe implements prometheus.Collector.
func (b *Bucket) Describe(ch chan<- *prometheus.Desc) {
	b.metrics.requests.Describe(ch)
	b.metrics.seconds.Describe(ch)
	b.metrics.bytes.Describe(ch)
}

// Collect implements prometheus.Collector.
func (b *Bucket) Collect(ch chan<- prometheus.Metric) {
	b.metrics.requests.Collect(ch)
	b.metrics.seconds.Collect(ch)
	b.metrics.bytes.Collect(ch)
}
