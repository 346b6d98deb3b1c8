# The first Python that really runs (a pyenv shim may not) and is one of 3.10 to 3.12; else python3, and the set-up
# says what is wrong with it.
FITS = import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(or $(shell for python in python3 python3.12 python3.11 python3.10; do \
	$$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done),python3)
VENV ?= .venv
IN_VENV = $(VENV)/bin/python -m

.PHONY: help install demo test e2e lint format clean
.DEFAULT_GOAL := help

help:
	@echo 'make install   set up $(VENV): the tested versions, onedl-mmcv compiled for the torch here, one OpenCV'
	@echo 'make demo      the same, then draw a data set, train a small detector on it and show what it sees: minutes'
	@echo '               (ARGS=--resume goes on where an earlier demo stopped)'
	@echo 'make test      the same, then the tests (ARGS="-k name" goes to pytest)'
	@echo 'make e2e       the same, then the end-to-end runs through the shell scripts (ARGS="-m long": the longest)'
	@echo 'make lint      the same, then ruff: check and format'
	@echo 'make format    the same, then let ruff mend what it can'
	@echo 'make clean     remove caches and build outputs; $(VENV), data and work_dirs stay'
	@echo ''
	@echo 'TORCH_INDEX=https://download.pytorch.org/whl/cpu (or cu126, cu128, ...) takes another build of torch;'
	@echo 'PYTHON=python3.12 another Python.'

install:
	@$(PYTHON) -m damamba.cli.install --venv '$(VENV)' $(if $(TORCH_INDEX),--torch-index '$(TORCH_INDEX)')

demo: install
	@$(IN_VENV) damamba demo $(ARGS)

test: install
	$(IN_VENV) pytest $(ARGS)

e2e: install
	$(IN_VENV) pytest -m 'e2e and not long' $(ARGS)

lint: install
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .

format: install
	$(IN_VENV) ruff check --fix .
	$(IN_VENV) ruff format .

clean:
	rm -rf build dist *.egg-info tools/require_mmcv/build tools/require_mmcv/*.egg-info .pytest_cache .ruff_cache
	find damamba tests tools benchmarks configs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
