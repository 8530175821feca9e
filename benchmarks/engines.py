"""Features a second of a frozen prefix on real photos: PyTorch in two memory layouts, ONNX Runtime.

python benchmarks/engines.py --photos FOLDER [--network tf_efficientnet_lite0] [--rounds 5]

FOLDER holds JPEG photos at any depth, such as clothing/test; they are decoded before the clock starts. The
weights are random: they change no time. In every round the engines take turns, each with every number of
threads and photos a batch, so that other work on the machine falls on all of them; ratios are of medians. On
a machine that is shared, the processor time of a photo says more than photos a second.
Also: seconds until a first answer (graph written, graph from the cache), and how far engines differ.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchgraft.config.network import NetworkSpec
from benchgraft.engines.engine import Engine
from benchgraft.engines.prefix import prefix_of
from benchgraft.engines.torch_ import TorchEngine
from benchgraft.networks.build import build
from benchgraft.networks.contract import split_at
from benchgraft.networks.freeze import Frozen
from benchgraft.photos.decode import decode, rule_of
from benchgraft.photos.grey import FULL_RANGE
from benchgraft.photos.scan import images_below
from benchgraft.runfolder.ledger import environment, now
from benchgraft.shortcuts import keep_freed_memory

THREADS, BATCHES = (1, 2), (32, 64)


class _Contiguous(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """The usual layout of PyTorch: a map of each channel."""
        return x.contiguous()


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """(by the clock, of processor time) of one call."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def main() -> None:
    """Medians of the rounds, as JSON."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    network = build(NetworkSpec(family="timm", name=options.network), 10, seed=0).eval()
    rule = rule_of(network.spec.frame("letterbox"), FULL_RANGE)
    names = list(itertools.islice(images_below(options.photos), max(BATCHES)))
    photos = np.stack([decode((options.photos / name).read_bytes(), rule)[0] for name in names])
    cut = network.block_names[-2]
    first = split_at(network, cut)[0]
    usual = copy.deepcopy(first).to(memory_format=torch.contiguous_format)
    frozen = Frozen(network, network.block_names[:-1])
    start: dict[str, float] = {}
    engines: dict[tuple[str, int], Engine] = {}
    with tempfile.TemporaryDirectory() as cache:
        for threads in THREADS:
            engines["PyTorch", threads] = TorchEngine(
                nn.Sequential(usual[0], _Contiguous(), *usual[1:]), threads=threads
            )
            engines["PyTorch, channels last", threads] = TorchEngine(first, threads=threads)

            def runtime(threads: int = threads) -> None:
                prefix = prefix_of(network, frozen, frozen.blocks, photos[:8], Path(cache), threads, print)
                engines["ONNX Runtime", threads] = prefix.engine(cut)

            start["graph from the cache" if start else "graph written"] = seconds_of(runtime)[0]
    taken: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for batch, ((name, threads), engine) in itertools.product(BATCHES, engines.items()):
            pixels = photos[:batch]
            seconds = seconds_of(lambda engine=engine, pixels=pixels: engine.compute(pixels))
            taken.setdefault((name, threads, batch), []).append(seconds)
    expected = engines["PyTorch, channels last", 1].compute(photos)
    features = engines["ONNX Runtime", 1].compute(photos)
    rows: list[dict[str, Any]] = []
    for (name, threads, batch), values in taken.items():
        base = taken["PyTorch, channels last", threads, batch]
        clock, used = (median(each[part] for each in values[1:]) for part in (0, 1))
        base_clock, base_used = (median(each[part] for each in base[1:]) for part in (0, 1))
        rows.append(
            {
                "engine": name,
                "threads": threads,
                "batch": batch,
                "photos_per_second": round(batch / clock, 1),
                "over_channels_last": round(base_clock / clock, 2),
                "processor_ms_a_photo": round(1000 * used / batch, 2),
                "over_channels_last_by_processor_time": round(base_used / used, 2),
            }
        )
    result = {
        "date": now(),
        "network": network.spec.model_dump(),
        "cut": cut,
        "engines": sorted({engine.name for engine in engines.values()}),
        "rates": rows,
        "seconds_until_ready": {name: round(seconds, 2) for name, seconds in start.items()},
        "largest_difference": float(np.abs(features - expected).max()),
        "largest_feature": float(np.abs(expected).max()),
        "machine": environment(torch.get_num_threads(), "cpu").model_dump(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
