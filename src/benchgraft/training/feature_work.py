"""Features in arrays on disk: rows of several as if they were one, and the making of a new array.

A new one grows in a folder that gets its name when it is whole:

features.npy    float32 (n, H, W, C) or (n, F)
ids.npy         uint64 (n,), of each row
features.json   digests of features.npy, stretch by stretch, written last
done.json       while it grows: how many rows are finished, for whoever goes on after a kill
"""

from __future__ import annotations

import contextlib
import json
import mmap
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
from ..parallel import in_parallel
from ..progress import Progress
from ..store.split import find_rows
from .batches import RELEASED_IMAGES, Rows, maps_of
from .evaluate import full_batches

SAVE_EVERY_SECONDS = 5.0
COPIED_BYTES = 1 << 26
DIGESTED_BYTES = 1 << 24
MOST_ARRAYS = 16
"""Where rows lie in more, those of the small ones are brought together: many updates must not cost more and
more."""


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
    counts = np.bincount(origins[origins >= 0], minlength=len(olds))
    rest = np.flatnonzero(counts)
    if len(rest) and origins.min() >= 0:
        # All rows as if they were the main array's, and then the others: no copy in between.
        main = int(counts.argmax())
        places = np.where(origins == main, sources, 0)
        np.take(olds[main].array, places, axis=0, out=target, mode="clip")
        rest = rest[rest != main]
    for origin in rest.tolist():
        have = np.flatnonzero(origins == origin)
        target[have] = olds[origin].array[sources[have]]


@dataclass(frozen=True, eq=False)
class Found:
    """Where features of the wanted images lie, each in the first array that has it."""

    ids: npt.NDArray[np.uint64]
    olds: Sequence[Stored]
    origins: npt.NDArray[np.int64]
    """Which array, -1 where none has it."""
    sources: npt.NDArray[np.int64]
    """Its row there."""

    @classmethod
    def in_arrays(cls, ids: npt.NDArray[np.uint64], olds: Sequence[Stored]) -> Found:
        """Images may be wanted that no array has."""
        return cls(ids, olds, *located(olds, ids))

    def moving(self) -> npt.NDArray[np.bool_]:
        """Which rows a new array is to have: those of no array, those of arrays that are mostly of other
        images, and, where arrays are too many, those of all small ones."""
        counts = np.bincount(self.origins[self.origins >= 0], minlength=len(self.olds))
        are_left = 2 * counts < [len(old.ids) for old in self.olds]
        if len(self.olds) - are_left.sum() > MOST_ARRAYS:
            are_left |= 2 * counts < len(self.ids)
        return np.append(are_left, True)[self.origins]  # of no array: -1, the last

    def with_new(self, new: Stored, moved: npt.NDArray[np.bool_]) -> Found:
        """Once an array has the rows that were moving, in their order. Arrays that nothing is taken from any
        more are let go."""
        left = np.unique(self.origins[~moved])
        olds = [*(self.olds[origin] for origin in left.tolist()), new]
        origins = np.where(moved, len(left), np.searchsorted(left, self.origins))
        return Found(self.ids, olds, origins, np.where(moved, np.cumsum(moved) - 1, self.sources))


class Joined:
    """Rows of several arrays as if they were one array, in the order in which the images were wanted."""

    dtype = np.dtype(np.float32)

    def __init__(self, found: Found) -> None:
        """Every image must have its row."""
        self._found = found
        self.shape = (len(found.ids), *found.olds[0].array.shape[1:])

    def __len__(self) -> int:
        return len(self._found.ids)

    def __getitem__(self, rows: npt.NDArray[np.int64] | slice) -> npt.NDArray[np.float32]:
        """These rows, in memory of their own."""
        origins, sources = self._found.origins[rows], self._found.sources[rows]
        taken = np.empty((len(origins), *self.shape[1:]), np.float32)
        copy(self._found.olds, origins, sources, taken)
        return taken

    @property
    def maps(self) -> tuple[mmap.mmap, ...]:
        """What the arrays are mapped from."""
        return tuple(found for old in self._found.olds for found in maps_of(old.array))


def as_one(found: Found) -> npt.NDArray[np.float32] | Joined:
    """The rows in the order wanted: the array that has exactly these, or what looks like it."""
    if len(found.olds) == 1 and np.array_equal(found.sources, np.arange(len(found.olds[0].ids))):
        return found.olds[0].array
    return Joined(found)


class Work:
    """The making of one array of features, in a folder that is renamed when it is whole."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        wanted: Sequence[Wanted],
        found: Found,
        moved: npt.NDArray[np.bool_],
        batch_size: int,
    ) -> None:
        """moved: which of the wanted rows the array gets: those that are there already from other arrays."""
        self._folder, self._engine, self._wanted, self._batch_size = folder, engine, wanted, batch_size
        self._ids, self._olds = found.ids[moved], found.olds
        self._origins, self._sources = found.origins[moved], found.sources[moved]
        self._is_missing, self._targets = found.sources < 0, np.cumsum(moved) - 1

    def run(self, progress: Progress) -> int:
        """Fill the array; returns how many rows were computed (by this process)."""
        array = self._array()
        self._copy_old(array)
        done = self._done_before()
        computed, start, read, saved = 0, 0, 0, time.monotonic()
        total = int((self._sources < 0).sum())
        with progress.track(total, "features") as advance:
            for part in self._wanted:
                is_missing = self._is_missing[start : start + len(part.ids)]
                targets = self._targets[start : start + len(part.ids)]
                missing = torch.from_numpy(np.flatnonzero(is_missing))
                for positions, count in full_batches(missing, self._batch_size):
                    into = targets[positions[:count].numpy()]
                    if into[0] >= done:
                        output = self._engine.compute(part.pixels(positions))
                        array[into] = output[:count]
                        computed += count
                    advance(count)
                    read += count
                    if read >= RELEASED_IMAGES:
                        part.rows.release()
                        read = 0
                    if time.monotonic() - saved > SAVE_EVERY_SECONDS:
                        self._save(array, int(into[-1]) + 1)
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
        if self._olds:
            return self._olds[0].array.shape[1:]
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
    rows = max(1, DIGESTED_BYTES // max(1, array[:1].nbytes))
    write_whole(folder / "features.json", json.dumps({"rows": rows, "digests": _digests(array, rows)}))


def is_whole(folder: Path, array: npt.NDArray[np.float32]) -> bool:
    """Whether its content is what was written. Raises OSError, ValueError, KeyError: that is not known."""
    facts = json.loads((folder / "features.json").read_text())
    if "digest" in facts:  # of an earlier version
        return bool(facts["digest"] == digest_array(array))
    return bool(facts["digests"] == _digests(array, facts["rows"]))


def _digests(array: npt.NDArray[np.float32], rows: int) -> list[str]:
    """Of so many rows at a time, by all cores: half a gigabyte takes one core 0.3 s."""
    return list(in_parallel(digest_array, (array[at : at + rows] for at in range(0, len(array), rows))))


def map_features(folder: Path) -> npt.NDArray[np.float32]:
    """features.npy of a folder, mapped copy-on-write: nothing is written back."""
    array: npt.NDArray[np.float32] = np.load(folder / "features.npy", mmap_mode="c", allow_pickle=False)
    return array
