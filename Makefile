# `make demo` and `make test` start from a fresh clone: they make .venv and install into it.
#
#   PYTHON=python3.12 make test          another interpreter (3.11 or newer)
#   TORCH=torch==2.13.0 make test        this torch, installed before anything asks for one;
#                                        unset, the package index decides (on Linux a CUDA build)
#   EXTRAS=demo,dev,eval make test        other optional dependencies of pyproject.toml

PYTHON ?= python3
TORCH ?=
EXTRAS ?= compressai,demo,dev,eval
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
ASKED := $(VENV)/.asked
WISHES = $(PYTHON) $(TORCH) $(EXTRAS)
STRESS ?= 20
FUZZ ?= 3600

.DEFAULT_GOAL := help
.PHONY: help demo test lint stress bench golden clean FORCE

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED)  ## encode and decode a real clip, with a table and a picture beside x264
	$(BIN)/gancodec demo

test: lint  ## lint, then every test (with Chromium; GANCODEC_NO_BROWSER=1 leaves the browser out)
	$(BIN)/python -m pytest

lint: $(INSTALLED)  ## formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The campaigns of docs/reliability.md, with what each of them counted. Hours, so a test may take long.
stress: $(INSTALLED)  ## randomised tests, STRESS (20) times the rounds, then FUZZ (3600) s of fuzzing
	GANCODEC_STRESS=$(STRESS) $(BIN)/python -m pytest -m stress -rP --timeout 7200
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ)

bench: $(INSTALLED)  ## speed of encoding and decoding on this machine
	$(BIN)/gancodec bench

golden: $(INSTALLED)  ## the file that the selftest decodes, anew; only together with new weights
	$(BIN)/python -m gancodec.selftest gancodec/weights/selftest.gvc

clean:  ## remove everything that these commands made, .venv too (training runs stay)
	rm -rf $(VENV) build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find gancodec bitstream eval tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs once, and again when pyproject.toml changes or something else is asked for. The torch asked
# for stands in both commands: in the second it keeps the resolver from replacing what the first put.
$(INSTALLED): pyproject.toml $(ASKED)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gancodec needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": name another with PYTHON=python3.12")'
	@$(BIN)/python -m pip --version 2>/dev/null | grep -q "python $$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
		|| $(PYTHON) -m venv --clear $(VENV)
	$(if $(strip $(TORCH)),$(PIP) install $(foreach word,$(TORCH),'$(word)'))
	$(PIP) install $(foreach word,$(filter torch%,$(TORCH)),'$(word)') -e '.[$(EXTRAS)]'
	@echo '$(WISHES)' > $(ASKED) && touch $@

# What was asked for, touched only when that changes.
$(ASKED): FORCE
	@mkdir -p $(VENV)
	@echo '$(WISHES)' | cmp -s - $@ || echo '$(WISHES)' > $@
