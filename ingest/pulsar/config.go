package pulsar

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	pulsargo "github.com/apache/pulsar-client-go/pulsar"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a source needs to know.
type Config struct {
	URL          string // pulsar://host:port,host:port or pulsar+ssl://…
	Topic        string // persistent://tenant/namespace/name, or a part of it from the right
	Subscription string // that shares the partitions, and to which progress is acknowledged
	Headers      bool   // whether the properties of messages are read
	Node         string // this process, for people who look at the subscription

	Token string // says who we are, a JSON web token; empty: nobody
	TLS   *TLS   // how connections of pulsar+ssl are checked; nil: by what the system trusts

	// Watch is how often the topic is looked at for new partitions. Default 5 s.
	Watch time.Duration
	// Call is how long one call to a broker may take. Default 5 s.
	Call time.Duration

	Logger *slog.Logger // nil: silence
	Now    func() time.Time
}

// TLS says how connections are encrypted.
type TLS struct {
	CA        string // file of the authorities trusted, PEM; empty: those of the system
	Cert, Key string // files of our own certificate, PEM; empty: none
}

const (
	defaultWatch = 5 * time.Second
	defaultCall  = 5 * time.Second
)

// withDefaults copies the configuration, fills in and checks it.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.URL == "":
		return c, errors.New("pulsar: no url")
	case c.Topic == "":
		return c, errors.New("pulsar: no topic")
	case c.Subscription == "":
		return c, errors.New("pulsar: no subscription")
	}
	if c.Node == "" {
		c.Node = "weir"
	}
	if c.Watch == 0 {
		c.Watch = defaultWatch
	}
	if c.Call == 0 {
		c.Call = defaultCall
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// client makes the client of one source. It runs from here on.
func (c *Config) client(l *clientLogger) (pulsargo.Client, error) {
	options := pulsargo.ClientOptions{URL: c.URL, ConnectionTimeout: c.Call, OperationTimeout: c.Call, Logger: l,
		MetricsRegisterer: prometheus.NewRegistry()} // its metrics count what ours do, by other names
	if c.Token != "" {
		options.Authentication = pulsargo.NewAuthenticationToken(c.Token)
	}
	options.TLSValidateHostname = true
	if t := c.TLS; t != nil {
		options.TLSTrustCertsFilePath, options.TLSCertificateFile, options.TLSKeyFilePath = t.CA, t.Cert, t.Key
	}
	client, err := pulsargo.NewClient(options)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", c.URL, err)
	}
	return client, nil
}
