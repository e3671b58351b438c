# The targets that people use; `make` alone prints them.
GO ?= go
# How much of each check's full count runs, in percent; see docs/GUARANTEES.md.
RUNS ?= 10
# Which mutants `make integration` draws; `make mutants` runs all of them.
SEED ?= 11
# The packages whose tests need real servers or a browser.
REAL = ./integration/... ./stream/... ./verify/... ./report/...

# No test needs these roots, and the SDK would parse them for each of thousands of clients.
unexport AWS_CA_BUNDLE

.PHONY: help build demo test race fuzz integration reliability mutants bench cover clean

help: ## print this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## build bin/bridge
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/bridge ./cmd/bridge

demo: ## a whole mirror, there and back, in this process: needs nothing but Go
	$(GO) run ./cmd/bridge demo

test: ## everything that needs only Go, with the race detector
	$(GO) vet ./...
	$(GO) test -race -timeout 20m ./...

fuzz: ## every fuzz target for a minute
	$(GO) run ./internal/fuzzall -time 1m

integration: ## real servers, a tenth of the full counts; installs what it needs by name
	bash integration/install.sh
	RUNS=$(RUNS) $(GO) test -tags integration -count 1 -timeout 60m -p 1 -parallel 4 $(REAL) -run Integration -v
	$(GO) run ./internal/mutants -draw 20 -seed $(SEED)

reliability: ## real servers, full counts: hours
	bash integration/install.sh
	RUNS=100 $(GO) test -tags integration -count 1 -timeout 0 -p 1 -parallel 4 $(REAL) -run Integration -v
	$(GO) run ./internal/mutants

mutants: ## break the code on purpose and see that a test notices
	$(GO) run ./internal/mutants

bench: ## what mirror and verify spend, beside the least that they could, in both directions
	$(GO) run ./cmd/bridge bench mirror
	$(GO) run ./cmd/bridge bench mirror --direction kafka-to-kinesis
	$(GO) run ./cmd/bridge bench verify
	$(GO) run ./cmd/bridge bench verify --direction kafka-to-kinesis

cover: ## coverage of the plain tests
	$(GO) test -coverprofile cover.out ./... && $(GO) tool cover -func cover.out | tail -1

clean: ## remove what was built
	rm -rf bin cover.out
