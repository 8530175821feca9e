"""What `adapt` costs against photos and classes, a comparison against runs, and start-up times.

python benchmarks/scaling.py [--work build/scaling] [--out benchmarks/results] [--only WORD ...] [--quick]

Photos are generated (100 x 100 for the paper's network, 533 x 400 for `imagenet`; textured; kept in WORK,
0.6 and 2.5 GB). Questions: photos, ordinary (photos of that size), classes, gate (of look-alikes), index
(of photos that are known already), runs, start. Every command is a process of its own, whose wall time and
peak memory are taken; caches are empty at first, and an update gets 100 new photos. Writes scaling.json and
scaling.md. The largest sizes are measured once, start-up is the median of five. `--quick` is a smoke run
whose figures say nothing, written into WORK/quick.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from waves import Size, write_waves

from benchgraft.runfolder.ledger import environment, now
from benchgraft.store.overlap import nearest
from benchgraft.store.perceptual import NEAR_BITS
from benchgraft.store.reuse import (
    OUTCOMES,
    Earlier,
    Hashes,
    Outcomes,
    outcomes_in_store,
    read_hashes,
    write_hashes,
)

QUESTIONS = ("photos", "ordinary", "classes", "gate", "index", "runs", "start")
RESULTS = Path(__file__).resolve().parent / "results"
CLASSES = 10
NEW_PHOTOS = 100
UNTIL_PHOTOS = "adapt, until it opens the first photo"
SHORT_RUNS = """
base = "solar-cells"
name = "short-runs"
minutes = 1000.0
[classes.functional_defective]
train_per_class = 48
[stages]
stage3.recipe = { batch_size = 32, stop = { epochs = 1 } }
scratch.recipe = { batch_size = 32, stop = { epochs = 1 } }
"""
"""Runs that train next to nothing: what a run costs besides."""


@dataclass(frozen=True)
class Sizes:
    """What is measured; keys are sizes, values how often."""

    photos: dict[int, int]
    ordinary: dict[int, int]
    classes: dict[int, int]
    gate: tuple[int, ...]
    photos_of_classes: int
    runs: dict[int, int]
    starts: int


FULL = Sizes(
    photos={1_000: 3, 10_000: 2, 100_000: 1},
    ordinary={1_000: 1, 10_000: 1, 100_000: 1},
    classes={3: 2, 30: 2, 300: 1, 1_000: 1},
    gate=(10_000, 100_000, 1_000_000),
    photos_of_classes=10_000,
    runs={1: 3, 10: 1, 100: 1},
    starts=5,
)
QUICK = Sizes(
    photos={200: 1, 400: 1},
    ordinary={200: 1, 400: 1},
    classes={3: 1, 20: 1},
    gate=(100, 1_000),
    photos_of_classes=400,
    runs={1: 1, 2: 1},
    starts=1,
)


@dataclass(frozen=True)
class Done:
    """A finished process."""

    seconds: float
    peak_bytes: int
    output: str


@dataclass(frozen=True)
class Kind:
    """Photos of one size, and the parent that they are given to."""

    parent: str
    folder: str
    """Below WORK."""
    size: Size | None = None


SMALL = Kind("paper", "photos")
ORDINARY = Kind("imagenet", "ordinary", (533, 400))


def main() -> None:
    """All questions, then the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/scaling"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=QUESTIONS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    work = options.work.resolve()
    out, sizes = (work / "quick", QUICK) if options.quick else (options.out, FULL)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "scaling.json"
    measured: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for part in measure(work, sizes, options.only):  # written at once: the next question may fail
        measured |= part
        path.write_text(json.dumps(measured, indent=1) + "\n")
    missing = [question for question in QUESTIONS if f"date of {question}" not in measured]
    if missing:
        print(f"wrote {path}; tables are made when it has all questions: {', '.join(missing)} to come")
        return
    (out / "scaling.md").write_text(markdown(measured))
    print(f"wrote {out / 'scaling.md'}")


def measure(work: Path, sizes: Sizes, questions: Sequence[str] = QUESTIONS) -> Iterator[dict[str, Any]]:
    """The questions in turn, each with its date; the others keep what they have."""
    place = work / "now"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    cores = os.cpu_count() or 1
    asked: dict[str, Callable[[], dict[str, Any]]] = {
        "photos": lambda: _against_photos(work, place, SMALL, sizes.photos),
        "ordinary": lambda: _against_photos(work, place, ORDINARY, sizes.ordinary),
        "classes": lambda: {"classes": _against_classes(work, place, sizes)},
        "gate": lambda: {"gate": _against_fingerprints(sizes)},
        "index": lambda: {"index": _against_entries(place, sizes)},
        "runs": lambda: {"runs": _against_runs(place, sizes)},
        "start": lambda: {"start": _start_up(place, sizes)},
    }
    for question in questions:
        found = asked[question]()
        yield found | {"machine": environment(cores, "cpu").model_dump(), f"date of {question}": now()}
    shutil.rmtree(place)


def run(place: Path, *words: str) -> Done:
    """One `benchgraft` command in `place`. Raises RuntimeError with its last words if it fails."""
    start = time.perf_counter()
    with (place / "out.txt").open("w+b") as out, (place / "err.txt").open("w+b") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchgraft", *words], cwd=place, stdout=out, stderr=err
        )
        # the usage of this child alone, which the sum over all children hides
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"benchgraft {' '.join(words)}: {(place / 'err.txt').read_text()[-500:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Done(seconds, usage.ru_maxrss * unit, (place / "out.txt").read_text())


def _adapt(place: Path, size: int, *words: str) -> dict[str, Any]:
    """One `adapt` of `place`/photos, as a point of a curve."""
    done = run(place, "adapt", "photos", "--cache-dir", "cache", "--json", *words)
    told = json.loads(done.output)
    phases = {name: round(value, 3) for name, value in told["seconds"].items()}
    return {
        "size": size,
        "seconds": done.seconds,
        "peak_bytes": done.peak_bytes,
        "decode_photos_seconds": told["decode_seconds"],
        "decoded": told["decoded"],
        "featurised": told["features_computed"],
        "epochs": told["epochs"],
        "phases": phases,
        "cache_bytes": sum(path.stat().st_size for path in (place / "cache").rglob("*") if path.is_file()),
    }


def _against_photos(work: Path, place: Path, kind: Kind, counts: dict[int, int]) -> dict[str, Any]:
    """`adapt` on folders of each size with nothing cached, then `--update` with NEW_PHOTOS more in each."""
    first, updates = [], []
    for size, times in counts.items():
        for _ in range(times):
            here = _folder(work, place / "adapt", CLASSES, size, kind)
            first.append(_adapt(here, size, "--parent", kind.parent))
            new = NEW_PHOTOS // CLASSES
            write_waves(here / "photos", CLASSES, new, start=size // CLASSES, size=kind.size)
            updates.append(_adapt(here, size, "--update", "photos.safetensors", "--run-folder", "runs/again"))
            _say(f"{size:,} photos: {first[-1]['seconds']:.1f} s, update {updates[-1]['seconds']:.1f} s")
    return {kind.folder: first, f"update of {kind.folder}": updates}


def _against_classes(work: Path, place: Path, sizes: Sizes) -> list[Any]:
    """`adapt` on as many photos in ever more classes."""
    points = []
    for classes, times in sizes.classes.items():
        for _ in range(times):
            here = _folder(work, place / "adapt", classes, sizes.photos_of_classes)
            points.append(_adapt(here, classes, "--parent", SMALL.parent))
            _say(f"{classes:,} classes: {points[-1]['seconds']:.1f} s")
    return points


def _folder(work: Path, here: Path, classes: int, photos: int, kind: Kind = SMALL) -> Path:
    """A new `here` with so many photos in `here`/photos, linked to files made once below `work`."""
    shutil.rmtree(here, ignore_errors=True)
    each = photos // classes
    source = work / kind.folder
    lacking = [
        label for label in range(classes) if not (source / f"class {label}" / f"{each - 1:06}.jpg").exists()
    ]
    if lacking:
        write_waves(source, classes, each, size=kind.size)
    for label in range(classes):
        target = here / "photos" / f"class {label}"
        target.mkdir(parents=True)
        for number in range(each):
            os.link(source / target.name / f"{number:06}.jpg", target / f"{number:06}.jpg")
    return here


def _against_fingerprints(sizes: Sizes) -> list[Any]:
    """Looking for near-copies of a quarter of generated fingerprints among the rest, in this process."""
    points = []
    for size in sizes.gate:
        rng = np.random.default_rng(size)
        hashes = rng.integers(0, 1 << 63, size, np.uint64)
        hashes[: size // 100] = hashes[-(size // 100) :] ^ np.uint64(5)  # copies, two bits apart
        start = time.perf_counter()
        found = nearest(hashes[: size // 4], hashes[size // 4 :], NEAR_BITS)[0]
        points.append({"size": size, "seconds": time.perf_counter() - start, "peak_bytes": 0})
        assert len(found) == size // 100
    return points


def _against_entries(place: Path, sizes: Sizes) -> list[Any]:
    """What is known of generated photos, written and read again, in this process: of their files, and of what
    they came to. An update does both once."""
    points = []
    for size in sizes.gate:
        rng = np.random.default_rng(size)
        digests = [digest.tobytes() for digest in rng.integers(0, 256, (size, 32), np.uint8)]
        names = [f"class {row % CLASSES}/{row:08}.jpg" for row in range(size)]
        facts = np.arange(3 * size).reshape(size, 3)
        sha256 = np.frombuffer(b"".join(digests), np.uint8).reshape(size, 32)
        files = Hashes(names, facts, sha256, np.zeros(size, np.int32))
        known = {digest: Earlier(Path(), 0, (), "", (row, row)) for row, digest in enumerate(digests)}
        outcomes = Outcomes.of(known)
        start = time.perf_counter()
        write_hashes(place / "hashes.npz", files)
        outcomes.write(place / OUTCOMES)
        written = time.perf_counter()
        assert (read_hashes(place / "hashes.npz").find(names, facts) >= 0).all()
        assert len(outcomes_in_store(place).row_of) == size
        points.append({"size": size, "seconds": time.perf_counter() - start, "peak_bytes": 0})
        points[-1] |= {"write_seconds": written - start}
    return points


def _against_runs(place: Path, sizes: Sizes) -> list[Any]:
    """`reproduce` with ever more runs of two arms that train for one epoch; the report is in the time."""
    here = place / "runs"
    _short_runs(here, "1", "first")
    points = []
    for runs, times in sizes.runs.items():
        for number in range(times):
            done = _short_runs(here, str(runs), f"{runs}-{number}")
            points.append({"size": runs, "seconds": done.seconds, "peak_bytes": done.peak_bytes})
            _say(f"{runs} runs: {done.seconds:.1f} s")
    return points


def _short_runs(here: Path, runs: str, out: str) -> Done:
    here.mkdir(exist_ok=True)
    (here / "short.toml").write_text(SHORT_RUNS)
    return run(here, "reproduce", "short.toml", "--runs", runs, "--cache-dir", "cache", "--out", out)


def _start_up(place: Path, sizes: Sizes) -> dict[str, dict[str, float]]:
    """Median wall time and memory of whole commands that have little to do."""
    here = place / "start"
    _short_runs(here, "1", "first")
    few = write_waves(here / "photos", 3, 20)
    photo = str(few / "class 0" / "000000.jpg")
    for parent, name in (("paper", "m"), ("imagenet", "i")):
        model = f"{name}.safetensors"
        run(here, "adapt", "photos", "--parent", parent, "--out", model, "--cache-dir", "cache")
    run(here, "export", "i.safetensors", "--format", "onnx")
    commands: dict[str, Sequence[str]] = {
        "--help": ("--help",),
        "--version": ("--version",),
        "model": ("model",),
        "predict, one photo": ("predict", "m.safetensors", photo),
        "predict, one photo, by a model from imagenet": ("predict", "i.safetensors", photo),
        "predict, one photo, by its ONNX file": ("predict", "i.onnx", photo),
        "evaluate, 60 photos": (
            "evaluate",
            "m.safetensors",
            "photos",
            "--include-trained",
            "--cache-dir",
            "cache",
        ),
        "export": ("export", "m.safetensors", "--format", "onnx"),
        "data check, 60 photos": ("data", "check", "photos"),
        "report, one run": ("report", "first"),
        "verify, one run": ("verify", "first"),
        "cache list": ("cache", "list", "--cache-dir", "cache"),
    }
    found: dict[str, list[Done]] = {name: [] for name in (*commands, UNTIL_PHOTOS)}
    for _ in range(sizes.starts):
        for name, words in commands.items():
            found[name].append(run(here, *words))
        found[UNTIL_PHOTOS].append(_until_photos(here))
    _say(f"start-up of {len(commands)} commands")
    return {
        name: {
            "seconds": median(each.seconds for each in done),
            "lowest": min(each.seconds for each in done),
            "highest": max(each.seconds for each in done),
            "peak_bytes": median(each.peak_bytes for each in done),
        }
        for name, done in found.items()
    }


def _until_photos(here: Path) -> Done:
    """`adapt` with an empty cache, ended where it opens the first photo."""
    ended = (
        "import os, sys\n"
        "def look(event, given):\n"
        "    if event == 'open' and str(given[0]).endswith('.jpg'): os._exit(0)\n"
        "sys.addaudithook(look)\n"
        "from benchgraft.cli import main\n"
        "main()"
    )
    start = time.perf_counter()
    words = ["adapt", "photos", "--out", "never.safetensors", "--cache-dir", "never"]
    subprocess.run([sys.executable, "-c", ended, *words], cwd=here, check=True, capture_output=True)
    return Done(time.perf_counter() - start, 0, "")


def slopes(points: list[dict[str, Any]]) -> tuple[float, float]:
    """(exponent of a power law through all points, seconds of one more between smallest and largest)."""
    curve = _medians(points, "seconds")
    logs = [(math.log(size), math.log(seconds)) for size, seconds in curve.items()]
    x0, y0 = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    exponent = sum((x - x0) * (y - y0) for x, y in logs) / sum((x - x0) ** 2 for x, _ in logs)
    low, high = min(curve), max(curve)
    return exponent, (curve[high] - curve[low]) / (high - low)


def _medians(points: list[dict[str, Any]], key: str) -> dict[int, float]:
    sizes = dict.fromkeys(point["size"] for point in points)
    return {size: median(point[key] for point in points if point["size"] == size) for size in sizes}


def markdown(measured: dict[str, Any]) -> str:
    """All tables."""
    machine = measured["machine"]
    dates = sorted({measured[f"date of {question}"][:10] for question in QUESTIONS})
    update = "With 100 new photos in the folder (`--update`): only these are decoded and featurised."
    parts = [
        "# Scaling",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; benchgraft "
        f"{machine['versions']['benchgraft']}, torch {machine['versions']['torch']}; {', '.join(dates)}. "
        "Whole processes, start-up included; medians where there is more than one.",
        "## Ordinary photos: `adapt --parent imagenet` on generated ones of 533 x 400, nothing cached",
        _curve(measured["ordinary"], "photos"),
        update,
        _curve(measured["update of ordinary"], "photos before"),
        "## Small photos: `adapt --parent paper` on generated ones of ten classes, nothing cached",
        _curve(measured["photos"], "photos"),
        update,
        _curve(measured["update of photos"], "photos before"),
        "## Classes: `adapt` on as many photos each time",
        _curve(measured["classes"], "classes"),
        "## Fingerprints: the gate for near-copies, a quarter of generated ones against the rest",
        _curve(measured["gate"], "photos"),
        "## Index: what is known of generated photos, written and read again",
        _curve(measured["index"], "photos"),
        "## Runs: `reproduce` with one epoch on 96 photos, both arms and the report",
        _curve(measured["runs"], "runs"),
        "## Start-up",
        _starts(measured["start"]),
    ]
    return "\n\n".join(parts) + "\n"


def _curve(points: list[dict[str, Any]], what: str) -> str:
    """One line a size, and the slopes."""
    is_adapt = "phases" in points[0]
    more = ["cache MB", "decode, s", "features, s", "train, s", "decoded", "featurised"] if is_adapt else []
    lines = [[what, "measured", "seconds", "ms each", "peak MB", *more]]
    lines.append(["---:"] * len(lines[0]))
    for size, seconds in _medians(points, "seconds").items():
        mine = [point for point in points if point["size"] == size]
        cells = [
            f"{size:,}",
            str(len(mine)),
            f"{seconds:.1f}" if seconds > 1 else f"{seconds:.3f}",
            f"{1e3 * seconds / size:,.2f}",
        ]
        cells.append(f"{max(point['peak_bytes'] for point in mine) / 1e6:,.0f}")
        if is_adapt:
            cached = max(point.get("cache_bytes", 0) for point in mine)  # older points do not say
            cells.append(f"{cached / 1e6:,.0f}" if cached else "")
            cells.append(f"{median(point['decode_photos_seconds'] for point in mine):.1f}")
            cells += [
                f"{median(point['phases'].get(phase, 0.0) for point in mine):.1f}"
                for phase in ("features", "train")
            ]
            cells += [f"{mine[0][key]:,}" for key in ("decoded", "featurised")]
        lines.append(cells)
    exponent, each = slopes(points)
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    unit = what.split()[0].removesuffix("es" if what == "classes" else "s")
    return (
        f"{table}\n\nSeconds grow with the power {exponent:.2f} of the {what.split()[0]}; from the "
        f"least to the most one more {unit} costs {1e3 * each:.2f} ms."
    )


def _starts(found: dict[str, dict[str, float]]) -> str:
    lines = ["| command | seconds | lowest to highest | peak MB |", "|---|---:|---|---:|"]
    lines += [
        f"| `{name.partition(',')[0]}`{''.join(name.partition(',')[1:])} | {value['seconds']:.2f} | "
        f"{value['lowest']:.2f} to {value['highest']:.2f} | {value['peak_bytes'] / 1e6:,.0f} |"
        for name, value in found.items()
    ]
    return "\n".join(lines)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    main()
