package watch

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are what detectors have done, by name.
type counts struct {
	mu  sync.Mutex
	per map[string]*count // guarded by mu
}

type count struct {
	windows, scores, failures int64
	series                    int
	left                      int64 // series times windows, above max_series
	next                      int64 // end of the last window, Unix ns; 0: the detector is not run here
	seconds                   float64
}

func newCounts(names []string) *counts {
	c := &counts{per: make(map[string]*count)}
	for _, name := range names {
		c.per[name] = new(count)
	}
	return c
}

func (c *counts) of(detector string, f func(*count)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.per[detector]; n != nil {
		f(n)
	}
}

func (c *counts) judged(detector string, series int, left, next int64) {
	c.of(detector, func(n *count) {
		n.windows++
		n.left += left
		n.scores += int64(series)
		n.series, n.next = series, next
	})
}

// released says that the detector is run elsewhere, where it has these gauges.
func (c *counts) released(detector string) {
	c.of(detector, func(n *count) { n.series, n.next = 0, 0 })
}

func (c *counts) spent(detector string, d time.Duration) {
	c.of(detector, func(n *count) { n.seconds += d.Seconds() })
}

func (c *counts) failed(detector string) { c.of(detector, func(n *count) { n.failures++ }) }

var (
	windowsDesc = prometheus.NewDesc("weir_detector_windows_total", "Windows judged.", []string{"detector"}, nil)
	scoresDesc  = prometheus.NewDesc("weir_detector_scores_total", "Series times windows judged.", []string{"detector"}, nil)
	leftDesc    = prometheus.NewDesc("weir_detector_left_out_total", "Series times windows that were not judged, for there were more series than max_series.", []string{"detector"}, nil)
	seriesDesc  = prometheus.NewDesc("weir_detector_series", "Series watched.", []string{"detector"}, nil)
	secondsDesc = prometheus.NewDesc("weir_detector_seconds_total", "Time spent on judging, the asking for values included.", []string{"detector"}, nil)
	failureDesc = prometheus.NewDesc("weir_detector_failures_total", "Times that judging was interrupted, to be taken up again.", []string{"detector"}, nil)
	reachedDesc = prometheus.NewDesc("weir_detector_reached_timestamp_seconds", "End of the last window judged.", []string{"detector"}, nil)
)

// Describe implements prometheus.Collector.
func (c *counts) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{windowsDesc, scoresDesc, leftDesc, seriesDesc, secondsDesc, failureDesc, reachedDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *counts) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.per {
		out <- prometheus.MustNewConstMetric(windowsDesc, prometheus.CounterValue, float64(n.windows), name)
		out <- prometheus.MustNewConstMetric(scoresDesc, prometheus.CounterValue, float64(n.scores), name)
		out <- prometheus.MustNewConstMetric(leftDesc, prometheus.CounterValue, float64(n.left), name)
		out <- prometheus.MustNewConstMetric(seriesDesc, prometheus.GaugeValue, float64(n.series), name)
		out <- prometheus.MustNewConstMetric(secondsDesc, prometheus.CounterValue, n.seconds, name)
		out <- prometheus.MustNewConstMetric(failureDesc, prometheus.CounterValue, float64(n.failures), name)
		if n.next != 0 {
			out <- prometheus.MustNewConstMetric(reachedDesc, prometheus.GaugeValue, float64(n.next)/1e9, name)
		}
	}
}
