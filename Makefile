# Every target makes .venv by itself; PYTHON names the interpreter to make it with (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
# A file's tests share what they trained: each file goes to one process.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

.PHONY: help demo test test-slow lint check docs format wheel clean

help:
	@echo "make demo       install, and train on handwritten digits with 20 labels (half a minute once installed)"
	@echo "make test       install with the test extra, and run the tests with their coverage"
	@echo "make lint       formatting, lint, types"
	@echo "make check      both"
	@echo "make test-slow  the tests that train full-size networks"
	@echo "make docs       build the documentation into site/, every link checked"
	@echo "make format     rewrite the sources in the project's format"
	@echo "make wheel      build dist/*.whl"

demo: .venv/.installed
	$(BIN)/dmt demo

test: .venv/.installed-test
	$(BIN)/pytest -q -m "not slow" $(PARALLEL) --cov --cov-report=term --cov-fail-under=90

test-slow: .venv/.installed-test
	$(BIN)/pytest -m slow

lint: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

docs: .venv/.installed-docs
	$(BIN)/mkdocs build --strict --quiet

format: .venv/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: .venv/.installed-test
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf .venv build dist site .coverage .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "dmt needs Python 3.11 or newer; found $$($(PYTHON) --version). Name another one: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.installed-docs: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

.venv/.installed-test: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ .venv/.installed
