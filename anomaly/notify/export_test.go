package notify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/weir-stream/weir"
)

// Fingerprint is for tests that compare it with Alertmanager's.
var Fingerprint = fingerprint

// MaxBody is what bodies do not reach.
const MaxBody = maxBody

// SetDial replaces the network.
func (n *Notifier) SetDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	for _, e := range n.endpoints {
		e.client.Transport.(*http.Transport).DialContext = dial
	}
}

// SetKeep changes how many messages the log keeps when they are done.
func (n *Notifier) SetKeep(messages int) {
	for _, e := range n.endpoints {
		e.keep = messages
	}
}

// Outside reports why an address is none that a webhook may reach.
var Outside = outside

// GuardDial is what looks at each address before it is connected to.
func GuardDial(network, address string, c syscall.RawConn) error {
	return guardDial(network, address, c)
}

// StopConnections lets no connection be made that the guard lets through, and
// returns what tells of those.
func (n *Notifier) StopConnections() func() []string {
	var mu sync.Mutex
	var passed []string
	for _, e := range n.endpoints {
		guard := e.dialer.Control
		e.dialer.Control = func(network, address string, c syscall.RawConn) error {
			if err := guard(network, address, c); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, address)
			return errors.New("this test connects to nobody")
		}
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(passed)
	}
}

// Render makes the body that a webhook is sent of an incident.
func (n *Notifier) Render(webhook string, i weir.Incident, now time.Time) ([]byte, error) {
	m, err := newMessage(i)
	if err != nil {
		return nil, err
	}
	return n.endpoints[webhook].render(m, now)
}

// RoundTripKey writes and reads the names of a message and an attempt.
func RoundTripKey(i weir.Incident, n int, next time.Time) (text string, same bool, err error) {
	k, err := keyOf(&i)
	if err != nil {
		return "", false, err
	}
	back, err := parseKey(k.String())
	if err != nil || back != k {
		return k.String(), false, err
	}
	for _, a := range []attemptName{{key: k, n: n, what: whatDelivered}, {key: k, n: n, what: whatRetry, next: next.UTC()}} {
		if again, err := parseAttempt(a.String()); err != nil || again != a {
			return a.String(), false, err
		}
	}
	return k.String(), true, nil
}

// ParseName reads a name, of a message or an attempt, and writes it again.
func ParseName(text string) []string {
	var read []string
	if k, err := parseKey(text); err == nil {
		read = append(read, k.String())
	}
	if a, err := parseAttempt(text); err == nil {
		read = append(read, a.String())
	}
	return read
}
