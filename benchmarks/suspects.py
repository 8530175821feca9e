"""Labels to check: how many planted wrong ones are found, how long the list is on labels that are right.

python benchmarks/suspects.py --data DIR [--share 0.05] [--seeds 5] [--first-seed 0]

DIR holds fruits-360/ and clothing/; solar cells come from the package elpv-dataset. `adapt` is run on each
set with its labels as they are, with a share of the training photos moved to another class, and on trios of
classes with 36, 36 and 3 photos. Prints the table of docs/photos.md.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from folders import write_fruit
from kinds import write_clothing, write_solar

from benchgraft import adapt
from benchgraft.shortcuts import keep_freed_memory
from benchgraft.tasks.adapted import Adapted

Write = Callable[[Path, Path], Path]
SETS: dict[str, Write] = {
    "fruit, 3 x 400": lambda data, out: write_fruit(data / "fruits-360", out, 400, 320),
    "clothing, 10 classes": lambda data, out: write_clothing([], 120, data, out),
    "solar cells, 2 x 700": lambda data, out: write_solar(700, 0, data, out),
}
TRIO = (36, 36, 3)


def main() -> None:
    """One line a set."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    print("| set | listed, labels as they are | planted | listed | planted ones among the first so many |")
    print("|---|---:|---:|---|---|")
    for name, write in SETS.items():
        clean = _adapted(write, options.data, 0.0, 0)[0]
        photos = f"{len(clean.suspects)} of {sum(clean.images.values()):,}"
        planted, listed, found = [], [], []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            done, count = _adapted(write, options.data, options.share, seed)
            first = [suspect.key for suspect in done.suspects[:count]]
            planted.append(count)
            listed.append(str(len(done.suspects)) if done.suspects else _why_none(done))
            found.append(str(sum(Path(key).name.startswith("planted") for key in first)))
        print(f"| {name} | {photos} | {planted[0]} | {', '.join(listed)} | {', '.join(found)} |", flush=True)
    for name in ("fruit, 3 x 400", "clothing, 10 classes"):
        seeds = range(options.first_seed, options.first_seed + 2 * options.seeds)
        lengths = [_trio(SETS[name], options.data, seed) for seed in seeds]
        print(
            f"| trios {TRIO} of {name.partition(',')[0]} | {', '.join(map(str, lengths))} | | | |", flush=True
        )


def _adapted(write: Write, data: Path, share: float, seed: int) -> tuple[Adapted, int]:
    """What adapt says, and how many labels were made wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        photos = write(data, place / "photos")
        planted = _plant(photos / "Training", share, seed)
        return _run(photos, place), planted


def _trio(write: Write, data: Path, seed: int) -> int:
    """How many of 75 photos are listed, all of whose labels are right."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        source = write(data, place / "source") / "Training"
        names = rng.sample(sorted(folder.name for folder in source.iterdir()), len(TRIO))
        for name, count in zip(names, TRIO, strict=True):
            (place / "photos" / name).mkdir(parents=True)
            for path in rng.sample(
                sorted(path for path in (source / name).rglob("*") if path.is_file()), count
            ):
                shutil.copy(path, place / "photos" / name / path.name)
        return len(_run(place / "photos", place).suspects)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _run(photos: Path, place: Path) -> Adapted:
    where = {"cache": place / "cache", "run_folder": place / "run"}
    return adapt(photos, place / "m.safetensors", overlap="keep", **where)


def _why_none(done: Adapted) -> str:
    return next((f"none ({note})" for note in done.notes if note.startswith("no list")), "0")


def _plant(training: Path, share: float, seed: int) -> int:
    rng = random.Random(seed)
    classes = sorted(folder.name for folder in training.iterdir())
    photos = _files(training)
    chosen = rng.sample(photos, round(share * len(photos)))
    for path in chosen:
        other = rng.choice([name for name in classes if name != path.relative_to(training).parts[0]])
        path.rename(training / other / f"planted {path.name}")
    return len(chosen)


if __name__ == "__main__":
    main()
