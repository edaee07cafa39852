package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
)

// Silences are the times in which nobody is told. [incident.Silences] are.
type Silences interface {
	Add(ctx context.Context, silence incident.Silence) (incident.Silence, error)
	List(ctx context.Context) ([]incident.Silence, error)
	Delete(ctx context.Context, id string) error
}

// silenceOperations registers what is about silences.
func (s *Server) silenceOperations() {
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/silences", OperationID: "silences", Tags: []string{"incidents"},
		Summary: "Times in which nobody is told of incidents",
		Description: "Those that end last come first. Maintenance of the configuration is among them, and can't be deleted here. " +
			"A silence can be seen for a day after its end.",
	}, noDetectors, behind, queryTimeout), s.listSilences)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/silences", OperationID: "add-silence", Tags: []string{"incidents"},
		Summary: "Silence incidents", DefaultStatus: http.StatusCreated, MaxBodyBytes: maxQuestion,
		Description: "While it lasts, nobody is told of an incident all of whose series match all matchers. It is recorded all the same.",
	}, noDetectors, full, bodyTooLarge, unsupportedMedia, behind, queryTimeout, stopping), s.addSilence)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodDelete, Path: "/v1/silences/{id}", OperationID: "delete-silence", Tags: []string{"incidents"},
		Summary: "End a silence for good", DefaultStatus: http.StatusNoContent,
	}, noDetectors, unknownSilence, configured, behind, queryTimeout, stopping), s.deleteSilence)
}

// SilencesAnswer is all silences.
type SilencesAnswer struct {
	Silences []incident.Silence `json:"silences" nullable:"false"`
}

type silencesOutput struct{ Body SilencesAnswer }

// listSilences is GET /v1/silences.
func (s *Server) listSilences(ctx context.Context, _ *struct{}) (*silencesOutput, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	list, err := inTurn(ctx, s, s.silences.List)
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("list silences: %w", err), "query")
	}
	return &silencesOutput{SilencesAnswer{Silences: append([]incident.Silence{}, list...)}}, nil
}

// SilenceBody is a silence to be made.
type SilenceBody struct {
	Matchers []SilenceMatcher `json:"matchers" minItems:"1" maxItems:"32" nullable:"false" doc:"What is silenced: all of them match."`
	From     string           `json:"from,omitempty" maxLength:"64" doc:"When it begins: a time, or one after now. Default now." example:"2026-11-22T02:00:00Z"`
	To       string           `json:"to" minLength:"1" maxLength:"64" doc:"When it ends." example:"+2h"`
	Comment  string           `json:"comment,omitempty" maxLength:"4000" doc:"What it is for." example:"database upgrade"`
	Author   string           `json:"author,omitempty" maxLength:"200" doc:"Who made it." example:"ana"`
}

// SilenceMatcher holds a label against a value.
type SilenceMatcher struct {
	Name  string `json:"name" maxLength:"256" doc:"detector, stream, severity, value, or a dimension." example:"origin"`
	Op    string `json:"op,omitempty" enum:"=,!=,=~,!~" doc:"Default =. Regular expressions match whole values."`
	Value string `json:"value" maxLength:"1024" example:"JFK"`
}

type addSilenceInput struct{ Body SilenceBody }

type addSilenceOutput struct{ Body incident.Silence }

// addSilence is POST /v1/silences.
func (s *Server) addSilence(ctx context.Context, in *addSilenceInput) (*addSilenceOutput, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	if s.stopping() {
		return nil, s.problem(ctx, weir.ErrStopping, "body")
	}
	silence := incident.Silence{Comment: in.Body.Comment, Author: in.Body.Author}
	for _, m := range in.Body.Matchers {
		if m.Op == "" {
			m.Op = "="
		}
		silence.Matchers = append(silence.Matchers, incident.Matcher(m))
	}
	clock := time.Now()
	var err error
	if silence.From, err = query.ParseTime("from", in.Body.From, clock); err != nil {
		return nil, s.problem(ctx, err, "body")
	}
	if silence.To, err = query.ParseTime("to", in.Body.To, clock); err != nil {
		return nil, s.problem(ctx, err, "body")
	}
	added, err := inTurn(ctx, s, func(ctx context.Context) (incident.Silence, error) { return s.silences.Add(ctx, silence) })
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("add silence: %w", err), "body")
	}
	return &addSilenceOutput{Body: added}, nil
}

type deleteSilenceInput struct {
	ID string `path:"id" maxLength:"64" doc:"ID of the silence."`
}

// deleteSilence is DELETE /v1/silences/{id}.
func (s *Server) deleteSilence(ctx context.Context, in *deleteSilenceInput) (*struct{}, error) {
	if err := s.watched(); err != nil {
		return nil, err
	}
	if s.stopping() {
		return nil, s.problem(ctx, weir.ErrStopping, "path")
	}
	_, err := inTurn(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.silences.Delete(ctx, in.ID) })
	if err != nil {
		return nil, s.problem(ctx, fmt.Errorf("delete silence: %w", err), "path")
	}
	return nil, nil
}
