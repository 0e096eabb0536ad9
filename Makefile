# make demo | test | check: each makes or reuses the virtual environment in .venv with the tested versions, then runs.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
# Options for pytest: make test ARGS='tests/sources -k wider'
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PINS := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# A PYTHON that was asked for is taken or refused; the default is only the first of those tried.
ifeq ($(origin PYTHON),file)
CANDIDATES := "$(PYTHON)" python3.13 python3.12 python3.11
else
CANDIDATES := "$(PYTHON)"
endif
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
VERSION := import sys; print("%d.%d" % sys.version_info[:2])

.DELETE_ON_ERROR:
.PHONY: help demo test check venv clean same-python

help:
	@echo "make demo    scenes, mining, training, evaluation and report, on this machine: python jobs/full_pipeline.py"
	@echo "make test    pytest; some of it: make test ARGS='tests/sources -k wider'"
	@echo "make check   formatting, lint, types"
	@echo "make venv    only the virtual environment in $(VENV); another Python: PYTHON=python3.12"
	@echo "make clean   remove $(VENV) and tool caches; data, runs and weights stay"

demo: $(VENV)/runtime.stamp
	$(BIN)/python jobs/full_pipeline.py

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy mtcnn jobs

venv: $(VENV)/runtime.stamp

# A stamp is newer than the pins it was installed from; it is not written when the installation fails.
$(VENV)/runtime.stamp: $(PINS) $(BIN)/python | same-python
	@echo "installing into $(VENV) (the first time: minutes)"
	$(INSTALL) -e .
	@touch $@

# The development extras include the runtime, so its stamp is good as well.
$(VENV)/dev.stamp: $(PINS) $(BIN)/python | same-python
	@echo "installing with the development extras into $(VENV) (the first time: minutes)"
	$(INSTALL) -e '.[dev]'
	@touch $(VENV)/runtime.stamp $@

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	    if "$$python" -c '$(SUPPORTED)' >/dev/null 2>&1; then \
	        echo "making $(VENV) with $$python"; \
	        "$$python" -m venv --clear $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "error: $$python could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	found=$$("$(PYTHON)" --version 2>&1) || found="not there"; \
	echo "error: Python 3.11, 3.12 or 3.13 is needed ($(PYTHON): $$found); name one with PYTHON=python3.12" >&2; \
	exit 1

# The environment that is there may have been made with another Python than the one asked for now.
same-python: $(BIN)/python
ifneq ($(origin PYTHON),file)
	@asked=$$("$(PYTHON)" -c '$(VERSION)') && there=$$($(BIN)/python -c '$(VERSION)') && \
	if [ "$$asked" != "$$there" ]; then \
	    echo "error: $(VENV) has Python $$there, PYTHON=$(PYTHON) is $$asked: run make clean first" >&2; exit 1; \
	fi
endif

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
	find mtcnn jobs tests -name __pycache__ -type d -prune -exec rm -rf {} +
