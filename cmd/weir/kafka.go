package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/api/cluster"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/kafka"
)

// advertised is where other nodes reach this one, which listens there.
func advertised(c *weir.Config, listening net.Addr) string {
	if c.Advertise != "" {
		return c.Advertise
	}
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return listening.String()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return net.JoinHostPort(host, port)
}

// group is what the nodes know one another by.
type group struct{ *kafka.Source }

func (g group) Members(ctx context.Context) ([]cluster.Member, error) {
	members, err := g.Source.Members(ctx)
	out := make([]cluster.Member, 0, len(members))
	for _, m := range members {
		out = append(out, cluster.Member{Name: m.Name, Address: m.Address, Partitions: m.Partitions})
	}
	return out, err
}

// cluster makes what asks the other nodes, of which there are some only where
// sources are shared.
func (r *rooms) cluster(node *ingest.Node, sources map[string]ingest.Source, address string) *cluster.Cluster {
	groups := make(map[string]cluster.Group)
	for stream, source := range sources {
		if s, ok := source.(*kafka.Source); ok {
			groups[stream] = group{s}
		}
	}
	return cluster.New(cluster.Options{Name: nodeName(), Address: address, Streams: r.streams, Owner: node, Groups: groups, Logger: r.log})
}

// sources are the logs that this process shares with others. Nothing runs yet.
func (r *rooms) sources(address string) (map[string]ingest.Source, error) {
	out := make(map[string]ingest.Source)
	for _, s := range r.streams {
		var source measured
		var err error
		switch s.Source.Kind {
		case weir.Kafka:
			source, err = r.kafka(s, address)
		case weir.Pulsar:
			source, err = r.pulsar(s)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", s.Name, err)
		}
		out[s.Name] = source
		r.collectors = append(r.collectors, source.Collector())
	}
	return out, nil
}

// measured is a source with metrics.
type measured interface {
	ingest.Source
	Collector() prometheus.Collector
}

func (r *rooms) kafka(s *weir.Stream, address string) (*kafka.Source, error) {
	c := s.Source.Kafka
	config := kafka.Config{Brokers: c.Brokers, Topic: c.Topic, Group: c.Group, Session: c.Session, Headers: s.ReadsHeaders(),
		Node: kafka.Node{Name: nodeName(), Address: address}, Logger: r.log.With("stream", s.Name)}
	if t := c.TLS; t != nil {
		config.TLS = &kafka.TLS{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}
	}
	if a := c.SASL; a != nil {
		password, err := a.Password()
		if err != nil {
			return nil, err
		}
		config.SASL = &kafka.SASL{Mechanism: a.Mechanism, User: a.User, Password: password}
	}
	return kafka.New(config)
}
