"""How often the perceptual hash finds a photo saved again, and alarms for photos of other classes.

python benchmarks/near_duplicates.py --data DIR

DIR holds cifar-100-binary/ and fruits-360/. 300 images of each are saved again as JPEG (quality 75, 50, and
at 60 % of the size); false alarms are test images with a training image of another class as near.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchgraft.photos.readers import open_source
from benchgraft.store.overlap import nearest
from benchgraft.store.perceptual import NEAR_BITS, fingerprints
from benchgraft.store.prints import perceptual_hashes
from benchgraft.store.store import Store, open_store

SAMPLE = 300
SAVED = (("quality 75", 75, 1.0), ("quality 50", 50, 1.0), ("at 60 %", 90, 0.6))


def main() -> None:
    """One block of lines a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        for name, folder in (("fruits360", "fruits-360"), ("cifar100", "cifar-100-binary")):
            store = open_store(open_source(name, options.data / folder), Path(cache))
            hashes = fingerprints(store).perceptual
            rows = np.random.default_rng(0).choice(len(store), SAMPLE, replace=False)
            for what, quality, share in (
                ("quality 75", 75, 1.0),
                ("quality 50", 50, 1.0),
                ("at 60 %", 90, 0.6),
            ):
                again = perceptual_hashes(np.stack([_saved(store, row, quality, share) for row in rows]))
                differing = np.bitwise_count(again ^ hashes[rows])
                print(f"{name}, {what}: {np.mean(differing <= NEAR_BITS):.1%} within {NEAR_BITS} bits")
            print(f"{name}: {_false_alarms(store, hashes):.2%} of test images alarm falsely", flush=True)


def _saved(store: Store, row: int, quality: int, share: float) -> np.ndarray:
    image = Image.fromarray(np.asarray(store.pixels[row]))
    small = image.resize((round(store.size * share),) * 2, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).resize((store.size, store.size), Image.Resampling.LANCZOS))


def _false_alarms(store: Store, hashes: np.ndarray) -> float:
    tests, trained = store.given == 1, store.given == 0
    alarms = 0
    for label in range(len(store.class_names)):
        mine, others = tests & (store.labels == label), trained & (store.labels != label)
        alarms += len(nearest(hashes[mine], hashes[others], NEAR_BITS)[0])
    return alarms / int(tests.sum())


if __name__ == "__main__":
    main()
