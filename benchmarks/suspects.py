"""How many planted wrong labels are among the least believed photos.

python benchmarks/suspects.py --data DIR [--share 0.02] [--seeds 5]

DIR holds fruits-360/. Of 3 x 400 training photos a share is moved to another class; prints for each seed how
many of them are in the first 3 % of the list of suspects.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from folders import write_fruit

from benchgraft import adapt


def main() -> None:
    """One line a seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            photos = write_fruit(options.data / "fruits-360", place / "fruit", 400, 320)
            planted = _plant(photos / "Training", options.share, seed)
            done = adapt(photos, place / "m", cache=place / "cache", run_folder=place / "run")
            first = [suspect.key for suspect in done.suspects[: round(0.03 * sum(done.images.values()))]]
            found = sum(Path(key).name.startswith("planted") for key in first)
            print(
                f"seed {seed}: {found} of {planted} planted in the first {len(first)} of the list", flush=True
            )


def _plant(training: Path, share: float, seed: int) -> int:
    rng = random.Random(seed)
    classes = sorted(folder.name for folder in training.iterdir())
    photos = sorted(path for path in training.rglob("*.jpg"))
    chosen = rng.sample(photos, round(share * len(photos)))
    for path in chosen:
        other = rng.choice([name for name in classes if name != path.parent.name])
        path.rename(training / other / f"planted {path.name}")
    return len(chosen)


if __name__ == "__main__":
    main()
