package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Config is what a source needs to know.
type Config struct {
	Brokers []string // host:port of some of the brokers; the others are found by asking these
	Topic   string
	Group   string // whose members share the partitions, and under which progress is committed
	Headers bool   // whether the headers of records are read
	Client  string // what brokers call this process in their logs and quotas; default "weir"

	TLS  *TLS  // nil: not encrypted
	SASL *SASL // nil: not authenticated

	// Node is what other members of the group can learn of this one.
	Node Node

	// Session is how long a member that has gone silent keeps its partitions.
	// Default 30 s: what is in memory must be stored within it when partitions move.
	Session time.Duration
	// Watch is how often the topic is looked at for new partitions. Default 5 s.
	Watch time.Duration

	Logger *slog.Logger // nil: silence
	Now    func() time.Time
}

// Node is a member of a group, as the others see it.
type Node struct {
	Name    string `json:"name"`
	Address string `json:"address"` // where it answers others; empty if it does not
}

// TLS says how connections are encrypted.
type TLS struct {
	CA         string // file of the authorities trusted, PEM; empty: those of the system
	Cert, Key  string // files of our own certificate, PEM; empty: none
	ServerName string // expected in the brokers' certificates; empty: the host dialled
}

// The mechanisms of SASL.
const (
	Plain       = "plain"
	SCRAMSHA256 = "scram-sha-256"
	SCRAMSHA512 = "scram-sha-512"
)

// SASL says who we are.
type SASL struct {
	Mechanism      string
	User, Password string
}

const (
	defaultSession = 30 * time.Second
	defaultWatch   = 5 * time.Second
	metadataTTL    = 2 * time.Second // of kafka-go's own routing: which brokers there are, and where
)

// withDefaults copies the configuration, fills in and checks it.
func (c Config) withDefaults() (Config, error) {
	switch {
	case len(c.Brokers) == 0:
		return c, errors.New("kafka: no brokers")
	case c.Topic == "":
		return c, errors.New("kafka: no topic")
	case c.Group == "":
		return c, errors.New("kafka: no group")
	}
	if c.Client == "" {
		c.Client = "weir"
	}
	if c.Session == 0 {
		c.Session = defaultSession
	}
	if c.Watch == 0 {
		c.Watch = defaultWatch
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// security builds what connections need to be encrypted and authenticated.
func (c *Config) security() (*tls.Config, sasl.Mechanism, error) {
	encrypt, err := c.TLS.config()
	if err != nil {
		return nil, nil, err
	}
	who, err := c.SASL.mechanism()
	return encrypt, who, err
}

func (t *TLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	out := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("kafka: read the authorities to trust: %w", err)
		}
		if out.RootCAs = x509.NewCertPool(); !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka: no certificate in %s", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("kafka: load our own certificate: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	if s == nil {
		return nil, nil
	}
	switch s.Mechanism {
	case Plain:
		return plain.Mechanism{Username: s.User, Password: s.Password}, nil
	case SCRAMSHA256:
		return scram.Mechanism(scram.SHA256, s.User, s.Password)
	case SCRAMSHA512:
		return scram.Mechanism(scram.SHA512, s.User, s.Password)
	}
	return nil, fmt.Errorf("kafka: unknown SASL mechanism %q", s.Mechanism)
}

// client makes the client of one source.
func (c *Config) client() (*client, error) {
	encrypt, who, err := c.security()
	if err != nil {
		return nil, err
	}
	return &client{name: c.Client, addr: kafkago.TCP(c.Brokers...), transport: &kafkago.Transport{ClientID: c.Client,
		TLS: encrypt, SASL: who, MetadataTTL: metadataTTL, MetadataTopics: []string{c.Topic}}}, nil
}
