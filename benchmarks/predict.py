"""Photos a second of `predict` from JPEG files, and the time of one by the command: model file and ONNX file.

python benchmarks/predict.py --data DIR [--rounds 5]

DIR holds fruits-360/; all its test photos (100 x 100) are asked, by the model that comes along and by its
export. The two take turns in every round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchgraft import export, predict
from benchgraft.files import shipped_path
from benchgraft.runfolder.ledger import environment, now
from benchgraft.shortcuts import keep_freed_memory


def photos_per_second(model: Path, folder: Path) -> float:
    """Of all photos below the folder, opening the model included."""
    start = time.perf_counter()
    return sum(1 for _ in predict(model, [folder])) / (time.perf_counter() - start)


def seconds_of_one(model: Path, photo: Path) -> float:
    """From the start of the interpreter to its end."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchgraft", "predict", str(model), str(photo)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Medians of the rounds, as JSON."""
    keep_freed_memory()  # as a command does; functions leave malloc alone
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = options.data / "fruits-360" / "Test"
    photo = next(folder.rglob("*.jpg"))
    result: dict[str, Any] = {
        "date": now(),
        "machine": environment(torch.get_num_threads(), "cpu").model_dump(),
    }
    with tempfile.TemporaryDirectory() as place:
        model = shipped_path("shipped:stage2.safetensors")
        models = {"model file": model, "ONNX file": export(model, Path(place) / "m.onnx").path}
        rates: dict[str, list[float]] = {name: [] for name in models}
        latencies: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(options.rounds):
            for name, path in models.items():
                rates[name].append(photos_per_second(path, folder))
                latencies[name].append(seconds_of_one(path, photo))
    for name in models:
        result[name] = {
            "photos_per_second": round(median(rates[name])),
            "all photos_per_second": [round(rate) for rate in rates[name]],
            "seconds of one photo by the command": round(median(latencies[name]), 2),
            "all seconds": [round(seconds, 2) for seconds in latencies[name]],
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
