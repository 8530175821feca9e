"""What takes too long for every test run: whole trainings at their full length (`make test-long`)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from photos import write_discs

from benchgraft import adapt, compare
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import DivergedRecord, RunRecord

pytestmark = pytest.mark.long


@pytest.mark.parametrize("each", [36, 60])
def test_no_run_on_a_small_folder_of_discs_diverges(tmp_path, each):
    photos = write_discs(tmp_path / "photos", 3, each)
    made = compare(
        photos, parent="paper", overlap="drop-test", cache=tmp_path / "cache", run_folder=tmp_path / "run"
    )
    ledger = Ledger(tmp_path / "run")
    runs = [run for run in ledger.of_kind(RunRecord) if run.arm == "scratch"]
    assert len(runs) == 5
    assert [run.diverged for run in runs] == [[]] * 5
    assert not ledger.of_kind(DivergedRecord)
    assert made.summary.speedups


@pytest.mark.real
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_most_of_the_first_labels_to_check_are_the_wrong_ones(real_data, tmp_path, seed):
    rng = random.Random(seed)
    fruits = real_data / "fruits-360" / "Training"
    kinds = {"apple": "Apple", "pear": "Pear", "tomato": "Tomato"}
    photos: list[Path] = []
    for name, first in kinds.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        found = sorted(path for folder in fruits.glob(f"{first}*") for path in folder.iterdir())
        for path in rng.sample(found, 400):
            photos.append(tmp_path / "photos" / name / f"{path.parent.name} {path.name}")
            shutil.copy(path, photos[-1])
    planted = rng.sample(photos, len(photos) // 20)
    for path in planted:
        other = rng.choice([name for name in kinds if name != path.parent.name])
        path.rename(tmp_path / "photos" / other / f"planted {path.name}")
    done = adapt(
        tmp_path / "photos",
        tmp_path / "m",
        overlap="keep",
        cache=tmp_path / "cache",
        run_folder=tmp_path / "run",
        parent="paper",
    )
    first = [suspect.key for suspect in done.suspects[: len(planted)]]
    assert sum("planted" in key for key in first) >= 0.6 * len(planted)
