"""Small folders of photos of several kinds: solar cells, clothing, fruit, and generated ones.

Real kinds get test photos of a side of their own (`Training`, `Test`), so that accuracies can be told apart;
generated ones are class folders alone, as a user's are.
"""

from __future__ import annotations

import io
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from folders import write_fruit
from PIL import Image
from waves import write_waves

TEST_PHOTOS = 100
"""A class, at most, of the real kinds."""
SIDE = 100
COLOURS = [
    *((200, 60, 60), (60, 160, 60), (60, 60, 200), (200, 180, 60), (150, 60, 180)),
    *((60, 180, 180), (120, 90, 60), (230, 130, 40), (110, 110, 110), (240, 130, 190)),
]


@dataclass(frozen=True)
class SmallFolder:
    """One folder, yet to be written."""

    name: str
    kind: str
    write: Callable[[Path, Path], Path]
    """(data sets, where to) -> the folder."""


def all_folders() -> list[SmallFolder]:
    """Every folder of the table, from 20 to 1,200 photos to learn from."""
    return [*_generated(), *_solar(), *_clothing(), *_fruit()]


def _generated() -> list[SmallFolder]:
    kind = "generated"
    discs = [(3, 36, draw) for draw in range(5)] + [(3, 60, 0), (3, 60, 1), (2, 20, 0), (10, 12, 0)]
    small = [(3, 36, 10), (3, 36, 11), (3, 36, 12), (3, 60, 10)]
    textures = [(3, 36, 0), (2, 60, 0), (10, 12, 0)]
    return [
        *(
            SmallFolder(
                f"{what} {classes} x {each}, draw {draw}",
                kind,
                partial(_write_drawn, classes, each, draw, drawn),
            )
            for what, drawn, sizes in (
                ("discs", disc, discs),
                ("small discs", partial(disc, smallest=8, largest=28), small),
                ("noise", texture, textures),
            )
            for classes, each, draw in sizes
        ),
        SmallFolder("waves 4 x 50", kind, lambda _data, out: write_waves(out, 4, 50)),
    ]


def _solar() -> list[SmallFolder]:
    sizes = [(10, 0), (20, 0), (36, 0), (36, 1), (60, 0), (60, 1), (150, 0), (400, 0)]
    return [
        SmallFolder(f"solar cells 2 x {each}, draw {draw}", "solar", partial(write_solar, each, draw))
        for each, draw in sizes
    ]


def _clothing() -> list[SmallFolder]:
    sizes: list[tuple[list[str], int]] = [
        (["dress", "hat", "shoes"], 12),
        (["pants", "shirt", "t-shirt"], 36),
        (["dress", "longsleeve", "shoes"], 60),
        (["hat", "pants"], 20),
        ([], 12),
        ([], 120),
    ]
    return [
        SmallFolder(f"clothing {len(names) or 10} x {each}", "clothing", partial(write_clothing, names, each))
        for names, each in sizes
    ]


def _fruit() -> list[SmallFolder]:
    sizes = [12, 36, 60, 120, 400]
    return [
        *(SmallFolder(f"fruit 3 x {each}", "fruit", partial(_write_fruit, each)) for each in sizes),
        SmallFolder("apples 10 x 12", "fruit", partial(_write_apples, 10, 12)),
    ]


def disc(label: int, rng: np.random.Generator, smallest: int = 12, largest: int = 45) -> np.ndarray:
    """A disc of the class's colour (+-40 a channel), of any place and size, on white."""
    pixels = np.full((SIDE, SIDE, 3), 255, np.uint8)
    radius = int(rng.integers(smallest, largest))
    row, column = rng.integers(radius, SIDE - radius, 2)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    pixels[inside] = (np.asarray(COLOURS[label]) + rng.integers(-40, 41, 3)).clip(0, 255)
    return pixels


def texture(label: int, rng: np.random.Generator) -> np.ndarray:
    """Grey noise, of another coarseness for each class."""
    side = 4 * (label + 1)
    coarse = rng.integers(0, 256, (side, side), np.uint8)
    grey = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(grey.convert("RGB"))


def _write_drawn(
    classes: int,
    each: int,
    draw: int,
    of: Callable[[int, np.random.Generator], np.ndarray],
    _data: Path,
    out: Path,
) -> Path:
    for label in range(classes):
        place = out / f"class {label}"
        place.mkdir(parents=True)
        for number in range(each):
            file = io.BytesIO()
            pixels = of(label, np.random.default_rng([draw, label, number]))
            Image.fromarray(pixels).save(file, "PNG")
            (place / f"{number:04}.png").write_bytes(file.getvalue())
    return out


def write_solar(each: int, draw: int, _data: Path, out: Path) -> Path:
    """Probability 0 of a defect against 1; other cells test."""
    from elpv_dataset.utils import load_dataset

    images, probabilities, _ = load_dataset()
    for name, probability in (("functional", 0.0), ("defective", 1.0)):
        rows = np.random.default_rng(draw).permutation(np.flatnonzero(probabilities == probability))
        for side, chosen in (("Training", rows[:each]), ("Test", rows[-TEST_PHOTOS:])):
            place = out / side / name
            place.mkdir(parents=True)
            for row in chosen:
                Image.fromarray(images[row]).save(place / f"{row:04}.png")
    return out


def write_clothing(names: Sequence[str], each: int, data: Path, out: Path) -> Path:
    """So many photos of each of these classes, all classes if none is named; the official test side tests."""
    folders = {
        "Training": _photos(data / "clothing" / "train"),
        "Test": _photos(data / "clothing" / "test"),
    }
    for side, classes in folders.items():
        limit = each if side == "Training" else TEST_PHOTOS
        for name in names or sorted(classes):
            _copy(classes[name], limit, out / side / name)
    return out


def _photos(folder: Path) -> Mapping[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.jpg")):
        found[path.parent.name].append(path)
    return found


def _write_fruit(each: int, data: Path, out: Path) -> Path:
    return write_fruit(data / "fruits-360", out, each, 320 if each == 400 else TEST_PHOTOS)


def _write_apples(classes: int, each: int, data: Path, out: Path) -> Path:
    """Varieties of apple, each a class."""
    for side, limit in (("Training", each), ("Test", 30)):
        folder = data / "fruits-360" / side
        for name in sorted(path.name for path in folder.iterdir() if path.name.startswith("Apple"))[:classes]:
            _copy(sorted((folder / name).iterdir()), limit, out / side / name)
    return out


def _copy(paths: Sequence[Path], limit: int, place: Path) -> None:
    place.mkdir(parents=True)
    for path in random.Random(0).sample(paths, min(limit, len(paths))):
        shutil.copy(path, place / path.name)
