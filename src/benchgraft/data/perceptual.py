"""Fingerprints of a store's images: equal pixels, and pictures that look the same. Computed once, kept there.

The perceptual hash is 64 bits, the signs of the lowest frequencies of the grey image: the image is averaged
to 32 x 32 and transformed (DCT), and the coefficients are taken along the diagonals, without the first, which
is brightness. Saving again as JPEG or at another size turns few of them; see NEAR_BITS.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import StorageError
from ..files import write_whole
from ..progress import NoProgress, Progress
from .decode import Pixels
from .reuse import PIXELS
from .split import Digests
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
    """Those kept beside the store, or computed and kept; reads the pixels once, a block at a time."""
    kept = [_read(store.folder / f"{name}.npy", len(store)) for name in _FILES]
    if kept[0] is not None and kept[1] is not None:
        return Fingerprints(kept[0], kept[1])
    pixels, perceptual = np.empty(len(store), np.uint64), np.empty(len(store), np.uint64)
    done = 0
    with (progress or NoProgress()).track(len(store), "compare images") as advance:
        for block in _blocks(store):
            rows = slice(done, done + len(block))
            pixels[rows] = [_digest(image) for image in block]
            perceptual[rows] = perceptual_hashes(block)
            done += len(block)
            advance(len(block))
    for name, array in zip(_FILES, (pixels, perceptual), strict=True):
        stream = io.BytesIO()
        np.save(stream, array)
        with contextlib.suppress(StorageError):  # a read-only cache: computed again next time
            write_whole(store.folder / f"{name}.npy", stream.getvalue())
    return Fingerprints(pixels, perceptual, len(store))


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


def _blocks(store: Store) -> Iterator[Pixels]:
    """The pixels by plain reads: those of a map would stay in the process's memory."""
    count = max(1, _BLOCK_PIXELS // store.size**2)
    with (store.folder / PIXELS).open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        for start in range(0, len(store), count):
            block = np.empty((min(count, len(store) - start), store.size, store.size, 3), np.uint8)
            if file.readinto(block.data.cast("B")) != block.nbytes:
                raise StorageError(f"{store.folder / PIXELS} is shorter than it was", "run again")
            yield block


def _digest(image: Pixels) -> int:
    return int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), "big")


def _read(path: Path, count: int) -> Digests | None:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == (count,) and array.dtype == np.uint64 else None
