"""What the linear head costs: the whole path of strengths and the last fit, on generated pooled features.

python benchmarks/head.py [--threads 2] [--photos 1000 100000] [--classes 10]

Budget: 1 s for 1,000 photos and 20 s for 100,000, of 1,280 features and 10 classes, on 2 cores. Features are
mapped from a file, as those of the cache are; a tenth of the photos is for validation. Prints JSON with
machine and date: wall clock, seconds of all threads, and by how much memory grew.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchgraft.runfolder.ledger import environment, now
from benchgraft.training.logistic import fit_head
from benchgraft.training.scaled_rows import Labelled

DIMENSIONS = 1280


def main() -> None:
    """One size after the other, the smallest once before, unmeasured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        _measure(place, min(options.photos), options.classes)
        sizes = [_measure(place, photos, options.classes) for photos in sorted(options.photos)]
    machine = environment(options.threads, "cpu").model_dump()
    print(json.dumps({"date": now(), "machine": machine, "sizes": sizes}, indent=2))


def _measure(place: Path, photos: int, classes: int) -> dict[str, Any]:
    data = _generate(place / f"{photos}.npy", photos, classes)
    positions = np.arange(photos)
    is_validation = positions % 10 == 0
    before = _peak()
    head = fit_head(data, positions[~is_validation], positions[is_validation], classes)
    return {
        "photos": photos,
        "classes": classes,
        "seconds": round(head.seconds, 2),
        "processor seconds": round(head.processor_seconds, 2),
        "peak memory grew by, MB": round(_peak() - before),
        "strength": head.strength,
        "validation loss": [round(tried.loss, 4) for tried in head.path],
        "iterations along the path": [tried.iterations for tried in head.path],
        "iterations of the last fit": head.iterations,
        "gradient norm": head.gradient_norm,
    }


def _generate(path: Path, photos: int, classes: int) -> Labelled:
    """Not negative, mostly small, correlated, and of classes that overlap: as pooled features are."""
    random = np.random.default_rng(0)
    rank = 200
    loudness = np.geomspace(1, 0.05, rank)
    mixing = (random.normal(size=(rank, DIMENSIONS)) * loudness[:, None]).astype(np.float32)
    centres = random.normal(size=(classes, rank))
    labels = random.integers(classes, size=photos)
    features = np.lib.format.open_memmap(path, "w+", np.float32, (photos, DIMENSIONS))
    for start in range(0, photos, 1000):
        hidden = centres[labels[start : start + 1000]] * 0.2
        hidden = (hidden + random.normal(size=hidden.shape)).astype(np.float32)
        noise = random.normal(scale=0.5, size=(len(hidden), DIMENSIONS)).astype(np.float32)
        features[start : start + 1000] = np.maximum(0.15 * (hidden @ mixing + noise) - 0.1, 0)
    features.flush()
    return Labelled(np.load(path, mmap_mode="r"), labels)


def _peak() -> float:
    """Of this process, in MB (Linux counts in kB). Pages of a mapped file are in it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
