# `make run` (environment and the main job on the photos that come with the program) and `make test`
# (environment and all tests) are all that a user needs; `make bench` and `make bench-quick` measure speed.
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-peers
DATA ?= $(or $(BENCHGRAFT_DATA),../shared/data)

.PHONY: run test check bench bench-quick clean

run: .venv/ready
	$(BIN)/benchgraft reproduce

test: .venv/ready
	$(BIN)/pytest

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Against other programs, about 20 minutes: make bench DATA=DIR, with DIR/fruits-360 (docs/performance.md).
bench: .venv/ready $(PEERS)/ready
	$(BIN)/python benchmarks/peers/run.py --data $(DATA) --python $(PEERS)/bin/python $(BENCH)

# Against the committed figures of this program.
bench-quick: .venv/ready
	$(BIN)/python benchmarks/quick.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

$(PEERS)/ready: benchmarks/peers/requirements.txt constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --constraint constraints.txt --requirement benchmarks/peers/requirements.txt
	touch $(PEERS)/ready

clean:
	rm -rf .venv $(PEERS)
