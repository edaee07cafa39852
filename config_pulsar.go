package weir

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// PulsarConfig is a source on a topic of Pulsar, with partitions or without,
// whose messages hold one JSON object each. The nodes that are given the same
// configuration share the topic's partitions. They do not learn of each other:
// what another node has in memory is in answers once it is stored.
//
// What Pulsar knows of a message can stand wherever a field can: _timestamp (the
// event time that its producer gave it, or else when it was published; as event
// time it needs no format), _key, and _header.NAME, a property. Messages in
// chunks, which are larger than brokers take, are passed over.
type PulsarConfig struct {
	// Where the brokers are: "pulsar://host:6650", or "pulsar+ssl://host:6651",
	// which encrypts; several hosts are separated by commas.
	URL string `yaml:"url"`

	// The topic: name, tenant/namespace/name, or persistent:// and that. The
	// short name is one of public/default. Looking for a topic that is not
	// there makes brokers create it, if they may.
	Topic string `yaml:"topic"`

	// The subscription that shares the partitions, and that tools for backlogs
	// look at: progress is acknowledged to it once it is stored, all but one
	// entry. It is of the type Failover, and Weir's alone; a broker whose
	// activeConsumerFailoverDelayTimeMillis is 0 does not tell who is to read.
	// No two streams can have the same one on a topic. Default weir-STREAM.
	Subscription string `yaml:"subscription"`

	// The environment variable that holds a token (JWT) that says who we are.
	// Default: nobody.
	TokenEnv string `yaml:"token_env,omitempty"`

	// How the connections of pulsar+ssl:// are checked. Default: by the
	// authorities that the system trusts.
	TLS *PulsarTLSConfig `yaml:"tls,omitempty,flow"`
}

// PulsarTLSConfig says how connections to brokers are encrypted.
type PulsarTLSConfig struct {
	// File of the authorities to trust, PEM.
	CA string `yaml:"ca,omitempty"`

	// Files of our own certificate and its key, PEM, which also say who we are.
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

// Token gives the token, out of the environment, or none.
func (c *PulsarConfig) Token() (string, error) {
	if c.TokenEnv == "" {
		return "", nil
	}
	token := strings.TrimSpace(os.Getenv(c.TokenEnv))
	if token == "" {
		return "", fmt.Errorf("the environment variable %s, which should hold the token for %s, is not set", c.TokenEnv, c.URL)
	}
	return token, nil
}

const (
	pulsarScheme    = "pulsar"
	pulsarTLSScheme = "pulsar+ssl"
	pulsarDomain    = "persistent://"
	pulsarNamespace = "public/default/"
)

func (k *checker) completePulsar(path, stream string, c *PulsarConfig, dir string) {
	fill(k, path+".subscription", &c.Subscription, "weir-"+stream)
	if c.TLS == nil {
		return
	}
	for _, file := range []*string{&c.TLS.CA, &c.TLS.Cert, &c.TLS.Key} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
}

func (k *checker) checkPulsar(path string, c *PulsarConfig) {
	scheme, hosts, _ := strings.Cut(c.URL, "://")
	switch {
	case k.unsound[path+".url"]:
	case c.URL == "":
		k.fail(path, `pulsar: url is missing, such as url: "pulsar://broker:6650"`)
	case scheme != pulsarScheme && scheme != pulsarTLSScheme:
		k.fail(path+".url", "pulsar: url begins with pulsar:// or pulsar+ssl://, which %q does not", c.URL)
	default:
		for host := range strings.SplitSeq(hosts, ",") {
			u, err := url.Parse(scheme + "://" + host)
			if err != nil || u.Host != host || u.Hostname() == "" || u.Port() == "" && strings.Contains(host, ":") && net.ParseIP(u.Hostname()) == nil {
				k.fail(path+".url", "pulsar: a broker is written host:port, which %q is not", host)
			}
		}
	}
	switch topic := strings.TrimPrefix(c.Topic, pulsarDomain); {
	case k.unsound[path+".topic"]:
	case topic == "":
		k.fail(path, "pulsar: topic is missing")
	case strings.HasPrefix(topic, "non-persistent://"):
		k.fail(path+".topic", "pulsar: a topic that is not persistent cannot be read again after a crash; nothing could be counted exactly")
	case !pulsarTopic(topic):
		k.fail(path+".topic", "pulsar: a topic is written name or tenant/namespace/name, which %q is not", c.Topic)
	}
	if c.Subscription == "" && k.has(path+".subscription") {
		k.fail(path+".subscription", "pulsar: a subscription has a name")
	}
	if t := c.TLS; t != nil {
		if (t.Cert == "") != (t.Key == "") {
			k.fail(path+".tls", "pulsar: cert and key of tls go together")
		}
		if scheme == pulsarScheme {
			k.fail(path+".tls", "pulsar: tls is for pulsar+ssl://, and url is pulsar://, which does not encrypt")
		}
	}
}

// pulsarTopic reports whether a topic, without its domain, can be called so.
func pulsarTopic(topic string) bool {
	parts := strings.Split(topic, "/")
	if len(parts) != 1 && len(parts) != 3 || strings.ContainsAny(topic, ":?#% \t\n") {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 249 {
			return false
		}
	}
	return true
}

// fullTopic gives the topic's name with tenant and namespace.
func (c *PulsarConfig) fullTopic() string {
	topic := strings.TrimPrefix(c.Topic, pulsarDomain)
	if !strings.Contains(topic, "/") {
		topic = pulsarNamespace + topic
	}
	return topic
}

// checkSubscriptions reports streams that would take each other's partitions.
func (k *checker) checkSubscriptions(c *Config) {
	owner := make(map[[2]string]string)
	for _, s := range c.AllStreams() {
		if s.Source.Kind != Pulsar {
			continue
		}
		p := s.Source.Pulsar
		shared := [2]string{p.fullTopic(), p.Subscription}
		if other, taken := owner[shared]; taken {
			k.fail("streams."+s.Name+".source.pulsar", "pulsar: subscription %s to %s is also that of stream %s; each would get some of the other's partitions",
				p.Subscription, p.Topic, other)
		}
		owner[shared] = s.Name
	}
}
