# Bare make lists what it can do.

GO ?= go

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## see it work: a server, a stream of web requests, live answers
	$(GO) run ./cmd/weir demo $(DEMO)

build: ## build bin/weir
	$(GO) build -o bin/weir ./cmd/weir

test: ## run the tests
	$(GO) test ./...

check: ## what CI runs: format, vet, staticcheck, tests with the race detector
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt these:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(MAKE) test
	$(GO) test -race -short ./...

test-kafka: ## test against Apache Kafka 4.1 and 3.9, from Maven artifacts
	$(GO) run ./ingest/kafka/withkafka $(GO) test -count 1 ./ingest/kafka/...

test-pulsar: ## test against Apache Pulsar 4.0, from Maven artifacts
	$(GO) run ./ingest/pulsar/withpulsar $(GO) test -count 1 ./ingest/pulsar/...
	$(GO) run ./ingest/pulsar/withpulsar $(GO) test -count 1 -run Pulsar ./cmd/weir

test-s3: ## test against a real S3 server, Versity's gateway, beside the one in the process
	$(GO) run ./store/storetest/withs3 $(GO) test -count 1 ./store/objects
	$(GO) run ./store/storetest/withs3 $(GO) test -count 1 -run ObjectStore ./cmd/weir

chaos: ## strike three nodes, Kafka and the object store 100 times, or CHAOS=1000, and compare every answer
	KAFKA_VERSION=4.1.1 WEIR_FAULTS=$(or $(CHAOS),100) WEIR_SEED=$(SEED) $(GO) test -count 1 -v -timeout 0 -run Chaos ./bench/chaos

test-alertmanager: ## test against a real Alertmanager, Debian's, which root installs if it is missing
	$(GO) run ./anomaly/notify/withalertmanager $(GO) test -count 1 -v -run Alertmanager ./anomaly/notify

check-deploy: ## check the examples in deploy: image, compose file, unit, Prometheus, Grafana
	$(GO) test -count 1 ./deploy
	$(GO) -C deploy/check vet ./...
	$(GO) -C deploy/check test -count 1 ./...

bench: ## measure ingest: events a second, from a file to segments
	$(GO) run ./bench/ingest

bench-kafka: ## measure fetching: messages a CPU-second, beside other clients
	$(GO) run ./bench/kafka

bench-scale: ## measure nodes that share a topic: balance, speed, takeover; a topic beside a file
	$(GO) run ./bench/scale

bench-sketch: ## measure the sketches beside the libraries: time, bytes, spread
	cd bench/sketch && $(GO) test -run '^$$' -bench 'Distinct|Quantile|Heavy|Series' -cpu 1 -benchtime 100ms -count 6 . | $(GO) tool benchstat -col /lib -
	cd bench/sketch && $(GO) test -run '^$$' -bench Memory -cpu 1 -benchtime 1x .
	$(GO) test -run '^$$' -bench 'CellEncode|MergeBinary' -cpu 1 -benchtime 100ms ./sketch

bench-detect: ## measure the detectors: time a series or a point, bytes of state
	$(GO) test -run '^$$' -bench . -benchmem ./anomaly

calibrate-detect: ## count false and missed alarms of the one-pass detectors on 1,000 series
	WEIR_FULL=1 $(GO) test -count=1 -v -run 'FalseAlarms|Planted|Shifts|Breakout|Ramps' ./anomaly

accuracy: ## print how far each sketch is off, and how often its intervals hold the truth
	$(GO) run ./bench/accuracy

.PHONY: help demo build test check test-kafka test-pulsar test-s3 test-alertmanager chaos check-deploy bench bench-kafka bench-scale bench-sketch bench-detect calibrate-detect accuracy
.DEFAULT_GOAL := help
