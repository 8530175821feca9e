"""What bounds each layer of the paper's network while it trains, and how far from its limit it is.

python benchmarks/layers.py [--rounds 5] [--epochs 3] [--batch 64] [--json FILE]

Training steps of the whole network on photos of solar cells (extra benchgraft[sample]), layer by layer (the
laps of `--profile`), in turn with a matrix product and a copy in memory. Prints Markdown; medians of rounds.

A layer's limit is the longer of two times: its multiplications and additions at the speed of the matrix
product, and the bytes that it has to move at the speed of a copy of as many (input and output once forward;
input, gradient and result once backward), which may lie in the caches. Weights are not counted. Both speeds
are the best of all rounds. A copy far larger than the caches is told beside it: a layer whose data had to
come from memory could not be faster than that.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peers.gemm import gemm_gflops
from torch import nn

from benchgraft.config.network import PAPER
from benchgraft.config.recipe import Recipe, Stop
from benchgraft.engines.device import prepare_device
from benchgraft.events import Events
from benchgraft.experiment.images import open_data, stage_images
from benchgraft.experiment.load import load
from benchgraft.networks.build import build
from benchgraft.networks.contract import INPUT
from benchgraft.networks.cost import block_costs
from benchgraft.networks.freeze import Frozen
from benchgraft.progress import NoProgress
from benchgraft.runfolder.ledger import environment, now
from benchgraft.runfolder.profiling import LapClock
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.training.batches import Rows, rows_of
from benchgraft.training.checkpoint import Checkpoint
from benchgraft.training.layer_laps import watch_layers
from benchgraft.training.loop import Task, fit

CLASSES = 2
COPIES = 10
LARGE_BYTES = 1 << 29
"""Read and written by a copy far larger than the caches."""


@dataclass(frozen=True)
class Work:
    """What one pass through a layer has to do for one batch."""

    flops: float
    moved: float
    """Bytes."""


def main() -> None:
    """Measure and print."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="in each round")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    measured = measure(options.rounds, options.epochs, options.batch)
    print("\n".join(markdown(measured)))
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


def measure(rounds: int, epochs: int, batch: int) -> dict[str, Any]:
    """Seconds of a step by part, with the speeds that bound it; the first round warms up and is left out."""
    device = prepare_device("cpu", None)
    steps: list[dict[str, float]] = []
    gemm: list[float] = []
    copies: list[dict[str, float]] = []
    large: list[float] = []
    known = works(batch)
    with tempfile.TemporaryDirectory() as temporary:
        rows = _rows(Path(temporary), device)
        for number in range(rounds + 1):
            # a file of its own: training goes on from a checkpoint that it finds
            checkpoint = Checkpoint(Path(temporary) / f"{number}.safetensors", "none")
            gemm.append(gemm_gflops())
            parts = _step(rows, epochs if number else 1, batch, checkpoint)
            if number:
                steps.append(parts)
                gemm.append(gemm_gflops())
                large.append(copy_gigabytes(LARGE_BYTES))
                copies.append({part: copy_gigabytes(work.moved) for part, work in known.items()})
    return {
        "date": now(),
        "machine": environment(torch.get_num_threads(), "cpu").model_dump(),
        "batch": batch,
        "rounds": rounds,
        "gemm_gflops": max(gemm),
        "copy_gigabytes": {part: max(each[part] for each in copies) for part in known},
        "large_copy_gigabytes": max(large),
        "seconds": {part: median(each.get(part, 0.0) for each in steps) for part in steps[0]},
        "step_seconds": median(sum(each.values()) for each in steps),
    }


def copy_gigabytes(moved: float) -> float:
    """GB/s of a copy by all threads that reads and writes so many bytes together; the best of a few."""
    source = torch.ones(int(moved) // 8)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(COPIES):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return moved / min(seconds) / 1e9


def _rows(work: Path, device: torch.device) -> Rows:
    experiment = load("solar-cells")
    opened = open_data("solar_cells", experiment.data["solar_cells"], None, work, NoProgress())
    images = stage_images(experiment, "scratch", opened)
    return rows_of(images.store.pixels, images.rows["train"], images.labels["train"], device)


def _step(rows: Rows, epochs: int, batch: int, checkpoint: Checkpoint) -> dict[str, float]:
    """Seconds of each part of one training step, the mean of all of these epochs."""
    clock, model = LapClock(lambda: None), build(PAPER, CLASSES, 0)
    watch_layers(model, clock)
    recipe = Recipe(learning_rate=0.01, schedule="constant", batch_size=batch, stop=Stop(epochs=epochs))
    few = replace(rows, index=rows.index[:, :1], labels=rows.labels[:1])
    task = Task("layers", model, Frozen(model, []), rows, few, recipe, 0)
    trained = fit(task, clock, checkpoint, Events())
    parts = clock.parts["train"]
    parts["rest"] = clock.seconds()["train"] - sum(parts.values())
    return {part: seconds / trained.position.step for part, seconds in parts.items()}


def works(batch: int) -> dict[str, Work]:
    """Part (`LAYER forward`, `LAYER backward`) -> what it has to do."""
    model = build(PAPER, CLASSES, 0)
    found: dict[str, Work] = {}
    size_in = 4.0 * 3 * PAPER.side**2 * batch
    found[f"{INPUT} forward"] = Work(0, size_in / 4 + size_in)
    for row in block_costs(model):
        layer = model.get_submodule(row.name)
        size_out = 4.0 * _product(row.output) * batch
        flops = 1e6 * row.megaflops * batch
        # the gradients for weights and input; nobody wants that of the pixels
        is_first = row.name == "conv2d_1"
        found[f"{row.name} forward"] = Work(flops, size_in + size_out)
        # a pooling layer needs the places of its maxima (int64) instead of its input
        kept = 2 * size_out if isinstance(layer, nn.MaxPool2d) else size_in
        found[f"{row.name} backward"] = Work(
            flops * (1 if is_first else 2), kept + size_out + (0 if is_first else size_in)
        )
        size_in = size_out
    return found


def _product(numbers: tuple[int, ...]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result


def markdown(measured: dict[str, Any]) -> Iterator[str]:
    """The table, then the whole step against both limits."""
    gemm, copies = measured["gemm_gflops"], measured["copy_gigabytes"]
    seconds, batch, step = measured["seconds"], measured["batch"], measured["step_seconds"]
    machine = measured["machine"]
    yield (
        f"Batch {batch}, {machine['threads']} threads of {machine['cpu']}, {measured['date']}, medians of "
        f"{measured['rounds']} rounds. Matrix product {gemm:,.0f} GFLOP/s, copies "
        f"{min(copies.values()):.0f} to {max(copies.values()):.0f} GB/s in the caches and "
        f"{measured['large_copy_gigabytes']:.0f} GB/s outside."
    )
    yield ""
    yield "| part | ms | of the step | GFLOP/s | of the product | GB/s | of the copy | limit, ms | bound by |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---|"
    known = works(batch)
    limits = 0.0
    for part, work in known.items():
        if part in seconds:
            limits += _limit(work, gemm, copies[part])[0]
            yield _line(part, seconds[part], step, work, gemm, copies[part])
    for part in (name for name in seconds if name not in known):
        yield f"| {part} | {1e3 * seconds[part]:.2f} | {seconds[part] / step:.1%} | | | | | | |"
    flops = sum(work.flops for work in known.values())
    yield ""
    yield (
        f"Whole step: {1e3 * step:.1f} ms, {batch / step:,.0f} images/s, {flops / step / 1e9:,.0f} GFLOP/s: "
        f"{flops / step / 1e9 / gemm:.0%} of the matrix product. All limits one after another: "
        f"{1e3 * limits:.1f} ms, {batch / limits:,.0f} images/s; the step takes {step / limits:.2f} times "
        "that."
    )


def _line(part: str, seconds: float, step: float, work: Work, gemm: float, copy: float) -> str:
    limit, bound = _limit(work, gemm, copy)
    flops, moved = work.flops / seconds / 1e9, work.moved / seconds / 1e9
    computes = [f"{flops:,.0f}", f"{flops / gemm:.0%}"] if work.flops else ["", ""]
    cells = [
        part,
        f"{1e3 * seconds:.2f}",
        f"{seconds / step:.1%}",
        *computes,
        f"{moved:.1f}",
        f"{moved / copy:.0%}",
        f"{1e3 * limit:.2f}",
        bound,
    ]
    return "| " + " | ".join(cells) + " |"


def _limit(work: Work, gemm: float, copy: float) -> tuple[float, str]:
    """Seconds that the batch takes at least, and what that is decided by."""
    computing, moving = work.flops / gemm / 1e9, work.moved / copy / 1e9
    return (computing, "product") if computing >= moving else (moving, "memory")


if __name__ == "__main__":
    main()
