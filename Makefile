# ocsd: one command for each thing that people do with it. `make` alone lists them.
# The steps behind them are short scripts in .setup/; nothing here asks a question.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CONFIG ?= config/ocs.yaml
# Tools that .setup/ unpacked without root come before the system's.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

SOURCES := $(shell find src -name '*.ts' 2>/dev/null)

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  make \1\t/' | expand -t 16

setup: ## install what is missing: npm packages and redis-server
	@.setup/node.sh
	@.setup/redis.sh

build: setup dist/.built ## compile to dist/

dist/.built: $(SOURCES) tsconfig.json .tsconfig.build.json package-lock.json
	@rm -rf dist && npm run --silent build && touch dist/.built

run: build ## start the daemon with $(CONFIG) on the embedded store; Ctrl-C drains and stops it
	@exec node dist/ocsd.js --config $(CONFIG)

demo: build ## a simulated gateway plays a prepaid session against the running daemon
	@exec node dist/simulator/demo.js

check: build ## lint, types, and the shipped configuration
	@npm run --silent lint
	@npm run --silent types
	@node dist/ocsd.js --check --config $(CONFIG)

test: build ## install test tools, then lint, types and all tests; the last line counts them
	@.setup/test-tools.sh
	@.setup/test.sh

conformance: setup ## every requirement of RFC 6733, RFC 8506 and TS 32.299, tested; the table goes to test/conformance.md
	@npm run --silent conformance

nightly: build ## 100,000 random histories of the balances against their model, 3,000 of whole sessions; HISTORIES, SESSIONS, SEED change that
	@HISTORIES=$${HISTORIES:-100000} npx --no-install tap run --timeout=0 test/balance/model.test.ts
	@RUNS=$${RUNS:-5000} npx --no-install tap run --timeout=0 test/balance/exactness.test.ts
	@HISTORIES=$${SESSIONS:-3000} npx --no-install tap run --timeout=0 test/scenario/session-fuzz.test.ts

bench: build ## the benchmarks: one JSON line and a short table each
	@set -e; for file in bench/*.ts; do echo "== $$file"; node --import=tsx "$$file"; done

clean: ## remove what was built; data/ (balances!), node_modules/ and .tools/ stay
	@rm -rf dist .tap

.PHONY: help setup build run demo check test conformance nightly bench clean
