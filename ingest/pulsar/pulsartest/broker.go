// Package pulsartest runs a real Pulsar broker for tests: standalone, one
// process on loopback, with a small heap. Its jars come from Maven artifacts.
package pulsartest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"github.com/weir-stream/weir/ingest/brokertest"
)

// The environment variables that say where a broker is.
const (
	URLVariable     = "PULSAR_URL"     // pulsar://host:port
	AdminVariable   = "PULSAR_ADMIN"   // http://host:port
	VersionVariable = "PULSAR_VERSION" // for tests that start, and kill, brokers of their own
)

// Broker is a running broker.
type Broker struct {
	*brokertest.Process
	Admin
	URL string // pulsar://host:port
}

// Start gets the jars of the given version and starts a broker that stores what
// it has under dir. progress tells what takes time.
func Start(ctx context.Context, version, dir string, progress func(format string, args ...any)) (*Broker, error) {
	jars, err := brokertest.Jars(ctx, "pulsar", version, []brokertest.Artifact{{Group: "org.apache.pulsar", Name: "pulsar-broker", Version: version}}, progress)
	if err != nil {
		return nil, fmt.Errorf("get Pulsar %s: %w", version, err)
	}
	ports, err := brokertest.FreePorts(3)
	if err != nil {
		return nil, err
	}
	var conf bytes.Buffer
	if err := settings.Execute(&conf, map[string]int{"Binary": ports[0], "Web": ports[1]}); err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{"standalone.conf": conf.Bytes(), "log4j2.xml": []byte(logging)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	java := []string{"-Xms128m", "-Xmx384m", "-XX:MaxDirectMemorySize=256m", "-Dlog4j2.configurationFile=log4j2.xml",
		"-Dio.netty.tryReflectionSetAccessible=true"}
	for _, p := range strings.Fields(opened) {
		java = append(java, "--add-opens", p+"=ALL-UNNAMED")
	}
	java = append(java, "-cp", jars+"/*", "org.apache.pulsar.PulsarStandaloneStarter", "--config", "standalone.conf",
		"--no-functions-worker", "--no-stream-storage", "--metadata-dir", "metadata", "--bookkeeper-dir", "bookkeeper",
		"--bookkeeper-port", strconv.Itoa(ports[2]))
	b := &Broker{Admin: Admin(fmt.Sprintf("http://127.0.0.1:%d", ports[1])), URL: fmt.Sprintf("pulsar://127.0.0.1:%d", ports[0])}
	b.Process = &brokertest.Process{Name: "Pulsar " + version, Dir: dir, Java: java, Ready: func(ctx context.Context) error {
		_, err := b.call(ctx, http.MethodGet, "brokers/health", nil)
		return err
	}}
	return b, b.Process.Start(ctx)
}

// Environ tells others where the broker is.
func (b *Broker) Environ() []string {
	return []string{URLVariable + "=" + b.URL, AdminVariable + "=" + string(b.Admin)}
}

// Admin is the address of a broker's administration, http://host:port. Its topics
// are those of the default namespace, by their short names.
type Admin string

const topics = "persistent/public/default/"

// Create makes a topic of so many partitions, or, of 0, one that has none.
func (a Admin) Create(ctx context.Context, topic string, partitions int) error {
	if partitions == 0 {
		_, err := a.call(ctx, http.MethodPut, topics+topic, nil)
		return err
	}
	_, err := a.call(ctx, http.MethodPut, topics+topic+"/partitions", partitions)
	return err
}

// Grow gives a topic more partitions.
func (a Admin) Grow(ctx context.Context, topic string, partitions int) error {
	_, err := a.call(ctx, http.MethodPost, topics+topic+"/partitions", partitions)
	return err
}

// Delete deletes a topic that has no partitions, though it is in use.
func (a Admin) Delete(ctx context.Context, topic string) error {
	_, err := a.call(ctx, http.MethodDelete, topics+topic+"?force=true", nil)
	return err
}

// Unload has the broker forget a topic, as it does when another takes it over:
// it begins a new ledger. Partitions are topics of their own.
func (a Admin) Unload(ctx context.Context, topic string) error {
	_, err := a.call(ctx, http.MethodPut, topics+topic+"/unload", nil)
	return err
}

// Truncate drops what a topic holds, as retention does, all subscriptions past it.
func (a Admin) Truncate(ctx context.Context, topic string) error {
	_, err := a.call(ctx, http.MethodDelete, topics+topic+"/truncate", nil)
	return err
}

// Backlog is how many messages of a topic a subscription has not acknowledged.
func (a Admin) Backlog(ctx context.Context, topic, subscription string) (int, error) {
	answer, err := a.call(ctx, http.MethodGet, topics+topic+"/stats?getPreciseBacklog=true", nil)
	if err != nil {
		return 0, err
	}
	var stats struct {
		Subscriptions map[string]struct {
			MsgBacklog int `json:"msgBacklog"`
		} `json:"subscriptions"`
	}
	if err := json.Unmarshal(answer, &stats); err != nil {
		return 0, fmt.Errorf("read the statistics of topic %s: %w", topic, err)
	}
	s, ok := stats.Subscriptions[subscription]
	if !ok {
		return 0, fmt.Errorf("topic %s has no subscription %s", topic, subscription)
	}
	return s.MsgBacklog, nil
}

func (a Admin) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, string(a)+"/admin/v2/"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return answer, err
}

// opened are the packages of Java that Pulsar looks into.
const opened = `java.base/jdk.internal.loader java.base/java.lang java.base/jdk.internal.platform java.base/java.nio
java.base/jdk.internal.misc java.base/sun.net java.base/java.io java.base/java.util.zip
java.management/sun.management jdk.management/com.sun.management.internal`

// Topics are made by looking for them, which is the default in most clusters.
// A ledger ends after few entries, so that tests cross from one to the next, and
// what all have acknowledged is dropped soon. A topic lives on without readers.
var settings = template.Must(template.New("standalone.conf").Parse(`clusterName=standalone
bindAddress=127.0.0.1
advertisedAddress=127.0.0.1
brokerServicePort={{.Binary}}
webServicePort={{.Web}}
allowAutoTopicCreation=true
brokerDeleteInactiveTopicsEnabled=false
defaultNumberOfNamespaceBundles=1
managedLedgerDefaultEnsembleSize=1
managedLedgerDefaultWriteQuorum=1
managedLedgerDefaultAckQuorum=1
managedLedgerMaxEntriesPerLedger=100
managedLedgerMinLedgerRolloverTimeMinutes=0
managedLedgerCursorMaxEntriesPerLedger=1000
retentionCheckIntervalInSeconds=1
activeConsumerFailoverDelayTimeMillis=200
brokerShutdownTimeoutMs=3000
transactionCoordinatorEnabled=true
numIOThreads=2
numHttpServerThreads=8
loadBalancerEnabled=false
`))

const logging = `<Configuration status="warn">
  <Appenders><Console name="out"><PatternLayout pattern="%d{HH:mm:ss.SSS} %-5p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
`
