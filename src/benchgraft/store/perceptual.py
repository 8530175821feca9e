"""Fingerprints of a store's images: equal pixels, and pictures that look the same. Computed once, kept."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import StorageError
from ..files import write_whole
from ..photos.decode import RULE_VERSION, Pixels
from ..progress import NoProgress, Progress
from .on_demand import OnDemand
from .prints import PRINTED_PIXELS, prints_of
from .reuse import PIXELS, PRINTS
from .split import Digests, find_rows
from .store import Store, frame_of

NEAR_BITS = 2
"""Images whose hashes differ in at most so many of 64 bits are near-duplicates.

Measured by benchmarks/near_duplicates.py, see docs/photos.md.
"""


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Of each image of a store, both uint64 (N,)."""

    pixels: Digests
    """Of the decoded pixels: equal for equal pictures in different files."""
    perceptual: Digests
    computed: int = 0
    """Of how many images they were computed now; the others were kept."""


def fingerprints(store: Store, progress: Progress | None = None) -> Fingerprints:
    """Those kept beside the store, or made and kept: images that an earlier store had bring theirs along."""
    kept = _kept(store.folder, len(store))
    if kept is not None:
        return Fingerprints(*kept)
    pixels, perceptual = np.zeros(len(store), np.uint64), np.zeros(len(store), np.uint64)
    is_new = _carry_over(store, pixels, perceptual)
    with (progress or NoProgress()).track(int(is_new.sum()), "compare images") as advance:
        for rows, block in _blocks(store, is_new):
            pixels[rows], perceptual[rows] = prints_of(block).T
            advance(len(rows))
    for name, array in zip(PRINTS, (pixels, perceptual), strict=True):
        stream = io.BytesIO()
        np.save(stream, array)
        with contextlib.suppress(StorageError):  # a read-only cache: computed again next time
            write_whole(store.folder / f"{name}.npy", stream.getvalue())
    return Fingerprints(pixels, perceptual, int(is_new.sum()))


def _carry_over(store: Store, pixels: Digests, perceptual: Digests) -> npt.NDArray[np.bool_]:
    """Fill in what the neighbour with most of these images has; True where that is nothing, bool (N,)."""
    best: tuple[int, Digests, tuple[Digests, Digests]] | None = None
    for folder in store.folder.parent.glob("[0-9a-f]*"):
        theirs = _read(folder / "digests.npy")
        if folder == store.folder or theirs is None:
            continue
        found = int(np.isin(store.digests, theirs).sum())
        if found <= (best[0] if best else 0) or not _decodes_alike(folder, store):
            continue
        kept = _kept(folder, len(theirs))
        if kept is not None:
            best = found, theirs, kept
    if best is None:
        return np.ones(len(store), bool)
    _, theirs, prints = best
    rows = find_rows(theirs, store.digests)
    is_new: npt.NDArray[np.bool_] = rows < 0
    for mine, known in zip((pixels, perceptual), prints, strict=True):
        mine[~is_new] = known[rows[~is_new]]
    return is_new


def _decodes_alike(folder: Path, store: Store) -> bool:
    """Whether equal bytes give equal pixels in both stores."""
    try:
        head = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        rule = head["rule_version"], frame_of(head)
        # Where neither, or one of them alone, has 16-bit grey, the two share none of it.
        is_level = not store.grey16_peak or head.get("white_level") == store.white_level
        return bool(is_level and rule == (RULE_VERSION, store.frame))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _kept(folder: Path, count: int) -> tuple[Digests, Digests] | None:
    """Both arrays that lie beside a store of so many images."""
    pixels, perceptual = (_read(folder / f"{name}.npy") for name in PRINTS)
    if pixels is None or perceptual is None or not len(pixels) == len(perceptual) == count:
        return None
    return pixels, perceptual


def _blocks(store: Store, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.int64], Pixels]]:
    """(rows, their pixels), a block at a time, by plain reads: a map's would stay in the process's memory."""
    count = max(1, PRINTED_PIXELS // store.size**2)
    if isinstance(store.pixels, OnDemand):
        rows = np.flatnonzero(wanted)
        for part in (rows[start : start + count] for start in range(0, len(rows), count)):
            yield part, store.pixels[part]
        return
    with (store.folder / PIXELS).open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        first = file.tell()
        for start in range(0, len(store), count):
            inside = np.flatnonzero(wanted[start : start + count])
            if not len(inside):
                continue
            block = np.empty((min(count, len(store) - start), store.size, store.size, 3), np.uint8)
            file.seek(first + start * block[0].nbytes)
            if file.readinto(block.data.cast("B")) != block.nbytes:
                raise StorageError(f"{store.folder / PIXELS} is shorter than it was", "run again")
            yield start + inside, block[inside]


def _read(path: Path) -> Digests | None:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.ndim == 1 and array.dtype == np.uint64 else None
