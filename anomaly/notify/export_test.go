package notify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
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
