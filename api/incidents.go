package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
)

// Incidents are what detectors found. [incident.Log] is one.
type Incidents interface {
	Detectors() []incident.Ref
	List(ctx context.Context, f incident.Filter) (found []weir.Incident, next string, err error)
	Incident(ctx context.Context, id string) (versions []incident.Record, batches []*incident.Batch, err error)
	Subscribe(ctx context.Context, lastID string) (*incident.Subscription, error)
	Feedback(ctx context.Context, id string) ([]incident.Feedback, error)
	AddFeedback(ctx context.Context, f incident.Feedback) (incident.Feedback, error)
}

// incidentOperations registers what is about incidents.
func (s *Server) incidentOperations() {
	// A number that is none is null.
	s.huma.OpenAPI().Components.Schemas.RegisterTypeAlias(typeOf[weir.Number](), typeOf[*float64]())

	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/incidents", OperationID: "incidents", Tags: []string{"incidents"},
		Summary: "Incidents, those opened last first",
		Description: "A page that ends before the last incident names the next one. Pages do not shift as new incidents come. " +
			"One that had to look at many incidents can be short of the limit.",
	}, noDetectors, unknownStream, behind, queryTimeout), s.listIncidents)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/incidents/{id}", OperationID: "incident", Tags: []string{"incidents"},
		Summary: "All that is known of an incident",
	}, noDetectors, unknownIncident, behind, queryTimeout), s.showIncident)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/incidents/{id}/feedback", OperationID: "feedback", Tags: []string{"incidents"},
		Summary: "Say whether an incident was a true alarm", DefaultStatus: http.StatusCreated, MaxBodyBytes: maxQuestion,
	}, noDetectors, unknownIncident, full, bodyTooLarge, unsupportedMedia, behind, queryTimeout, stopping), s.addFeedback)
	huma.Register(s.huma, s.streaming(s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/incidents/stream", OperationID: "incident-stream", Tags: []string{"incidents"},
		Summary: "Incidents as they change, as server-sent events",
		Description: "Each event is an incident as it stands now. Its id names how far the listener has come: " +
			"with it as Last-Event-ID the stream goes on after it, on any node. An event can come twice, " +
			"with the same incident and version. The stream ends when the server does, or when the listener is too slow.",
	}, noDetectors, unknownStream, behind, queryTimeout, stopping)), s.streamIncidents)
	s.silenceOperations()
}

// watched says that no detectors are configured, if so.
func (s *Server) watched() error {
	if s.incidents == nil || len(s.incidents.Detectors()) == 0 {
		return noDetectors.problem("no detectors are configured, so there are no incidents, and there is nothing to silence; detectors in the configuration watch streams")
	}
	return nil
}

// IncidentChoice is what both a list and a stream can be narrowed to.
type IncidentChoice struct {
	Detector string `query:"detector" maxLength:"256" doc:"Name of the detector." example:"traffic"`
	Stream   string `query:"stream" maxLength:"256" doc:"Name of the stream." example:"flights"`
	State    string `query:"state" enum:"firing,resolved" doc:"Whether it is still there."`
	Severity string `query:"severity" enum:"warning,critical" doc:"How grave it is."`
	Match    string `query:"match" maxLength:"65536" doc:"Matchers of labels, separated by commas, with =, !=, =~ and !~: of detector, stream, severity, value, and the dimensions of its series. One of its series matches them all." example:"origin=JFK"`
}

// filter reads the choice.
func (s *Server) filter(in *IncidentChoice) (incident.Filter, error) {
	f := incident.Filter{
		Detector: in.Detector, Stream: in.Stream,
		State: weir.IncidentState(in.State), Severity: weir.Severity(in.Severity),
	}
	if in.Stream != "" {
		if _, err := s.stream(in.Stream, "query"); err != nil {
			return f, err
		}
	}
	if in.Detector != "" {
		var names []string
		for _, ref := range s.incidents.Detectors() {
			names = append(names, ref.Detector)
		}
		if !slices.Contains(names, in.Detector) {
			p := invalidRequest.problem("").mistake("query", "detector", nearest(in.Detector, names),
				"there is no detector %q; there are %s", in.Detector, strings.Join(names, ", "))
			p.Detail = p.summary()
			return f, p
		}
	}
	var err error
	if f.Labels, err = incident.ParseMatchers(in.Match); err != nil {
		return f, wrongParameter("query", "match", err)
	}
	return f, nil
}

// wrongParameter is the problem of one parameter.
func wrongParameter(in, name string, err error) *Problem {
	p := invalidRequest.problem("").mistake(in, name, "", "%v", err)
	p.Detail = p.summary()
	return p
}

type incidentsInput struct {
	IncidentChoice
	Since string `query:"since" maxLength:"64" doc:"Opened at or after this event time: a time, a date, Unix seconds, now-1h, -1h." example:"-1d"`
	Until string `query:"until" maxLength:"64" doc:"Opened before this event time."`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many."`
	Page  string `query:"page" maxLength:"1024" doc:"Where to go on, as the page before said in next."`
}

// IncidentsAnswer is a page of incidents.
type IncidentsAnswer struct {
	Incidents []weir.Incident `json:"incidents" nullable:"false"`
	Next      string          `json:"next,omitempty" doc:"What to ask for as page to go on. Absent at the end."`
}

type incidentsOutput struct{ Body IncidentsAnswer }

// listIncidents is GET /v1/incidents.
func (s *Server) listIncidents(ctx context.Context, in *incidentsInput) (*incidentsOutput, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	f, err := s.filter(&in.IncidentChoice)
	if err != nil {
		return nil, err
	}
	f.Limit, f.Page = in.Limit, in.Page
	clock := time.Now()
	if f.Since, err = query.ParseTime("since", unplussed(in.Since), clock); err != nil {
		return nil, s.problem(ctx, err, "query")
	}
	if f.Until, err = query.ParseTime("until", unplussed(in.Until), clock); err != nil {
		return nil, s.problem(ctx, err, "query")
	}
	out := &incidentsOutput{}
	_, err = inTurn(ctx, s, func(ctx context.Context) (_ struct{}, err error) {
		out.Body.Incidents, out.Body.Next, err = s.incidents.List(ctx, f)
		return struct{}{}, err
	})
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("list incidents: %w", err), "query")
	}
	if out.Body.Incidents == nil {
		out.Body.Incidents = []weir.Incident{}
	}
	return out, nil
}

// IncidentAnswer is all that is known of an incident.
type IncidentAnswer struct {
	Incident   weir.Incident         `json:"incident" doc:"As it stands."`
	All        []weir.IncidentSeries `json:"all" nullable:"false" doc:"All of its series."`
	Definition json.RawMessage       `json:"definition,omitempty" doc:"The detector's definition, as it was at its newest version."`
	Versions   []IncidentVersion     `json:"versions" nullable:"false" doc:"How it came to be so; of very many the first and the newest."`
	Feedback   []incident.Feedback   `json:"feedback" nullable:"false" doc:"What was said of it."`
}

// IncidentVersion is an incident as it stood after a window.
type IncidentVersion struct {
	From       time.Time        `json:"from" doc:"Beginning of the window."`
	To         time.Time        `json:"to" doc:"Its end."`
	Recorded   time.Time        `json:"recorded" doc:"By the clock."`
	Definition string           `json:"definition" doc:"Hash of the detector's definition."`
	Offsets    map[string]int64 `json:"offsets,omitempty" doc:"Of each partition the offset below which events were counted."`
	Incident   weir.Incident    `json:"incident"`
}

// IncidentInput names an incident.
type IncidentInput struct {
	ID string `path:"id" maxLength:"256" doc:"ID of the incident." example:"traffic.17"`
}

type incidentOutput struct{ Body IncidentAnswer }

// showIncident is GET /v1/incidents/{id}.
func (s *Server) showIncident(ctx context.Context, in *IncidentInput) (*incidentOutput, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	answer, err := inTurn(ctx, s, func(ctx context.Context) (*IncidentAnswer, error) { return TellIncident(ctx, s.incidents, in.ID) })
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("show incident: %w", err), "path")
	}
	return &incidentOutput{Body: *answer}, nil
}

// TellIncident gathers all that is known of an incident.
func TellIncident(ctx context.Context, incidents Incidents, id string) (*IncidentAnswer, error) {
	versions, batches, err := incidents.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	feedback, err := incidents.Feedback(ctx, id)
	if err != nil {
		return nil, err
	}
	newest := len(versions) - 1
	answer := &IncidentAnswer{
		Incident:   versions[newest].Incident,
		All:        append([]weir.IncidentSeries{}, versions[newest].All...),
		Definition: batches[newest].Config,
		Versions:   make([]IncidentVersion, len(versions)),
		Feedback:   append([]incident.Feedback{}, feedback...),
	}
	for i, b := range batches {
		answer.Versions[i] = IncidentVersion{
			From: b.From, To: b.To, Recorded: b.Recorded, Definition: b.Definition, Offsets: b.Offsets, Incident: versions[i].Incident,
		}
	}
	return answer, nil
}

// FeedbackBody is what is said of an incident.
type FeedbackBody struct {
	Alarm  bool   `json:"alarm" doc:"Whether it was a true alarm."`
	Note   string `json:"note,omitempty" maxLength:"4000" doc:"What should be known of it." example:"a storm"`
	Author string `json:"author,omitempty" maxLength:"200" doc:"Who says so." example:"ana"`
}

type feedbackInput struct {
	IncidentInput
	Body FeedbackBody
}

type feedbackOutput struct{ Body incident.Feedback }

// addFeedback is POST /v1/incidents/{id}/feedback.
func (s *Server) addFeedback(ctx context.Context, in *feedbackInput) (*feedbackOutput, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	if s.stopping() {
		return nil, s.problem(ctx, weir.ErrStopping, "body")
	}
	f := incident.Feedback{Incident: in.ID, Alarm: in.Body.Alarm, Note: in.Body.Note, Author: in.Body.Author}
	added, err := inTurn(ctx, s, func(ctx context.Context) (incident.Feedback, error) { return s.incidents.AddFeedback(ctx, f) })
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("add feedback: %w", err), "body")
	}
	return &feedbackOutput{Body: added}, nil
}
