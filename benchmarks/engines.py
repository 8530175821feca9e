"""Features and answers, photos a second from pixels and from files: benchgraft beside others by hand.

python benchmarks/engines.py --photos FOLDER [--rounds 5] [--out benchmarks/results] [--quick]

FOLDER holds JPEG photos in class folders, such as clothing/test. Weights are random: they change no time. For
every network and number of threads a process of its own, held to as many cores, holds all engines; in every
round they take turns, beginning with another one each time, so that other work on the machine falls on all of
them; medians. Features are computed of batches of 64, answers of one photo after another.

OpenVINO takes part where it is installed: pip install openvino. torch.compile needs a C++ compiler, and takes
most of the time before the rounds. --quick: a round of two networks on few photos, nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import engine_contenders as engines
import engine_tables
import numpy as np
import torch
from peers.gemm import gemm_gflops
from peers.worker import installed

from benchgraft.photos.decode import rule_of
from benchgraft.photos.grey import FULL_RANGE
from benchgraft.photos.scan import images_below
from benchgraft.runfolder.ledger import environment, now
from benchgraft.shortcuts import keep_freed_memory

NETWORKS = {
    "imagenet": "tf_efficientnet_lite0",
    "resnet18": "resnet18",
    "mobilenetv3": "mobilenetv3_large_100",
    "vit_tiny": "vit_tiny_patch16_224",
}
THREADS = (1, 2)
PHOTOS, SINGLE = 256, 8
FILE_ROUNDS = 3
"""Rounds in which files are read too, which takes as long as all else of a round together."""
REST_SECONDS = 0.05
"""Between turns: threads of the engine before wait by spinning, and would take the next one's cores."""
VERSIONS = ("benchgraft", "torch", "timm", "onnxruntime", "openvino", "numpy", "pillow", "simplejpeg")


@contextmanager
def held_to(cores: int) -> Iterator[None]:
    """Processes that are started inside it run on so many cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds_of(work: Callable[[], object]) -> float:
    """By the clock, of one call."""
    time.sleep(REST_SECONDS)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def turns(found: dict[str, engines.Contender], files: dict[str, Callable[[], object]], work: dict[str, Any]):
    """(what, who, how many photos, call) of a round."""
    for name, contender in found.items():
        if contender.features:
            yield "features", name, engines.BATCH, lambda run=contender.features: run(work["batch"])
    for name, contender in found.items():
        if contender.answers:
            yield (
                "answers",
                name,
                SINGLE,
                lambda run=contender.answers: [run(each) for each in work["single"]],
            )
    for name, run in files.items():
        yield "files", name, work["count"], run


def file_paths(given: engines.Material, found: dict[str, engines.Contender], folder: Path, work: Path):
    """What takes photos from files, by name."""
    frame = given.network.spec.frame("letterbox")
    rule = rule_of(frame, FULL_RANGE)
    files = [folder / name for name in images_below(folder)]
    paths: dict[str, Callable[[], object]] = {
        engine_tables.DECODE: lambda: sum(len(batch) for batch in engines.decoded(files, rule)),
        engine_tables.ADAPT: engines.featurised(given, folder, frame, work),
        engine_tables.PREDICT: engines.answered(given, files, rule),
    }
    for name in (engines.EAGER, engines.RUNTIME, engines.throughput(2)):
        if name in found:
            compute = found[name].features
            paths[name] = lambda compute=compute: engines.by_hand(compute, files, rule)
    return paths


def measured(job: dict[str, Any], work: Path) -> dict[str, Any]:
    """One network with one number of threads."""
    torch.set_num_threads(job["threads"])
    given = engines.material(job["network"], job["threads"])
    rule = rule_of(given.network.spec.frame("letterbox"), FULL_RANGE)
    folder = Path(job["photos"])
    files = [folder / name for name in images_below(folder)]
    batch = next(iter(engines.decoded(files[: engines.BATCH] * 8, rule)))
    found = engines.contenders(given)
    paths = file_paths(given, found, folder, work)
    things = {"batch": batch, "single": [batch[n : n + 1] for n in range(SINGLE)], "count": len(files)}
    expected = found[engines.EAGER].features(batch)
    largest = float(np.abs(expected).max())
    differences = {
        name: float(np.abs(each.features(batch) - expected).max()) / largest for name, each in found.items()
    }
    rounds = taken(job, found, paths, things)
    return {
        "threads": job["threads"],
        "cut": given.cut,
        "megaflops": given.megaflops,
        "differences": differences,
        **rounds,
    }


def taken(
    job: dict[str, Any],
    found: dict[str, engines.Contender],
    paths: dict[str, Callable[[], object]],
    things: dict[str, Any],
) -> dict[str, Any]:
    """Photos a second of every turn in every round, after one of everything that does not count."""
    rates: dict[str, dict[str, list[float]]] = {}
    product: list[float] = []
    for number in range(-1, job["rounds"]):
        with_files = paths if 0 <= number < job["file_rounds"] else {}
        order = list(turns(found, with_files, things))
        start = max(number, 0) * len(order) // job["rounds"]
        for what, name, count, run in order[start:] + order[:start]:
            seconds = seconds_of(run)
            if number >= 0:
                rates.setdefault(what, {}).setdefault(name, []).append(count / seconds)
        if number >= 0:
            time.sleep(REST_SECONDS)
            product.append(gemm_gflops())
    return {"gemm_gflops": product, "photos_per_second": rates}


def one_process(job: dict[str, Any]) -> dict[str, Any]:
    """What `measured` gives in a process on its cores."""
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "job.json"
        given.write_text(json.dumps(job))
        with held_to(job["threads"]):
            command = [sys.executable, str(Path(__file__).resolve()), "--job", str(given)]
            threads = {"OMP_NUM_THREADS": str(job["threads"])}
            subprocess.run(command, env=os.environ | threads, check=True)
        return json.loads((Path(folder) / "out.json").read_text())


def chosen_photos(source: Path, count: int, target: Path) -> None:
    """Every so manieth photo of a folder, copied with its class folder."""
    names = list(images_below(source))
    if len(names) < engines.BATCH:
        raise SystemExit(f"{source} holds {len(names)} photos: too few")
    for name in names[:: max(1, len(names) // count)][:count]:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, place)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All networks with all numbers of threads."""
    names = dict(list(NETWORKS.items())[: 2 if options.quick else None])
    count, rounds = (engines.BATCH, 1) if options.quick else (PHOTOS, options.rounds)
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        chosen_photos(options.photos, count, photos)
        for name, threads in ((name, threads) for name in names for threads in THREADS):
            started = time.perf_counter()
            job = {
                "network": names[name],
                "threads": threads,
                "photos": str(photos),
                "rounds": rounds,
                "file_rounds": min(FILE_ROUNDS, rounds),
            }
            results.setdefault(name, []).append(one_process(job))
            print(f"{name}, {threads} threads: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return {
        "command": f"python benchmarks/engines.py --photos FOLDER --rounds {rounds}",
        "date": now(),
        "machine": environment(max(THREADS), "cpu").model_dump(),
        "versions": installed(VERSIONS),
        "networks": names,
        "rounds": rounds,
        "photos": count,
        "missing": [] if engines.has_openvino() else ["OpenVINO"],
        "results": results,
    }


def main() -> None:
    """Measure, or one process of it."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "results")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        found = measured(json.loads(options.job.read_text()), options.job.parent)
        (options.job.parent / "out.json").write_text(json.dumps(found))
        return
    if options.photos is None:
        parser.error("--photos is needed")
    result = measure(options)
    text = engine_tables.markdown(result)
    print(text)
    if not options.quick:
        (options.out / "engines.json").write_text(json.dumps(result, indent=1) + "\n")
        (options.out / "engines.md").write_text(text)


if __name__ == "__main__":
    main()
