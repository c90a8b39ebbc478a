# The two commands of this repository are `make demo` and `make test`. Each sets up what it needs below .venv and
# node_modules, once; after that it starts at once, and installs caesura anew only when its sources have changed.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# Where there is a C compiler, compiling must not fail.
export CAESURA_COMPILE ?= $(if $(shell command -v $${CC:-cc}),1,)

SOURCES := $(shell find src -name '*.py') pyproject.toml hatch_build.py
CHECKED := src tests js/test benchmarks examples docs hatch_build.py

TOOLS := $(VENV)/.tools-installed
PACKAGE := $(VENV)/.caesura-installed
NPM := node_modules/.package-lock.json

.DELETE_ON_ERROR:
.PHONY: help demo test test-all setup-all programs spec lint bench clean

help:
	@echo "make demo   run SQLite, suspended thousands of times in mid-query, hundreds of C programs in one thread, and an agent that is killed and goes on"
	@echo "make test   run all tests, compiled and interpreted"
	@echo "make test-all  the same with Emscripten, Chromium, and a Node that has JSPI itself"
	@echo "make setup-all  set up what test-all and lint need; with -j3 in less time"
	@echo "make spec SUITE=folder  run WebAssembly's specification test suite, a checkout of it"
	@echo "make lint   run ruff, mypy, import-linter and tsc"
	@echo "make bench  measure against Binaryen and write docs/benchmarks.md and the figures in README.md; takes hours the first time"
	@echo "make clean  remove everything that these commands made"

demo: $(PACKAGE) $(NPM)
	@$(RUN) examples/sqlite_demo/run.py
	@echo
	@$(RUN) -m examples.many_guests
	@echo
	@$(RUN) -m examples.agent

test: $(PACKAGE) $(NPM)
	@$(RUN) -m tests

test-all: setup-all
	@$(RUN) -m tests compiled interpreted javascript native php_plain

setup-all: $(PACKAGE) $(NPM) programs

# What needs more than npm and PyPI have: Emscripten, Chromium, Rust, zsh and fish, installed where root may, and
# Composer, which is only unpacked. One after the other: apt-get runs alone.
programs:
	@sh tests/emscripten/setup.sh
	@sh js/test/setup.sh
	@sh tests/cli/setup.sh
	@sh tests/real/php/setup.sh
	@sh tests/guests/rust/setup.sh

# The suite is in no registry: CONTRIBUTING.md says how to get it. ONLY=NAME runs one script, NODE=1 runs them in Node.
spec: $(PACKAGE) $(NPM)
	$(if $(SUITE),,$(error make spec SUITE=folder: where is the checkout of the suite?))
	@$(RUN) -m tests.spec $(SUITE) $(if $(NODE),--node) $(foreach name,$(ONLY),--only $(name))

lint: $(TOOLS) $(NPM)
	$(RUN) -m ruff check $(CHECKED)
	$(RUN) -m ruff format --check $(CHECKED)
	$(RUN) -m mypy $(CHECKED)
	PYTHONPATH=src $(VENV)/bin/lint-imports --no-cache
	node node_modules/typescript/bin/tsc -p js/tsconfig.json
	node node_modules/typescript/bin/tsc -p js/tsconfig.report.json

# ROUNDS=9 measures more often; ONLY=size,transform measures some parts (python -m benchmarks --help lists them).
bench: $(PACKAGE) $(NPM)
	@sh benchmarks/setup.sh
	@$(RUN) -m benchmarks $(if $(ROUNDS),--rounds=$(ROUNDS)) $(if $(ONLY),--only=$(ONLY))

clean:
	rm -rf $(VENV) node_modules build .mypy_cache .pytest_cache .ruff_cache

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "caesura needs Python 3.11 or later: make PYTHON=...")'
	@echo "--- making the Python environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(TOOLS): pyproject.toml | $(RUN)
	@echo "--- installing the tools for building and testing"
	@$(RUN) -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	@$(RUN) -m pip install --disable-pip-version-check --quiet --group dev
	@$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps --group guests
	@touch $@

$(PACKAGE): $(SOURCES) $(TOOLS)
	@echo "--- compiling and installing caesura (a minute or two the first time)"
	@touch $@.new  # what changes while this runs is newer, and compiled the next time
	@$(RUN) -m pip install --disable-pip-version-check --quiet --no-build-isolation .
	@$(RUN) -m caesura --version
	@mv $@.new $@

$(NPM): package.json package-lock.json
	@echo "--- installing npm packages"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
