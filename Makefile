# snapwatch. `make help` lists the targets.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BIN     := bin
JOB     := $(BIN)/job
# What runs in the lab's machine is static: it brings no C library of its own.
STATIC  := CGO_ENABLED=0 $(GO)
LDFLAGS := -s -w -X main.version=$(VERSION) -X github.com/prometheus/common/version.Version=$(VERSION)
# Which end-to-end tests to run, as for go test -run: make test-e2e E2E=TestStory
E2E     ?= .
# How many random steps soak takes, and what it draws them from.
STEPS   ?= 1000
SEED    ?= $(shell date +%s)

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup:
	@tools/need go=golang-go gcc=gcc,libc6-dev git=git

.PHONY: build
build: setup ## Build bin/snapwatch.
	$(STATIC) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/snapwatch ./cmd/snapwatch

.PHONY: demo
demo: setup ## Watch the main job on real ZFS, in a virtual machine.
	@$(MAKE) --no-print-directory job >/dev/null
	@$(STATIC) build -trimpath -o $(JOB)/demo ./test/demo
	@printf '#!/bin/sh\nexec ./demo\n' >$(JOB)/run && chmod +x $(JOB)/run
	@test/lab/boot $(JOB)

.PHONY: test
test: setup ## Run everything: lint, unit tests, end-to-end tests in the lab.
	@rm -f $(BIN)/stages
	@tools/stage lint $(MAKE) --no-print-directory lint
	@tools/stage unit $(MAKE) --no-print-directory test-unit
	@tools/stage deploy $(MAKE) --no-print-directory check-deploy
	@tools/stage image test/lab/build
	@tools/stage e2e $(MAKE) --no-print-directory test-e2e
	@tools/stage systemd $(MAKE) --no-print-directory test-systemd
	@tools/stage --summary

.PHONY: test-unit
test-unit: setup ## Run the unit tests, with the race detector; no root, no VM.
	$(GO) test -race ./...

.PHONY: check-deploy
check-deploy: setup ## Let Prometheus, Alertmanager, Icinga and Nagios check what is in deploy/.
	@tools/need promtool=prometheus amtool=prometheus-alertmanager prometheus-alertmanager=prometheus-alertmanager \
		icinga2=icinga2-bin,icinga2-common nagios4=nagios4-core
	$(GO) test -count=1 -tags deploy ./deploy

.PHONY: lint
lint: setup ## Run the linters.
	cd tools && $(GO) build -o ../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BIN)/golangci-lint run ./...

.PHONY: job
job: build
	rm -rf $(JOB) && mkdir -p $(JOB)
	cp $(BIN)/snapwatch $(JOB)/
	$(STATIC) build -trimpath -ldflags '-s -w' -o $(JOB)/standin ./test/standin

.PHONY: test-e2e
test-e2e: job ## Play the stories on real ZFS in the lab's machine.
	$(STATIC) test -c -tags e2e -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 60m -test.run "%s"\n' '$(E2E)' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 3600 $(JOB)

.PHONY: test-systemd
test-systemd: job ## Play what needs a real systemd, likewise.
	$(STATIC) test -c -tags e2e,systemd -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 30m -test.run "^TestSystemd"\n' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 1800 --systemd $(JOB)

.PHONY: test-lab
test-lab: job ## Test the lab itself: its hosts, stand-ins and faults, in both boot modes.
	$(STATIC) test -c -tags e2e -ldflags '-s -w' -o $(JOB)/site.test ./test/site
	printf '#!/bin/sh\nexec ./site.test -test.v\n' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 1800 $(JOB)
	test/lab/boot --timeout 1800 --systemd $(JOB)

.PHONY: soak
soak: job ## Take 1000 random steps with three sites on real ZFS; STEPS and SEED choose others.
	$(STATIC) test -c -tags e2e -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 24h -test.run TestRandomSteps -steps %s -seed %s\n' '$(STEPS)' '$(SEED)' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 86400 $(JOB)

.PHONY: nightly
nightly: test test-lab ## What takes too long for every change.

.PHONY: bench
bench: job ## Measure scans and runs in the lab, and write docs/performance.md.
	$(STATIC) build -trimpath -o $(JOB)/bench ./test/bench
	printf '#!/bin/sh\nexec ./bench $(LEVELS)\n' >$(JOB)/run && chmod +x $(JOB)/run
	test/lab/boot --timeout 7200 --out $(BIN)/bench $(JOB)
	tools/measured docs/performance.md $(BIN)/bench/measured.md

.PHONY: bench-unit
bench-unit: setup ## Run the Go benchmarks: parsing, planning, scrapes.
	$(GO) test -run '^$$' -bench . ./internal/zfs ./snapper ./exporter

.PHONY: bench-fleet
bench-fleet: setup ## Feed a real Prometheus with a hundred simulated nodes for ten minutes.
	@tools/need prometheus=prometheus
	$(GO) run ./test/fleet

.PHONY: clean
clean: ## Remove what was built; the lab's image stays in the cache.
	rm -rf $(BIN)
