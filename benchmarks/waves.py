"""Folders of generated photos: textured JPEG files of 100 x 100, another pattern for each class."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def write_waves(out: Path, classes: int, each: int, start: int = 0) -> Path:
    """`each` photos in `out`/class 0 .. , numbered from `start`; equal numbers are equal photos."""
    jobs = [(out / f"class {label}", label, range(start, start + each)) for label in range(classes)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_write_class, jobs))
    return out


def _write_class(job: tuple[Path, int, range]) -> None:
    place, label, numbers = job
    place.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[0:100, 0:100]
    for number in numbers:
        rng = np.random.default_rng([label, number])
        waves = np.sin((rows * rng.normal(label, 0.4) + columns * rng.normal(9 - label, 0.4)) / 12)
        tint = 128 + 60 * waves[..., None] * rng.normal(1, 0.2, 3) + rng.normal(0, 12, (100, 100, 1))
        file = io.BytesIO()
        Image.fromarray(tint.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
        (place / f"{number:06}.jpg").write_bytes(file.getvalue())
