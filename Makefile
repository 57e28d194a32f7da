# Every habit is one word. Needed: make, and Python 3.11 or newer with venv. All else is fetched
# into .venv from the hash-locked files in requirements/. Where cargo is, `make test` and `make bench`
# build the native kernel too; the demo does without, so that it begins at once.

SHELL := /bin/sh
BIN := .venv/bin
SUPPORTED := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	$$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/python -m uv pip compile --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --system-certs --upgrade --quiet

# How the native kernel is compiled: release for use and for measuring, quick (with all checks on)
# for tests.
PROFILE := release

CLIPPY := PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo clippy --locked --profile quick --quiet

# The development environment can do all that the demo's can.
DEMO := $(if $(wildcard .venv/.dev),.venv/.dev,.venv/.demo)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

.PHONY: demo
demo: $(DEMO) ## a shop that buys and sells, its changes live, a replica proved equal
	@$(BIN)/penstock demo

.PHONY: native
native: .venv/.dev ## build the native kernel into .venv, where cargo is
	@$(BIN)/python tools/native.py --profile $(PROFILE)

.PHONY: test
test: PROFILE = quick
test: native ## all tests under both kernels, against real servers that they start and stop
	@$(BIN)/python -m tools.suite

.PHONY: unit
unit: .venv/.dev ## the tests that need no server
	@$(BIN)/python -m pytest tests/unit

.PHONY: lint
lint: .venv/.dev ## style, formatting, import walls
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

.PHONY: types
types: .venv/.dev ## mypy strict, pyright on the public interface
	@$(BIN)/mypy
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

.PHONY: rust
rust: .venv/.dev ## format, lints and tests of the native kernel itself
	@cd native && cargo fmt --all --check
	@cd native && $(CLIPPY) --workspace --all-targets -- --deny warnings
	@cd native && cargo test --locked --profile quick --quiet -p penstock-wire

.PHONY: fuzz
fuzz: SECONDS := 600
fuzz: .venv/.dev ## hostile bytes at every entry of the native kernel, SECONDS=600 for each
	@$(BIN)/python -m tools.fuzz --seconds $(SECONDS)

.PHONY: docs
docs: .venv/.dev ## build the documentation into site/; warnings fail
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: bench
bench: native ## measure speed, memory and latency
	@$(BIN)/python bench/decode.py
	@$(BIN)/python bench/postgres.py
	@$(BIN)/python bench/mysql.py
	@$(BIN)/python bench/kafka.py
	@$(BIN)/python bench/kafka_workers.py
	@$(BIN)/python bench/replica.py
	@$(BIN)/python bench/snapshot.py

.PHONY: servers
servers: .venv/.dev ## start the servers of the tests for use by hand, print their URLs
	@$(BIN)/python tools/servers.py start

.PHONY: crash
crash: PROFILE = quick
crash: native ## kill penstock and the server at random moments, compare the replica
	@PENSTOCK_CRASH=full $(BIN)/python -m pytest tests/crash

.PHONY: clean
clean: ## remove all that make made
	@if [ -f .servers/state.json ]; then $(BIN)/python tools/servers.py stop; fi
	@rm -rf .venv .servers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf dist site native/target
	@find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: lock
lock: $(BIN)/python ## choose new versions of all dependencies
	@$(PIP) install --require-hashes -r requirements/lock.txt
	@$(LOCK) pyproject.toml --group dev --extra all --extra demo -o requirements/dev.txt
	@$(LOCK) pyproject.toml --group build --extra demo -c requirements/dev.txt -o requirements/demo.txt
	@$(LOCK) --group lock -o requirements/lock.txt

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "penstock needs Python 3.11 or newer with venv and ensurepip; found: $$(python3 --version 2>&1)." >&2; \
		echo "Install one (on Debian and Ubuntu: python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@echo "creating .venv with $(PYTHON)" >&2
	@$(PYTHON) -m venv .venv

.venv/.demo .venv/.dev: .venv/.%: requirements/%.txt pyproject.toml | $(BIN)/python
	@echo "installing $<" >&2
	@$(PIP) install --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
