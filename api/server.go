// Package api is the HTTP face of Weir: events come in, questions are answered,
// and operators see how it fares.
//
//	POST /v1/streams/{stream}/events     acknowledged once the events are on disk
//	GET  /v1/streams/{stream}/rejected   what decode refused, with a sample
//	GET  /v1/streams                     definitions, watermarks, totals
//	GET  /v1/query, POST /v1/query       questions
//	GET  /v1/deliveries                  what webhooks were told; POST …/{webhook}/{id}/redeliver
//	GET  /v1/incidents, /v1/incidents/{id}   what detectors found
//	GET  /v1/incidents/stream            the same as it happens, as server-sent events
//	POST /v1/incidents/{id}/feedback     whether it was a true alarm
//	GET, POST, DELETE /v1/silences       when nobody is told
//	GET  /v1/cluster                     nodes, whose the partitions are, how far they have come
//	GET  /-/healthy, /-/ready, /metrics  for those who run it
//	GET  /openapi.yaml, /openapi.json    all of this in full
//
// # A push
//
//	                 budget of bytes            in place
//	request ─ gunzip ──────────────→ one body ─────────→ lines ─→ Ingester ─→ acknowledged
//	            │                        │                            │
//	            413 over the body limit  429 over the budget          429 behind, 503 stopping
//
// A body is read whole, since it becomes durable whole. It holds memory for what
// has arrived and not for what was announced; one body is bounded by a limit,
// all of them together by a budget, a slow one by a deadline. The lines are the
// bytes as they came: an array's elements are moved, never encoded anew. Whether
// a line is an event is not for this package to say.
//
// # Errors
//
// Every answer that is not a success is a [Problem]. It names the parameter and
// says what would be right; a name that is nearly right gets a suggestion. What
// is wrong with the server itself goes to its log, and only the request's id to
// the client. A parameter that nobody knows is an error, for a misspelt one
// would otherwise be without effect.
//
// # What it will not do
//
// It asks nobody for a password and speaks no TLS: it listens on the loopback
// unless told otherwise, and belongs behind a proxy where it is not. What a
// browser sends on behalf of another site's page is refused.
//
// # Goroutines
//
// [New] starts none. [Server.Run] and [Serve] start those of net/http, one a
// connection, and return after all of them have ended. There are no locks: a
// Server never changes but for its counters.
package api

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api/cluster"
	"github.com/weir-stream/weir/query"
)

// Ingester takes events and knows how far they have come.
type Ingester interface {
	// Push makes a batch durable, and returns once it is. ndjson holds that
	// many events, none of them blank, each ended by \n, and belongs to the
	// ingester from then on. A key that is not empty names the batch: the
	// same batch under the same key is counted once.
	//
	// Errors that wrap *weir.ErrBehind, weir.ErrKeyReused, weir.ErrStopping
	// or weir.ErrNotPushed are answered as such.
	Push(ctx context.Context, stream, key string, ndjson []byte, events int) (weir.Ack, error)

	// Status says how far the partitions have come that this process reads.
	Status(stream string) (weir.Status, error)

	// Rejected shows some of what was refused of a stream.
	Rejected(stream string) (weir.Rejects, error)
}

// Engine answers questions.
type Engine interface {
	Query(ctx context.Context, q query.Request) (*query.Answer, error)

	// Info says what can be asked of a stream and how much of it there is.
	Info(ctx context.Context, stream string) (*query.Info, error)
}

// Options are what a server is made of.
type Options struct {
	Streams  []*weir.Stream
	Ingester Ingester
	Engine   Engine
	Cluster  *cluster.Cluster // nil: there are no other nodes, and nothing is said of them

	// What detectors found, and of what nobody is told: both or none. Nil, or
	// without a detector, that is the answer.
	Incidents Incidents
	Silences  Silences

	Deliveries Deliveries // nil: there are no webhooks

	// Ready says why the service can't be used yet, or nil. It is asked at
	// each GET /-/ready. Nil means that it always can.
	Ready func() error

	Registry *prometheus.Registry // served at /metrics; the API adds its own
	Logger   *slog.Logger
	Version  string // of the program, in the OpenAPI document
	Store    string // tells stores apart, in the header Weir-Store of every answer; may be empty
	Limits   Limits
}

// Limits bound what requests may use. Zero means the default.
type Limits struct {
	Body       int64         // bytes of a pushed body after decompression; 32 MiB
	PushMemory int64         // bytes of all pushed bodies at a time; 8 bodies
	BodyTime   time.Duration // for a pushed body to arrive; 1 minute
	QueryTime  time.Duration // for a question, waiting for its turn included; 30 s
	Queries    int           // questions answered at a time; twice the number of CPUs
	QueryQueue int           // questions that wait for their turn; 256
	Listeners  int           // streams of events that are open at a time; 256
}

func (l Limits) withDefaults() Limits {
	l.Body = cmp.Or(l.Body, 32<<20)
	// A body that grows holds its old memory and its new: one must fit.
	l.PushMemory = max(cmp.Or(l.PushMemory, 8*l.Body), 2*l.Body)
	l.BodyTime = cmp.Or(l.BodyTime, time.Minute)
	l.QueryTime = cmp.Or(l.QueryTime, 30*time.Second)
	l.Queries = cmp.Or(l.Queries, 2*runtime.GOMAXPROCS(0))
	l.QueryQueue = cmp.Or(l.QueryQueue, 256)
	l.Listeners = cmp.Or(l.Listeners, 256)
	return l
}

// Server answers requests.
type Server struct {
	streams   []*weir.Stream
	ingester  Ingester
	engine    Engine
	cluster   *cluster.Cluster
	told      Deliveries // may be nil
	incidents Incidents  // may be nil
	silences  Silences   // may be nil
	listeners listeners
	ready     func() error
	log       *slog.Logger
	store     string
	limits    Limits
	metrics   *metrics

	handler http.Handler
	huma    huma.API
	pushing budget
	turns   turns
	gzips   sync.Pool // of *gzip.Reader that no request uses

	draining context.Context // ended by drain: the server is about to end
	drain    context.CancelFunc
}

// New builds a server and starts nothing.
func New(o Options) (*Server, error) {
	limits := o.Limits.withDefaults()
	s := &Server{
		streams:   o.Streams,
		ingester:  o.Ingester,
		engine:    o.Engine,
		cluster:   o.Cluster,
		incidents: o.Incidents,
		silences:  o.Silences,
		listeners: listeners{most: int64(limits.Listeners)},
		told:      o.Deliveries,
		ready:     o.Ready,
		log:       o.Logger,
		store:     o.Store,
		limits:    limits,
		pushing:   budget{limit: limits.PushMemory},
		turns:     turns{running: make(chan struct{}, limits.Queries), queue: int64(limits.QueryQueue)},
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	if s.ready == nil {
		s.ready = func() error { return nil }
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	var err error
	s.metrics, err = newMetrics(o.Registry,
		func() float64 { return float64(s.pushing.used.Load()) },
		func() float64 { return float64(s.turns.waiting.Load()) })
	if err != nil {
		return nil, err
	}
	if err := s.route(o.Registry, o.Version); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler answers all of the API's requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Drain makes readiness say that the server is stopping, so that whoever
// balances load turns elsewhere, pushes be refused, and streams of events end.
// Questions are still answered.
func (s *Server) Drain() { s.drain() }

// stopping reports whether the server is about to end.
func (s *Server) stopping() bool { return s.draining.Err() != nil }

// Run answers requests from a listener, which it closes, until ctx ends. Then
// it takes no more, finishes those under way as far as the grace allows, and
// returns after all of them have ended.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	defer s.Drain()
	defer context.AfterFunc(ctx, s.Drain)()
	// Longest of all is a push whose body is slow, or a question and a slow
	// reader of its answer.
	return Serve(ctx, listener, s.handler, s.log, s.limits.BodyTime+s.limits.QueryTime+time.Minute)
}

// grace is how long requests under way may take when the server ends.
const grace = 10 * time.Second

// Serve answers requests from a listener by a handler, as [Server.Run] does.
// longest bounds the time of one request.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger, longest time.Duration) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var connections sync.WaitGroup // net/http doesn't wait for those it closes
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      longest,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10, // a question can be long
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				connections.Done()
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()

	var err error
	select {
	case err = <-ended:
		err = fmt.Errorf("serve HTTP on %v: %w", listener.Addr(), err)
		cancel()
		server.Close()
	case <-ctx.Done():
		patience, done := context.WithTimeout(requests, grace)
		defer done()
		if server.Shutdown(patience) != nil {
			log.Warn("requests cut off at the end of the grace", "grace", grace)
			cancel()
			server.Close()
		}
		<-ended
	}
	connections.Wait()
	return err
}
