// Withpulsar runs a command with a real Pulsar broker, which it names in
// PULSAR_URL and PULSAR_ADMIN; once for each version:
//
//	withpulsar -versions 4.0.7 go test ./ingest/pulsar
package main

import (
	"context"

	"github.com/weir-stream/weir/ingest/brokertest"
	"github.com/weir-stream/weir/ingest/pulsar/pulsartest"
)

func main() {
	brokertest.With{
		Product:  "Pulsar",
		Versions: "4.0.7",
		Address:  pulsartest.URLVariable,
		Version:  pulsartest.VersionVariable,
		Without:  "the tests that need it say so and are left out",
		Start: func(ctx context.Context, version, dir string, progress func(string, ...any)) (brokertest.Broker, error) {
			return pulsartest.Start(ctx, version, dir, progress)
		},
	}.Main()
}
