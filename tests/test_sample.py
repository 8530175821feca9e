"""The shipped sample is what it says: small, balanced, licensed, and no image on both sides."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from benchgraft.data.check import check
from benchgraft.data.classes import ClassRules, select
from benchgraft.data.readers import open_source
from benchgraft.data.split import assign, drop_shared
from benchgraft.data.store import open_store

SAMPLE = Path(str(files("benchgraft"))) / "shipped" / "sample"


def test_sample_is_balanced_small_and_free_of_shared_images(tmp_path: Path) -> None:
    source = open_source("fruits360", SAMPLE)
    report = check(source, tmp_path)
    store = open_store(source, tmp_path)
    sides = assign(store.digests, store.given, 0.15)
    rules = ClassRules(rules={"apple": ["apple"], "pear": ["pear"]}, rest="noise")
    counts = select(store, sides, rules).counts()

    assert report.is_usable
    assert not report.excluded
    assert not report.duplicates_across
    assert report.conversions == {}
    assert len(drop_shared(store.digests, sides, store.keys).rows) == 0
    assert counts["test"] == {"apple": 70, "pear": 70, "noise": 70}
    assert {counts["train"][name] + counts["validation"][name] for name in rules.rules} == {130}
    assert min(counts["validation"].values()) >= 5
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*.jpg")) <= 4_000_000


def test_licence_and_attribution_lie_beside_the_sample() -> None:
    text = (SAMPLE / "LICENSE-sample.txt").read_text()
    for said in ("CC BY-SA 4.0", "Horea Muresan", "Mihai Oltean", "unchanged", "selection"):
        assert said in text


@pytest.mark.real
def test_sample_files_are_the_original_bytes(real_data: Path) -> None:
    for path in SAMPLE.rglob("*.jpg"):
        original = real_data / "fruits-360" / path.relative_to(SAMPLE)
        assert path.read_bytes() == original.read_bytes()
