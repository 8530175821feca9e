"""The frozen prefix of a network at the bench: with its engine, and with the cache of what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..engines.engine import Engine
from ..engines.prefix import Prefix, prefix_of
from ..networks import model_file
from ..networks.contract import Network
from ..networks.freeze import Frozen, constant_prefix, match_blocks
from ..training.features import FeatureCache, prefix_key
from .bench import Bench
from .folder import BATCH_SIZE, Start

EXAMPLES = 8
"""Photos on which engines are compared when a graph is written."""


def prefix_for(
    model: Network, frozen: Frozen, blocks: list[str], photos: npt.NDArray[np.uint8], bench: Bench
) -> Prefix:
    """The constant blocks with the engine that computes them; why not the faster one is said once.

    photos: some, uint8 (n, side, side, 3).
    """

    def say(line: str) -> None:
        if line not in bench.said:
            bench.said.add(line)
            bench.events.say(line)

    example = photos[np.arange(EXAMPLES) % len(photos)]
    return prefix_of(model, frozen, blocks, example, bench.cache, bench.environment.threads, say)


def cache_of(
    place: Path, cut: str, prefix: Prefix, frozen: Frozen, side: int, look: str, batch_size: int
) -> FeatureCache:
    """Of the features at a cut, of photos that are stored in this size and look."""
    key = prefix_key(prefix.network, cut, frozen, prefix.engine_name, side, look, batch_size)
    return FeatureCache(place, key)


@dataclass(frozen=True, eq=False)
class FrozenParent:
    """What is constant of a parent while the rest trains, and its features at the end of that."""

    prefix: Prefix
    frozen: Frozen

    @property
    def engine(self) -> Engine:
        """What computes the features."""
        return self.prefix.engine(self.prefix.cuts[-1])

    def cache(self, place: Path, look: str) -> FeatureCache:
        """Of the features of photos of this look, as a run on a folder of photos finds them."""
        side = self.prefix.network.spec.side
        return cache_of(place, self.prefix.cuts[-1], self.prefix, self.frozen, side, look, BATCH_SIZE)


def frozen_parent(start: Start, photos: npt.NDArray[np.uint8], bench: Bench) -> FrozenParent:
    """photos: as for prefix_for, at the parent's side."""
    model = model_file.load(start.file, is_dormant=start.is_solved).to(bench.device)
    frozen = Frozen(model, match_blocks(model.block_names, start.freeze))
    return FrozenParent(prefix_for(model, frozen, constant_prefix(model, frozen), photos, bench), frozen)
