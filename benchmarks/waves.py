"""Folders of generated photos: textured JPEG files of 100 x 100 or larger, a pattern for each class."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

Size = tuple[int, int]
"""Width and height, in pixels."""


def write_waves(out: Path, classes: int, each: int, start: int = 0, size: Size | None = None) -> Path:
    """`each` photos in `out`/class 0 .. , numbered from `start`; equal numbers are equal photos.

    size: to which they are enlarged.
    """
    jobs = [
        (out / f"class {label}", label, range(first, min(first + _AT_ONCE, start + each)), size)
        for label in range(classes)
        for first in range(start, start + each, _AT_ONCE)
    ]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write_some, jobs))
    return out


_AT_ONCE = 1000


def _write_some(job: tuple[Path, int, range, Size | None]) -> None:
    place, label, numbers, size = job
    place.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[0:100, 0:100]
    for number in numbers:
        rng = np.random.default_rng([label, number])
        waves = np.sin((rows * rng.normal(label, 0.4) + columns * rng.normal(9 - label, 0.4)) / 12)
        tint = 128 + 60 * waves[..., None] * rng.normal(1, 0.2, 3) + rng.normal(0, 12, (100, 100, 1))
        file = io.BytesIO()
        photo = Image.fromarray(tint.clip(0, 255).astype(np.uint8))
        photo = photo.resize(size, Image.Resampling.BILINEAR) if size else photo
        photo.save(file, "JPEG", quality=80)
        (place / f"{number:06}.jpg").write_bytes(file.getvalue())
