# Two commands: `make run` (environment and the main job on the photos that come with the program) and
# `make test` (environment and all tests).
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check clean

run: .venv/ready
	$(BIN)/benchgraft reproduce

test: .venv/ready
	$(BIN)/pytest

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

clean:
	rm -rf .venv
