"""One computation of features, in a folder that gets its name when it is whole.

features.npy    float32 (n, H, W, C) or (n, F)
ids.npy         uint64 (n,), of each row
features.json   digest of features.npy, written last
done.json       while it grows: how many rows are finished, for whoever goes on after a kill
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..engines.engine import Engine
from ..files import allocate, digest_array, write_whole
from ..progress import Progress
from ..store.split import find_rows
from .batches import RELEASED_IMAGES, Rows
from .evaluate import full_batches

SAVE_EVERY_SECONDS = 5.0
COPIED_BYTES = 1 << 26


@dataclass(frozen=True)
class Wanted:
    """Images whose features are wanted: one view of pixel rows."""

    rows: Rows
    ids: npt.NDArray[np.uint64]
    """Of each row: its content digest, for a view mixed with the view's number and settings, see view_ids."""
    view: int = 0

    def part(self, number: int, of: int, batch_size: int) -> Wanted:
        """Part `number` (from 0) of so many, cut between batches; all parts together are the whole."""
        batches = -(-len(self.ids) // batch_size)
        start, stop = (batch_size * (batches * each // of) for each in (number, number + 1))
        return Wanted(self.rows.between(start, stop), self.ids[start:stop], self.view)

    def pixels(self, positions: Tensor) -> npt.NDArray[np.uint8]:
        """Of these images (int64), for an engine: uint8 (n, side, side, 3)."""
        rows = replace(self.rows, device=torch.device("cpu"))
        pixels: npt.NDArray[np.uint8] = rows.take(positions, self.view).numpy()
        return pixels


@dataclass(frozen=True, eq=False)
class Stored:
    """An array in the cache that has some of the wanted features."""

    array: npt.NDArray[np.float32]
    ids: npt.NDArray[np.uint64]


def located(
    olds: Sequence[Stored], ids: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(which array has each image, its row there), the first that has it; -1 for what none has."""
    origins, sources = np.full(len(ids), -1), np.full(len(ids), -1)
    for origin, old in enumerate(olds):
        rows = find_rows(old.ids, ids)
        new = (sources < 0) & (rows >= 0)
        sources[new], origins[new] = rows[new], origin
    return origins, sources


def copy(
    olds: Sequence[Stored],
    origins: npt.NDArray[np.int64],
    sources: npt.NDArray[np.int64],
    target: npt.NDArray[np.float32],
) -> None:
    """Into the target's rows what the arrays have of them. origins, sources: of these rows, see located."""
    for origin, old in enumerate(olds):
        have = np.flatnonzero(origins == origin)
        target[have] = old.array[sources[have]]


class Work:
    """One computation of features in a folder that is renamed when it is whole."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        wanted: Sequence[Wanted],
        ids: npt.NDArray[np.uint64],
        olds: Sequence[Stored],
        batch_size: int,
    ) -> None:
        self._folder, self._engine, self._wanted, self._batch_size = folder, engine, wanted, batch_size
        self._ids, self._olds = ids, olds
        self._origins, self._sources = located(olds, ids)

    def run(self, progress: Progress) -> int:
        """Fill the array; returns how many rows were computed (by this process)."""
        array = self._array()
        self._copy_old(array)
        done = self._done_before()
        computed, start, read, saved = 0, 0, 0, time.monotonic()
        total = int((self._sources < 0).sum())
        with progress.track(total, "features") as advance:
            for part in self._wanted:
                sources = self._sources[start : start + len(part.ids)]
                missing = torch.from_numpy(np.flatnonzero(sources < 0))
                for positions, count in full_batches(missing, self._batch_size):
                    before = start + int(positions[0])
                    if before >= done:
                        output = self._engine.compute(part.pixels(positions))
                        array[start + positions[:count].numpy()] = output[:count]
                        computed += count
                    advance(count)
                    read += count
                    if read >= RELEASED_IMAGES:
                        part.rows.release()
                        read = 0
                    if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                        self._save(array, start + int(positions[count - 1]) + 1)
                        saved = time.monotonic()
                part.rows.release()
                start += len(part.ids)
        array.flush()
        return computed

    def finish(self) -> npt.NDArray[np.float32]:
        """Write what makes the folder whole; the features, mapped."""
        array = map_features(self._folder)
        complete(self._folder, self._ids, array)
        (self._folder / "done.json").unlink(missing_ok=True)
        return array

    def _array(self) -> np.memmap[Any, np.dtype[np.float32]]:
        """The array to fill: begun by an interrupted process, or new."""
        path = self._folder / "features.npy"
        shape = (len(self._ids), *self._row_shape())
        if self._done_before():
            with contextlib.suppress(OSError, ValueError):
                array: np.memmap[Any, np.dtype[np.float32]] = np.load(path, "r+", allow_pickle=False)
                if array.shape == shape:
                    return array
        (self._folder / "done.json").unlink(missing_ok=True)
        array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        allocate(path)
        return array

    def _row_shape(self) -> tuple[int, ...]:
        return self._engine.compute(self._wanted[0].pixels(torch.zeros(1, dtype=torch.int64))).shape[1:]

    def _copy_old(self, array: npt.NDArray[np.float32]) -> None:
        step = max(1, COPIED_BYTES // array[:1].nbytes)
        for start in range(0, len(array), step):
            some = slice(start, start + step)
            copy(self._olds, self._origins[some], self._sources[some], array[some])

    def _done_before(self) -> int:
        """Rows that an interrupted process has finished, from the first on."""
        try:
            facts = json.loads((self._folder / "done.json").read_text())
            return int(facts["rows"]) if facts["missing"] == self._missing_digest() else 0
        except (OSError, ValueError, KeyError):
            return 0

    def _save(self, array: np.memmap[Any, np.dtype[np.float32]], rows: int) -> None:
        array.flush()
        facts = {"rows": rows, "missing": self._missing_digest()}
        write_whole(self._folder / "done.json", json.dumps(facts))

    def _missing_digest(self) -> str:
        return digest_array(self._sources < 0)


def complete(folder: Path, ids: npt.NDArray[np.uint64], array: npt.NDArray[np.float32]) -> None:
    """Write what stands beside features.npy, whose content this is."""
    np.save(folder / "ids.npy", ids)
    write_whole(folder / "features.json", json.dumps({"digest": digest_array(array)}))


def map_features(folder: Path) -> npt.NDArray[np.float32]:
    """features.npy of a folder, mapped copy-on-write: nothing is written back."""
    array: npt.NDArray[np.float32] = np.load(folder / "features.npy", mmap_mode="c", allow_pickle=False)
    return array
