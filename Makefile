# Everything is built and tested with Go alone; what else a target needs, it installs or says.
GO      ?= go
VERSION ?= $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null || echo unknown))
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(shell git rev-parse HEAD 2>/dev/null)
export CGO_ENABLED ?= 0
# For tests too, so that they and the binaries that they start are compiled once.
export GOFLAGS := $(filter-out -trimpath,$(shell $(GO) env GOFLAGS)) -trimpath

# What runs goroutines of its own is tested with the race detector too; of the machine, which takes one step at a time, its
# scheduler and its leases.
RACE       = ./rotation/schedule ./rotation/journal/sqldb ./internal/api ./internal/notify ./internal/app ./cmd/rotator ./stores/memstore ./xai ./internal/traces ./internal/logging ./internal/follow
CONCURRENT = ^Test(Run|Stop|Panic|Journal|Hanging|Lease|First|Round|Slow|Sluggish|Replica|Others|Value)

# $(call go-test,FLAGS,PACKAGES). With AGAIN=1 a test that failed is tried once more, and reported anyway (see
# docs/decisions/0008); after a data race, a panic, a timeout or more than three failures nothing is.
GOTESTSUM = $(GO) run gotest.tools/gotestsum@v1.13.0
ifdef AGAIN
go-test = $(GOTESTSUM) --format=standard-quiet --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-run-root-test \
  --rerun-fails-abort-on-data-race --packages='$(2)' -- $(1)
else
go-test = $(GO) test $(1) $(2)
endif

# Brings the modules that the tests are made of, again where a connection breaks.
MODULES = for try in 1 2 3; do $(GO) list -deps -test -tags deploy ./... >/dev/null $(if $(AGAIN),&& $(GOTESTSUM) --version )&& break; sleep 10; done

.DEFAULT_GOAL := help
.PHONY: help build cross test race lint sample bench soak fuzz demo generate release test-deploy

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'

build: ## bin/rotator, one static binary for this machine
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/rotator ./cmd/rotator

cross: ## bin/rotator-linux-amd64 and -arm64
	GOOS=linux GOARCH=amd64 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/rotator-linux-amd64 ./cmd/rotator
	GOOS=linux GOARCH=arm64 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/rotator-linux-arm64 ./cmd/rotator

demo: build ## the main job on this machine, with nothing configured
	@bin/rotator demo

test: ## all tests; builds the real Vault server they talk to (minutes when cold)
	@$(MODULES)
	$(GO) vet ./...
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these'; exit 1; }
	$(MAKE) --no-print-directory cross
	$(GO) run ./internal/testenv/vaulttest/build
	@# The two that take longest begin first: one computes, the other mostly waits.
	$(call go-test,-shuffle=on -timeout=60m,./rotation ./internal/replicas ./...)
	CGO_ENABLED=1 $(call go-test,-race -short -shuffle=on -timeout=40m,$(RACE))
	CGO_ENABLED=1 $(call go-test,-race -shuffle=on -timeout=40m -run='$(CONCURRENT)',./rotation)

GOLANGCI = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run --allow-parallel-runners
lint: ## golangci-lint, installed by go run
	$(GOLANGCI) ./...
	cd deploy/release && $(GOLANGCI) ./...

sample: ## a random sample of comments, messages and docs, to judge their language
	@$(GO) run ./internal/layout/sample

bench: ## what a rotation costs, as ratios within one run
	$(GO) test -run='^$$' -bench=. -benchtime=1x -timeout=60m ./internal/e2e ./internal/replicas ./rotation/... ./policies

soak: ## the long proofs: pairs of faults, hundreds of real kills
	ROTATOR_SOAK=1 $(GO) test -count=1 -timeout=120m -v ./rotation ./internal/e2e ./internal/replicas ./internal/model/... | grep -vE '^=== '

fuzz: ## every fuzz target, 30 seconds each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list='^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=30s $$pkg; done; done

generate: ## the schemas, and the tables in docs/ and of the chart, from the code
	$(GO) generate ./...

release: ## dist/: all that is published; IMAGE=REPOSITORY for the chart, SIGNING_KEY=FILE, VULNDB=URL or none
	cd deploy/release && $(GO) run . -version '$(VERSION)' -out ../../dist $(if $(IMAGE),-image '$(IMAGE)') \
	  $(if $(VULNDB),-vulndb '$(VULNDB)') $(if $(SIGNING_KEY),-key '$(abspath $(SIGNING_KEY))')

test-deploy: ## the service, packages, chart and releases for real: needs root and Debian, installs what it lacks
	@$(MODULES)
	@cd deploy/release && $(MODULES)
	$(GO) vet -tags deploy ./deploy/... ./stores/kubernetes
	$(GO) run ./internal/testenv/kubetest/build
	$(call go-test,-tags deploy -count=1 -timeout=60m,./deploy/... ./stores/kubernetes)
	cd deploy/release && $(GO) vet ./... && $(call go-test,-count=1 -timeout=60m,./...)
