"""A few speeds as ratios to a matrix product, against the committed ones: is anything slower than it was?

python benchmarks/quick.py [--rounds 7] [--update]

Measured in every round, in turn with the matrix product: training steps, forward passes and a warm retraining
on photos of solar cells (extra benchgraft[sample]), decoding of generated JPEG files, small and ordinary, and
features of EfficientNet-Lite0. A speed counts as slower only if its best round here is below the worst round
of the committed file: then no spread of either run explains it, and the exit status is 1. `--update` writes
benchmarks/results/quick.json instead. Figures of another CPU are shown, not judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peers.gemm import gemm_gflops
from PIL import Image

from benchgraft.config.experiment import Experiment
from benchgraft.config.network import PAPER, NetworkSpec
from benchgraft.config.recipe import Recipe, Stop
from benchgraft.engines.prefix import prefix_of
from benchgraft.events import Events
from benchgraft.experiment.bench import Bench, make_bench
from benchgraft.experiment.images import open_data, stage_images
from benchgraft.experiment.load import load
from benchgraft.experiment.run import Run
from benchgraft.experiment.stage import run_stage
from benchgraft.files import shipped_path
from benchgraft.networks import model_file
from benchgraft.networks.build import build
from benchgraft.networks.freeze import Frozen
from benchgraft.parallel import in_parallel, pieces
from benchgraft.photos.decode import Rule, decode
from benchgraft.photos.readers import open_source
from benchgraft.photos.synthetic import draw_varied, write_synthetic
from benchgraft.runfolder.ledger import Clock, environment, now
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.store.classes import StageImages
from benchgraft.store.store import open_store
from benchgraft.training.batches import Rows, rows_of
from benchgraft.training.checkpoint import Checkpoint
from benchgraft.training.evaluate import evaluate
from benchgraft.training.loop import Task, fit

TARGET = Path(__file__).resolve().parent / "results" / "quick.json"
BATCH = 128
PICTURES = 128
"""Of a network of timm's, and of decoding."""
Measurement = Callable[[], float]


def main() -> None:
    """Measure, then update or judge."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    measured = measure(options.rounds)
    if options.update:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(json.dumps(measured, indent=1) + "\n")
        print(f"wrote {TARGET}")
        return
    committed = json.loads(TARGET.read_text())
    slower = compare(measured, committed)
    if measured["machine"]["cpu"] != committed["machine"]["cpu"]:
        print(f"the committed figures are of {committed['machine']['cpu']}: not judged")
    elif slower:
        sys.exit(f"slower than the committed figures beyond the spread of both: {', '.join(slower)}")


def measure(rounds: int) -> dict[str, Any]:
    """Every measurement once a round, with the matrix product before and after it."""
    speeds: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    gemm = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        bench = make_bench(work / "run", work / "cache", "cpu")
        measurements = _measurements(bench)
        for one in measurements.values():
            one()
        for _ in range(rounds):
            for name, one in measurements.items():
                before, value, after = gemm_gflops(), one(), gemm_gflops()
                gemm += [before, after]
                speeds.setdefault(name, []).append(value)
                ratios.setdefault(name, []).append(value / ((before + after) / 2))
    return {
        "date": now(),
        "machine": environment(torch.get_num_threads(), "cpu").model_dump(),
        "rounds": rounds,
        "gemm_gflops": {"median": median(gemm), "lowest": min(gemm), "highest": max(gemm)},
        "speeds": {name: median(values) for name, values in speeds.items()},
        "ratios": {
            name: {"median": median(values), "lowest": min(values), "highest": max(values)}
            for name, values in ratios.items()
        },
    }


def compare(measured: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """Print every speed with its ratio then and now; the names of those that are slower beyond noise."""
    slower = []
    for name, here in measured["ratios"].items():
        then = committed["ratios"].get(name)
        if then is None:
            print(f"{name:32} {measured['speeds'][name]:10,.1f}   no committed figure")
            continue
        print(
            f"{name:32} {measured['speeds'][name]:10,.1f}   per GFLOP/s {here['median']:.3f} "
            f"({here['lowest']:.3f} to {here['highest']:.3f}), committed {then['median']:.3f} "
            f"({then['lowest']:.3f} to {then['highest']:.3f}), {here['median'] / then['median']:.2f}x"
        )
        if here["highest"] < then["lowest"]:
            slower.append(name)
    return slower


@contextmanager
def _timed() -> Iterator[list[float]]:
    """A list that holds the block's seconds afterwards."""
    took: list[float] = []
    start = time.perf_counter()
    yield took
    took.append(time.perf_counter() - start)


def _measurements(bench: Bench) -> dict[str, Measurement]:
    """Name -> what measures it; all are speeds, more is better."""
    experiment = load("solar-cells")
    opened = open_data("solar_cells", experiment.data["solar_cells"], None, bench.cache, bench.events)
    images = stage_images(experiment, "stage3", opened)
    rows = rows_of(images.store.pixels, images.rows["train"], images.labels["train"], bench.device)
    run_stage(Run(experiment, "stage3", "quick", 0), images, 0.0, bench)
    jpegs = bench.folder / "jpegs"
    write_synthetic(jpegs, train_per_class=60, test_per_class=15)  # 600 fruits of 100 x 100
    return {
        "training steps, images/s": lambda: _training(rows, bench),
        "forward, images/s": lambda: _forward(rows),
        "decoding, photos/s": lambda: _decoding(jpegs / "fruits-360", bench),
        "warm retrainings a minute": lambda: _retraining(experiment, images, bench),
        "imagenet features, photos/s": _featurising(bench),
        "ordinary photos decoded/s": _ordinary(bench.folder / "ordinary"),
    }


def _training(rows: Rows, bench: Bench) -> float:
    """Two epochs of the whole network."""
    clock, model = Clock(), build(PAPER, 2, 0)
    recipe = Recipe(learning_rate=0.01, schedule="constant", batch_size=BATCH, stop=Stop(epochs=2))
    few = replace(rows, index=rows.index[:, :1], labels=rows.labels[:1])
    checkpoint = Checkpoint(bench.folder / "none.safetensors", "none")
    checkpoint.remove()  # an earlier round of more than 15 s has left one
    task = Task("quick", model, Frozen(model, []), rows, few, recipe, 0)
    fit(task, clock, checkpoint, Events())
    return 2 * (len(rows) // BATCH) * BATCH / clock.seconds()["train"]


def _forward(rows: Rows) -> float:
    """Whole network, pixels in memory."""
    model = model_file.load(model_file.read(shipped_path("shipped:stage2.safetensors")))
    with _timed() as took:
        evaluate(model, rows, BATCH)
    return len(rows) / took[0]


def _decoding(photos: Path, bench: Bench) -> float:
    """A store from JPEG files, each time anew."""
    with tempfile.TemporaryDirectory(dir=bench.cache) as temporary, _timed() as took:
        store = open_store(open_source("fruits360", photos), Path(temporary))
        count = len(store)
    return count / took[0]


def _featurising(bench: Bench) -> Measurement:
    """The frozen blocks of EfficientNet-Lite0 on generated pictures; the weights change no time."""
    network = build(NetworkSpec(family="timm", name="tf_efficientnet_lite0"), 10, seed=0).eval()
    pixels = draw_varied(PICTURES, network.spec.side, seed=0)
    frozen = Frozen(network, network.block_names[:-1])
    threads = bench.environment.threads
    prefix = prefix_of(network, frozen, frozen.blocks, pixels[:8], bench.cache, threads, print)
    engine = prefix.engine(frozen.blocks[-1])

    def measured() -> float:
        with _timed() as took:
            engine.compute(pixels)
        return len(pixels) / took[0]

    return measured


def _ordinary(folder: Path) -> Measurement:
    """JPEG files of 400 x 533 pixels to squares of 224, letterbox, on all cores."""
    folder.mkdir()
    for number, picture in enumerate(draw_varied(PICTURES, 224, seed=1)):
        Image.fromarray(picture).resize((533, 400)).save(folder / f"{number:04}.jpg", quality=90)
    raws = [path.read_bytes() for path in sorted(folder.iterdir())]
    rule = Rule(224, "letterbox", "bicubic")

    def measured() -> float:
        with _timed() as took:
            list(in_parallel(lambda part: [decode(raw, rule) for raw in part], pieces(raws, 8)))
        return len(raws) / took[0]

    return measured


def _retraining(experiment: Experiment, images: StageImages, bench: Bench) -> float:
    """One stage 3 with features from the cache, from stored images to the written model file."""
    with _timed() as took:
        run_stage(Run(experiment, "stage3", "quick", 0, want_warm=True), images, 0.0, bench)
    return 60 / took[0]


if __name__ == "__main__":
    main()
