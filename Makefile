# make help prints all targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Use the commit's time, so that the same commit makes the same binary.
version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
commit := $(shell git rev-parse HEAD 2>/dev/null)
built := $(shell git log -1 --format=%cI 2>/dev/null)
stamp := -X main.version=$(version) -X main.commit=$(commit) -X main.built=$(built)
helpers := runtime/engine/helpers
debimage := ./testdata/debimage/cmd/debimage

# ./... does not include folders named testdata.
packages := ./... ./testdata/debimage ./testdata/apps

# Binaries without embedded helpers, such as the tests, find runc in PATH.
export PATH := $(CURDIR)/$(helpers)/bin:$(PATH):/usr/sbin:/sbin

# Tests run real containers, which needs root. For other users, only the test programs run with sudo.
ifneq ($(shell id -u),0)
exec := -exec "sudo -E env PATH=$(PATH)"
endif
TESTFLAGS ?=
# -vet=off, because go vet runs separately with all of its checks. Scripts mostly wait: three at a time keep two CPUs busy.
gotest = go test -vet=off -parallel 3 -timeout 45m $(exec) $(TESTFLAGS)

.PHONY: build
build: deps-build $(helpers)/bin ## build bin/micro: one static file that contains everything
	CGO_ENABLED=0 go build -trimpath -tags embedhelpers -ldflags '-s -w $(stamp)' -o bin/micro .

.PHONY: demo
demo: build deps-demo ## start a node, push a sample app, fetch it by name
	@scripts/demo.sh

.PHONY: test
test: deps-build deps-test $(helpers)/bin images ## run go vet and all tests, with real containers
	go vet $(packages)
	$(gotest) $(packages)

.PHONY: race
race: deps-build deps-test $(helpers)/bin images ## run all tests with the race detector
	$(gotest) -race $(packages)

.PHONY: e2e
e2e: deps-build deps-test $(helpers)/bin images ## run only the end-to-end scripts; only one: make e2e RUN=NAME
	$(gotest) -count=1 -v -run 'TestScripts/$(RUN)' ./e2e

.PHONY: soak
soak: soak-bindings soak-nodes ## run what takes too long for make test (an hour and a half)

.PHONY: soak-bindings
soak-bindings: deps-build deps-test $(helpers)/bin images ## kill micro, shims and databases at every step of changes of bindings (an hour)
	MICRO_SOAK=1 $(gotest) -timeout 4h -count=1 -v -run 'TestScripts/stepkill' ./e2e

.PHONY: soak-nodes
soak-nodes: deps-build deps-test $(helpers)/bin ## let five nodes fail FAULTS (200) times in the order of SEED, for FAULT_TIME (1h) at most
	FAULTS=$(FAULTS) SEED=$(SEED) FAULT_TIME=$(or $(FAULT_TIME),1h) $(gotest) -tags soak -timeout 2h -count=1 -v -run TestSoak ./e2e

.PHONY: quota
quota: ## test disk quotas on ext4 and XFS, in User-mode Linux
	@scripts/quota.sh

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (30s) each
	@scripts/fuzz.sh $(or $(FUZZTIME),30s)

.PHONY: bench
bench: build deps-test deps-bench images ## measure, and write the tables to docs/figures.md
	scripts/bench.sh

.PHONY: sim
sim: ## simulate thousands of cross-fades for the tables of docs/verdict.md (about ten minutes)
	go run ./bench/verdict

.PHONY: lint
lint: ## run go vet, gofmt and golangci-lint (which it downloads)
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	go vet $(packages)
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

.PHONY: install
install: build ## install bin/micro in /usr/local/bin, and its systemd unit
	install -D -m 0755 bin/micro $(DESTDIR)/usr/local/bin/micro
	install -D -m 0644 packaging/micro.service $(DESTDIR)/etc/systemd/system/micro.service

.PHONY: helpers
helpers: deps-build $(helpers)/bin ## build runc, the shim and the init, which the binary contains

# Always run the script: it checks itself what is up to date.
.PHONY: $(helpers)/bin
$(helpers)/bin: deps-build
	@$(helpers)/build.sh >/dev/null

.PHONY: images
images: deps-demo ## make the test images from Debian packages
	@for preset in base python python-db node redis postgres nginx; do go run $(debimage) $$preset >/dev/null || exit; done

.PHONY: deps
deps: deps-build deps-demo deps-test ## install the Debian packages for building, the demo and the tests

.PHONY: deps-build deps-demo deps-test deps-bench
deps-build deps-demo deps-test deps-bench: deps-%:
	@scripts/deps.sh $*

.PHONY: clean
clean: ## remove everything that make has built, except images and packages in the user's cache
	rm -rf bin $(helpers)/bin

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
