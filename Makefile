# Two commands do everything on a machine with Python 3.11 and pip: `make sweep` and `make test`.
# Another Python: make PYTHON=python3.12 sweep
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TO_RUN := $(VENV)/.installed-to-run
RECORD ?= results/gpu.json
SECONDS ?= 300
PYTEST = $(BIN)/python -m pytest -n auto

# Where it is set, as in many container images, every process that a test starts would compile all of tuner anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install sweep course quick test deep exactness mutants soak check lint types bench gpu docs clean

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## Make .venv with the pinned dependencies, of the tests too, and the tuner command in it

# A .venv without a working pip is what a broken attempt leaves behind; it is made anew.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit("tuner needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
endef

# With uv where it is there, unless pip has settings (an index of one's own, say) that uv would not see. Bytecode is left to the
# first import, as uv does: pip would compile all of every package, which takes longer than the rest.
INSTALL = sh -c 'if command -v uv >/dev/null && [ -z "$$($(BIN)/python -m pip config list)" ]; \
	then exec uv pip install --python $(BIN)/python "$$@"; \
	else exec $(BIN)/python -m pip install --no-compile --disable-pip-version-check "$$@"; fi' install --quiet --constraint constraints.txt

$(STAMP): pyproject.toml constraints.txt
	$(make_venv)
	$(INSTALL) --editable ".[dev]"
	@touch $(STAMP) $(TO_RUN)

$(TO_RUN): pyproject.toml constraints.txt
	$(make_venv)
	$(INSTALL) --editable .
	@touch $(TO_RUN)

sweep: $(TO_RUN)  ## Run sweeps/digits.yaml (or continue it) and print the ranked table
	@$(BIN)/tuner run sweeps/digits.yaml

course: install  ## Run the lessons of Andrew Ng's course, a sweep or a few each (LESSONS="momentum dropout": these alone)
	@$(BIN)/python examples/course.py $(LESSONS)

quick: install  ## Run the tests that take about a tenth of a second at most: what one runs while writing
	$(PYTEST) -n logical -q -m "not slow and not deep and not gpu"

test: install  ## Run the test suite
	$(PYTEST) -m "not deep"

deep: install  ## Run the rest: matrices, races, and each property on three times the examples; says how long each part takes
	TUNER_DEPTH=deep bash tests/in_parts.sh $(PYTEST)

exactness: install  ## Run the tests of what is promised bit for bit under other processors' instructions (RUNS="old busy": these alone)
	$(BIN)/python tests/exactness.py $(RUNS)

mutants: install  ## Put 200 faults in at random, and list those that no test sees (an hour)
	$(INSTALL) --editable ".[dev,mutants]"
	$(BIN)/python -m tests.mutants --count 200 --seed 0

soak: install  ## Kill real runs, and what comes after them, at 250 random moments, and compare what comes of it (over an hour)
	TUNER_SOAK=200 $(BIN)/python -m pytest -n auto -q tests/reliability/test_kills.py -k soak
	TUNER_SOAK=200 $(BIN)/python -m pytest -n 0 -q tests/reliability/test_cluster.py -k killed_at_random

check: lint types  ## Style, layers, dead code, spelling and types

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.dead_code
	$(BIN)/codespell *.md docs tuner benchmarks examples sweeps Makefile
	$(BIN)/python -m pytest -q tests/test_layering.py

types: install
	$(BIN)/mypy

bench: install  ## Measure our overhead and our throughput (minutes; best on an idle machine)
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/throughput.py --space all

gpu: install  ## Test and measure on a GPU, in 5 minutes (SECONDS=600, ONLY=throughput,widths); the record is RECORD, results/gpu.json
	$(BIN)/python benchmarks/on_gpu.py --out $(RECORD) --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

docs: install  ## Write the generated pages again
	$(BIN)/python docs/sweep_file.py > docs/sweep-file.md

clean:  ## Remove the virtual environment and caches (results stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
