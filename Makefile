# What one does often. Python is that of the environment that CONTRIBUTING.md sets up, unless told otherwise.
PYTHON ?= $(if $(wildcard .venv-test/bin/python),.venv-test/bin/python,python3)

.PHONY: test lint docs bench

test:
	$(PYTHON) -m pytest

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

docs:
	$(PYTHON) -m sphinx -W --keep-going -E -q -b html docs docs/_build/html

# These take about a minute each; the others, minutes to hours.
bench:
	$(PYTHON) -m benchmarks.cold_start
	$(PYTHON) -m benchmarks.open_file
