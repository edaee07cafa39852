package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-stream/weir"
)

// Deliveries knows what webhooks were told.
type Deliveries interface {
	// Deliveries returns those that are meant, the newest first, and what the
	// filter of the next page has as Before; empty on the last page.
	Deliveries(ctx context.Context, f weir.DeliveryFilter) ([]weir.Delivery, string, error)

	// Redeliver has a message sent again. It returns once that is durable.
	Redeliver(ctx context.Context, id, webhook string) error
}

// The problems of asking about deliveries.
var (
	noWebhooks     = kind{http.StatusConflict, "no-webhooks", "No webhooks"}
	unknownWebhook = kind{http.StatusNotFound, "unknown-webhook", "Unknown webhook"}
	unknownMessage = kind{http.StatusNotFound, "unknown-message", "Unknown message"}
)

// DeliveryInfo is how it went with telling a webhook of one version of an
// incident.
type DeliveryInfo struct {
	Webhook  string        `json:"webhook" example:"ops"`
	ID       string        `json:"id" doc:"Of the message: the header webhook-id, INCIDENT-VERSION." example:"traffic.12-15"`
	Incident string        `json:"incident" example:"traffic.12"`
	Version  int64         `json:"version" example:"15"`
	Type     string        `json:"type" enum:"incident.firing,incident.updated,incident.resolved"`
	State    string        `json:"state" enum:"pending,delivered,failed"`
	Recorded time.Time     `json:"recorded" doc:"When the incident became what it is, by the clock."`
	Next     *time.Time    `json:"next" doc:"When it is tried next; null if it is not, or as soon as can be."`
	Attempts []AttemptInfo `json:"attempts" nullable:"false" doc:"The oldest first."`
}

// AttemptInfo is one request of a delivery, or a decision about it.
type AttemptInfo struct {
	N      int        `json:"n" doc:"Counts from 1."`
	At     time.Time  `json:"at"`
	Status int        `json:"status,omitempty" doc:"Of the answer; absent if there was none." example:"503"`
	Error  string     `json:"error,omitempty" doc:"Why it is no success."`
	Took   float64    `json:"took" doc:"Seconds."`
	Answer string     `json:"answer,omitempty" doc:"How the body of the answer began."`
	Next   *time.Time `json:"next" doc:"When it is tried again; null if it is not."`
}

// DeliveriesAnswer is a page of deliveries.
type DeliveriesAnswer struct {
	Deliveries []DeliveryInfo `json:"deliveries" nullable:"false" doc:"The newest first."`
	Next       string         `json:"next,omitempty" doc:"What before is for the next page; absent on the last."`
}

type deliveriesInput struct {
	Webhook  string `query:"webhook" maxLength:"256" doc:"Name of the webhook. Default all." example:"ops"`
	Incident string `query:"incident" maxLength:"256" doc:"ID of the incident. Default all." example:"traffic.12"`
	State    string `query:"state" enum:"pending,delivered,failed" doc:"How far it has come. Default all."`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most."`
	Before   string `query:"before" maxLength:"1024" doc:"The next of the page before."`
}

type deliveriesOutput struct{ Body DeliveriesAnswer }

type redeliverInput struct {
	Webhook string `path:"webhook" maxLength:"256" doc:"Name of the webhook." example:"ops"`
	ID      string `path:"id" maxLength:"256" doc:"ID of the message." example:"traffic.12-15"`
}

type redeliverOutput struct {
	Status int
	Body   struct {
		State string `json:"state" enum:"pending"`
	}
}

// deliveryOperations registers what there is to ask about deliveries.
func (s *Server) deliveryOperations() {
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/deliveries", OperationID: "deliveries", Tags: []string{"incidents"},
		Summary: "What webhooks were told, and how it went",
	}, noWebhooks, unknownWebhook), s.listDeliveries)
	huma.Register(s.huma, s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/deliveries/{webhook}/{id}/redeliver", OperationID: "redeliver", Tags: []string{"incidents"},
		Summary:       "Send a message again",
		Description:   "Whatever became of it before. Answers once that is durable; GET /v1/deliveries tells how it goes.",
		DefaultStatus: http.StatusAccepted,
	}, noWebhooks, unknownWebhook, unknownMessage), s.redeliver)
}

// listDeliveries is GET /v1/deliveries.
func (s *Server) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	if s.told == nil {
		return nil, noWebhooks.problem("no webhooks are configured")
	}
	list, next, err := s.told.Deliveries(ctx, weir.DeliveryFilter{
		Webhook: in.Webhook, Incident: in.Incident, State: weir.DeliveryState(in.State), Limit: in.Limit, Before: in.Before,
	})
	if err != nil {
		return nil, s.deliveryProblem(ctx, fmt.Errorf("list deliveries: %w", err), "query")
	}
	out := &deliveriesOutput{Body: DeliveriesAnswer{Deliveries: make([]DeliveryInfo, len(list)), Next: next}}
	for i, d := range list {
		info := DeliveryInfo{
			Webhook: d.Webhook, ID: d.ID, Incident: d.Incident, Version: d.Version, Type: d.Type, State: string(d.State),
			Recorded: d.Recorded.UTC(), Next: orNull(d.Next), Attempts: make([]AttemptInfo, len(d.Attempts)),
		}
		for j, a := range d.Attempts {
			info.Attempts[j] = AttemptInfo{
				N: a.N, At: a.At.UTC(), Status: a.Status, Error: a.Error, Took: a.Took, Answer: a.Answer, Next: orNull(a.Next),
			}
		}
		out.Body.Deliveries[i] = info
	}
	return out, nil
}

// redeliver is POST /v1/deliveries/{webhook}/{id}/redeliver.
func (s *Server) redeliver(ctx context.Context, in *redeliverInput) (*redeliverOutput, error) {
	if s.told == nil {
		return nil, noWebhooks.problem("no webhooks are configured")
	}
	if err := s.told.Redeliver(ctx, in.ID, in.Webhook); err != nil {
		return nil, s.deliveryProblem(ctx, fmt.Errorf("redeliver: %w", err), "path")
	}
	out := &redeliverOutput{Status: http.StatusAccepted}
	out.Body.State = string(weir.DeliveryPending)
	return out, nil
}

func (s *Server) deliveryProblem(ctx context.Context, err error, in string) *Problem {
	switch {
	case errors.Is(err, weir.ErrUnknownWebhook):
		return unknownWebhook.problem("%v", err).mistake(in, "webhook", "", "%v", weir.ErrUnknownWebhook)
	case errors.Is(err, weir.ErrUnknownMessage):
		return unknownMessage.problem("%v", err).mistake(in, "id", "", "%v", weir.ErrUnknownMessage)
	}
	return s.problem(ctx, err, in)
}
