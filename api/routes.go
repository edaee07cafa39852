package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// about begins the OpenAPI document.
const about = `Weir measures event streams in one pass and answers how many, how many
different, how slow and which most, with a stated error.

Whatever is not a success is a problem (RFC 9457) whose ` + "`type`" + ` says its kind
and whose ` + "`errors`" + ` name each parameter that was wrong. Unknown parameters are
errors. Answers are compressed if the client accepts it. Every answer carries an
X-Request-Id, taken from the request if it has one.`

// route builds the handler: what surrounds every request, from the outside in,
// then the operations.
func (s *Server) route(registry *prometheus.Registry, version string) error {
	router := chi.NewRouter()
	router.Use(
		identify,
		s.tellStore,
		s.observe,
		s.rescue,
		harden,
		s.sameOrigin,
		middleware.Compress(5, "application/json", "application/problem+json", "text/csv", "application/yaml"),
		middleware.GetHead,
	)
	router.NotFound(s.notFound)
	router.MethodNotAllowed(s.methodNotAllowed(router))

	config := huma.DefaultConfig("Weir", version)
	config.Info.Description = about
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", "" // ours are below; the pages of docs load from other hosts
	config.CreateHooks = nil                                             // no links to schemas in answers
	config.Transformers = []huma.Transformer{s.transform}
	s.huma = humachi.New(router, config)
	s.huma.UseMiddleware(s.checkQuery)

	s.operations()

	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	s.document(router, &huma.Operation{
		Method: http.MethodGet, Path: "/metrics", OperationID: "metrics", Tags: []string{"operation"},
		Summary: "Metrics in the text format of Prometheus",
	}, "text/plain", scrape)
	if s.cluster != nil {
		router.Mount("/internal", s.cluster.Handler()) // for other nodes; no part of the API
	}
	s.handler = router
	return s.publish(router)
}

// operations registers what huma reads, checks and documents.
func (s *Server) operations() {
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/streams/{stream}/events", OperationID: "push", Tags: []string{"events"},
		Summary: "Push events",
		Description: "Answers once the events are on disk. They are counted once each, or as rejected if they are none. " +
			"A batch that is sent again after an error or a lost answer is counted once if both attempts carry the same Idempotency-Key.",
	}, notPushed, bodyTimeout, unknownStream, bodyTooLarge, unsupportedMedia, keyReused, behind, stopping), s.push)
	// Told only now, so that huma leaves the reading of the body to the handler.
	s.huma.OpenAPI().Paths["/v1/streams/{stream}/events"].Post.RequestBody = eventsBody()

	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/streams/{stream}/rejected", OperationID: "rejected", Tags: []string{"events"},
		Summary: "What was refused of a stream, and why",
	}, unknownStream), s.rejected)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/streams", OperationID: "streams", Tags: []string{"questions"},
		Summary: "The streams, what they remember and how far they have come",
	}), s.listStreams)

	problems := []kind{unknownStream, queryLimit, behind, queryTimeout}
	huma.Register(s.huma, s.answering(s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/query", OperationID: "query", Tags: []string{"questions"},
		Summary: "Ask a question",
	}, problems...)), s.queryGet)
	huma.Register(s.huma, s.answering(s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/query", OperationID: "query-by-body", Tags: []string{"questions"},
		Summary: "Ask a question that is long", MaxBodyBytes: maxQuestion,
	}, append(problems, bodyTooLarge, unsupportedMedia)...)), s.queryPost)

	s.deliveryOperations()

	s.incidentOperations()

	if s.cluster != nil {
		huma.Register(s.huma, s.operation(huma.Operation{
			Method: http.MethodGet, Path: "/v1/cluster", OperationID: "cluster", Tags: []string{"operation"},
			Summary: "The nodes, whose the partitions are and how far they have come",
		}, behind, queryTimeout), s.showCluster)
	}
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/-/healthy", OperationID: "healthy", Tags: []string{"operation"},
		Summary: "Whether the process answers at all",
	}), s.healthy)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/-/ready", OperationID: "ready", Tags: []string{"operation"},
		Summary: "Whether it can be sent events and questions",
	}, notReady, stopping), s.readiness)
}

// operation documents the problems that an operation answers with.
func (s *Server) operation(op huma.Operation, kinds ...kind) huma.Operation {
	schema := huma.SchemaFromType(s.huma.OpenAPI().Components.Schemas, typeOf[Problem]())
	op.Responses = map[string]*huma.Response{}
	for _, k := range append(kinds, invalidRequest, internal) {
		code := fmt.Sprint(k.status)
		if op.Responses[code] == nil {
			op.Responses[code] = &huma.Response{Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
		} else {
			op.Responses[code].Description += "; "
		}
		op.Responses[code].Description += k.title + " (" + typePrefix + k.name + ")"
	}
	return op
}

// answering documents the answer of a question, which its handler writes itself.
func (s *Server) answering(op huma.Operation) huma.Operation {
	op.Responses["200"] = &huma.Response{
		Description: "The answer, in columns. In CSV a row a series and point.",
		Content: map[string]*huma.MediaType{
			jsonMedia: {Schema: huma.SchemaFromType(s.huma.OpenAPI().Components.Schemas, typeOf[answerBody]())},
			csvMedia:  {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}
	return op
}

// document mounts a handler that huma does not know, and says that it is there.
func (s *Server) document(router chi.Router, op *huma.Operation, media string, handler http.Handler) {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "OK",
		Content:     map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	router.Method(op.Method, op.Path, handler)
	s.huma.OpenAPI().AddOperation(op)
}

// publish serves the OpenAPI document, which is final by now.
func (s *Server) publish(router chi.Router) error {
	documents := map[string][]byte{"json": nil, "yaml": nil}
	for _, form := range []string{"yaml", "json"} {
		s.document(router, &huma.Operation{
			Method: http.MethodGet, Path: "/openapi." + form, OperationID: "openapi-" + form, Tags: []string{"operation"},
			Summary: "This document",
		}, "application/"+form, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/"+form)
			w.Write(documents[form])
		}))
	}
	var err error
	if documents["yaml"], err = s.huma.OpenAPI().YAML(); err != nil {
		return fmt.Errorf("write the OpenAPI document as YAML: %w", err)
	}
	if documents["json"], err = json.Marshal(s.huma.OpenAPI()); err != nil {
		return fmt.Errorf("write the OpenAPI document as JSON: %w", err)
	}
	return nil
}

// write answers with a problem outside of huma.
func (s *Server) write(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = requestID(r.Context())
	body, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("api: problem %+v has no JSON: %v", p, err))
	}
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n')) // the status is out; whoever does not listen is not told
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	var paths []string
	for path := range s.huma.OpenAPI().Paths {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	suggestion := nearest(strings.TrimRight(r.URL.Path, "/"), paths)
	p := notFound.problem("there is nothing at %q; /openapi.yaml lists what there is", r.URL.Path)
	if suggestion != "" {
		p.Detail = fmt.Sprintf("there is nothing at %q; did you mean %s?", r.URL.Path, suggestion)
	}
	s.write(w, r, p)
}

func (s *Server) methodNotAllowed(router chi.Router) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range methods {
			if router.Match(chi.NewRouteContext(), method, r.URL.Path) {
				allowed = append(allowed, method)
			}
		}
		list := strings.Join(allowed, ", ")
		s.write(w, r, methodNotAllowed.problem("%s takes %s", r.URL.Path, list).header("Allow", list))
	}
}

type healthOutput struct {
	Body struct {
		Status string `json:"status" example:"ready"`
	}
}

func (s *Server) healthy(context.Context, *struct{}) (*healthOutput, error) {
	out := &healthOutput{}
	out.Body.Status = "healthy"
	return out, nil
}

func (s *Server) readiness(context.Context, *struct{}) (*healthOutput, error) {
	if s.stopping() {
		return nil, stopping.problem("the server is shutting down")
	}
	if err := s.ready(); err != nil {
		return nil, notReady.problem("%v", err)
	}
	out := &healthOutput{}
	out.Body.Status = "ready"
	return out, nil
}
