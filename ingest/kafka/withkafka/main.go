// Withkafka runs a command with a real Kafka broker, whose address it gives in
// KAFKA_BROKERS; once for each version:
//
//	withkafka -versions 4.1.1,3.9.1 go test ./ingest/kafka
package main

import (
	"context"

	"github.com/weir-stream/weir/ingest/brokertest"
	"github.com/weir-stream/weir/ingest/kafka/kafkatest"
)

func main() {
	brokertest.With{
		Product:  "Kafka",
		Versions: "4.1.1,3.9.1",
		Address:  kafkatest.BrokersVariable,
		Version:  kafkatest.VersionVariable,
		Without:  "the tests use a broker inside their process",
		Start: func(ctx context.Context, version, dir string, progress func(string, ...any)) (brokertest.Broker, error) {
			return kafkatest.Start(ctx, version, dir, progress)
		},
	}.Main()
}
