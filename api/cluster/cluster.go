// Package cluster lets any node answer any question: nodes ask one another for
// the live cells of the partitions they own.
//
//	question ─→ query.Engine ─→ Cluster.Live ─┬─ this node's shards
//	                                          ├─ POST /internal/v1/streams/{stream}/live ─→ another node's shards
//	                                          └─ …
//
// # What is promised
//
// What a node that does not answer owns is named: the answer is then
// incomplete, never wrong. Pieces come back as their owner gave them, and
// whoever asks decides by their offsets which of them count, so that two nodes
// that both believe to own a partition do no harm. Nothing waits for longer
// than [Options.Patience]: a node that was silent for that long is not asked
// again for as long.
//
// Nodes know one another from the group that shares a stream's partitions (its
// members carry their addresses), and from nothing else. A stream without such
// a group is this node's alone.
//
// # What it will not do
//
// It asks nobody for a password: nodes trust one another, and whoever reaches
// their address, as the rest of the API does. Cells of a stream that another
// node defines differently are refused, not translated; that lasts for as long
// as a new configuration is rolled out.
//
// # Goroutines
//
// [New] starts none. A question starts one for each node it asks, all of which
// have ended when it returns. The locks are held for moments and over no call.
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/store"
)

// Owner has the live cells of the partitions that this process reads.
type Owner interface {
	// Live returns what it could get, and an error about what it could not.
	Live(ctx context.Context, stream string, sel weir.Selection) ([]weir.Piece, error)

	// Status says how far the partitions have come that this process reads.
	Status(stream string) (weir.Status, error)
}

// Group shares a stream's partitions among nodes.
type Group interface {
	// Members are this node and the others; none means that they are not
	// known, as when the group was just joined.
	Members(ctx context.Context) ([]Member, error)
}

// Member is a node and the partitions that are its own.
type Member struct {
	Name       string
	Address    string // host:port
	Partitions []string
}

// Options are what a cluster is made of.
type Options struct {
	Name    string // of this node, as it is in its groups
	Address string // where others reach it
	Streams []*weir.Stream
	Owner   Owner
	Groups  map[string]Group // by stream; those without are this node's alone
	Logger  *slog.Logger     // nil: silence

	Patience time.Duration // with one node, and with a group; 0 means 2 s
	Bytes    int64         // of one node's pieces; 0 means 256 MiB
	Asked    int           // nodes asked at a time by one question; 0 means 16
}

// Cluster is a node's view of all of them.
type Cluster struct {
	options Options
	logger  *slog.Logger
	streams map[string]defined
	turns   chan struct{} // held while another node's question is answered
	http    *http.Client
	metrics metrics
	began   time.Time

	mu      sync.Mutex
	members map[string]*known    // by stream; guarded by mu
	silent  map[string]time.Time // by address, until when it is not asked; guarded by mu
}

type defined struct {
	*weir.Stream
	hash string // of the definition
}

// New returns a cluster that does nothing yet.
func New(o Options) *Cluster {
	o.Patience = cmp.Or(o.Patience, 2*time.Second)
	o.Bytes = cmp.Or(o.Bytes, 256<<20)
	o.Asked = cmp.Or(o.Asked, 16)
	c := &Cluster{options: o, logger: o.Logger, streams: make(map[string]defined), metrics: newMetrics(), began: time.Now(),
		turns:   make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		members: make(map[string]*known), silent: make(map[string]time.Time),
		http: &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: o.Patience}).DialContext,
			MaxConnsPerHost:     16,
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
		}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	for _, s := range o.Streams {
		d := store.DefinitionOf(s)
		c.streams[s.Name] = defined{Stream: s, hash: d.Hash()}
		if o.Groups[s.Name] != nil {
			c.members[s.Name] = new(known)
		}
	}
	return c
}

// Close ends idle connections to other nodes.
func (c *Cluster) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Collector gives the cluster's metrics.
func (c *Cluster) Collector() prometheus.Collector { return c.metrics }

// Live asks every node of the stream for what it holds of the selection. It
// returns what came in time, and an error that names what did not.
func (c *Cluster) Live(ctx context.Context, stream string, sel weir.Selection) ([]weir.Piece, error) {
	group := c.members[stream]
	if group == nil {
		return c.options.Owner.Live(ctx, stream, sel)
	}
	for again := false; ; again = true {
		members, groupErr := c.membersOf(ctx, stream, group)
		pieces, missing := c.ask(ctx, stream, members, sel)
		switch {
		case groupErr != nil:
			return pieces, fmt.Errorf("which nodes read stream %s is not known: %w", stream, groupErr)
		case missing == nil:
			return pieces, nil
		case again || len(missing.Partitions) == 0 || !c.changed(ctx, stream, group, members):
			return pieces, missing
		}
	}
}

// ask asks this node and the others, and says what did not come.
func (c *Cluster) ask(ctx context.Context, stream string, members []Member, sel weir.Selection) ([]weir.Piece, *Missing) {
	nodes := c.others(members)
	replies := make([][]weir.Piece, len(nodes)+1)
	errs := make([]error, len(nodes)+1)
	var asking errgroup.Group
	asking.SetLimit(c.options.Asked)
	asking.Go(func() error {
		own, cancel := context.WithTimeout(ctx, c.options.Patience)
		defer cancel()
		replies[0], errs[0] = c.options.Owner.Live(own, stream, sel)
		return nil
	})
	for i, node := range nodes {
		asking.Go(func() error {
			replies[i+1], errs[i+1] = c.askNode(ctx, node.Address, c.streams[stream], sel)
			return nil
		})
	}
	_ = asking.Wait() // they keep their errors
	pieces := slices.Concat(replies...)
	return pieces, c.unanswered(members, nodes, pieces, errs)
}

// unanswered names the nodes that failed, and the partitions that nobody
// answered for. It is nil if there are none.
func (c *Cluster) unanswered(members, nodes []Member, pieces []weir.Piece, errs []error) *Missing {
	var missing Missing
	if errs[0] != nil {
		missing.reasons = append(missing.reasons, fmt.Sprintf("this node: %v", errs[0]))
	}
	for i, node := range nodes {
		if err := errs[i+1]; err != nil {
			missing.reasons = append(missing.reasons, fmt.Sprintf("node %s at %s: %v", node.Name, node.Address, err))
		}
	}
	answered := make(map[string]bool, len(pieces))
	for i := range pieces {
		answered[pieces[i].Partition] = true
	}
	for _, m := range members {
		for _, p := range m.Partitions {
			if !answered[p] {
				answered[p] = true
				missing.Partitions = append(missing.Partitions, p)
			}
		}
	}
	if len(missing.Partitions) == 0 && len(missing.reasons) == 0 {
		return nil
	}
	slices.Sort(missing.Partitions)
	return &missing
}

// Missing says whose live cells are not in an answer.
type Missing struct {
	Partitions []string // sorted; none if only nodes failed that own nothing
	reasons    []string
}

func (m *Missing) Error() string {
	const most = 10 // partitions and reasons that are spelt out
	brief := func(list []string, separator string) string {
		if len(list) > most {
			return strings.Join(list[:most], separator) + fmt.Sprintf("%sand %d more", separator, len(list)-most)
		}
		return strings.Join(list, separator)
	}
	text := "nobody answers for partitions " + brief(m.Partitions, ", ")
	switch len(m.Partitions) {
	case 0:
		return brief(m.reasons, "; ")
	case 1:
		text = "nobody answers for partition " + m.Partitions[0]
	}
	if len(m.reasons) > 0 {
		text += " (" + brief(m.reasons, "; ") + ")"
	}
	return text
}
