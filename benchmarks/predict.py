"""Images a second of `predict` from JPEG files, and the time of one photo by the command.

python benchmarks/predict.py --data DIR [--rounds 5]

DIR holds fruits-360/; all its test photos (100 x 100) are asked, by the model that comes along.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from benchgraft import predict
from benchgraft.experiment.config import shipped_path
from benchgraft.ledger import environment, now


def main() -> None:
    """Medians of the rounds, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = shipped_path("shipped:stage2.safetensors")
    folder = options.data / "fruits-360" / "Test"
    photo = next(folder.rglob("*.jpg"))
    rates, latencies = [], []
    for _ in range(options.rounds):
        start = time.perf_counter()
        count = sum(1 for _ in predict(model, [folder]))
        rates.append(count / (time.perf_counter() - start))
        start = time.perf_counter()
        command = [sys.executable, "-m", "benchgraft", "predict", str(model), str(photo)]
        subprocess.run(command, check=True, capture_output=True)
        latencies.append(time.perf_counter() - start)
    result = {
        "date": now(),
        "machine": environment(torch.get_num_threads(), "cpu").model_dump(),
        "photos": count,
        "images_per_second": round(median(rates)),
        "all images_per_second": [round(rate) for rate in rates],
        "seconds of one photo by the command": round(median(latencies), 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
