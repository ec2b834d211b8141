# snapwatch. `make help` lists the targets.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BIN     := bin
JOB     := $(BIN)/job
PAGEJOB := $(BIN)/pagejob
# Programs for the lab's machine are linked statically, because they must not depend on its C library.
STATIC  := CGO_ENABLED=0 $(GO)
LDFLAGS := -s -w -X main.version=$(VERSION) -X github.com/prometheus/common/version.Version=$(VERSION)
# E2E selects the end-to-end tests, as in go test -run: make test-e2e E2E=TestStory
E2E     ?= .
# TAGS are the build tags of the tests: e2e, or e2e,nightly to include the long tests.
TAGS    ?= e2e
# WEEKS is the number of random weeks, and WEEK the seed of the first week. Every run plays the same
# weeks, except in nightly and soak.
WEEKS   ?= 1000
WEEK    ?= 1
# SAMPLED is the number of these weeks that are also played to Prometheus.
SAMPLED ?= 5
# SHORT makes the tests of the alert rules short: nightly plays the cases one by one, other runs play
# them all together.
SHORT   ?= -short
COMMA   := ,
# SUITE is the lab's machine: trixie has OpenZFS 2.3, bookworm 2.1, trixie-backports 2.4.
SUITE   ?= trixie
# MAINJOB are the tests that CI also plays on OpenZFS 2.1 and 2.4; nightly plays all tests there.
MAINJOB := ^(TestStory|TestZFSVersions)$$$$
# SOAK are the tests that soak plays on real ZFS.
SOAK    ?= RandomSteps|Killed|KilledWhileFrozen|FreezeProven|ExporterForLong
# STEPS, KILLS and MINUTES are soak's numbers of random steps, of kills, and of minutes of the exporter.
STEPS   ?= 5000
KILLS   ?= 500
MINUTES ?= 60
# ROOT is the prefix that makes a command run as root; it is empty for root.
ROOT    := $(if $(filter 0,$(shell id -u)),,sudo -n env "PATH=$$PATH")
# SEED is the seed of the random tests of nightly and soak.
SEED    := $(or $(SEED),$(shell date +%s))

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
	@tools/stage image test/lab/build
	@tools/stage browser $(MAKE) --no-print-directory test-browser
	@tools/beside e2e $(MAKE) --no-print-directory test-e2e -- $(MAKE) --no-print-directory test-beside
	@tools/stage image-2.1 test/lab/build --suite bookworm
	@tools/stage e2e-2.1 $(MAKE) --no-print-directory test-e2e SUITE=bookworm E2E='$(MAINJOB)'
	@tools/stage image-2.4 test/lab/build --suite trixie-backports
	@tools/stage e2e-2.4 $(MAKE) --no-print-directory test-e2e SUITE=trixie-backports E2E='$(MAINJOB)'
	@tools/stage systemd $(MAKE) --no-print-directory test-systemd
	@tools/stage counted $(MAKE) --no-print-directory test-counted
	@tools/stage --summary

.PHONY: test-beside
test-beside:
	@tools/stage sim $(MAKE) --no-print-directory sim
	@tools/stage fuzz $(MAKE) --no-print-directory fuzz
	@tools/stage deploy $(MAKE) --no-print-directory check-deploy
	@tools/stage deb $(MAKE) --no-print-directory check-deb

.PHONY: test-unit
test-unit: setup ## Run the unit tests, with the race detector; no root, no VM.
	$(GO) test -race ./...
	$(GO) test -run Garbled ./checker/scan # too slow with the race detector
	cd test/ranges && $(GO) test -race ./...

.PHONY: sim
sim: setup ## Play random weeks on three sites and check the promises of docs/reliability.md; WEEKS=N.
	@echo '$(WEEKS) weeks from seed $(WEEK) on'
	$(GO) test -count=1 -timeout 0 ./test/sim -weeks $(WEEKS) -seed $(WEEK)

.PHONY: check-deploy
check-deploy: setup ## Let Prometheus, Alertmanager, Icinga and Nagios check the files in deploy/.
	@tools/need promtool=prometheus prometheus=prometheus amtool=prometheus-alertmanager prometheus-alertmanager=prometheus-alertmanager \
		icinga2=icinga2-bin,icinga2-common nagios4=nagios4-core
	$(GO) test -count=1 -timeout 60m $(SHORT) -tags deploy ./deploy
	$(GO) test -count=1 -timeout 0 -tags deploy -run TestRulesAgree ./test/sim -weeks $(SAMPLED) -seed $(WEEK)
	cd deploy/grafana && $(GO) test -count=1 ./...
	$(GO) run ./test/fleet -nodes 5 -disks 8 -interval 2s -for 10s # checks that fleet works, measures nothing

.PHONY: browser
browser: setup
	@tools/need chromium=chromium npm=npm
	cd test/browser && npm ci --no-audit --no-fund --loglevel=error

.PHONY: test-browser
test-browser: browser ## Test the status page in a real Chromium, also with real pools.
	rm -rf $(PAGEJOB) && mkdir -p $(PAGEJOB)
	$(STATIC) build -trimpath -ldflags '$(LDFLAGS)' -o $(PAGEJOB)/snapwatch ./cmd/snapwatch
	$(STATIC) build -trimpath -ldflags '-s -w' -o $(PAGEJOB)/page ./test/page
	printf '#!/bin/sh\nexec ./page\n' >$(PAGEJOB)/run && chmod +x $(PAGEJOB)/run
	cd test/browser && $(GO) test -count=1 ./...

.PHONY: pictures
pictures: browser ## Make the pictures of the README.
	mkdir -p docs/img
	cd test/browser && $(GO) test -count=1 -run TestPictures . -args -pictures ../../docs/img

.PHONY: lint
lint: setup ## Run the linters.
	cd tools && $(GO) build -o ../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	$(BIN)/golangci-lint run ./...
	cd test/browser && ../../$(BIN)/golangci-lint run ./...
	cd deploy/grafana && ../../$(BIN)/golangci-lint run ./...
	@tools/need shellcheck=shellcheck
	shellcheck $$(grep -slE "^#!.*sh$$" tools/* test/lab/* test/lab/image/*) deploy/pve/* test/lab/guest/init test/lab/guest/run-job

.PHONY: job
job: build
	rm -rf $(JOB) && mkdir -p $(JOB)
	cp $(BIN)/snapwatch $(JOB)/
	$(STATIC) build -trimpath -ldflags '-s -w' -o $(JOB)/standin ./test/standin

.PHONY: test-e2e
test-e2e: job ## Play the stories on real ZFS in the lab's machine.
	$(STATIC) test -c -tags '$(TAGS)' -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 90m -test.run "%s"\n' '$(E2E)' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --suite $(SUITE) --timeout 5400 $(JOB)

.PHONY: test-systemd
test-systemd: job ## Play the stories that need a real systemd in the lab's machine.
	$(STATIC) test -c -tags '$(TAGS),systemd' -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	ARCHS=amd64 tools/deb '0~0' $(JOB)/old
	ARCHS=amd64 tools/deb $(VERSION) $(JOB)/latest
	ADDRESS=file:/run/repository tools/test-repo $(JOB)
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 30m -test.run "%s"\n' '$(if $(filter .,$(E2E)),^TestSystemd,$(E2E))' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 1800 --systemd $(JOB)

.PHONY: test-counted
test-counted: job ## Compare times, in a machine whose clock counts instructions; BEFORE=COMMIT also compares a scrape with that commit.
	if [ -n '$(BEFORE)' ]; then rm -rf $(BIN)/before && mkdir $(BIN)/before && git archive '$(BEFORE)' | tar -x -C $(BIN)/before && \
		cd $(BIN)/before && $(STATIC) build -trimpath -ldflags '$(LDFLAGS)' -o ../../$(JOB)/before ./cmd/snapwatch; fi
	$(STATIC) test -c -tags 'e2e,counted$(if $(BEFORE),$(COMMA)before)' -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 30m -test.run "%s"\n' '$(if $(filter .,$(E2E)),^TestCounted,$(E2E))' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --icount --timeout 1800 $(JOB)

.PHONY: test-zabbix
test-zabbix: setup ## Let real Zabbix servers, 6.0 and 7.0, import the template, raise and clear events; as root.
	$(ROOT) $(GO) test -count=1 -timeout 30m -tags zabbix ./test/zabbix -suite bookworm
	$(ROOT) $(GO) test -count=1 -timeout 30m -tags zabbix ./test/zabbix -suite trixie

.PHONY: test-lab
test-lab: job ## Test the lab itself: machines that hang; the hosts, stand-ins and faults in the machine, in both boot modes.
	$(GO) test -count=1 -timeout 60m -tags lab ./test/lab
	$(STATIC) test -c -tags e2e -ldflags '-s -w' -o $(JOB)/site.test ./test/site
	printf '#!/bin/sh\nexec ./site.test -test.v\n' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 1800 $(JOB)
	test/lab/boot --timeout 1800 --systemd $(JOB)

.PHONY: test-drill
test-drill: setup ## Let the real guestfish look at images of disks, and a real QEMU start a small guest.
	@tools/need guestfish=libguestfs-tools,libguestfs-xfs qemu-system-x86_64=qemu-system-x86 qemu-io=qemu-utils mkfs.ext4=e2fsprogs debugfs=e2fsprogs
	$(GO) test -count=1 -timeout 90m -tags drill -v ./drill/run ./test/nbd

.PHONY: test-drill-lab
test-drill-lab: job ## Play whole drills on real ZFS: guestfish runs on this machine, and reaches the clones in the lab's machine by NBD.
	@tools/need guestfish=libguestfs-tools,libguestfs-xfs
	$(STATIC) test -c -tags 'e2e,outside' -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 3h -test.run "^TestDrillByGuestfish$$" -story 3h\n' >$(JOB)/run
	chmod +x $(JOB)/run
	$(GO) test -count=1 -timeout 4h -tags outside -v ./test/outside

.PHONY: soak
soak: ## Play 100 000 days of random weeks; then, on real ZFS, STEPS random steps, KILLS kills, and an exporter for MINUTES.
	@$(MAKE) --no-print-directory sim WEEKS=14286 WEEK=$(SEED)
	@$(MAKE) --no-print-directory soak-lab SEED=$(SEED)

.PHONY: soak-lab
soak-lab: job ## Play only soak's part on real ZFS, or some of its tests: make soak-lab SOAK=RandomSteps STEPS=200 SEED=1
	$(STATIC) test -c -tags e2e,soak -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	printf '#!/bin/sh\nexec ./e2e.test -test.v -test.timeout 24h -test.run "^Test(%s)$$" -story 24h -steps %s -seed %s -kills %s -minutes %s\n' '$(SOAK)' '$(STEPS)' '$(SEED)' '$(KILLS)' '$(MINUTES)' >$(JOB)/run
	chmod +x $(JOB)/run
	test/lab/boot --timeout 86400 $(JOB)

.PHONY: mutants
mutants: setup ## Break the planner, the verdicts and the rules on purpose; a test must fail for each break.
	@tools/need promtool=prometheus
	$(GO) run ./test/mutants

.PHONY: mutants-lab
mutants-lab: job ## Break the channel programs on purpose, in the lab; a test must fail for each break.
	$(STATIC) test -c -tags e2e -ldflags '-s -w' -o $(JOB)/e2e.test ./test/e2e
	$(GO) run ./test/mutants -lab $(JOB)
	test/lab/boot --timeout 5400 $(JOB)

.PHONY: nightly
nightly: test test-lab mutants mutants-lab ## Run all tests, including those that take too long for every change.
	@$(MAKE) --no-print-directory test-e2e TAGS=e2e,nightly
	@$(MAKE) --no-print-directory test-systemd TAGS=e2e,nightly
	@$(MAKE) --no-print-directory test-e2e TAGS=e2e,nightly SUITE=bookworm
	@$(MAKE) --no-print-directory test-e2e TAGS=e2e,nightly SUITE=trixie-backports
	@$(MAKE) --no-print-directory test-zabbix
	@$(MAKE) --no-print-directory test-drill
	@$(MAKE) --no-print-directory test-drill-lab
	@$(MAKE) --no-print-directory fuzz FUZZ=3600
	@$(MAKE) --no-print-directory sim WEEK=$(SEED)
	@$(MAKE) --no-print-directory check-deploy SAMPLED=300 WEEK=$(SEED) SHORT=

.PHONY: bench
bench: job ## Measure scans and runs in the lab, and write docs/performance.md.
	$(STATIC) build -trimpath -o $(JOB)/bench ./test/bench
	printf '#!/bin/sh\nexec ./bench $(LEVELS)\n' >$(JOB)/run && chmod +x $(JOB)/run
	test/lab/boot --icount --timeout 14400 --out $(BIN)/bench $(JOB)
	tools/measured docs/performance.md $(BIN)/bench/measured.md

.PHONY: bench-unit
bench-unit: setup ## Run the Go benchmarks: parsing, planning, scrapes.
	$(GO) test -run '^$$' -bench . ./internal/zfs ./snapper/... ./exporter

.PHONY: bench-fleet
bench-fleet: setup ## Feed a real Prometheus with a hundred simulated nodes for ten minutes.
	@tools/need prometheus=prometheus
	$(GO) run ./test/fleet

.PHONY: fuzz
fuzz: setup ## Fuzz every parser, for FUZZ seconds in total (60).
	@mkdir -p $(BIN)
	@tools/fuzz $(or $(FUZZ),60)

.PHONY: vuln
vuln: setup ## Ask vuln.go.dev for known vulnerabilities of the linked libraries; needs the network.
	cd tools/release && $(GO) build -o ../../$(BIN)/govulncheck golang.org/x/vuln/cmd/govulncheck
	$(BIN)/govulncheck ./...

.PHONY: deb
deb: setup ## Make the Debian packages in dist/, for amd64 and arm64.
	@tools/deb $(VERSION) dist

.PHONY: check-deb
check-deb: setup ## Build the packages twice, compare them, and check them with lintian, man and the shells.
	@tools/need lintian=lintian man=man-db zsh=zsh fish=fish shellcheck=shellcheck
	@tools/check-deb $(VERSION)
	@tools/check-repo $(VERSION)

.PHONY: repo
repo: deb ## Add the packages to a signed apt repository in dist/repo: make repo SIGN=KEY ADDRESS=https://…
	@tools/need apt-ftparchive=apt-utils gpg=gpg
	@tools/repo dist/repo dist/*.deb

.PHONY: release
release: setup ## Make a release in dist/ from a clean tree: make release VERSION=v1.2.0
	@tools/make-release $(VERSION)

.PHONY: clean
clean: ## Remove the build results; the lab's image remains in the cache.
	rm -rf $(BIN) dist
