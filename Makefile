# make setup      an environment in .venv with everything pinned
# make tssearch   the main job on five example reactions
# make test       all tests, linting and typing
# make docs       the site, in build/site; every link is checked
# make benchmark  the tables of docs/explanation/benchmarks.md (needs ../shared, 10 minutes)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/examples
REACTIONS ?= examples/reactions.csv
WORKERS ?= 2

# One thread per process: the molecules are small, and workers share the cores.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: setup test tssearch docs benchmark clean

setup: $(VENV)/.installed

# torch goes first and by its exact version, so that nothing pulls another build of it.
$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,label,train]'
	touch $@

tssearch: setup
	$(BIN)/horm-tssearch $(REACTIONS) --out $(OUT) --workers $(WORKERS)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
# Two processes of one thread: half the time on two cores, and the 3 GB that each needs.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# README.md is the home page, and reference/ follows from the code.
docs: setup
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/pictures/rooms.py
	$(BIN)/mkdocs build --strict

benchmark: setup
	$(BIN)/python -m benchmarks.reactions --workers $(WORKERS)

clean:
	rm -rf build runs .pytest_cache .mypy_cache .ruff_cache
