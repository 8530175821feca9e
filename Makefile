# `make run` (environment and the main job on photos of solar cells, from the package elpv-dataset) and
# `make test` (environment and all tests) are all that a user needs; `make bench`, `bench-quick`, `bench-scaling` and
# `bench-layers` measure speed.
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-peers
DATA ?= $(or $(BENCHGRAFT_DATA),../shared/data)

.PHONY: run test test-long check bench bench-quick bench-scaling bench-layers clean

run: .venv/ready
	$(BIN)/benchgraft reproduce

# Two workers: most tests use one core. Without PASSIVE their threads wait for each other by spinning, twice as long.
test: .venv/ready
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n 2 --dist worksteal

# What takes longer than a test run should: marked `long`, and 100,000 generated photos, killed and gone on with.
test-long: .venv/ready
	$(BIN)/pytest -m long
	$(BIN)/python benchmarks/many_photos.py build/many-photos

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Against other programs, about half an hour: make bench DATA=DIR, with DIR/fruits-360 (docs/performance.md).
# The whole paper against a run folder of `reproduce --data DIR`: BENCH="paper --ours runs/paper".
bench: .venv/ready $(PEERS)/ready
	$(BIN)/python benchmarks/peers/run.py --data $(DATA) --python $(PEERS)/bin/python $(BENCH)

# Against the committed figures of this program.
bench-quick: .venv/ready
	$(BIN)/python benchmarks/quick.py

# Cost against photos, classes and runs, and start-up of every command: about 25 minutes.
bench-scaling: .venv/ready
	$(BIN)/python benchmarks/scaling.py

# What bounds each layer in training: about a minute.
bench-layers: .venv/ready
	$(BIN)/python benchmarks/layers.py

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
