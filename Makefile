# What each target does: make help
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The commit's own time, so that the same commit makes the same binary.
version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
commit := $(shell git rev-parse HEAD 2>/dev/null)
built := $(shell git log -1 --format=%cI 2>/dev/null)
stamp := -X main.version=$(version) -X main.commit=$(commit) -X main.built=$(built)
helpers := runtime/engine/helpers
debimage := ./testdata/debimage/cmd/debimage

# ./... leaves folders called testdata out.
packages := ./... ./testdata/debimage ./testdata/apps

# A micro without helpers on board, as the tests are, finds runc by PATH.
export PATH := $(CURDIR)/$(helpers)/bin:$(PATH):/usr/sbin:/sbin

# Tests run real containers, which takes root: as another user only the test programs get it, by sudo.
ifneq ($(shell id -u),0)
exec := -exec "sudo -E env PATH=$(PATH)"
endif
TESTFLAGS ?=
# vet has its own line, with all of its checks.
gotest = go test -vet=off -timeout 25m $(exec) $(TESTFLAGS)

.PHONY: build
build: deps-build $(helpers)/bin ## bin/micro: one static file with everything on board
	CGO_ENABLED=0 go build -trimpath -tags embedhelpers -ldflags '-s -w $(stamp)' -o bin/micro .

.PHONY: demo
demo: build deps-demo ## start a node, push a sample app, fetch it by name
	@scripts/demo.sh

.PHONY: test
test: deps-build deps-test $(helpers)/bin images ## go vet and all tests, with real containers
	go vet $(packages)
	$(gotest) $(packages)

.PHONY: race
race: deps-build deps-test $(helpers)/bin images ## all tests with the race detector
	$(gotest) -race $(packages)

.PHONY: e2e
e2e: deps-build deps-test $(helpers)/bin images ## the end-to-end scripts alone; one of them: make e2e RUN=NAME
	$(gotest) -count=1 -v -run 'TestScripts/$(RUN)' .

.PHONY: quota
quota: ## disk quotas on ext4 and XFS, in a kernel of their own
	@scripts/quota.sh

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (30s) each
	@scripts/fuzz.sh $(or $(FUZZTIME),30s)

.PHONY: bench
bench: build deps-test deps-bench images ## the figures, as a table
	scripts/bench.sh

.PHONY: sim
sim: ## thousands of simulated cross-fades, as the tables of docs/verdict.md (some ten minutes)
	go run ./bench/verdict

.PHONY: lint
lint: ## go vet, gofmt and golangci-lint (which it downloads)
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	go vet $(packages)
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run

.PHONY: install
install: build ## put bin/micro into /usr/local/bin and its systemd unit next to it
	install -D -m 0755 bin/micro $(DESTDIR)/usr/local/bin/micro
	install -D -m 0644 packaging/micro.service $(DESTDIR)/etc/systemd/system/micro.service

.PHONY: helpers
helpers: deps-build $(helpers)/bin ## runc, the shim and the init, which the binary carries

# The script itself knows what is fresh.
.PHONY: $(helpers)/bin
$(helpers)/bin: deps-build
	@$(helpers)/build.sh >/dev/null

.PHONY: images
images: deps-demo ## the test images, made of Debian packages
	@for preset in base python node redis postgres nginx; do go run $(debimage) $$preset >/dev/null || exit; done

.PHONY: deps
deps: deps-build deps-demo deps-test ## what building, the demo and the tests need of Debian's packages

.PHONY: deps-build deps-demo deps-test deps-bench
deps-build deps-demo deps-test deps-bench: deps-%:
	@scripts/deps.sh $*

.PHONY: clean
clean: ## remove what make has built; images and packages stay in the user's cache
	rm -rf bin $(helpers)/bin

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
