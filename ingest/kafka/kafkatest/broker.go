// Package kafkatest runs a real Kafka broker for tests and measurements: one
// process in KRaft mode on loopback, with a small heap.
//
// Its jars come from Maven artifacts, once a version, into the user's cache
// directory. It needs java (17 for Kafka 4) and, the first time, mvn.
package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Broker is a running broker.
type Broker struct {
	Addr string // host:port
	dir  string
	jars string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended, once done is closed
}

// ErrMissing says that this machine lacks what a broker needs.
var ErrMissing = errors.New("a program is missing")

const (
	startLimit = 2 * time.Minute
	stopLimit  = 30 * time.Second
	clusterID  = "MkU3OEVBNTcwNTJENDM2Qk"
)

// Start gets the jars of the given version, formats storage under dir, and
// starts a broker there. progress tells what takes time.
func Start(ctx context.Context, version, dir string, progress func(format string, args ...any)) (*Broker, error) {
	jars, err := jars(ctx, version, progress)
	if err != nil {
		return nil, fmt.Errorf("get Kafka %s: %w", version, err)
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	b := &Broker{Addr: "127.0.0.1:" + strconv.Itoa(ports[0]), dir: dir, jars: jars}
	var properties bytes.Buffer
	if err := serverProperties.Execute(&properties, map[string]any{"Port": ports[0], "Controller": ports[1],
		"Logs": filepath.ToSlash(filepath.Join(dir, "logs")), "Share": major(version) >= 4}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.path("server.properties"), properties.Bytes(), 0o600); err != nil {
		return nil, err
	}
	format := exec.CommandContext(ctx, "java", "-cp", jars+"/*", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.path("server.properties"))
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format storage of Kafka %s: %w\n%s", version, err, out)
	}
	return b, b.Start(ctx)
}

func (b *Broker) path(name string) string { return filepath.Join(b.dir, name) }

// Start starts the broker again, after Stop or Kill, with what it had stored.
func (b *Broker) Start(ctx context.Context) error {
	output, err := os.OpenFile(b.path("output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	b.cmd = exec.Command("java", "-Xms256m", "-Xmx512m", "-cp", b.jars+"/*", "kafka.Kafka", b.path("server.properties"))
	b.cmd.Stdout, b.cmd.Stderr = output, output
	EndWithParent(b.cmd)
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	done := make(chan struct{})
	b.done = done
	go func() {
		b.err = b.cmd.Wait()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if answers(ctx, b.Addr) {
			return nil
		}
		select {
		case <-b.done:
			return fmt.Errorf("start Kafka: it ended (%v) with %s", b.err, b.lastWords())
		case <-ctx.Done():
			b.Kill()
			return fmt.Errorf("start Kafka: no answer after %v: %w\n%s", startLimit, ctx.Err(), b.lastWords())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// answers reports whether a broker at the address knows itself.
func answers(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := kafkago.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	brokers, err := c.Brokers()
	return err == nil && len(brokers) > 0
}

// Stop lets the broker end in order, and ends it if it does not.
func (b *Broker) Stop() error { return b.end(syscall.SIGTERM) }

// Kill ends the broker as a crash would.
func (b *Broker) Kill() error { return b.end(syscall.SIGKILL) }

func (b *Broker) end(how os.Signal) error {
	if err := b.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop Kafka: %w", err)
	}
	select {
	case <-b.done:
	case <-time.After(stopLimit):
		if err := b.cmd.Process.Kill(); err != nil {
			return fmt.Errorf("stop Kafka: %w", err)
		}
		<-b.done
	}
	return nil
}

func (b *Broker) lastWords() string {
	const most = 4 << 10
	out, err := os.ReadFile(b.path("output"))
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-most):])
}

// jars gives the directory of a version's jars, and fetches them if they are
// not there.
func jars(ctx context.Context, version string, progress func(string, ...any)) (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: java", ErrMissing)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "weir", "kafka", version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", fmt.Errorf("%w: mvn", ErrMissing)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	progress("fetching Kafka %s from Maven artifacts", version)
	var pom bytes.Buffer
	if err := project.Execute(&pom, map[string]any{"Version": version, "Log4j2": major(version) >= 4}); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom.Bytes(), 0o600); err != nil {
		return "", err
	}
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
	mvn.Dir = work
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mvn: %w\n%s", err, out)
	}
	return dir, os.Rename(filepath.Join(work, "lib"), dir) // whole, or not at all
}

func major(version string) int {
	n, _ := strconv.Atoi(strings.SplitN(version, ".", 2)[0])
	return n
}

// freePorts finds ports that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []io.Closer
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

var project = template.Must(template.New("pom.xml").Parse(`<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weir.test</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{{.Version}}</version></dependency>
{{- if .Log4j2}}
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version></dependency>
{{- else}}
    <dependency><groupId>ch.qos.reload4j</groupId><artifactId>reload4j</artifactId><version>1.2.25</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
{{- end}}
  </dependencies>
</project>
`))

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
