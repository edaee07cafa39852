package main

import (
	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/kafka"
)

// sources are the logs that this process shares with others. Nothing runs yet.
func (r *rooms) sources() (map[string]ingest.Source, error) {
	out := make(map[string]ingest.Source)
	for _, s := range r.streams {
		if s.Source.Kind != weir.Kafka {
			continue
		}
		source, err := r.kafka(s)
		if err != nil {
			return nil, err
		}
		out[s.Name] = source
		r.collectors = append(r.collectors, source.Collector())
	}
	return out, nil
}

func (r *rooms) kafka(s *weir.Stream) (*kafka.Source, error) {
	c := s.Source.Kafka
	config := kafka.Config{Brokers: c.Brokers, Topic: c.Topic, Group: c.Group, Headers: s.ReadsHeaders(),
		Node: kafka.Node{Name: nodeName(), Address: r.config.Listen}, Logger: r.log.With("stream", s.Name)}
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
