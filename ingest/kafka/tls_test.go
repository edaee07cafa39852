package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/weir-stream/weir/store/storetest"
)

// authority signs certificates, which it leaves in files.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // of its own certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	cert, key := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.file, _ = a.write(cert, key)
	var err error
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		t.Fatal(err)
	}
	a.key = key
	return a
}

// sign completes a certificate and signs it, with its own key if there is none
// else.
func (a *authority) sign(template *x509.Certificate) (der []byte, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "of a test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer); err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

func (a *authority) write(der []byte, key *ecdsa.PrivateKey) (certFile, keyFile string) {
	a.t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// issue makes a certificate for brokers at these addresses, or for a client.
func (a *authority) issue(addresses ...net.IP) (certFile, keyFile string) {
	a.t.Helper()
	return a.write(a.sign(&x509.Certificate{IPAddresses: addresses,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}))
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// guarded is a cluster that wants TLS, a certificate of its clients, and a
// password.
type guarded struct {
	*world
	ca   *authority
	tls  *TLS  // that it takes
	sasl *SASL // that it takes
}

var saslNames = map[string]string{Plain: "PLAIN", SCRAMSHA256: "SCRAM-SHA-256", SCRAMSHA512: "SCRAM-SHA-512"}

func newGuarded(t *testing.T, mechanism string) *guarded {
	t.Helper()
	if os.Getenv("KAFKA_BROKERS") != "" {
		t.Skip("KAFKA_BROKERS names a real cluster, whose certificates and users are not ours to make")
	}
	g := &guarded{ca: newAuthority(t), sasl: &SASL{mechanism, "me", "secret"}}
	certFile, keyFile := g.ca.issue(net.IPv4(127, 0, 0, 1))
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(2, "t"), kfake.GroupMinSessionTimeout(time.Second),
		kfake.EnableSASL(), kfake.Superuser(saslNames[mechanism], "me", "secret"),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: g.ca.pool()}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	own, ownKey := g.ca.issue()
	g.tls = &TLS{CA: g.ca.file, Cert: own, Key: ownKey}
	g.world = &world{t: t, fake: c, brokers: c.ListenAddrs(), logs: &logBuffer{}}
	clientPair, err := tls.LoadX509KeyPair(own, ownKey)
	if err != nil {
		t.Fatal(err)
	}
	mechanisms := map[string]sasl.Mechanism{
		Plain:       plain.Auth{User: "me", Pass: "secret"}.AsMechanism(),
		SCRAMSHA256: scram.Auth{User: "me", Pass: "secret"}.AsSha256Mechanism(),
		SCRAMSHA512: scram.Auth{User: "me", Pass: "secret"}.AsSha512Mechanism(),
	}
	g.admin = g.client(kgo.SASL(mechanisms[mechanism]), kgo.DialTLSConfig(&tls.Config{RootCAs: g.ca.pool(), Certificates: []tls.Certificate{clientPair}}))
	return g
}

// A node reads a cluster that wants all of it: encryption, a certificate of its
// own, and a password, for the group, for fetching and for commits.
func TestNodeOfAGuardedCluster(t *testing.T) {
	for mechanism := range saslNames {
		t.Run(mechanism, func(t *testing.T) {
			g := newGuarded(t, mechanism)
			g.produce(g.admin, "t", 0, `{"n": 1}`, `{"n": 2}`)
			g.produce(g.admin, "t", 1, `{"n": 3}`)
			s, bucket := numbers(), &storetest.Memory{}
			stop := g.nodeOf(Config{Topic: "t", Group: "g", TLS: g.tls, SASL: g.sasl}, s, bucket)
			g.eventually("all is committed", func() bool { return g.committed("g", "t", 0) == 2 && g.committed("g", "t", 1) == 1 })
			stop()
			if counts, sum, _ := g.stored(s, bucket); counts["/"] != 3 || sum != 6 {
				t.Errorf("counted %v, sum %d", counts, sum)
			}
		})
	}
}

// Whoever does not come as the cluster wants it is told what is wrong, goes on
// trying, and ends when told to.
func TestWhatAGuardedClusterRefuses(t *testing.T) {
	g := newGuarded(t, SCRAMSHA256)
	g.produce(g.admin, "t", 0, `{"n": 1}`)
	strange := newAuthority(t)
	strangeCert, strangeKey := strange.issue()
	for name, test := range map[string]struct {
		tls  *TLS
		sasl *SASL
		want string
	}{
		"an authority that did not sign": {&TLS{CA: strange.file, Cert: g.tls.Cert, Key: g.tls.Key}, g.sasl, "certificate signed by unknown authority"},
		"a name that is not the brokers": {&TLS{CA: g.ca.file, Cert: g.tls.Cert, Key: g.tls.Key, ServerName: "kafka"}, g.sasl, "wanted to match kafka"},
		"no certificate":                 {&TLS{CA: g.ca.file}, g.sasl, "certificate required"},
		"a certificate of another":       {&TLS{CA: g.ca.file, Cert: strangeCert, Key: strangeKey}, g.sasl, "unknown certificate authority"},
		"a wrong password":               {g.tls, &SASL{SCRAMSHA256, "me", "wrong"}, "on a user or password that is wrong"},
		"another mechanism":              {g.tls, &SASL{Plain, "me", "secret"}, "on a user or password that is wrong"},
		"no encryption":                  {nil, g.sasl, "on whoever does not encrypt where they want tls"},
		"nothing":                        {nil, nil, "brokers that want tls or a password hang up so"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, fake: g.fake, brokers: g.brokers, logs: &logBuffer{}}
			s, bucket := numbers(), &storetest.Memory{}
			stop := w.nodeOf(Config{Topic: "t", Group: "g", TLS: test.tls, SASL: test.sasl}, s, bucket)
			w.eventually("the log says why", func() bool { return strings.Contains(w.logs.String(), test.want) })
			began := time.Now()
			stop()
			if spent := time.Since(began); spent > 5*time.Second {
				t.Errorf("it ended after %v", spent)
			}
			if counts, _, _ := w.stored(s, bucket); len(counts) > 0 {
				t.Errorf("it counted %v", counts)
			}
		})
	}
}

// Files that cannot be read, or hold something else, are an error at once.
func TestFilesOfTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue()
	none := filepath.Join(t.TempDir(), "none.pem")
	for name, test := range map[string]struct {
		tls  TLS
		want string
	}{
		"no such authority":      {TLS{CA: none}, none},
		"an authority is a key":  {TLS{CA: key}, "no certificate in " + key},
		"no such certificate":    {TLS{CA: ca.file, Cert: none, Key: key}, none},
		"the key of another":     {TLS{CA: ca.file, Cert: ca.file, Key: key}, "private key does not match"},
		"all of them are there":  {TLS{CA: ca.file, Cert: cert, Key: key}, ""},
		"none of them is needed": {TLS{}, ""},
	} {
		_, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t", Group: "g", TLS: &test.tls, Logger: slog.New(slog.DiscardHandler)})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error %v, want %q in it", name, err, test.want)
		}
	}
}
