package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
)

const eventMedia = "text/event-stream"

// Times of a stream of events.
const (
	heartbeat   = 15 * time.Second // after so long in silence, so that nobody in between closes the connection
	eventTime   = 30 * time.Second // for a listener to take what is written
	reconnectIn = 2 * time.Second  // what listeners are told to wait
)

// streaming documents the answer of a stream of events.
func (s *Server) streaming(op huma.Operation) huma.Operation {
	op.Responses["200"] = &huma.Response{
		Description: "Events named incident, whose data is an incident in JSON, and one named end, whose data is the reason, if the server ends the stream.",
		Content:     map[string]*huma.MediaType{eventMedia: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
	return op
}

type incidentStreamInput struct {
	IncidentChoice
	LastEventID string `header:"Last-Event-ID" maxLength:"65536" doc:"The id of the last event that was received. A webhook-id will do."`
}

// listeners bounds the streams that are open.
type listeners struct {
	open atomic.Int64
	most int64
}

func (l *listeners) take() error {
	if l.open.Add(1) > l.most {
		l.open.Add(-1)
		return behind.problem("%d listeners are connected, which is as many as may be", l.most).retryAfter(reconnectIn)
	}
	return nil
}

func (l *listeners) give() { l.open.Add(-1) }

// streamIncidents is GET /v1/incidents/stream.
func (s *Server) streamIncidents(ctx context.Context, in *incidentStreamInput) (*huma.StreamResponse, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	if s.stopping() {
		return nil, s.problem(ctx, weir.ErrStopping, "query")
	}
	f, err := s.filter(&in.IncidentChoice)
	if err != nil {
		return nil, err
	}
	wants, err := f.Match()
	if err != nil {
		return nil, wrongParameter("query", "match", err)
	}
	if err := s.listeners.take(); err != nil {
		return nil, err
	}
	subscription, err := inTurn(ctx, s, func(ctx context.Context) (*incident.Subscription, error) {
		return s.incidents.Subscribe(ctx, strings.TrimSpace(in.LastEventID))
	})
	if err != nil {
		s.listeners.give()
		return nil, s.problem(ctx, fmt.Errorf("listen for incidents: %w", err), "header")
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer s.listeners.give()
		defer subscription.Close()
		r, w := humachi.Unwrap(ctx)
		w.Header().Set("Content-Type", eventMedia)
		w.Header().Set("X-Accel-Buffering", "no") // proxies that keep events back help nobody
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodHead {
			return
		}
		events := &eventWriter{w: w, control: http.NewResponseController(w)}
		if err := s.follow(r.Context(), subscription, wants, events); err != nil && r.Context().Err() == nil {
			s.log.DebugContext(r.Context(), "listener cut off", "request_id", requestID(r.Context()), "error", err)
		}
	}}, nil
}

// follow writes the changes of incidents until the listener goes, is cut off, or
// the server ends.
func (s *Server) follow(ctx context.Context, subscription *incident.Subscription, wants func(*weir.Incident) bool, events *eventWriter) error {
	if err := events.write("retry: %d\n\n", reconnectIn.Milliseconds()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.draining, func() { cancel(weir.ErrStopping) })()
	for {
		change, err := nextChange(ctx, subscription)
		switch {
		case errors.Is(err, errQuiet):
			err = events.write(": still here\n\n")
		case errors.Is(err, weir.ErrStopping):
			return events.end("the server is shutting down")
		case errors.Is(err, incident.ErrSlow):
			return errors.Join(err, events.end(err.Error()))
		case err != nil:
			return errors.Join(err, events.end("the server failed; its log says why"))
		case !wants(&change.Incident):
			continue
		default:
			err = events.incident(&change)
		}
		if err != nil {
			return err
		}
	}
}

var errQuiet = errors.New("nothing has changed")

// nextChange waits for the next change, but not for longer than one heartbeat.
func nextChange(ctx context.Context, subscription *incident.Subscription) (incident.Change, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, heartbeat, errQuiet)
	defer cancel()
	return subscription.Next(ctx)
}

// eventWriter writes events to one listener, each at once.
type eventWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (e *eventWriter) incident(c *incident.Change) error {
	data, err := json.Marshal(&c.Incident)
	if err != nil {
		return fmt.Errorf("incident %s: %w", c.Incident.ID, err)
	}
	return e.write("id: %s\nevent: incident\ndata: %s\n\n", c.ID, data)
}

func (e *eventWriter) end(reason string) error { return e.write("event: end\ndata: %s\n\n", reason) }

func (e *eventWriter) write(format string, args ...any) error {
	// The deadline of the server is that of an answer which ends.
	if err := e.control.SetWriteDeadline(time.Now().Add(eventTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(e.w, format, args...); err != nil {
		return err
	}
	return e.control.Flush()
}
