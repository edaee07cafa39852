//go:build !nopulsar

package main

import (
	"github.com/weir-stream/weir"
	"github.com/weir-stream/weir/ingest/pulsar"
)

// leftOut says what of the configuration this build leaves out.
func leftOut(*weir.Config) error { return nil }

func (r *rooms) pulsar(s *weir.Stream) (measured, error) {
	c := s.Source.Pulsar
	token, err := c.Token()
	if err != nil {
		return nil, err
	}
	config := pulsar.Config{URL: c.URL, Topic: c.Topic, Subscription: c.Subscription, Headers: s.ReadsHeaders(), Token: token,
		Node: nodeName(), Logger: r.log.With("stream", s.Name)}
	if t := c.TLS; t != nil {
		config.TLS = &pulsar.TLS{CA: t.CA, Cert: t.Cert, Key: t.Key}
	}
	return pulsar.New(config)
}
