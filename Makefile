# Two commands: `make search` runs the first search, `make test` passes the tests. Both build .venv by themselves.
PYTHON ?= python3
UV_VERSION = 0.13.9
BIN = .venv/bin
READY = .venv/.installed
# Test files run two at a time: a search is a process that mostly waits for others to start.
PYTEST = $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

.PHONY: search test test-all check format lint types docs lock clean

search: $(READY)
	$(BIN)/python -m search.run

test: $(READY)
	$(PYTEST)

test-all: $(READY)
	$(PYTEST) --hypothesis-profile=full -m "slow or not slow"

check: format lint types
	$(PYTEST) --hypothesis-profile=full -m "not slow and not gpu and not network"

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/python -m search.keys docs/configuration.md --check

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m search.keys docs/configuration.md

# Where Python may not write bytecode on import, every process would compile torch and Ray again: 9 s against 4 s.
COMPILE = $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode)

# uv installs the lock in about a fifth of pip's time (43 s against 204 s, measured), so pip only fetches uv.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Python {v[0]}.{v[1]} found; 3.11 to 3.13 needed; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet $(COMPILE) -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $(READY)

lock:
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip compile --universal --all-extras --quiet --upgrade --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
