"""Whether two revisions train the same weights: a refactoring keeps the bits.

python scripts/same_bits.py BEFORE [AFTER] [--data DIR] [--runs 1] [--work build/same-bits]

Checks out both (AFTER is the working tree where it is left out), runs `reproduce` on solar cells with each,
and with --data the whole paper too, and compares the digest of every model and the losses. Both use the
environment that runs this script. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Compare; 0 where all is the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?")
    parser.add_argument("--data", type=Path, help="folder of cifar-100-binary/ and fruits-360/")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("build/same-bits"))
    options = parser.parse_args()
    work = options.work.resolve()
    trials = {"solar cells": ["solar-cells"]}
    if options.data:
        trials["paper"] = ["paper", "--data", str(options.data.resolve())]
    found: list[dict[str, dict[str, object]]] = []
    for name, revision in (("before", options.before), ("after", options.after)):
        source = _checked_out(revision, work / name) if revision else ROOT / "src"
        found.append(
            {trial: _run(source, words, options.runs, work / name) for trial, words in trials.items()}
        )
    return _compared(*found)


def _checked_out(revision: str, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", revision, "src"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive, check=True)
    return place / "src"


def _run(source: Path, words: list[str], runs: int, place: Path) -> dict[str, object]:
    """Run -> (digest, loss, accuracy); with nothing cached."""
    out, cache = place / f"run-{words[0]}", place / "cache"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(cache, ignore_errors=True)
    command = [sys.executable, "-m", "benchgraft", "reproduce", *words, "--runs", str(runs)]
    environment = os.environ | {"PYTHONPATH": str(source)}
    subprocess.run(
        [*command, "--out", str(out), "--cache-dir", str(cache)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    lines = map(json.loads, (out / "ledger.jsonl").read_text().splitlines())
    return {
        f"{line['stage']}, seed {line['seed']}, {line['features']}": (
            line["model_digest"],
            line["loss"],
            line["accuracy"],
        )
        for line in lines
        if line["kind"] == "run"
    }


def _compared(before: dict[str, dict[str, object]], after: dict[str, dict[str, object]]) -> int:
    differing = 0
    for trial, runs in before.items():
        for run in runs.keys() | after[trial].keys():
            old, new = runs.get(run), after[trial].get(run)
            differing += old != new
            verdict = "same" if old == new else "DIFFERENT"
            print(f"{verdict}: {trial}: {run}: {_short(old)}" + (f", {_short(new)}" if old != new else ""))
    return int(differing > 0)


def _short(run: object) -> str:
    """Digest and accuracy."""
    return f"{run[0][:16]} {run[2]:.2%}" if isinstance(run, tuple) else "not run"


if __name__ == "__main__":
    sys.exit(main())
