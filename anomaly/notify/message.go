package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weir-stream/weir"
)

// message is what a webhook is to be told, as it is stored. What is sent is
// made of it, and is the same at each attempt.
type message struct {
	ID       string        `json:"id"`
	Type     string        `json:"type"`
	Incident weir.Incident `json:"incident"`

	key key
}

func newMessage(i weir.Incident) (*message, error) {
	k, err := keyOf(&i)
	if err != nil {
		return nil, err
	}
	return &message{ID: k.id(), Type: "incident." + k.kind, Incident: i, key: k}, nil
}

// outcome is what became of a request.
type outcome struct {
	at         time.Time
	took       time.Duration
	status     int           // 0: no answer
	err        error         // why it is no success
	answer     string        // how the body began
	retryAfter time.Duration // what the answer asked for
	aborted    bool          // we gave up on it, since we end
}

// endpointFailed reports whether the failure is the endpoint's, so that other
// messages would fare no better now.
func (o *outcome) endpointFailed() bool {
	switch o.status {
	case 0, 429, 502, 504:
		return true
	}
	return o.status/100 != 2 && o.retryAfter > 0
}

const gone = 410 // of an answer: never again

func (o *outcome) attempt(n int, next time.Time) weir.Attempt {
	a := weir.Attempt{N: n, At: o.at.UTC(), Status: o.status, Took: o.took.Seconds(), Answer: o.answer}
	if !next.IsZero() {
		a.Next = next.UTC()
	}
	if o.err != nil {
		a.Error = o.err.Error()
	}
	return a
}

// read reads a message that was stored.
func (e *endpoint) read(ctx context.Context, k key) (*message, error) {
	data, err := e.bucket.Read(ctx, e.folder+messagePart+k.String())
	if err != nil {
		return nil, err
	}
	m := &message{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("message %s: %w", k, err)
	}
	if m.ID != k.id() {
		return nil, fmt.Errorf("message %s holds the message %q", k, m.ID)
	}
	m.key = k
	return m, nil
}
