# The first Python that really runs (a pyenv shim may not) and is one of 3.10 to 3.14; else python3.
FITS = import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done),python3)
VENV ?= .venv
IN_VENV = $(VENV)/bin/python -m
TORCH = $(shell grep -E '^torch(vision)?==' requirements.txt)

.PHONY: help install demo test test-faults e2e soak gpu lint format flags clean $(if $(TORCH_INDEX),$(VENV)/installed)
.DEFAULT_GOAL := help

help:
	@echo 'make install   set up $(VENV) with the tested versions, in minutes, and check it'
	@echo 'make demo      the same, then draw a data set, train a small detector on it and show what it sees: minutes'
	@echo '               (ARGS=--resume goes on where an earlier demo stopped)'
	@echo 'make test      the same, then the tests (ARGS="-k name" goes to pytest)'
	@echo 'make test-faults     the same, then harm to real trainings: kills, full disks, bad data (minutes)'
	@echo 'make e2e       the same, then the end-to-end runs through the shell scripts (ARGS="-m long": the longest)'
	@echo 'make soak      the same, then a training killed 20 times, held against one that nobody disturbed'
	@echo 'make gpu       on a machine with a GPU, with the active Python: tests, trainings, benchmarks, in ten minutes'
	@echo 'make lint      the same as make install, then ruff: check and format'
	@echo 'make format    the same, then let ruff mend what it can'
	@echo 'make clean     remove caches and build outputs; $(VENV), data and work_dirs stay'
	@echo ''
	@echo 'TORCH_INDEX=https://download.pytorch.org/whl/cpu (or cu126, cu128, ...) takes another build of torch;'
	@echo 'PYTHON=python3.12 another Python.'

install: $(VENV)/installed

$(VENV)/installed: requirements.txt setup.py pyproject.toml
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(IN_VENV) pip install --force-reinstall --index-url $(TORCH_INDEX) $(TORCH))
	$(IN_VENV) pip install -r requirements.txt
	$(IN_VENV) damamba doctor
	@touch $@

demo: install
	@$(IN_VENV) damamba demo $(ARGS)

test: install
	OMP_NUM_THREADS=1 $(IN_VENV) pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-faults: install
	OMP_NUM_THREADS=1 $(IN_VENV) pytest -n auto --maxprocesses 2 --dist loadfile -m faults $(ARGS)

e2e: install
	OMP_NUM_THREADS=1 $(IN_VENV) pytest -n auto --maxprocesses 2 --dist loadfile --no-loadscope-reorder -m 'e2e and not long' $(ARGS)

soak: install
	$(VENV)/bin/python benchmarks/soak.py $(ARGS)

gpu:
	@$$(command -v python || command -v python3) benchmarks/gpu.py $(ARGS)

lint: install
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .

format: install
	$(IN_VENV) ruff check --fix .
	$(IN_VENV) ruff format .

flags: install
	$(VENV)/bin/python docs/flags.py

clean:
	rm -rf build dist *.egg-info tools/opencv_python/build tools/opencv_python/*.egg-info .pytest_cache .ruff_cache
	find damamba tests tools benchmarks configs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
