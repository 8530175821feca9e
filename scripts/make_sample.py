#!/usr/bin/env python3
"""Choose the sample of Fruits-360 that the package ships.

    python scripts/make_sample.py FRUITS_360_FOLDER

Writes src/benchgraft/shipped/sample/{Training,Test}/<variety>/*.jpg: original files, chosen by the
class rules of the paper (apple, pear, noise), spread evenly over all varieties by a seeded draw. No image is
on both sides.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from benchgraft.data.classes import ClassRules, StageImages, select
from benchgraft.data.readers import open_source
from benchgraft.data.split import assign, drop_shared
from benchgraft.data.store import open_store

TARGET = Path(__file__).resolve().parents[1] / "src" / "benchgraft" / "shipped" / "sample"
MAX_BYTES = 4_000_000
RULES = ClassRules(
    rules={"apple": ["apple"], "pear": ["pear"]},
    rest="noise",
    train_per_class=130,
    test_per_class=70,
    draw_seed=0,
)
README = """\
# A sample of Fruits-360

{images} of the {all_images:,} images that it was drawn from (Fruits-360, 100 classes, thinned).
Training + test: {counts}.

Each file is the original, byte for byte, in the layout of the data set. Drawn by `scripts/make_sample.py`:
evenly over the varieties, training images from `Training`, test images from `Test`, none on both sides.

Accuracies on it are optimistic: the data set's own split puts frames of the same turning fruit on both sides.

Source and licence: see LICENSE-sample.txt.
"""
LICENCE = """\
The images in this folder are a selection from the data set Fruits-360 by Horea Muresan and Mihai Oltean.
The files are unchanged.

Attribution: Horea Muresan, Mihai Oltean, Fruit recognition from images using deep learning, Acta Univ.
Sapientiae, Informatica 10(1), 2018, pages 26-42.

Licence of the images, and of this selection: Creative Commons Attribution-ShareAlike 4.0 International
(CC BY-SA 4.0), https://creativecommons.org/licenses/by-sa/4.0/legalcode. They come without any warranty.

The program around them is under another licence: see LICENSE at the root of the project.
"""


def main() -> None:
    """Draw, copy, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="Fruits-360, with Training and Test")
    with tempfile.TemporaryDirectory() as cache:
        source = open_source("fruits360", parser.parse_args().folder)
        store = open_store(source, Path(cache))
        dropped = drop_shared(store.digests, assign(store.digests, store.given, 0.0), store.keys)
        chosen = select(store, dropped.sides, RULES)
        path_of = {sample.key: sample.path for sample in source.samples}
        copy(chosen, path_of)
    print("\n".join(chosen.summary()))
    length = sum(path.stat().st_size for path in TARGET.rglob("*.jpg"))
    print(f"{length:,} bytes in {TARGET}")
    if length > MAX_BYTES:
        raise SystemExit(f"more than {MAX_BYTES:,} bytes: draw fewer images")


def copy(chosen: StageImages, path_of: dict[str, Path]) -> None:
    """Replace the sample by the chosen files."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for rows in chosen.rows.values():
        for row in rows.tolist():
            key = chosen.store.keys[row]
            target = TARGET / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path_of[key].read_bytes())
    counts = chosen.counts()
    told = "; ".join(
        f"{name} {counts['train'][name]} + {counts['test'][name]}" for name in chosen.class_names
    )
    images = sum(map(len, chosen.rows.values()))
    (TARGET / "README.md").write_text(README.format(images=images, all_images=len(chosen.store), counts=told))
    (TARGET / "LICENSE-sample.txt").write_text(LICENCE)


if __name__ == "__main__":
    main()
