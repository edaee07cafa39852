package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api"
)

// teller has told the webhook ops of one incident.
type teller struct {
	asked []weir.DeliveryFilter
	again []string
	err   error
}

func (d *teller) Deliveries(_ context.Context, f weir.DeliveryFilter) ([]weir.Delivery, string, error) {
	d.asked = append(d.asked, f)
	if f.Webhook != "" && f.Webhook != "ops" {
		return nil, "", fmt.Errorf("webhook %q: %w; there are: ops", f.Webhook, weir.ErrUnknownWebhook)
	}
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return []weir.Delivery{{
		Webhook: "ops", ID: "traffic.12-15", Incident: "traffic.12", Version: 15, Type: "incident.updated",
		State: weir.DeliveryPending, Recorded: at, Next: at.Add(time.Minute),
		Attempts: []weir.Attempt{{N: 1, At: at, Status: 503, Error: "it answered 503", Took: 0.2, Answer: "busy", Next: at.Add(time.Minute)}},
	}}, "more", d.err
}

func (d *teller) Redeliver(_ context.Context, id, webhook string) error {
	if id != "traffic.12-15" {
		return weir.ErrUnknownMessage
	}
	d.again = append(d.again, webhook+" "+id)
	return nil
}

func TestDeliveries(t *testing.T) {
	told := &teller{}
	b := newBench(t, func(o *api.Options) { o.Deliveries = told })
	r := b.do("GET", "/v1/deliveries?webhook=ops&incident=traffic.12&state=pending&limit=7&before=x", nil)
	var got api.DeliveriesAnswer
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.status != http.StatusOK {
		t.Fatalf("got %d %s: %v", r.status, r.body, err)
	}
	b.checkSchema("/v1/deliveries", "200", "application/json", r.body)
	if len(got.Deliveries) != 1 || got.Next != "more" || got.Deliveries[0].Attempts[0].Status != 503 || got.Deliveries[0].Next == nil {
		t.Errorf("got %s", r.body)
	}
	b.do("GET", "/v1/deliveries", nil)
	want := []weir.DeliveryFilter{
		{Webhook: "ops", Incident: "traffic.12", State: weir.DeliveryPending, Limit: 7, Before: "x"}, {Limit: 100},
	}
	if diff := cmp.Diff(want, told.asked); diff != "" {
		t.Errorf("asked -want +got:\n%s", diff)
	}

	if r := b.do("POST", "/v1/deliveries/ops/traffic.12-15/redeliver", nil); r.status != http.StatusAccepted {
		t.Errorf("redeliver: got %d %s", r.status, r.body)
	}
	if diff := cmp.Diff([]string{"ops traffic.12-15"}, told.again); diff != "" {
		t.Errorf("redelivered -want +got:\n%s", diff)
	}
}

func TestDeliveriesRefused(t *testing.T) {
	told := &teller{}
	b := newBench(t, func(o *api.Options) { o.Deliveries = told })
	b.problem(b.do("GET", "/v1/deliveries?state=lost", nil), http.StatusBadRequest, "invalid-request")
	b.problem(b.do("GET", "/v1/deliveries?limit=0", nil), http.StatusBadRequest, "invalid-request")
	if p := b.problem(b.do("GET", "/v1/deliveries?webhook=pos", nil), http.StatusNotFound, "unknown-webhook"); !strings.Contains(p.Detail, "ops") {
		t.Errorf("it does not say which there are: %+v", p)
	}
	b.problem(b.do("POST", "/v1/deliveries/ops/traffic.1-1/redeliver", nil), http.StatusNotFound, "unknown-message")
	told.err = errors.New("disk on fire")
	if p := b.problem(b.do("GET", "/v1/deliveries", nil), http.StatusInternalServerError, "internal"); strings.Contains(p.Detail, "fire") {
		t.Errorf("the client is told: %+v", p)
	}

	none := newBench(t, nil)
	for method, path := range map[string]string{"GET": "/v1/deliveries", "POST": "/v1/deliveries/ops/traffic.1-1/redeliver"} {
		if p := none.problem(none.do(method, path, nil), http.StatusConflict, "no-webhooks"); !strings.Contains(p.Detail, "no webhooks") {
			t.Errorf("%s %s: %+v", method, path, p)
		}
	}
}
