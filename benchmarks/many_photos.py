"""Time and memory of `adapt` on very many photos, killed in the middle and gone on with.

python benchmarks/many_photos.py OUT [--photos 100000] [--classes 10]

Generates seeded JPEG files (100 x 100, textured) in OUT/photos unless they are there, then runs the command
twice: killed after a third of the time that the decoding takes, and to the end. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from waves import write_waves

from benchgraft.runfolder.ledger import environment, now

KILL_AFTER_SECONDS = 25


def main() -> None:
    """Generate, kill, go on, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    photos = options.out / "photos"
    if not photos.exists():
        write_waves(photos, options.classes, options.photos // options.classes)
    command = [sys.executable, "-m", "benchgraft", "adapt", "photos", "--parent", "paper"]
    command += ["--cache-dir", "cache", "--json"]
    killed = subprocess.Popen(command, cwd=options.out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(KILL_AFTER_SECONDS)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    start = time.perf_counter()
    done = subprocess.run(command, cwd=options.out, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    found = json.loads(done.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    result = {
        "date": now(),
        "machine": environment(0, "cpu").model_dump(exclude={"threads"}),
        "photos": options.photos,
        "killed after seconds": KILL_AFTER_SECONDS,
        "seconds of the second run": round(seconds, 1),
        "decoded by the second run": found["decoded"],
        "peak bytes": peak,
        "seconds by phase": {name: round(value, 1) for name, value in found["seconds"].items()},
        "decode_seconds": round(found["decode_seconds"], 1),
        "accuracy": found["accuracy"]["value"],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
