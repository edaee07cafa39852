package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/negotiation"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/query"
)

const (
	jsonMedia = "application/json"
	csvMedia  = "text/csv"
)

// The sizes of a question's parts are bounded here so that reading one costs
// little; what they mean is for package query to say.

// queryInput is a question in a query string.
type queryInput struct {
	Stream     string `query:"stream" required:"true" maxLength:"256" doc:"Name of the stream." example:"flights"`
	Select     string `query:"select" required:"true" maxLength:"65536" doc:"What to ask, separated by commas: count, rate; of a measure m: m.sum, m.min, m.max, m.mean, m.p50, m.p99.9, m.quantile(0.95), m.rank(30), m.histogram, m.distinct, m.top(10), m.frequency(\"ORD\")." example:"count,delay.p99"`
	By         string `query:"by" maxLength:"8192" doc:"Dimensions to group by, separated by commas. A series for each combination of their values." example:"origin"`
	Where      string `query:"where" maxLength:"65536" doc:"Filter on dimensions: =, !=, =~, !~, <, <=, >, >=, in (...), and, or, not." example:"origin in (JFK, LAX)"`
	From       string `query:"from" maxLength:"64" doc:"Beginning of the range of event time, included: a time, a date, Unix seconds, now-1h, -1h, newest-1d. Default: the oldest event stored." example:"2001-01-01T00:00:00Z"`
	To         string `query:"to" maxLength:"64" doc:"End of the range, not included. Default: the end of the newest window." example:"2001-01-02T00:00:00Z"`
	Step       string `query:"step" maxLength:"64" doc:"Distance of the points of a time series. Without it there is one answer over the whole range." example:"1h"`
	Window     string `query:"window" maxLength:"64" doc:"How much each point looks back on, when that is more than a step: a sliding window." example:"24h"`
	Confidence string `query:"confidence" maxLength:"64" doc:"Probability that the truth lies between lower and upper. Default 0.95." example:"0.95"`
	Format     string `query:"format" enum:"json,csv" doc:"Form of the answer. Default: what the Accept header prefers, or json."`
	Accept     string `header:"Accept" hidden:"true"`
}

// QueryBody is a question in a body: the parameters of the query string.
type QueryBody struct {
	Stream     string  `json:"stream" maxLength:"256" doc:"Name of the stream." example:"flights"`
	Select     string  `json:"select" maxLength:"65536" doc:"What to ask, separated by commas." example:"count,delay.p99"`
	By         string  `json:"by,omitempty" maxLength:"8192" doc:"Dimensions to group by, separated by commas." example:"origin"`
	Where      string  `json:"where,omitempty" maxLength:"65536" doc:"Filter on dimensions." example:"origin=JFK"`
	From       string  `json:"from,omitempty" maxLength:"64" doc:"Beginning of the range of event time, included." example:"2001-01-01T00:00:00Z"`
	To         string  `json:"to,omitempty" maxLength:"64" doc:"End of the range, not included." example:"2001-01-02T00:00:00Z"`
	Step       string  `json:"step,omitempty" maxLength:"64" doc:"Distance of the points of a time series." example:"1h"`
	Window     string  `json:"window,omitempty" maxLength:"64" doc:"How much each point looks back on." example:"24h"`
	Confidence float64 `json:"confidence,omitempty" exclusiveMinimum:"0" exclusiveMaximum:"1" doc:"Probability that the truth lies between lower and upper. Default 0.95." example:"0.95"`
	Format     string  `json:"format,omitempty" enum:"json,csv" doc:"Form of the answer."`
}

type queryBodyInput struct {
	Accept string `header:"Accept" hidden:"true"`
	Body   QueryBody
}

// maxQuestion bounds the body of a question.
const maxQuestion = 256 << 10

// queryGet is GET /v1/query.
func (s *Server) queryGet(ctx context.Context, in *queryInput) (*huma.StreamResponse, error) {
	return s.query(ctx, "query", query.Text{
		Stream: in.Stream, Select: in.Select, By: in.By, Where: in.Where, From: unplussed(in.From), To: unplussed(in.To),
		Step: in.Step, Window: in.Window, Confidence: in.Confidence,
	}, in.Format, in.Accept)
}

// unplussed gives an instant back the + of its time zone, which a query string
// turns into a space unless it is written %2B. No instant has a space within.
func unplussed(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), " ", "+")
}

// queryPost is POST /v1/query.
func (s *Server) queryPost(ctx context.Context, in *queryBodyInput) (*huma.StreamResponse, error) {
	b := &in.Body
	confidence := ""
	if b.Confidence != 0 {
		confidence = strconv.FormatFloat(b.Confidence, 'g', -1, 64)
	}
	return s.query(ctx, "body", query.Text{
		Stream: b.Stream, Select: b.Select, By: b.By, Where: b.Where, From: b.From, To: b.To,
		Step: b.Step, Window: b.Window, Confidence: confidence,
	}, b.Format, in.Accept)
}

func (s *Server) query(ctx context.Context, in string, question query.Text, format, accept string) (*huma.StreamResponse, error) {
	start := time.Now()
	answer, err := s.ask(ctx, question)
	var p *Problem
	if err != nil {
		p = s.problem(ctx, err, in)
	}
	s.metrics.query.WithLabelValues(outcome(p)).Observe(time.Since(start).Seconds())
	if p != nil {
		return nil, p
	}
	write, media := answer.WriteJSON, jsonMedia
	if format == "csv" || format == "" && negotiation.SelectQValueFast(accept, []string{jsonMedia, csvMedia}) == csvMedia {
		write, media = answer.WriteCSV, csvMedia+"; charset=utf-8"
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", media)
		ctx.AppendHeader("Vary", "Accept")
		ctx.SetStatus(http.StatusOK)
		if err := write(ctx.BodyWriter()); err != nil {
			// The client is gone or too slow, and with it the connection.
			s.log.DebugContext(ctx.Context(), "answer cut off", "request_id", requestID(ctx.Context()), "error", err)
		}
	}}, nil
}

// ask asks the engine.
func (s *Server) ask(ctx context.Context, question query.Text) (*query.Answer, error) {
	request, err := query.Parse(question)
	if err != nil {
		return nil, err
	}
	return inTurn(ctx, s, func(ctx context.Context) (*query.Answer, error) { return s.engine.Query(ctx, request) })
}

// inTurn waits for its turn and does what may take long, within the time there
// is for both.
func inTurn[T any](ctx context.Context, s *Server, do func(context.Context) (T, error)) (T, error) {
	var none T
	timed, cancel := context.WithTimeoutCause(ctx, s.limits.QueryTime, queryTimeout.problem(
		"no answer within %s; ask for a shorter range, a wider step or fewer series", weir.FormatDuration(s.limits.QueryTime)))
	defer cancel()
	if err := s.turns.take(timed); err != nil {
		return none, err
	}
	defer s.turns.give()
	result, err := do(timed)
	if err != nil && timed.Err() != nil && ctx.Err() == nil {
		return none, context.Cause(timed) // whatever the store made of it
	}
	return result, err
}

// turns lets so many questions run at a time, and so many more wait.
type turns struct {
	running chan struct{}
	waiting atomic.Int64
	queue   int64
}

func (t *turns) take(ctx context.Context) error {
	select {
	case t.running <- struct{}{}:
		return nil
	default:
	}
	defer t.waiting.Add(-1)
	if t.waiting.Add(1) > t.queue {
		return behind.problem("%d queries are running and %d are waiting", cap(t.running), t.queue).retryAfter(time.Second)
	}
	select {
	case t.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *turns) give() { <-t.running }
