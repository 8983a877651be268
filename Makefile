# Two commands matter: `make run` and `make test`. Each installs what is missing by itself.
# CMake presets do the building; see CMakePresets.json for debug, asan, tsan, release, fuzz.
.DEFAULT_GOAL := help
.PHONY: help run web-dev screenshots test test-clients test-faults check format status bench bench-log fuzz fresh install clean

PREFIX ?= /usr/local
DATA   ?= data
# Seconds that each fuzz target runs under `make fuzz`.
FUZZ_SECONDS ?= 300

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build/release/sluice ## Build and start sluice, keeping its state in data/
	@tools/run $(DATA)

build/release/sluice: FORCE
	@tools/setup build web
	@tools/build release sluice
	@tools/build-web build/release/sluice
	@tools/build release sluice
FORCE:

web-dev: ## The dashboard with reload on change, in front of a running sluice (SLUICE_URL)
	@tools/setup build web
	@PATH="$$(tools/get-node):$$PATH" npm --prefix web run dev

screenshots: build/release/sluice ## Take the pictures of the dashboard in docs/screenshots/ anew
	@tests/setup
	@tools/screenshots

test: ## Everything: checks, unit tests, sanitizers, black-box tests, short fuzzing
	@tools/setup test
	@tests/setup
	@tools/run-tests

test-faults: ## Every call of the system made to fail once, every hostile string in every field; `make test` has a part
	@tools/setup test
	@tests/setup
	@tools/run-tests faults

test-clients: ## Agent command lines and SDKs against sluice, more of them than in `make test`
	@tools/setup test
	@tests/setup --clients
	@tools/run-tests clients

check: ## Format, floors, lint and static analysis
	@tools/setup test
	@tools/check

format: ## Rewrite the sources as .clang-format says
	@tools/format

status: ## Write docs/status.md and docs/matrix.md from the endpoint table and the last test run
	@tools/build debug sluice
	@tools/make-status
	@tools/make-matrix

bench-log: ## Measure the request log at ten million records
	@tools/build release sluice
	@bench/request-log

bench: ## Measure against nginx and write docs/benchmarks.md
	@tools/setup bench
	@tools/build release sluice
	@bench/run

fuzz: ## Every fuzz target for FUZZ_SECONDS, from the golden cases
	@tools/setup test
	@tools/fuzz $(FUZZ_SECONDS)

fresh: ## Prove `make run` and `make test` on a bare Debian 12 (root)
	@tools/fresh

install: build/release/sluice ## Install below DESTDIR and PREFIX, with a systemd unit
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)" --strip

clean: ## Remove what was built (not data/, not downloads)
	@rm -rf build
