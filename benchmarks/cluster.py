"""What a cluster costs and gains: overhead of a job, and rounds on many nodes, simulated from measured ones.

python benchmarks/cluster.py overhead [--jobs 200] [--out benchmarks/results]
python benchmarks/cluster.py simulate RUN_FOLDER [--out benchmarks/results]

overhead: a Ray cluster on this machine alone (three nodes of one core), which gets jobs that do nothing.
RUN_FOLDER: of `compare` or `reproduce`, carried out on one machine. The simulation gives each next round to
the node that is free first, as `--cluster` does, with the overhead that was measured and, once a node, what
decoding the photos takes. It knows no network, no shared disk and no node that is slower than this one.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from benchgraft.runfolder.ledger import environment, now, read
from benchgraft.runfolder.records import DataRecord, RunRecord

HERE = Path(__file__).resolve().parent
NODES = (1, 2, 4, 8, 16, 32, 64)
ROUNDS = (5, 10, 40)


def main() -> None:
    """One of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=("overhead", "simulate"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    path = options.out / "cluster.json"
    measured = json.loads(path.read_text()) if path.exists() else {}
    if options.question == "overhead":
        measured["overhead"] = overhead(options.jobs)
    else:
        if options.folder is None:
            parser.error("simulate needs a run folder")
        measured["simulation"] = simulation(options.folder, measured["overhead"]["seconds_a_job"]["median"])
    path.write_text(json.dumps(measured, indent=1) + "\n")
    (options.out / "cluster.md").write_text(table(measured))
    print(table(measured))


def overhead(jobs: int) -> dict[str, Any]:
    """Seconds from sending a job that does nothing to its record, one after another, and on three nodes."""
    from cluster import cluster_of

    from benchgraft.config.requests import ReproduceRequest
    from benchgraft.experiment.bench import bench_for
    from benchgraft.experiment.jobs_ray import OnRay

    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = stack.enter_context(cluster_of(3, Path(place)))
        request = ReproduceRequest(cluster=cluster.address, device="cpu", threads=1)
        begun = time.perf_counter()
        crew = stack.enter_context(OnRay(request, bench_for(request, Path(place) / "run")))
        crew.for_each(range(3), lambda _, worker: _nothing(worker))
        until_ready = time.perf_counter() - begun
        each: list[float] = []

        def timed(_: int, worker: Any) -> None:
            start = time.perf_counter()
            _nothing(worker)
            each.append(time.perf_counter() - start)

        begun = time.perf_counter()
        crew.for_each(range(jobs), timed)
        whole = time.perf_counter() - begun
    return {
        "date": now(),
        "machine": environment(1, "cpu").model_dump(),
        "jobs": jobs,
        "nodes": 3,
        "seconds_until_ready": until_ready,
        "seconds_a_job": {"median": statistics.median(each), "most": max(each)},
        "jobs_a_second": jobs / whole,
    }


def _nothing(worker: Any) -> None:
    """All that goes to and fro with a job, but for the job."""
    worker.supplied([])
    worker.ask(worker.actor.about.remote())


def simulation(folder: Path, seconds_a_job: float) -> dict[str, Any]:
    """Wall time of all rounds for so many nodes, by the measured time of each round."""
    records = read(folder)
    runs = [record for record in records if isinstance(record, RunRecord) and not record.given]
    rounds: dict[int, float] = defaultdict(float)
    for run in runs:
        if run.arm is not None:
            rounds[run.seed] += run.total_seconds + seconds_a_job
    preparation = sum(run.total_seconds for run in runs if run.arm is None)
    decoding = sum(record.decode_seconds for record in records if isinstance(record, DataRecord))
    measured = list(rounds.values())
    found = []
    for count in ROUNDS:
        lengths = [measured[number % len(measured)] for number in range(count)]
        alone = preparation + decoding + sum(lengths)
        for nodes in NODES:
            seconds = preparation + _makespan(lengths, nodes, decoding)
            found.append({"rounds": count, "nodes": nodes, "seconds": seconds, "speedup": alone / seconds})
    return {
        "date": now(),
        "machine": runs[0].environment.model_dump(),
        "rounds_measured": len(measured),
        "seconds_a_round": statistics.median(measured),
        "preparation_seconds": preparation,
        "decode_seconds": decoding,
        "found": found,
    }


def _makespan(lengths: list[float], nodes: int, first: float) -> float:
    """When the last round ends: each goes to the node that is free first. first: what a node does before."""
    free = [first] * nodes
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(end for end in free if end > first)


def table(measured: dict[str, Any]) -> str:
    """For people."""
    lines = ["# Clusters", "", "Made by `benchmarks/cluster.py`; docs/cluster.md says how one is used.", ""]
    if "overhead" in measured:
        found = measured["overhead"]
        each = found["seconds_a_job"]
        lines += [
            f"Overhead ({found['machine']['cpu']}, {found['date'][:10]}; three nodes of one core on one "
            f"machine, {found['jobs']} jobs that do nothing): {1e3 * each['median']:.0f} ms a job "
            f"(at most {1e3 * each['most']:.0f}), {found['jobs_a_second']:.0f} jobs a second; "
            f"{found['seconds_until_ready']:.1f} s until three nodes were ready.",
            "",
        ]
    if "simulation" in measured:
        found = measured["simulation"]
        lines += [
            f"**A simulation**, from {found['rounds_measured']} rounds measured on one machine "
            f"({found['machine']['cpu']}, {found['machine']['threads']} threads; "
            f"{found['seconds_a_round']:.1f} s a round, {found['preparation_seconds']:.1f} s of preparation, "
            f"{found['decode_seconds']:.1f} s of decoding on each node): every node as fast as this one, "
            "nothing that they wait for in common.",
            "",
            "| rounds | " + " | ".join(f"{nodes} nodes" if nodes > 1 else "1 node" for nodes in NODES) + " |",
            "|---|" + "---|" * len(NODES),
        ]
        for count in ROUNDS:
            row = [each for each in found["found"] if each["rounds"] == count]
            cells = [f"{each['seconds']:,.0f} s ({each['speedup']:.1f}x)" for each in row]
            lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
