package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir"
)

var (
	errForming = errors.New("the nodes are dealing out the partitions")
	errSilent  = errors.New("it was silent a moment ago")
	errDiffers = errors.New("it defines the stream differently")
)

// askNode gets the pieces of one node.
func (c *Cluster) askNode(ctx context.Context, address string, s defined, sel weir.Selection) ([]weir.Piece, error) {
	body, err := json.Marshal(questionOf(s, sel))
	if err != nil {
		panic(fmt.Sprintf("cluster: a selection that is not JSON: %v", err))
	}
	began := time.Now()
	answer, err := c.call(ctx, http.MethodPost, address, "/internal/v1/streams/"+url.PathEscape(s.Name)+"/live", body)
	if err != nil {
		return nil, err
	}
	pieces, complaint, err := decodePieces(answer, s.Stream)
	if err != nil {
		c.metrics.asked("malformed", 0)
		return nil, fmt.Errorf("its answer is malformed: %w", err)
	}
	c.metrics.asked("answered", time.Since(began))
	if sel.Match != nil && sel.Where == "" {
		for i := range pieces {
			filter(pieces[i].Cells, sel.Match)
		}
	}
	if complaint != "" {
		err = errors.New(complaint)
	}
	return pieces, err
}

// call makes a request of another node, and waits no longer than the patience.
func (c *Cluster) call(ctx context.Context, method, address, path string, body []byte) ([]byte, error) {
	c.mu.Lock()
	silent := time.Now().Before(c.silent[address])
	c.mu.Unlock()
	if silent {
		c.metrics.asked("silent", 0)
		return nil, errSilent
	}
	patient, cancel := context.WithTimeout(ctx, c.options.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(patient, method, "http://"+address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.do(request)
	switch {
	case err == nil, ctx.Err() != nil:
	case patient.Err() != nil:
		c.hush(address)
		c.metrics.asked("timeout", 0)
		err = fmt.Errorf("no answer within %v", c.options.Patience)
	default:
		c.metrics.asked("failed", 0)
	}
	return answer, err
}

func (c *Cluster) do(request *http.Request) ([]byte, error) {
	response, err := c.http.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the address is said already
		}
		return nil, err
	}
	defer response.Body.Close()
	limit := c.options.Bytes
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusConflict:
		return nil, errDiffers
	default:
		limit = 200 // enough to tell what is there
	}
	var answer bytes.Buffer
	n, err := answer.ReadFrom(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read its answer: %w", err)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it says %s: %s", response.Status, strings.TrimSpace(answer.String()))
	case n > limit:
		return nil, fmt.Errorf("its answer has more than %d bytes", limit)
	}
	return answer.Bytes(), nil
}

// hush lets a node be for as long as it was waited for. A stopped process
// would hold up every question.
func (c *Cluster) hush(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for a, until := range c.silent { // nodes come and go
		if until.Before(now) {
			delete(c.silent, a)
		}
	}
	c.silent[address] = now.Add(c.options.Patience)
}

// filter leaves the series that match.
func filter(cells *weir.Cells, match func([]string) bool) {
	if cells == nil {
		return
	}
	kept := weir.Cells{Width: cells.Width, Starts: []int{0}, Measures: make([]weir.Column, len(cells.Measures))}
	for i, dims := range cells.Series {
		if !match(dims) {
			continue
		}
		from, to := cells.Starts[i], cells.Starts[i+1]
		kept.Series = append(kept.Series, dims)
		kept.Window = append(kept.Window, cells.Window[from:to]...)
		kept.Count = append(kept.Count, cells.Count[from:to]...)
		kept.Starts = append(kept.Starts, len(kept.Window))
		for m := range cells.Measures {
			a, b := &kept.Measures[m], &cells.Measures[m]
			a.Present = b.Present
			if b.Values != nil {
				a.Values = append(a.Values, b.Values[from:to]...)
				a.Sum = append(a.Sum, b.Sum[from:to]...)
				a.Min = append(a.Min, b.Min[from:to]...)
				a.Max = append(a.Max, b.Max[from:to]...)
			}
			if b.Sketch != nil {
				a.Sketch = append(a.Sketch, b.Sketch[from:to]...)
			}
		}
	}
	*cells = kept
}

// metrics count what is asked of other nodes.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	groups   prometheus.Counter
	refused  prometheus.Counter
}

func newMetrics() metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_cluster_requests_total",
			Help: "Requests to other nodes, by what became of them."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_cluster_live_seconds",
			Help: "Time until another node's live cells were here.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8)}),
		groups: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_cluster_group_failures_total",
			Help: "Times that a group did not say who is in it."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_cluster_refused_total",
			Help: "Questions of other nodes that were refused: malformed, of another definition, or too many."}),
	}
	for _, outcome := range []string{"answered", "failed", "timeout", "silent", "malformed"} {
		m.requests.WithLabelValues(outcome)
	}
	return m
}

func (m metrics) asked(outcome string, took time.Duration) {
	m.requests.WithLabelValues(outcome).Inc()
	if took > 0 {
		m.seconds.Observe(took.Seconds())
	}
}

// Describe implements prometheus.Collector.
func (m metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.groups, m.refused} {
		c.Collect(ch)
	}
}
