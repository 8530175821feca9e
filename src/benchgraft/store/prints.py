"""What a picture looks like, in two numbers: its pixels, and its lowest frequencies.

The perceptual hash is 64 bits, the signs of the lowest frequencies of the grey image: the image is averaged
to 32 x 32 and transformed (DCT), and the coefficients are taken along the diagonals, without the first, which
is brightness. Saving again as JPEG or at another size turns few of them; see perceptual.NEAR_BITS.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import numpy.typing as npt

from ..photos.decode import Pixels

PRINTED_PIXELS = 640_000
"""64 images of 100 x 100: their floats stay near the cores; ten times as many take three times as long."""
_SIDE = 32
_FLAT = 0.05
"""Coefficients below it, in grey levels, are rounding: a blank image has the hash 0."""

Digests = npt.NDArray[np.uint64]


def prints_of(pixels: Pixels) -> Digests:
    """uint64 (n, 2) of uint8 (n, size, size, 3): digest of the pixels, and perceptual hash."""
    found = np.empty((len(pixels), 2), np.uint64)
    step = max(1, PRINTED_PIXELS // max(1, pixels.shape[1] ** 2))
    for start in range(0, len(pixels), step):
        block = pixels[start : start + step]
        found[start : start + step, 0] = [_digest(image) for image in block]
        found[start : start + step, 1] = perceptual_hashes(block)
    return found


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


@cache
def _low_frequencies() -> list[tuple[int, int]]:
    places = sorted(
        ((row, column) for row in range(_SIDE) for column in range(_SIDE)), key=lambda p: (sum(p), p)
    )
    return places[1:65]


@cache
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


def _digest(image: Pixels) -> int:
    return int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), "big")
