"""Fingerprints of a store's images: equal pixels, and pictures that look the same. Computed once, kept there.

The perceptual hash is 64 bits, the signs of the lowest frequencies of the grey image: the image is averaged
to 32 x 32 and transformed (DCT), and the coefficients are taken along the diagonals, without the first, which
is brightness. Saving again as JPEG or at another size turns few of them; see NEAR_BITS.
"""

from __future__ import annotations

import contextlib
import hashlib
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
from .reuse import PIXELS
from .split import Digests, find_rows
from .store import Store

NEAR_BITS = 2
"""Images whose hashes differ in at most so many of 64 bits are near-duplicates.

Measured by benchmarks/near_duplicates.py, see docs/photos.md.
"""
_FILES = ("pixel_digests", "perceptual")
_BLOCK_PIXELS = 640_000
"""64 images of 100 x 100: their floats stay near the cores; ten times as many take three times as long."""
_SIDE = 32
_FLAT = 0.05
"""Coefficients below it, in grey levels, are rounding: a blank image has the hash 0."""


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
            pixels[rows] = [_digest(image) for image in block]
            perceptual[rows] = perceptual_hashes(block)
            advance(len(rows))
    for name, array in zip(_FILES, (pixels, perceptual), strict=True):
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
        rule = head["rule_version"], head["size"], head.get("fit", "letterbox")
        # Where neither, or one of them alone, has 16-bit grey, the two share none of it.
        is_level = not store.grey16_peak or head.get("white_level") == store.white_level
        return bool(is_level and rule == (RULE_VERSION, store.size, store.fit))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _kept(folder: Path, count: int) -> tuple[Digests, Digests] | None:
    """Both arrays that lie beside a store of so many images."""
    pixels, perceptual = (_read(folder / f"{name}.npy") for name in _FILES)
    if pixels is None or perceptual is None or not len(pixels) == len(perceptual) == count:
        return None
    return pixels, perceptual


def perceptual_hashes(pixels: Pixels) -> Digests:
    """uint64 (n,) of uint8 (n, size, size, 3), all of them in memory at once as floats."""
    size = pixels.shape[1]
    transform = _transform(size)
    # Grey and lines in one product: colours are the innermost axis, and both are linear.
    of_colours = np.kron(transform, np.array([0.299, 0.587, 0.114], np.float32))
    across = pixels.reshape(-1, 3 * size).astype(np.float32) @ of_colours.T
    down = across.reshape(len(pixels), size, -1).transpose(0, 2, 1) @ transform.T
    order = _low_frequencies()
    values = np.stack([down[:, column, row] for row, column in order], axis=1)
    whole = np.packbits(values > _FLAT, axis=1)
    return np.ascontiguousarray(whole).view(">u8").reshape(-1).astype(np.uint64)


def _low_frequencies() -> list[tuple[int, int]]:
    places = sorted(
        ((row, column) for row in range(_SIDE) for column in range(_SIDE)), key=lambda p: (sum(p), p)
    )
    return places[1:65]


def _transform(size: int) -> npt.NDArray[np.float32]:
    """(frequencies, size): averages a line of `size` pixels to 32 cells and transforms it."""
    edges = np.linspace(0, size, _SIDE + 1)
    pixel = np.arange(size)
    # The part of each pixel that lies in each cell: min of the right edges less max of the left ones.
    inside = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    average = np.clip(inside, 0, None) * _SIDE / size
    frequencies = 1 + max(max(place) for place in _low_frequencies())
    cell = np.arange(_SIDE)
    cosines = np.cos(np.pi * (2 * cell + 1) * np.arange(frequencies)[:, None] / (2 * _SIDE)) / _SIDE
    return np.asarray(cosines @ average, np.float32)


def _blocks(store: Store, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.int64], Pixels]]:
    """(rows, their pixels), a block at a time, by plain reads: a map's would stay in the process's memory."""
    count = max(1, _BLOCK_PIXELS // store.size**2)
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


def _digest(image: Pixels) -> int:
    return int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), "big")


def _read(path: Path) -> Digests | None:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.ndim == 1 and array.dtype == np.uint64 else None
