# Everything runs from a clean clone; the environment is made on first use, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One torch for everyone who runs the standalone tool: its CPU build where pip is given one (see README).
TORCH ?= torch>=2.1
WORK ?= build/embedded-model
ICONS := $(WORK)/icons/node_modules/@iconify-json

.PHONY: install install-dev demo test test-slow lint types embedded-model clean

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml tools/install_torch.py | $(VENV)/bin/python
	$(BIN)/python tools/install_torch.py
	$(BIN)/pip install --quiet -e ".[standalone]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

demo: install
	$(BIN)/dreamartist demo

test: install-dev
	$(BIN)/pytest

test-slow: install-dev
	$(BIN)/pytest -m slow

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build demo-output
