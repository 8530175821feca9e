"""Invented photos: blobs of a class's colour on white, and clouds, each photo another one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 40), "blue": (40, 40, 200), "yellow": (220, 210, 40)}


def write_photos(folder: Path, counts: dict[str, int], start: int = 0) -> Path:
    """So many PNG files of 60x60 pixels in each class folder, numbered from `start`."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            rng = np.random.default_rng([number, sum(name.encode())])
            pixels = np.full((60, 60, 3), 255, np.int64)
            top, left = rng.integers(5, 20, 2)
            pixels[top : top + 35, left : left + 35] = COLOURS.get(name, (90, 90, 90))
            noisy = (pixels + rng.integers(-25, 25, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{number:04}.png")
    return folder


def content_digest(path: Path) -> int:
    """As model files and stores have it."""
    return int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:8], "big")


def cloud(seed: int) -> Image.Image:
    """Smooth clouds of 100 x 100; no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((100, 100), Image.Resampling.BICUBIC)


def write_clouds(folder: Path, count: int, start: int = 0) -> list[Path]:
    """So many PNG files of clouds in the folder, seeded and numbered from `start`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"cloud {number}.png" for number in range(start, start + count)]
    for number, path in enumerate(paths, start):
        cloud(number).save(path)
    return paths


def write_cells(folder: Path, counts: dict[float, int], copies: int = 0) -> Path:
    """Generated stand-ins for photos of solar cells, in the layout of the package elpv-dataset.

    counts: probability of a defect -> photos. copies: so many of the first are there twice, nearly alike.
    """
    (folder / "images").mkdir(parents=True)
    probabilities = [probability for probability, count in counts.items() for _ in range(count)]
    cells = [(probability, cloud(5000 + seed).convert("L")) for seed, probability in enumerate(probabilities)]
    cells += [(probability, cell.point(lambda value: value ^ 1)) for probability, cell in cells[:copies]]
    lines = []
    for number, (probability, cell) in enumerate(cells, start=1):
        cell.save(folder / "images" / f"cell{number:04}.png")
        lines.append(f"images/cell{number:04}.png  {probability!r:20} mono\n")
    (folder / "labels.csv").write_text("".join(lines))
    return folder


def write_discs(folder: Path, classes: int, count: int) -> Path:
    """So many classes of so many PNG files of 100x100 pixels: a disc of one colour a class, more or less,
    of any size and at any place, on white."""
    for number in range(classes):
        (folder / f"disc {number}").mkdir(parents=True)
        colour = np.random.default_rng([number, 7]).integers(20, 236, 3)
        for photo in range(count):
            rng = np.random.default_rng([number, photo])
            radius, mine = rng.integers(15, 45), (colour + rng.integers(-40, 41, 3)).clip(0, 255)
            row, column = rng.integers(radius, 100 - radius, 2)
            inside = (np.arange(100)[:, None] - row) ** 2 + (np.arange(100) - column) ** 2 < radius**2
            pixels = np.where(inside[..., None], mine, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"disc {number}" / f"{photo:04}.png")
    return folder
