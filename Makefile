# Two commands do everything on a machine with Python 3.11 and pip: `make sweep` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install sweep test check lint types bench docs clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## Make .venv with the pinned dependencies, and the tuner command in it

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("tuner needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable ".[all]"
	touch $(STAMP)

sweep: install  ## Run sweeps/digits.yaml (or continue it) and print the ranked table
	$(BIN)/tuner run sweeps/digits.yaml

test: install  ## Run the test suite
	$(BIN)/python -m pytest -n auto

check: lint types  ## Lint, types, layers

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q tests/test_layering.py

types: install
	$(BIN)/mypy

bench: install  ## Run the benchmarks that need no data but the bundled
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/throughput.py --space all

docs: install  ## Write the generated pages again
	$(BIN)/python -m tuner.spec.reference > docs/sweep-file.md

clean:  ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
