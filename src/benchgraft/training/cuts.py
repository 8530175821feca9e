"""Where the constant prefix may end: what features cost at each place, measured, and which one pays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..engines.device import wait_for
from ..engines.engine import Engine
from ..engines.torch_ import stored
from ..networks.contract import INPUT, Network
from .batches import Rows
from .evaluate import full_batches


def fastest(work: Callable[[], object], times: int) -> float:
    """Seconds of the quickest of so many tries."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def step_seconds(layers: nn.Module, inputs: Tensor, times: int) -> float:
    """Forward and back over a batch, without the update."""
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)

    def step() -> None:
        functional.cross_entropy(layers(inputs), labels).backward()  # type: ignore[no-untyped-call]
        for parameter in layers.parameters():
            parameter.grad = None

    return fastest(step, times)


@dataclass(frozen=True)
class Cut:
    """A place where the constant prefix may end, with what was measured there."""

    block: str
    image_bytes: int
    forward_seconds: float
    """Prefix forward of one image: what an uncached epoch pays for it."""
    read_seconds: float
    """Reading its features instead."""


def measure_cuts(network: Network, prefix: list[str], pixels: Rows, batch_size: int) -> list[Cut]:
    """Every possible cut of the prefix, timed block by block on one batch of real images."""
    positions, _ = next(full_batches(torch.arange(min(len(pixels), batch_size)), batch_size))
    blocks = [network.get_submodule(name).eval() for name in (INPUT, *prefix)]
    forward = [math.inf] * len(blocks)
    read = [math.inf] * len(blocks)
    image_bytes = [0] * len(blocks)
    with torch.no_grad():
        for _ in range(3):
            x = pixels.take(positions)
            for place, block in enumerate(blocks):
                start = time.perf_counter()
                x = block(x)
                wait_for(x.device)
                forward[place] = min(forward[place], time.perf_counter() - start)
                # A ReLU may work in place on its own block's output only, so `x` is this block's result.
                features = stored(x).cpu().numpy()
                image_bytes[place] = features[0].nbytes
                start = time.perf_counter()
                features.copy()
                read[place] = min(read[place], time.perf_counter() - start)
    return [
        Cut(name, image_bytes[place], sum(forward[: place + 1]) / batch_size, read[place] / batch_size)
        for place, name in enumerate(prefix, 1)
    ]


def measure_engine(engine: Engine, block: str, pixels: Rows, batch_size: int) -> Cut:
    """The one cut of an engine that computes all blocks of the prefix as one."""
    positions, _ = next(full_batches(torch.arange(min(len(pixels), batch_size)), batch_size))
    batch = pixels.take(positions).cpu().numpy()
    forward = read = math.inf
    for _ in range(3):
        start = time.perf_counter()
        features = engine.compute(batch)
        forward = min(forward, time.perf_counter() - start)
        start = time.perf_counter()
        features.copy()
        read = min(read, time.perf_counter() - start)
    return Cut(block, features[0].nbytes, forward / batch_size, read / batch_size)


def choose_cut(cuts: list[Cut], images: int, epochs: int, limit_bytes: int) -> str | None:
    """The cut that saves most time over the epochs and fits the limit; None if none pays.

    An uncached run pays forward_seconds for each image and epoch, a cached one pays it once and then reads.
    """
    best, most = None, 0.0
    for cut in cuts:
        saved = epochs * (cut.forward_seconds - cut.read_seconds) - cut.forward_seconds
        if images * cut.image_bytes <= limit_bytes and saved > most:
            best, most = cut.block, saved
    return best
