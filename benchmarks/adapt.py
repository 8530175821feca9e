"""What `adapt` costs on 3 x 400 fruit photos: first time, with the store made, and with 60 new photos.

python benchmarks/adapt.py --data DIR [--rounds 5]

Times are those of whole processes and of the function alone (without interpreter and imports), medians.
Prints JSON with machine and date. DIR holds fruits-360/.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from folders import write_fruit

from benchgraft import adapt
from benchgraft.runfolder.ledger import environment, now
from benchgraft.shortcuts import keep_freed_memory


def main() -> None:
    """Every round in folders of its own; first, again, update in turn."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    fruits = options.data / "fruits-360"
    seconds: dict[str, list[float]] = {"first": [], "store made": [], "update with 60 new photos": []}
    facts: dict[str, Any] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            photos = write_fruit(fruits, place / "fruit", 400, 320)
            model, where = place / "m.safetensors", {"cache": place / "cache", "run_folder": place / "run"}
            for what in list(seconds)[:2]:
                start = time.perf_counter()
                adapt(photos, model, parent="paper", **where)
                seconds[what].append(time.perf_counter() - start)
            write_fruit(fruits, place / "fruit", 20, 0, skip=400)
            start = time.perf_counter()
            done = adapt(photos, update=model, **where)
            seconds["update with 60 new photos"].append(time.perf_counter() - start)
            facts = {
                "accuracy after the update": done.accuracy.value,
                "decoded by the update": done.decoded,
                "featurised by the update": done.features_computed,
            }
            if number == 0:
                shutil.rmtree(place / "cache")
                facts_of_process = _process(photos, place)
    result = {
        "date": now(),
        "machine": environment(torch.get_num_threads(), "cpu").model_dump(),
        "median seconds, function": {name: round(median(values), 2) for name, values in seconds.items()},
        "all seconds, function": {name: [round(v, 2) for v in values] for name, values in seconds.items()},
        "seconds, whole process": facts_of_process,
        **facts,
    }
    print(json.dumps(result, indent=2))


def _process(photos: Path, place: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchgraft", "adapt", str(photos), "--parent", "paper"]
    command += ["--cache-dir", str(place / "cache")]
    found = {}
    for what in ("first", "store made"):
        start = time.perf_counter()
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        found[what] = round(time.perf_counter() - start, 2)
    return found


if __name__ == "__main__":
    main()
