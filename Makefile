# `make demo` runs the main job, `make test` the tests. Both set up .venv and all they need on a fresh machine.
PYTHON ?= python3.11
BIN := .venv/bin
export OMP_NUM_THREADS ?= 2
# Two processes, one thread each; which tests stay together, and which go first, tests/conftest.py says.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: demo test test-all lint docs format clean
.DELETE_ON_ERROR:

demo: .venv/demo
	$(BIN)/sojourn demo

test: .venv/installed lint
	$(PYTEST) -m "not slow"

test-all: .venv/installed lint
	$(PYTEST)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed
	$(BIN)/python -m docs.make_cli

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(or $(shell command -v $(PYTHON)),python3) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	touch $@

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis sojourn-demo
