"""Features of photos as they are decoded, so that no pixels need be kept: shard by shard, into the cache."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..engines.engine import Engine, compute_batch
from .features import FeatureCache

SHARD = 4096
"""Photos, after which their features are on the disk and outlive the process."""

Pixels = npt.NDArray[np.uint8]
Digests = npt.NDArray[np.uint64]


class FeatureStream:
    """Takes photos as they come, in any order, and computes those whose features are not there.

    Where an engine's bits depend on the size of a batch, it is always full, so that a row has those that it
    has in every other run.
    """

    def __init__(self, start: Callable[[Pixels], tuple[FeatureCache, Engine]], batch_size: int) -> None:
        """start: called with the first photos, for where features are kept and what computes them."""
        self._start, self._batch_size = start, batch_size
        self._opened: tuple[FeatureCache, Engine] | None = None
        self._known: Digests = np.empty(0, np.uint64)
        self._waiting: list[tuple[Digests, Pixels]] = []
        self._done: list[tuple[Digests, npt.NDArray[np.float32]]] = []
        self.computed = 0
        self.seconds = 0.0
        """Of computing, in the thread that decoding waits for."""
        self.seconds_elsewhere = 0.0
        """Of having other machines decode and compute, before that."""

    def open(self, pixels: Pixels) -> FeatureCache:
        """Where features are kept. pixels: of some photos, which tell the engines apart."""
        if self._opened is None:
            self._opened = self._start(pixels)
            self._known = self._opened[0].ids()
        return self._opened[0]

    def watch(self, digests: Digests, pixels: Pixels) -> None:
        """Take some photos: content digests (n,), pixels uint8 (n, side, side, 3)."""
        started = time.perf_counter()
        self.open(pixels)
        is_new = ~np.isin(digests, self._known)
        self._waiting.append((digests[is_new], pixels[is_new]))
        while sum(len(ids) for ids, _ in self._waiting) >= self._batch_size:
            self._compute()
        if sum(len(ids) for ids, _ in self._done) >= SHARD:
            self.keep()
        self.seconds += time.perf_counter() - started

    def close(self) -> None:
        """Compute what is left."""
        started = time.perf_counter()
        if any(len(ids) for ids, _ in self._waiting):
            self._compute()
        self.keep()
        self._opened = None  # an engine holds the memory of a batch: hundreds of megabytes
        self.seconds += time.perf_counter() - started

    def keep(self) -> None:
        """Write what is computed: also where decoding was stopped, for whoever goes on."""
        if self._opened is not None and self._done:
            ids = np.concatenate([ids for ids, _ in self._done])
            self._opened[0].keep(ids, np.concatenate([rows for _, rows in self._done]))
            self._done = []

    def _compute(self) -> None:
        """One batch."""
        assert self._opened is not None
        ids = np.concatenate([ids for ids, _ in self._waiting])
        pixels = np.concatenate([pixels for _, pixels in self._waiting])
        self._waiting = [(ids[self._batch_size :], pixels[self._batch_size :])]
        ids, pixels = ids[: self._batch_size], pixels[: self._batch_size]
        rows = compute_batch(self._opened[1], pixels, self._batch_size)
        self._done.append((ids, np.asarray(rows, np.float32)))
        self.computed += len(ids)
