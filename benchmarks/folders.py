"""Folders of fruit photos for the benchmarks: apple, pear and noise, drawn by seed from Fruits-360."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from benchgraft.store.classes import words


def write_fruit(fruits: Path, out: Path, per_class: int, test_per_class: int, skip: int = 0) -> Path:
    """`out`/Training and `out`/Test with so many photos a class; `skip` passes over so many training ones."""
    for side, count in (("Training", per_class), ("Test", test_per_class)):
        photos: dict[str, list[Path]] = {"apple": [], "pear": [], "noise": []}
        for folder in sorted((fruits / side).iterdir()):
            found = {"apple", "pear"} & set(words(folder.name))
            photos[found.pop() if found else "noise"] += sorted(folder.iterdir())
        for name, paths in photos.items():
            drawn = random.Random(0).sample(paths, len(paths))
            place = out / side / name
            place.mkdir(parents=True, exist_ok=True)
            for path in drawn[skip : skip + count] if side == "Training" else drawn[:count]:
                shutil.copy(path, place / f"{path.parent.name} {path.name}")
    return out
