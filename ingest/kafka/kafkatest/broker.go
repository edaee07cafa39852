// Package kafkatest runs a real Kafka broker for tests and measurements: one
// process in KRaft mode on loopback, with a small heap. Its jars come from Maven
// artifacts. Kafka 4 needs Java 17.
package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/weir-stream/weir/ingest/brokertest"
)

// The environment variables that say where brokers are.
const (
	BrokersVariable = "KAFKA_BROKERS"
	VersionVariable = "KAFKA_VERSION" // for tests that start, and kill, brokers of their own
)

// Broker is a running broker, which can be stopped, killed and started again.
type Broker struct {
	*brokertest.Process
	Addr string // host:port
}

// ErrMissing says that this machine lacks what a broker needs.
var ErrMissing = brokertest.ErrMissing

const clusterID = "MkU3OEVBNTcwNTJENDM2Qk"

// Start gets the jars of the given version, formats storage under dir, and
// starts a broker there. progress tells what takes time.
func Start(ctx context.Context, version, dir string, progress func(format string, args ...any)) (*Broker, error) {
	jars, err := brokertest.Jars(ctx, "kafka", version, artifacts(version), progress)
	if err != nil {
		return nil, fmt.Errorf("get Kafka %s: %w", version, err)
	}
	ports, err := brokertest.FreePorts(2)
	if err != nil {
		return nil, err
	}
	var properties bytes.Buffer
	if err := serverProperties.Execute(&properties, map[string]any{"Port": ports[0], "Controller": ports[1],
		"Logs": filepath.ToSlash(filepath.Join(dir, "logs")), "Share": major(version) >= 4}); err != nil {
		return nil, err
	}
	settings := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(settings, properties.Bytes(), 0o600); err != nil {
		return nil, err
	}
	format := exec.CommandContext(ctx, "java", "-cp", jars+"/*", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", settings)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format storage of Kafka %s: %w\n%s", version, err, out)
	}
	b := &Broker{Addr: "127.0.0.1:" + strconv.Itoa(ports[0])}
	b.Process = &brokertest.Process{Name: "Kafka " + version, Dir: dir, Ready: func(ctx context.Context) error { return answers(ctx, b.Addr) },
		Java: []string{"-Xms256m", "-Xmx512m", "-cp", jars + "/*", "kafka.Kafka", settings}}
	return b, b.Process.Start(ctx)
}

// Environ tells others where the broker is.
func (b *Broker) Environ() []string { return []string{BrokersVariable + "=" + b.Addr} }

// answers asks a broker at the address whether it knows itself.
func answers(ctx context.Context, addr string) error {
	c, err := kafkago.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	brokers, err := c.Brokers()
	if err == nil && len(brokers) == 0 {
		err = errors.New("it knows no brokers")
	}
	return err
}

// artifacts are what a version of Kafka consists of, and where its log goes.
func artifacts(version string) []brokertest.Artifact {
	kafka := brokertest.Artifact{Group: "org.apache.kafka", Name: "kafka_2.13", Version: version}
	if major(version) >= 4 {
		return []brokertest.Artifact{kafka,
			{Group: "org.apache.logging.log4j", Name: "log4j-core", Version: "2.24.3"},
			{Group: "org.apache.logging.log4j", Name: "log4j-slf4j-impl", Version: "2.24.3"}}
	}
	return []brokertest.Artifact{kafka,
		{Group: "ch.qos.reload4j", Name: "reload4j", Version: "1.2.25"},
		{Group: "org.slf4j", Name: "slf4j-reload4j", Version: "1.7.36"}}
}

// EndWithParent has the system end a process, yet to be started, when this one
// ends.
func EndWithParent(cmd *exec.Cmd) { brokertest.EndWithParent(cmd) }

func major(version string) int {
	n, _ := strconv.Atoi(strings.SplitN(version, ".", 2)[0])
	return n
}

// Topics are made by looking for them, as they are in many clusters: a reader
// must not. The cleaner is as eager as it can be.
var serverProperties = template.Must(template.New("server.properties").Parse(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{{.Controller}}
listeners=PLAINTEXT://127.0.0.1:{{.Port}},CONTROLLER://127.0.0.1:{{.Controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{.Port}}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={{.Logs}}
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=2097152
{{- if .Share}}
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
{{- end}}
`))
