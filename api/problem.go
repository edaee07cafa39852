package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/anomaly/incident"
	"github.com/weir-stream/weir/query"
)

// Problem is the body of every answer that is not a success: RFC 9457. Clients
// decide on Type and Status; Detail and Errors are for whoever reads them, and
// say what would be right.
type Problem struct {
	Type      string    `json:"type" doc:"What kind of problem this is; stable." example:"urn:weir:problem:invalid-request"`
	Title     string    `json:"title" doc:"The kind in words; stable." example:"Invalid request"`
	Status    int       `json:"status" doc:"The HTTP status." example:"400"`
	Detail    string    `json:"detail" doc:"What was wrong this time, and what would be right."`
	RequestID string    `json:"request_id,omitempty" doc:"Finds the request in the server's log."`
	Errors    []Mistake `json:"errors,omitempty" doc:"Each mistake by itself."`

	headers http.Header
}

// Mistake is one parameter that was wrong.
type Mistake struct {
	Parameter  string `json:"parameter" doc:"Name of the parameter, header or member of the body." example:"select"`
	In         string `json:"in" enum:"path,query,header,body" doc:"Where it stood."`
	Message    string `json:"message" doc:"What was wrong, and what would be right."`
	Suggestion string `json:"suggestion,omitempty" doc:"The name that was probably meant."`
}

// Error is the detail of the problem.
func (p *Problem) Error() string { return p.Detail }

// GetStatus, GetHeaders and ContentType are how huma writes an error down.
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) GetHeaders() http.Header   { return p.headers }
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// kind is a type of problem.
type kind struct {
	status      int
	name, title string
}

// The problems that the API knows. Their names are part of it.
var (
	invalidRequest   = kind{http.StatusBadRequest, "invalid-request", "Invalid request"}
	invalidBody      = kind{http.StatusBadRequest, "invalid-body", "Invalid body"}
	crossOrigin      = kind{http.StatusForbidden, "cross-origin", "Cross-origin request"}
	notFound         = kind{http.StatusNotFound, "not-found", "Not found"}
	unknownStream    = kind{http.StatusNotFound, "unknown-stream", "Unknown stream"}
	unknownIncident  = kind{http.StatusNotFound, "unknown-incident", "Unknown incident"}
	unknownSilence   = kind{http.StatusNotFound, "unknown-silence", "Unknown silence"}
	methodNotAllowed = kind{http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed"}
	bodyTimeout      = kind{http.StatusRequestTimeout, "body-timeout", "Body too slow"}
	notPushed        = kind{http.StatusConflict, "not-pushed", "Stream is not pushed to"}
	noDetectors      = kind{http.StatusConflict, "no-detectors", "No detectors"}
	configured       = kind{http.StatusConflict, "configured", "Set by the configuration"}
	full             = kind{http.StatusConflict, "full", "No room for more"}
	bodyTooLarge     = kind{http.StatusRequestEntityTooLarge, "body-too-large", "Body too large"}
	unsupportedMedia = kind{http.StatusUnsupportedMediaType, "unsupported-media-type", "Unsupported media type"}
	keyReused        = kind{http.StatusUnprocessableEntity, "key-reused", "Idempotency key reused"}
	queryLimit       = kind{http.StatusUnprocessableEntity, "query-limit", "Query over a limit"}
	behind           = kind{http.StatusTooManyRequests, "behind", "Behind"}
	cancelled        = kind{499, "cancelled", "Cancelled by the client"} // nobody reads it; logs and metrics do
	internal         = kind{http.StatusInternalServerError, "internal", "Internal error"}
	stopping         = kind{http.StatusServiceUnavailable, "stopping", "Shutting down"}
	notReady         = kind{http.StatusServiceUnavailable, "not-ready", "Not ready"}
	queryTimeout     = kind{http.StatusGatewayTimeout, "query-timeout", "Query took too long"}
)

const typePrefix = "urn:weir:problem:"

// name is the problem's kind.
func (p *Problem) name() string { return strings.TrimPrefix(p.Type, typePrefix) }

func (k kind) problem(format string, args ...any) *Problem {
	return &Problem{
		Type:   typePrefix + k.name,
		Title:  k.title,
		Status: k.status,
		Detail: fmt.Sprintf(format, args...),
	}
}

// mistake adds the parameter that was wrong.
func (p *Problem) mistake(in, parameter, suggestion, format string, args ...any) *Problem {
	p.Errors = append(p.Errors, Mistake{Parameter: parameter, In: in, Message: fmt.Sprintf(format, args...), Suggestion: suggestion})
	return p
}

func (p *Problem) header(name, value string) *Problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
	return p
}

// retryAfter tells when to try again, in whole seconds and at least one.
func (p *Problem) retryAfter(d time.Duration) *Problem {
	return p.header("Retry-After", strconv.FormatInt(int64(max(1, (d+time.Second-1)/time.Second)), 10))
}

// problem maps an error of the rooms below to what a client may know. What it
// does not know goes to the log, where the request's id finds it. in says where
// a wrong parameter stood.
func (s *Server) problem(ctx context.Context, err error, in string) *Problem {
	var (
		known    *Problem
		param    *query.ParamError
		limit    *query.LimitError
		isBehind *weir.ErrBehind
		invalid  *incident.InvalidError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &param):
		k := invalidRequest
		if errors.Is(err, weir.ErrUnknownStream) {
			k = unknownStream
		}
		return k.problem("%v", param).mistake(in, param.Param, param.Suggestion, "%s", param.Detail)
	case errors.As(err, &limit) && errors.Is(err, query.ErrTooLong):
		return queryTimeout.problem("%v", limit)
	case errors.As(err, &limit):
		return queryLimit.problem("%v", limit)
	case errors.As(err, &isBehind):
		return behind.problem("%v", isBehind).retryAfter(isBehind.RetryAfter)
	case errors.Is(err, weir.ErrUnknownStream):
		return unknownStream.problem("%v", weir.ErrUnknownStream)
	case errors.Is(err, weir.ErrNotPushed):
		return notPushed.problem("%v", weir.ErrNotPushed)
	case errors.Is(err, weir.ErrKeyReused):
		return keyReused.problem("%v; a retry repeats the bytes of the first attempt, and another batch takes another key", weir.ErrKeyReused).
			mistake("header", "Idempotency-Key", "", "%v", weir.ErrKeyReused)
	case errors.Is(err, weir.ErrStopping):
		return stopping.problem("the server is shutting down; nothing was done").retryAfter(time.Second)
	case errors.Is(err, incident.ErrUnknown):
		return unknownIncident.problem("there is no such incident, or it is kept no more").
			mistake("path", "id", "", "no incident has this ID, such as traffic.17")
	case errors.Is(err, incident.ErrUnknownSilence):
		return unknownSilence.problem("there is no such silence, or no more").mistake("path", "id", "", "no silence has this ID")
	case errors.Is(err, incident.ErrConfigured):
		return configured.problem("%v", incident.ErrConfigured)
	case errors.Is(err, incident.ErrTooMany):
		return full.problem("%v; at most %d", incident.ErrTooMany, incident.MaxSilences)
	case errors.Is(err, incident.ErrFeedbackFull):
		return full.problem("%v", incident.ErrFeedbackFull)
	case errors.Is(err, incident.ErrPage):
		return wrongParameter(in, "page", incident.ErrPage)
	case errors.Is(err, incident.ErrPosition):
		return wrongParameter(in, "Last-Event-ID", incident.ErrPosition)
	case errors.As(err, &invalid):
		return wrongParameter(in, invalid.Param, invalid.Err)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return cancelled.problem("the client went away")
	}
	s.log.LogAttrs(ctx, slog.LevelError, "request failed", slog.String("request_id", requestID(ctx)), slog.Any("error", err))
	return internal.problem("the server failed; its log says why")
}

// transform gives every problem its request's id, and turns those that huma
// found while reading a request into ours. It runs before the status is
// written, so it can mend that as well.
func (s *Server) transform(ctx huma.Context, _ string, v any) (any, error) {
	switch p := v.(type) {
	case *Problem:
		p.RequestID = requestID(ctx.Context())
		return p, nil
	case *huma.ErrorModel:
		ours := translate(p, s.members(ctx.Operation()))
		ours.RequestID = requestID(ctx.Context())
		if c, ok := ctx.(*statusContext); ok {
			c.status = ours.Status
		}
		return ours, nil
	}
	return v, nil
}

// translate turns what huma says of a request into a problem. Its validation
// answers 422, which here means that a request was understood and refused.
// members are what the operation's JSON body may hold.
func translate(e *huma.ErrorModel, members []string) *Problem {
	k := invalidRequest
	switch e.Status {
	case http.StatusRequestEntityTooLarge:
		k = bodyTooLarge
	case http.StatusUnsupportedMediaType:
		k = unsupportedMedia
	case http.StatusRequestTimeout:
		k = bodyTimeout
	case http.StatusInternalServerError:
		// A body that could not be read. The connection is gone or lies.
		return invalidBody.problem("the body ended early or could not be read")
	}
	p := k.problem("%s", e.Detail)
	for _, d := range e.Errors {
		if d == nil {
			continue
		}
		in, name, _ := strings.Cut(d.Location, ".")
		if name == "" {
			name = in
		}
		suggestion := ""
		if in == "body" && name != in && !slices.Contains(members, name) {
			suggestion = nearest(name, members)
		}
		p.mistake(in, name, suggestion, "%s", d.Message)
	}
	if len(p.Errors) > 0 {
		p.Detail = p.summary()
	}
	return p
}

// summary is the first mistake in a sentence, and how many more there are.
func (p *Problem) summary() string {
	first := p.Errors[0]
	text := first.Parameter + ": " + first.Message
	if first.Suggestion != "" {
		text += fmt.Sprintf(" (did you mean %q?)", first.Suggestion)
	}
	if more := len(p.Errors) - 1; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// members lists the members of the operation's JSON body.
func (s *Server) members(op *huma.Operation) []string {
	if op == nil || op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	schema := op.RequestBody.Content["application/json"].Schema
	if schema.Ref != "" {
		schema = s.huma.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	return slices.Sorted(maps.Keys(schema.Properties))
}

// statusContext lets transform mend the status of an answer.
type statusContext struct {
	humaContext
	status int // 0: as it is
}

// humaContext can be embedded, which huma.Context can't for its method Context.
type humaContext huma.Context

// Unwrap returns the context of the adapter.
func (c *statusContext) Unwrap() huma.Context { return c.humaContext }

// SetStatus writes the status.
func (c *statusContext) SetStatus(status int) {
	if c.status != 0 {
		status = c.status
	}
	c.humaContext.SetStatus(status)
}

// nearest returns the name that was probably meant, or "" where none is close:
// at most a third of its letters may differ.
func nearest(word string, known []string) string {
	if len(word) > 256 { // not a name, and dear to compare
		return ""
	}
	best, distance := "", max(1, utf8.RuneCountInString(word)/3)+1
	for _, name := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	return best
}
