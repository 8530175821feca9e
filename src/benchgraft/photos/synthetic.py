"""Small seeded data sets of textured shapes on white, in the real layouts, for tests that need all stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import cifar100

Pixels = npt.NDArray[np.uint8]

FRUITS = (
    "Apple 10",
    "Apple Golden 1",
    "Apple Red 1",
    "Pear",
    "Pear Abate",
    "Pepino",
    "Pineapple",
    "Tomato 1",
)
THINGS = ("apple", "bottle", "bowl", "cloud", "lamp", "pear")


@dataclass(frozen=True)
class _Look:
    """How a class looks: colour (RGB 0..255), width over height, period and angle of its stripes."""

    colour: tuple[int, int, int]
    aspect: float
    period: float
    angle: float


_LOOKS = {
    "apple": _Look((190, 30, 40), 1.05, 9.0, 0.0),
    "pear": _Look((150, 190, 50), 0.6, 5.0, 1.2),
    "pepino": _Look((235, 220, 130), 1.6, 4.0, 0.6),
    "pineapple": _Look((170, 110, 30), 0.7, 3.0, 0.8),
    "tomato": _Look((230, 80, 20), 1.3, 20.0, 0.0),
    "bottle": _Look((30, 90, 60), 0.35, 8.0, 1.5),
    "bowl": _Look((60, 60, 200), 2.0, 5.0, 0.2),
    "cloud": _Look((170, 190, 210), 1.8, 14.0, 0.5),
    "lamp": _Look((250, 200, 60), 0.45, 3.0, 0.0),
}


def write_synthetic(
    root: Path,
    seed: int = 0,
    train_per_class: int = 24,
    test_per_class: int = 8,
    size: int = 100,
) -> None:
    """Write both data sets below `root`; equal arguments give equal bytes.

    `root/cifar-100-binary`: THINGS, train.bin, test.bin and the name files, 32 x 32.
    `root/fruits-360/{Training,Test}/<class>/*.jpg`: FRUITS, `size` x `size`. The counts are images a class;
    of the fruits, a source class. No two images are the same.
    """
    root = Path(root)
    counts = {"train": train_per_class, "test": test_per_class}
    _write_things(root / "cifar-100-binary", seed, counts)
    for folder, count in (("Training", train_per_class), ("Test", test_per_class)):
        for name in FRUITS:
            random = _random(seed, folder, name)
            place = root / "fruits-360" / folder / name
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = draw(name, size, random)
                Image.fromarray(pixels).save(place / f"{number}_{size}.jpg", quality=90)


def draw(name: str, size: int, random: np.random.Generator) -> Pixels:
    """One image of a class, uint8 (size, size, 3): a striped ellipse on white, shifted, scaled and tinted."""
    look = _LOOKS[name.split()[0].lower()]
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    shift_y, shift_x = random.uniform(-0.08, 0.08, 2)
    y, x = y - shift_y, x - shift_x
    half = random.uniform(0.3, 0.4)
    wide, high = half * min(1.0, look.aspect), half * min(1.0, 1 / look.aspect)
    inside = (x / wide) ** 2 + (y / high) ** 2 < 1
    angle = look.angle + random.uniform(-0.15, 0.15)
    wave = np.sin(
        (x * np.cos(angle) + y * np.sin(angle)) * 100 * 2 * np.pi / (look.period * 2)
        + random.uniform(0, 2 * np.pi)
    )
    shade = 1 + 0.25 * wave[..., None] + random.normal(0, 0.04, (size, size, 1))
    tint = np.array(look.colour) + random.normal(0, 10, 3)
    image = np.where(inside[..., None], tint * shade, 255.0)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def draw_varied(count: int, size: int, seed: int) -> Pixels:
    """Pictures as unlike each other as can be, uint8 (count, size, size, 3); equal arguments, equal pictures.

    In turn a shape on white, clouds (few to many spots of any colours), the one over the other, and noise.
    """
    random, names = np.random.default_rng(seed), tuple(_LOOKS)
    pictures = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        shape = draw(names[number // 4 % len(names)], size, random)[..., random.permutation(3)]
        spots = int(random.integers(1, 12))
        coarse = Image.fromarray(random.integers(0, 256, (spots, spots, 3), np.uint8))
        clouds = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
        noise = random.integers(0, 256, (size, size, 3), np.uint8)
        on_clouds = np.where((shape < 255).any(axis=2, keepdims=True), shape, clouds)
        pictures[number] = (shape, clouds, on_clouds, noise)[number % 4]
    return pictures


def _write_things(folder: Path, seed: int, counts: dict[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, side in cifar100.PARTS.items():
        records = []
        for label, name in enumerate(THINGS):
            random = _random(seed, part, name)
            for _ in range(counts[side]):
                planes = draw(name, cifar100.SIDE, random).transpose(2, 0, 1)
                records.append(np.concatenate([np.array([0, label], np.uint8), planes.reshape(-1)]))
        table = np.stack(records)
        _random(seed, part, "order").shuffle(table)
        (folder / part).write_bytes(table.tobytes())
    (folder / cifar100.NAMES).write_text("\n".join(THINGS) + "\n", encoding="utf-8")
    (folder / "coarse_label_names.txt").write_text("things\n", encoding="utf-8")


def _random(seed: int, *words: str) -> np.random.Generator:
    """A stream of its own for each class and side, so that a larger count only adds images."""
    return np.random.default_rng([seed, *"/".join(words).encode()])
