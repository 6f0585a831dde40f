PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A requirement range pulls CUDA packages on Linux; this build is for the CPU and is installed alone.
TORCH ?= torch==2.13.0

# What `make demo` runs; ScienceWorld's simulator, and the Java for it, are a package each.
CONFIG ?= configs/demo.yaml
NAME := $(basename $(notdir $(CONFIG)))
EXTRA := $(if $(findstring scienceworld,$(NAME)),-scienceworld)

.PHONY: demo test lint clean

demo: $(VENV)/.installed$(EXTRA) ## the main job: an agent learns household tasks, in minutes
	$(BIN)/declutch demo runs/$(NAME) --config $(CONFIG)

test: $(VENV)/.installed-dev ## linters, types, and the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

lint: $(VENV)/.installed-dev ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-scienceworld: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[scienceworld]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev,math,scienceworld,textworld,peers,serve,suggestions]"
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps verl==0.9.1
	touch $@ $(VENV)/.installed $(VENV)/.installed-scienceworld

clean: ## forget the virtual environment and the caches of the tools
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
