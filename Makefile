PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A requirement range pulls CUDA packages on Linux. This build is for the CPU, and it is installed
# first and by itself.
TORCH ?= torch==2.13.0
# Compiling all modules of 150 packages to bytecode takes most of the time of an installation.
# Python compiles what is really imported, when it is imported for the first time.
INSTALL := install --quiet --disable-pip-version-check --no-compile
PIP := $(BIN)/pip $(INSTALL) --constraint constraints.txt

# Where an environment forbids that (container images like to), every process would compile PyTorch
# and transformers anew: 21 processor seconds instead of 9 until the first line of a command.
unexport PYTHONDONTWRITEBYTECODE

# What `make demo` runs; ScienceWorld's simulator, and the Java for it, are a package each.
CONFIG ?= demo
NAME := $(basename $(notdir $(CONFIG)))
EXTRA := $(if $(findstring scienceworld,$(NAME)),-scienceworld)

DEV_EXTRAS := dev,lora,math,scienceworld,textworld,peers,serve,suggestions,tensorboard,gymnasium
# Tests that need them make an environment of their own; the pins hold them, too.
APART_EXTRAS := wandb,mlflow,trackio
# verl asks for an older transformers than the one in use, and for packages that its advantage
# functions and losses never import; see the extra `peers` in pyproject.toml.
VERL := verl==0.9.1

.PHONY: bench demo docs test test-extra test-lowest mutation reference lint lock clean

demo: $(VENV)/.installed$(EXTRA) ## show what the project does: an agent learns household tasks, in minutes
	$(BIN)/declutch demo runs/$(NAME) --config $(CONFIG)

test: $(VENV)/.installed-dev ## run the linters, the type checker and the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n 2
	$(BIN)/pytest -n 2

test-extra: $(VENV)/.installed-dev ## run the tests that build an environment of their own, and the long ones
	$(BIN)/pytest -m extra tests/packaging
	$(BIN)/pytest -n 2 -m "(long or java) and not extra"

# Small faults in the code, one at a time, against the tests of the module. Not part of the
# continuous integration.
mutation: $(VENV)/.installed-dev ## say how many small faults in what computes the tests notice
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/run.py

# Not part of the continuous integration: its numbers are of the machine that it runs on.
bench: $(VENV)/.installed-dev ## run all benchmarks at a short size, and write bench/bench.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/table.py --out bench $(BENCH)

# The lower ends of the ranges in pyproject.toml, beside the PyTorch of this file. It is not part of
# the continuous integration, because it installs everything a second time.
LOWEST := .venv-lowest
test-lowest: ## run the tests of settings, commands and reports with the oldest allowed packages
	rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip $(INSTALL) "$(TORCH)"
	$(PYTHON) .ci/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip $(INSTALL) --requirement $(LOWEST)/lowest.txt pytest pytest-timeout hypothesis
	$(LOWEST)/bin/pip $(INSTALL) --no-deps --editable .
	$(LOWEST)/bin/pytest -q tests/config tests/cli tests/endpoint tests/report tests/runs

# An environment of its own, since building pages needs nothing of the package.
docs: ## build the documentation as a site in site/
	test -x .venv-docs/bin/mkdocs || ($(PYTHON) -m venv .venv-docs && \
	  .venv-docs/bin/pip $(INSTALL) --constraint constraints.txt mkdocs-material)
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

reference: $(VENV)/.installed ## write docs/reference anew from the settings, commands and metrics
	$(BIN)/python -m declutch.cli.reference docs/reference

lint: $(VENV)/.installed-dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolves the ranges of pyproject.toml anew, without constraints, in an environment of its own.
LOCK := .venv-lock
lock: ## write constraints.txt anew from the ranges in pyproject.toml
	rm -rf $(LOCK) && $(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/pip $(INSTALL) "$(TORCH)"
	$(LOCK)/bin/pip $(INSTALL) ".[$(DEV_EXTRAS),$(APART_EXTRAS),docs]"
	$(LOCK)/bin/pip $(INSTALL) --no-deps $(VERL)
	$(LOCK)/bin/pip freeze --disable-pip-version-check > $(LOCK)/freeze.txt
	(grep '^#' constraints.txt; grep -v -i '^#\|^-e\|^torch==\|declutch' $(LOCK)/freeze.txt) > $(LOCK)/constraints.txt
	mv $(LOCK)/constraints.txt constraints.txt && rm -rf $(LOCK)

# Each of these files says that a step of the installation is finished. A step that was interrupted
# may leave packages of which pip believes that they are whole; `.begun` is there then, and the next
# `make` makes the environment anew.
BEGUN := $(VENV)/.begun
ifneq ($(wildcard $(BEGUN)),)
.PHONY: $(VENV)/.torch
endif

$(VENV)/.torch:
	$(PYTHON) -m venv --clear $(VENV)
	touch $(BEGUN)
	$(BIN)/pip $(INSTALL) "$(TORCH)"
	rm $(BEGUN) && touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	touch $(BEGUN)
	$(PIP) --editable .
	rm $(BEGUN) && touch $@

$(VENV)/.installed-scienceworld: $(VENV)/.torch pyproject.toml constraints.txt
	touch $(BEGUN)
	$(PIP) --editable ".[scienceworld]"
	rm $(BEGUN) && touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml constraints.txt
	touch $(BEGUN)
	$(PIP) --editable ".[$(DEV_EXTRAS)]"
	$(PIP) --no-deps $(VERL)
	rm $(BEGUN) && touch $@ $(VENV)/.installed $(VENV)/.installed-scienceworld

clean: ## remove the virtual environments and the caches of the tools
	rm -rf $(VENV) $(LOCK) $(LOWEST) .pytest_cache .ruff_cache .mypy_cache .hypothesis
