# `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
WAITING ?= 2000

.PHONY: setup demo test check serve bench interop conformance browser deploy-tools cluster-test clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": set PYTHON=...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

demo: setup
	@$(BIN)/python -m server.demo

serve: setup
	@$(BIN)/mcp-agent serve

test: setup
	@$(BIN)/python -m pytest --ignore tests/cluster -n 4 --dist worksteal -q

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m benchmarks

# All clients, or CLIENTS="mcp-2 fastmcp"; PAGE=docs/interop.md writes the page.
interop: setup
	@$(BIN)/python -m interop $(CLIENTS) $(if $(PAGE),--page $(PAGE))

# Against interop/fixture_server.py, or URL=http://127.0.0.1:8000/mcp, or SERVER="command that tells its address".
conformance: setup
	@$(BIN)/python -m interop.conformance $(if $(URL),--url $(URL)) $(if $(SERVER),--server-command "$(SERVER)")

# Chromium for the tests of the run page. Where it cannot be had they are skipped, with this as the reason.
browser:
	@which chromium chromium-browser google-chrome google-chrome-stable | grep -q . || { \
	  echo "installing Debian's chromium"; sudo=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); \
	  $$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends chromium >/dev/null; \
	} || echo "no Chromium could be installed: the tests of the run page are skipped"

# Helm and schemas for the tests of deploy/, got with Go. Where they cannot be had those tests are skipped, with this as the reason.
deploy-tools: setup
	@$(BIN)/python -m tests.deploy.tools || true

# A real Temporal cluster with PostgreSQL, mutual TLS and JWTs, killed and restarted. First installs and builds what is missing;
# where that cannot be had, says why and leaves the tests out. WAITING=200 has fewer runs wait for people.
cluster-test: setup
	@$(BIN)/python -m tests.cluster.programs || exit 0; \
	  CLUSTER_WAITING=$(WAITING) $(BIN)/python -m pytest tests/cluster -n 2 --dist loadscope -q --durations=15

clean:
	rm -rf $(VENV)
