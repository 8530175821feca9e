"""The feature cache: the output of a constant prefix for every image of a stage, computed once.

The keys cover everything that the features depend on: the network, the blocks of the prefix with
their weights and buffers, the stored size and resize rule, batch size, dtype, and the engine with its
version; and the content of every image in order. A retrained earlier stage can therefore never serve
stale features.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..cache import hold
from ..config.recipe import Augmentation
from ..engines.engine import Engine
from ..engines.prefix import described
from ..engines.torch_ import stored
from ..errors import RunFolderError, StorageError
from ..files import (
    LOCK,
    allocate,
    digest_array,
    digest_bytes,
    lock,
    storage_errors,
    write_folder_whole,
    write_whole,
)
from ..networks.contract import Network
from ..networks.freeze import Frozen
from ..progress import Progress
from ..runfolder.ledger import dump_json
from ..store.mixing import mixed
from ..store.split import find_rows
from .batches import RELEASED_IMAGES, Rows
from .evaluate import full_batches

FORMAT = 5
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
class Features:
    """Cached features, in the order in which the images were wanted."""

    array: npt.NDArray[np.float32]
    """(n, H, W, C) or (n, F), memory-mapped."""
    computed: int
    """How many were computed now."""


def view_ids(
    digests: npt.NDArray[np.uint64], augmentation: Augmentation, view: int
) -> npt.NDArray[np.uint64]:
    """What names the features of a view of each image; view 0 is the image itself, whatever the settings."""
    if view == 0:
        return digests
    zoom = [] if augmentation.zoom is None else [augmentation.zoom]
    settings = digest_bytes(dump_json([augmentation.flip, augmentation.shift, *zoom, view]).encode())
    return mixed(digests, int(settings[:12], 16))


def prefix_key(
    network: Network, cut: str, frozen: Frozen, engine: str, image_size: int, look: str, batch_size: int
) -> str:
    """64 hex digits that change whenever the features of an image could.

    frozen: what is frozen of the network, whose digests are not made again. engine: its name. image_size,
    look: of the stored pixels, and how photos became such.
    """
    facts = [
        FORMAT,
        described(network, cut, frozen),
        engine,
        image_size,
        look,
        batch_size,
        "float32",
    ]
    return digest_bytes(dump_json(facts).encode())


class FeatureCache:
    """Features on disk: CACHE/features/PREFIX KEY/IMAGES KEY/{features.npy, ids.npy, features.json}.

    What a prefix has computed for an image serves every later list of images that holds it.
    """

    def __init__(self, cache: Path, key: str) -> None:
        """key: see prefix_key."""
        self._folder = cache / "features" / key

    def open(self, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32] | None:
        """Features of exactly these images in this order, memory-mapped; None if not there, or damaged."""
        return _open(self._place(ids))

    def bytes_there(self, ids: npt.NDArray[np.uint64]) -> int:
        """Disk that features of exactly these images take already, whole or begun."""
        place = self._place(ids)
        for folder in (place, _half(place)):
            with contextlib.suppress(OSError):
                return (folder / "features.npy").stat().st_size
        return 0

    def compute(
        self,
        engine: Engine,
        wanted: Sequence[Wanted],
        batch_size: int,
        reuse: bool,
        progress: Progress,
    ) -> Features:
        """Have the engine compute all wanted rows, in batches of the loop's size, and store the result.

        reuse: copy what the cache has already and compute the rest; what was interrupted goes on where it
        was. False computes everything, for runs whose whole time is to be measured. Where two processes want
        the same at once, each computes it.
        Raises StorageError; nothing is left then.
        """
        ids = np.concatenate([part.ids for part in wanted])
        place = self._place(ids)
        olds = self._overlaps(ids) if reuse else []
        if place.exists():  # to be computed anew, or found damaged
            shutil.rmtree(place, ignore_errors=True)
        with storage_errors(place), _half_done(place) as folder:
            if not reuse:
                (folder / "done.json").unlink(missing_ok=True)
            work = _Work(folder, engine, wanted, ids, olds, batch_size)
            computed = work.run(progress)
            array = work.finish()
            hold(folder, array)  # before it gets its name: nobody can remove it in between
            try:
                folder.rename(place)
                (place / LOCK).unlink(missing_ok=True)
            except OSError:
                if not place.is_dir():  # else another process was faster: its features are kept
                    raise
                shutil.rmtree(folder, ignore_errors=True)
        return Features(array, computed)

    def ids(self) -> npt.NDArray[np.uint64]:
        """Of all images that have features here, (n,)."""
        found = [there for _, there in self._there()]
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def find(self, ids: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """(positions of those of these images that have features here, rising, (n,); their rows, (n, ...)).

        ids: uint64, content digests. What is damaged counts as not there, and is removed.
        """
        olds = self._overlaps(ids)
        origins, sources = _located(olds, ids)
        there = np.flatnonzero(sources >= 0)
        taken = np.empty((len(there), *(olds[0].array.shape[1:] if olds else (0,))), np.float32)
        _copy(olds, origins[there], sources[there], taken)
        return there, taken

    def keep(self, ids: npt.NDArray[np.uint64], rows: npt.NDArray[np.float32]) -> None:
        """Features that were computed elsewhere, one row for each id. Raises StorageError."""
        place = self._place(ids)
        with storage_errors(place), write_folder_whole(place) as folder:
            np.save(folder / "features.npy", rows)
            _complete(folder, ids, rows)

    def _there(self) -> Iterator[tuple[Path, npt.NDArray[np.uint64]]]:
        """Every array with the images that it has."""
        for folder in sorted(self._folder.glob("[0-9a-f]*")):
            with contextlib.suppress(OSError, ValueError):
                yield folder, np.load(folder / "ids.npy", allow_pickle=False)

    def _place(self, ids: npt.NDArray[np.uint64]) -> Path:
        return self._folder / digest_array(ids)

    def _overlaps(self, ids: npt.NDArray[np.uint64]) -> list[_Old]:
        """Stored arrays that have some of these images, each one that those before it have not."""
        found = [(int(np.isin(ids, there).sum()), folder, there) for folder, there in self._there()]
        olds: list[_Old] = []
        missing = ids
        for _, folder, there in sorted(found, key=lambda each: -each[0]):
            if not np.isin(missing, there).any():
                continue
            array = _open(folder)  # which reads all of it: only where it has something
            if array is None:
                shutil.rmtree(folder, ignore_errors=True)  # damaged: else its images would count as there
            else:
                olds.append(_Old(array, there))
                missing = missing[~np.isin(missing, there)]
        return olds


@contextlib.contextmanager
def _half_done(place: Path) -> Iterator[Path]:
    """The folder to fill before it becomes `place`: the one that an interrupted process left, or a new one.

    Where another process is filling it, one for this process alone. A failed write removes it: what is for
    going on must not keep the disk full.
    """
    with contextlib.ExitStack() as held:
        folder = _half(place)
        try:
            held.enter_context(lock(folder))
        except RunFolderError:
            folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
            folder.chmod(0o755)  # mkdtemp gives 0700; a cache may be shared
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            yield folder
        except (OSError, StorageError):
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _half(place: Path) -> Path:
    return place.with_name(f".{place.name}")


@dataclass(frozen=True, eq=False)
class _Old:
    """An array in the cache that has some of the wanted features."""

    array: npt.NDArray[np.float32]
    ids: npt.NDArray[np.uint64]


def _located(
    olds: Sequence[_Old], ids: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(which array has each image, its row there), the first that has it; -1 for what none has."""
    origins, sources = np.full(len(ids), -1), np.full(len(ids), -1)
    for origin, old in enumerate(olds):
        rows = find_rows(old.ids, ids)
        new = (sources < 0) & (rows >= 0)
        sources[new], origins[new] = rows[new], origin
    return origins, sources


def _copy(
    olds: Sequence[_Old],
    origins: npt.NDArray[np.int64],
    sources: npt.NDArray[np.int64],
    target: npt.NDArray[np.float32],
) -> None:
    """Into the target's rows what the arrays have of them. origins, sources: of these rows, see _located."""
    for origin, old in enumerate(olds):
        have = np.flatnonzero(origins == origin)
        target[have] = old.array[sources[have]]


class _Work:
    """One computation of features in a folder that is renamed when it is whole."""

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        wanted: Sequence[Wanted],
        ids: npt.NDArray[np.uint64],
        olds: Sequence[_Old],
        batch_size: int,
    ) -> None:
        self._folder, self._engine, self._wanted, self._batch_size = folder, engine, wanted, batch_size
        self._ids, self._olds = ids, olds
        self._origins, self._sources = _located(olds, ids)

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
        array = _map(self._folder)
        _complete(self._folder, self._ids, array)
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
            _copy(self._olds, self._origins[some], self._sources[some], array[some])

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


def _complete(folder: Path, ids: npt.NDArray[np.uint64], array: npt.NDArray[np.float32]) -> None:
    """Write what stands beside features.npy, whose content this is."""
    np.save(folder / "ids.npy", ids)
    write_whole(folder / "features.json", json.dumps({"digest": digest_array(array)}))


def _map(folder: Path) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = np.load(folder / "features.npy", mmap_mode="c", allow_pickle=False)
    return array


def _open(folder: Path) -> npt.NDArray[np.float32] | None:
    try:
        expected = json.loads((folder / "features.json").read_text())["digest"]
        array = _map(folder)
    except (OSError, ValueError, KeyError):
        return None
    hold(folder, array)
    return array if digest_array(array) == expected else None


def difference_from_uncached(
    prefix: nn.Module, wanted: Wanted, features: npt.NDArray[np.float32], batch_size: int
) -> float:
    """Largest difference of cached features from a fresh forward of one shuffled batch; 0.0 is bit-equal.

    prefix: as it computes in a network that trains on pixels. features: their first rows are those of
    `wanted`.
    """
    positions = torch.from_numpy(np.random.default_rng(0).integers(len(wanted.ids), size=batch_size))
    prefix.eval()
    with torch.no_grad():
        fresh = stored(prefix(wanted.rows.take(positions, wanted.view))).cpu().numpy()
    return float(np.abs(fresh - features[positions.numpy()]).max())
