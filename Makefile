# Two commands: `make run` measures and reports, `make test` tests. Each sets itself up.
PYTHON ?= python3
TORCH ?= 2.13.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-$(TORCH)
INSTALLED_DEV := $(VENV)/.installed-dev-$(TORCH)

.PHONY: run flops test lint install clean help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(INSTALLED) ## measure every page and write results/report.html
	$(BIN)/snakemake

flops: $(INSTALLED) ## count FLOPs without a GPU: results/flops.md
	$(BIN)/snakemake flops

test: $(INSTALLED_DEV) ## run the tests that need no GPU
	$(BIN)/python -m pytest -m "not gpu and not slow"

lint: $(INSTALLED_DEV) ## ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

install: $(INSTALLED) ## make .venv with everything that a run needs

clean: ## remove .venv; results stay
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "mfuscope needs Python 3.11 or newer, this is " + sys.version.split()[0] + ". Remedy: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==$(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
