# Two commands: `make run` measures and reports, `make test` tests. Each sets itself up.
PYTHON ?= python3
VENV := .venv
AUDIT := .venv-audit
BIN := $(VENV)/bin
# A .venv that came from a wheelhouse is never added to from a registry (docs/offline.md).
OFFLINE ?= $(wildcard $(VENV)/.offline)
PINNED_TORCH := 2.13.0
ifeq ($(origin TORCH),undefined) # given, but empty: the host's own torch
TORCH := $(if $(OFFLINE),$(shell cat $(VENV)/.torch),$(PINNED_TORCH))
endif
WHEELHOUSE ?= wheelhouse
EXTRA ?= requirements-slurm.txt
TWO := -n 2 --dist loadscope --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
  $(if $(OFFLINE),--no-index --find-links $(WHEELHOUSE))
CHECK_WHEELHOUSE = PYTHONPATH=src $(PYTHON) tools/wheelhouse.py check $(WHEELHOUSE) --requirements requirements.txt
# What .venv would see of the host's packages, asked of the Python that `venv` takes them from.
CHECK_HOST_TORCH = $(PYTHON) -c 'import subprocess, sys; looked = subprocess.run([sys._base_executable, "-c", "import sys; from importlib.util import find_spec; sys.exit(find_spec(\"torch\") is None)"]); sys.exit(looked.returncode and "TORCH= takes the torch of $(PYTHON), which has none outside of virtual environments. Remedy: make TORCH= PYTHON=/the/python/that/has/torch ...")'

.PHONY: run what-if flops test test-faults test-slow test-gpu test-slurm test-wheelhouse bench contracts lint audit install install-slurm \
  wheelhouse install-offline supported-python clean help FORCE

run: $(VENV)/.installed ## measure every page and write results/report.html
	$(BIN)/mfuscope check --repair
	$(BIN)/snakemake

what-if: $(VENV)/.installed ## measure what reports recommend, beside the reference
	$(BIN)/mfuscope check --repair
	$(BIN)/snakemake --configfile config/what-if.yaml

flops: $(VENV)/.installed ## count FLOPs without a GPU: results/flops.md
	$(BIN)/snakemake flops

test: $(VENV)/.installed-dev ## run the tests that need no GPU
	$(BIN)/python -m pytest -m "not (gpu or slow or slurm or faults)" $(TWO)

test-faults: $(VENV)/.installed-dev ## run the tests that kill, fill and damage what the workflow needs
	$(BIN)/python -m pytest -m faults $(TWO)

test-slow: $(VENV)/.installed-slow ## run the tests of whole calls beyond the first, and of compilation
	$(BIN)/python -m pytest -m slow --ignore tests/tools/test_wheelhouse.py $(TWO)

test-gpu: $(VENV)/.installed-dev ## run the tests that need a CUDA GPU
	$(BIN)/python -m pytest -m gpu

# The daemons are Debian's, and started by the test itself; it must be root for that.
test-slurm: $(VENV)/.installed-dev $(VENV)/.installed-slurm ## run the workflow on a Slurm cluster of this machine
	@if ! command -v slurmctld munged >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; \
	fi
	$(BIN)/python -m pytest -m slurm -rP tests/workflow/test_internals.py tests/cluster/test_submission.py tests/cluster/test_slurm.py

test-wheelhouse: $(VENV)/.installed-dev ## collect a wheelhouse, then install and run without a network
	$(BIN)/python -m pytest -m slow tests/tools/test_wheelhouse.py

bench: $(VENV)/.installed ## measure mfuscope itself: overhead, trace reading, scale
	$(BIN)/python benchmarks/bench.py

contracts: $(VENV)/.installed ## generate docs/data-model.md, docs/models.md and contracts/openapi.yaml
	PYTHONPATH=tools $(BIN)/python -m generate

lint: $(VENV)/.installed-dev ## ruff, mypy, import-linter, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# Needs the network, and of it what a mirror of the package index may lack: PyPI's own record of known
# vulnerabilities. What could not be looked up fails it (--strict), so that silence means looked up.
audit: $(AUDIT)/.installed ## look up known vulnerabilities of every pinned requirement
	@{ echo "torch==$(TORCH)"; cat requirements.txt requirements-slurm.txt requirements-dev.txt requirements-slow.txt; } | $(AUDIT)/bin/pip-audit \
	  --strict --disable-pip --no-deps --progress-spinner off -r /dev/stdin

install: $(VENV)/.installed ## make .venv with everything that a run needs

install-slurm: $(VENV)/.installed-slurm ## the same, and what submits to Slurm

wheelhouse: supported-python ## collect every wheel that a run needs: PY=3.12 PLATFORM=manylinux_2_28_x86_64 TORCH= EXTRA=
	@PYTHONPATH=src $(PYTHON) tools/wheelhouse.py collect $(WHEELHOUSE) --torch "$(TORCH)" \
	  --python "$(PY)" --platform "$(PLATFORM)" --requirements requirements.txt $(EXTRA)

install-offline: supported-python ## make .venv from wheelhouse/ alone
	@torch="$$($(CHECK_WHEELHOUSE) $(if $(filter file,$(origin TORCH)),,--torch "$(TORCH)"))" && \
	  $(MAKE) --no-print-directory install OFFLINE=1 TORCH="$$torch"

clean: ## remove .venv; results stay
	rm -rf $(VENV) $(AUDIT)

help: ## list the targets
	@sed -n -E 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# Before anything else that PYTHON does: what an older one says of our code tells nobody what to do.
supported-python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "mfuscope needs Python 3.11 or newer, this is " + sys.version.split()[0] + ". Remedy: make PYTHON=python3.12 ...")'

# What was asked for is kept beside what was installed: another PYTHON makes .venv anew, another
# TORCH replaces torch. Nothing is cleared before it is known that the new one can be had.
$(VENV)/.python: supported-python
	@$(if $(TORCH),,$(CHECK_HOST_TORCH))
	@version="$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')$(if $(TORCH),, with the packages of the host)"; \
	if [ ! -x $(BIN)/python ] || [ "$$version" != "$$(cat $@ 2>/dev/null)" ]; then \
	  $(if $(OFFLINE),$(CHECK_WHEELHOUSE) --torch "$(TORCH)" >/dev/null || exit;) \
	  echo "making $(VENV) with $$($(PYTHON) -V)"; $(PYTHON) -m venv --clear $(if $(TORCH),,--system-site-packages) $(VENV) && echo "$$version" > $@; \
	fi
	@$(if $(OFFLINE),touch $(VENV)/.offline)

$(VENV)/.torch: $(VENV)/.python FORCE
	@[ -e $@ ] && [ "$$(cat $@)" = "$(TORCH)" ] || echo "$(TORCH)" > $@

$(VENV)/.installed: $(VENV)/.python $(VENV)/.torch requirements.txt pyproject.toml
	@$(if $(OFFLINE),$(CHECK_WHEELHOUSE) --torch "$(TORCH)" >/dev/null)
	@echo "installing $(if $(TORCH),torch $(TORCH) and )the pinned requirements into $(VENV) (once)"
	@$(if $(TORCH),$(PIP) torch==$(TORCH))
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps -e .
	@touch $@

$(VENV)/.installed-slurm: $(VENV)/.installed requirements-slurm.txt
	@$(PIP) -r requirements-slurm.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-slow: $(VENV)/.installed-dev requirements-slow.txt
	@$(PIP) --no-deps -r requirements-slow.txt
	@touch $@

$(AUDIT)/.installed: requirements-audit.txt
	@$(PYTHON) -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-audit.txt
	@touch $@
