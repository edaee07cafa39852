package weir

import (
	"errors"
	"time"
)

// What whoever asks about deliveries decides on.
var (
	// ErrUnknownWebhook says that no webhook of that name is configured.
	ErrUnknownWebhook = errors.New("no such webhook")

	// ErrUnknownMessage says that the log of deliveries does not hold the
	// message: it never did, or no longer.
	ErrUnknownMessage = errors.New("no such message in the log of deliveries")
)

// Delivery is how it went with telling a webhook of one version of an incident.
type Delivery struct {
	Webhook  string        `json:"webhook"`
	ID       string        `json:"id"`       // of the message, the webhook-id: INCIDENT-VERSION
	Incident string        `json:"incident"` // its ID
	Version  int64         `json:"version"`
	Type     string        `json:"type"` // incident.firing, incident.updated or incident.resolved
	State    DeliveryState `json:"state"`
	Recorded time.Time     `json:"recorded"`      // when the incident became what it is, by the clock
	Next     time.Time     `json:"next,omitzero"` // when it is tried next, if it is
	Attempts []Attempt     `json:"attempts"`      // the oldest first
}

// DeliveryState is how far a delivery has come.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPending DeliveryState = "pending"
	Delivered       DeliveryState = "delivered"
	DeliveryFailed  DeliveryState = "failed" // given up
)

// Attempt is one request of a delivery, or a decision about it.
type Attempt struct {
	N      int       `json:"n"` // counts from 1
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"` // of HTTP; 0 if there was no answer
	Error  string    `json:"error,omitempty"`  // why it failed
	Took   float64   `json:"took"`             // seconds
	Answer string    `json:"answer,omitempty"` // how the answer's body began, at most 1 KiB
	Next   time.Time `json:"next,omitzero"`    // when it is tried again, if it is
}

// DeliveryFilter says which deliveries are meant. What is empty matches all.
type DeliveryFilter struct {
	Webhook, Incident string
	State             DeliveryState
	Limit             int    // at most so many; 0 means 100
	Before            string // those older than the page before, which said so
}
