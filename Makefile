.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/examples
REACTIONS ?= examples/reactions.csv
WORKERS ?= 2

# One thread per process: the molecules are small, and workers share the cores.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

# Two processes of one thread: half the time on two cores, and the 3 GB that each needs.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: help setup lint check test coverage docs tssearch benchmark clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed  ## an environment in .venv with everything pinned

# torch goes first and by its exact version, so that nothing pulls another build of it.
$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,label,parquet,train]'
	touch $@

lint: setup  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint  ## style, types and the fast tests: under a minute
	$(PYTEST) -q -m "not slow and not cluster and not training"

test: lint  ## all tests, and which took longest
	$(PYTEST) --durations=30 --durations-min=10

coverage: setup  ## all tests, and which lines they run
	$(PYTEST) -q --cov --cov-report=term:skip-covered --cov-report=html:runs/coverage

# README.md is the home page, and docs/reference follows from the code.
docs: setup  ## the site, in build/site; every link is checked
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/pictures/imports.py
	$(BIN)/mkdocs build --strict

tssearch: setup  ## the main job on five example reactions
	$(BIN)/horm-tssearch $(REACTIONS) --out $(OUT) --workers $(WORKERS)

benchmark: setup  ## the figures of docs/explanation/benchmarks.md (needs ../shared)
	$(BIN)/python -m benchmarks.reactions --workers $(WORKERS)

clean:  ## remove runs and caches
	rm -rf build runs .pytest_cache .mypy_cache .ruff_cache
