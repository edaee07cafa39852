package weir

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// KafkaConfig is a source on a topic of Kafka 2.8 or later, whose records hold
// one JSON object each. The nodes that are given the same configuration share
// the topic's partitions.
//
// What Kafka knows of a record can stand wherever a field can: _timestamp
// (as event time it needs no format), _key, and _header.NAME. Records that were
// aborted with their transaction are not seen.
type KafkaConfig struct {
	// Some of the brokers, "host:port" in quotes; the others are found by asking these.
	Brokers []string `yaml:"brokers,flow"`

	// The topic. If it is not there yet, it is waited for.
	Topic string `yaml:"topic"`

	// The consumer group that shares the partitions, and that tools for lag
	// look at: progress is committed to it once it is stored. No two streams
	// can have the same one. Default weir-STREAM.
	Group string `yaml:"group"`

	// How long a node that has gone silent keeps its partitions, before the
	// others take them over. The brokers bound it (6s to 30m, unless
	// configured otherwise). Default 30s.
	Session time.Duration `yaml:"session"`

	// Encrypts the connections to the brokers; {} trusts the authorities
	// that the system trusts. Default: not encrypted.
	TLS *KafkaTLSConfig `yaml:"tls,omitempty,flow"`

	// Says who we are. Default: nobody.
	SASL *KafkaSASLConfig `yaml:"sasl,omitempty,flow"`
}

// KafkaTLSConfig says how connections to brokers are encrypted.
type KafkaTLSConfig struct {
	// File of the authorities to trust, PEM.
	CA string `yaml:"ca,omitempty"`

	// Files of our own certificate and its key, PEM.
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`

	// Name that the brokers' certificates must have. Default: their host.
	ServerName string `yaml:"server_name,omitempty"`
}

// KafkaSASLConfig says who we are.
type KafkaSASLConfig struct {
	// plain, scram-sha-256 or scram-sha-512. plain wants tls too, or the
	// password can be read on the way.
	Mechanism string `yaml:"mechanism"`
	User      string `yaml:"user"`

	// The environment variable that holds the password.
	PasswordEnv string `yaml:"password_env"`
}

// Password gives the password, out of the environment.
func (c *KafkaSASLConfig) Password() (string, error) {
	p, ok := os.LookupEnv(c.PasswordEnv)
	if !ok {
		return "", fmt.Errorf("the environment variable %s, which should hold the password of %s, is not set", c.PasswordEnv, c.User)
	}
	return p, nil
}

var saslMechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}

func (k *checker) completeKafka(path, stream string, c *KafkaConfig, dir string) {
	fill(k, path+".group", &c.Group, "weir-"+stream)
	fill(k, path+".session", &c.Session, 30*time.Second)
	if c.TLS == nil {
		return
	}
	for _, file := range []*string{&c.TLS.CA, &c.TLS.Cert, &c.TLS.Key} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
}

func (k *checker) checkKafka(path string, c *KafkaConfig) {
	if len(c.Brokers) == 0 && !k.unsound[path+".brokers"] {
		k.fail(path, `kafka: brokers are missing, such as brokers: ["kafka-1:9092"]`)
	}
	between(k, path+".session", c.Session, time.Second, 30*time.Minute)
	for i, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			k.fail(fmt.Sprintf("%s.brokers.%d", path, i), "kafka: a broker is written host:port, which %q is not", b)
		}
	}
	switch {
	case c.Topic == "" && !k.unsound[path+".topic"]:
		k.fail(path, "kafka: topic is missing")
	case len(c.Topic) > 249 || strings.Trim(c.Topic, topicCharacters) != "":
		k.fail(path+".topic", "kafka: no topic can be called %q", c.Topic)
	}
	if t := c.TLS; t != nil && (t.Cert == "") != (t.Key == "") {
		k.fail(path+".tls", "kafka: cert and key of tls go together")
	}
	if s := c.SASL; s != nil {
		if !slices.Contains(saslMechanisms, s.Mechanism) {
			k.fail(path+".sasl", "kafka: unknown mechanism %q%s", s.Mechanism, suggest(s.Mechanism, saslMechanisms))
		}
		if s.User == "" || s.PasswordEnv == "" {
			k.fail(path+".sasl", "kafka: sasl wants user and password_env, the environment variable that holds the password")
		}
	}
}

const topicCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// checkGroups reports streams that would take each other's partitions.
func (k *checker) checkGroups(c *Config) {
	owner := make(map[string]string)
	for _, s := range c.AllStreams() {
		if s.Source.Kind != Kafka {
			continue
		}
		group := s.Source.Kafka.Group
		if other, taken := owner[group]; taken {
			k.fail("streams."+s.Name+".source.kafka", "kafka: group %s is also that of stream %s; each would get some of the other's partitions", group, other)
		}
		owner[group] = s.Name
	}
}
