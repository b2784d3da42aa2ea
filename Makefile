# Everything runs in .venv, which tools/setup_env.sh makes (see its variables).
SHELL := /bin/bash
VENV ?= .venv
PY := '$(VENV)/bin/python'
JOBS ?= 2
# the workers share the cores; torch's own threads would only fight for them
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS)
export VENV

.PHONY: help env demo test test-all lint small-scale docs docs-env linkcheck \
  clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env:  ## the environment in .venv (made once, then only checked)
	@tools/setup_env.sh

demo: env  ## train a method and its baseline on generated images, ~4 minutes
	$(PY) -m mmdet_assigners demo

test: env  ## the tests, under 15 minutes on two cores
	$(PYTEST) -m 'not slow and not gpu'

test-all: env  ## every test, also those that take minutes; with coverage
	$(PYTEST) --cov --cov-report=term

lint: env  ## ruff, mypy, codespell and the repository's own checks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	'$(VENV)/bin/codespell'
	$(PY) tools/dev/check_repo.py

small-scale: env  ## train what docs/small_scale.md lacks (hours), then write it
	$(PY) tools/dev/small_scale.py --jobs $(JOBS)

SPHINX := $(PY) -m sphinx -n -W --keep-going

docs-env: env
	@$(PY) -c 'import furo, myst_parser, sphinx_copybutton, sphinx_design' \
	  2>/dev/null || $(PY) -m pip install -q --no-build-isolation -e '.[docs]'

docs: docs-env  ## the documentation site, in docs/_build/html
	rm -rf docs/_build docs/api/generated docs/methods
	$(SPHINX) -b html docs docs/_build/html

linkcheck: docs-env  ## links of the documentation to other sites
	$(SPHINX) -b linkcheck docs docs/_build/linkcheck

clean:  ## remove caches, builds and work_dirs/demo; keeps .venv and data
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	rm -rf .coverage .coverage.* work_dirs/demo
	rm -rf docs/_build docs/api/generated docs/methods
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
