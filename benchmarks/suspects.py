"""Labels to check: how many planted wrong ones are found, how long the list is on labels that are right.

python benchmarks/suspects.py --data DIR [--parent NAME] [--only WORD] [--share 0.05] [--seeds 5]
    [--first-seed 0]

DIR holds fruits-360/ and clothing/; solar cells come from the package elpv-dataset. `adapt` is run on each
set with its labels as they are, with a share of the training photos moved to another class, and on trios of
classes with 36, 36 and 3 photos. Without a parent adapt chooses one. Prints a table as in docs/photos.md,
whose parent is paper.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from folders import write_fruit
from kinds import write_clothing, write_solar

from benchgraft import adapt
from benchgraft.report.answers import Adapted
from benchgraft.shortcuts import keep_freed_memory

Write = Callable[[Path, Path], Path]
RunOn = Callable[[Path, Path], Adapted]
"""(photos, where the model and its account may lie)"""
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
    parser.add_argument("--parent", help="what adapt transfers from")
    parser.add_argument("--only", default="", help="sets with this in their name")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    sets = {name: write for name, write in SETS.items() if options.only in name}
    with tempfile.TemporaryDirectory() as cache:  # the same photos in every run: features are computed once
        run = partial(_run, options.parent, Path(cache))
        _planted_table(sets, run, options)
        _trio_lines(sets, run, options)


def _planted_table(sets: Mapping[str, Write], run: RunOn, options: argparse.Namespace) -> None:
    print("| set | listed, labels as they are | planted | listed | planted ones among the first so many |")
    print("|---|---:|---:|---|---|")
    for name, write in sets.items():
        clean = _adapted(write, run, options.data, 0.0, 0)[0]
        photos = f"{len(clean.suspects)} of {sum(clean.images.values()):,}"
        planted, listed, found = [], [], []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            done, count = _adapted(write, run, options.data, options.share, seed)
            first = [suspect.key for suspect in done.suspects[:count]]
            planted.append(count)
            listed.append(str(len(done.suspects)) if done.suspects else _why_none(done))
            found.append(sum(Path(key).name.startswith("planted") for key in first))
        share = f"{', '.join(map(str, found))} ({sum(found) / sum(planted):.0%})"
        print(f"| {name} | {photos} | {planted[0]} | {', '.join(listed)} | {share} |", flush=True)


def _trio_lines(sets: Mapping[str, Write], run: RunOn, options: argparse.Namespace) -> None:
    for name in ("fruit, 3 x 400", "clothing, 10 classes"):
        if name in sets:
            seeds = range(options.first_seed, options.first_seed + 2 * options.seeds)
            lengths = [_trio(sets[name], run, options.data, seed) for seed in seeds]
            of = name.partition(",")[0]
            print(f"| trios {TRIO} of {of} | {', '.join(map(str, lengths))} | | | |", flush=True)


def _adapted(write: Write, run: RunOn, data: Path, share: float, seed: int) -> tuple[Adapted, int]:
    """What adapt says, and how many labels were made wrong."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        photos = write(data, place / "photos")
        planted = _plant(photos / "Training", share, seed)
        return run(photos, place), planted


def _trio(write: Write, run: RunOn, data: Path, seed: int) -> int:
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
        return len(run(place / "photos", place).suspects)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _run(parent: str | None, cache: Path, photos: Path, place: Path) -> Adapted:
    return adapt(
        photos,
        place / "m.safetensors",
        parent=parent,
        overlap="keep",
        cache=cache,
        run_folder=place / "run",
    )


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
