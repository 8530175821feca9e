"""The long commands as Python functions: what they return is what they left in files."""

from __future__ import annotations

import shutil

import pytest
from photos import write_photos

from benchgraft import adapt, compare, prepare
from benchgraft.errors import DataError, UserError
from benchgraft.networks import model_file

CHAIN = """
base = "paper"
name = "tiny"
[classes.apple_pear_noise]
train_per_class = 40
validation_per_class = 8
test_per_class = 8
[data.cifar100]
validation = 0.3
[data.fruits360]
validation = 0.3
[stages]
stage1.recipe = { batch_size = 32, stop = { epochs = 1 } }
stage2.recipe = { batch_size = 32, stop = { epochs = 1 } }
"""


def test_compare_returns_the_summary_that_its_report_shows(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 5)
    photos = write_photos(tmp_path / "photos", {"red": 60, "green": 60})
    told: list[str] = []
    made = compare(
        photos, parent="paper", runs=1, cache=tmp_path / "cache", run_folder=tmp_path / "run", say=told.append
    )
    text = (made.run_folder / "tables.json").read_text(encoding="utf-8")
    assert made.summary == type(made.summary).model_validate_json(text)
    assert {table.arm for table in made.summary.tables} >= {"scratch", "transfer"}
    assert (made.run_folder / "report.html").is_file()
    assert (made.run_folder / "digests.json").is_file()
    assert any(line.startswith("scratch, seed 0") for line in told)


def test_compare_keeps_or_drops_test_photos_that_the_parent_has_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 5)
    photos = write_photos(tmp_path / "photos", {"red": 60, "green": 60})
    where = {"cache": tmp_path / "cache", "runs": 1}
    parent = adapt(
        photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "adapted", parent="paper"
    )
    shutil.copytree(photos, tmp_path / "other")
    for path in sorted((tmp_path / "other").rglob("*.png"))[::2]:  # other photos go to other sides
        path.write_bytes(path.read_bytes() + b"changed")
    seen = {"folder": tmp_path / "other", "parent": parent.model, "group_by": r"(\d\d)\."}
    with pytest.raises(DataError, match="are among the training images") as refused:
        compare(**seen, **where, run_folder=tmp_path / "refused")
    assert "--overlap drop-test" in str(refused.value)
    made = compare(**seen, **where, run_folder=tmp_path / "dropped", overlap="drop-test")
    kept = compare(**seen, **where, run_folder=tmp_path / "kept", overlap="keep")
    tested = [done.summary.data[0].images["test"] for done in (made, kept)]
    assert tested[0] < tested[1]
    assert made.summary.data[0].shared > 0


def test_compare_says_how_the_command_line_does_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.compare.COMPARED_STEPS", 5)
    photos = write_photos(tmp_path / "photos", {"red": 60, "green": 60})
    made = compare(photos, parent="paper", runs=1, cache=tmp_path / "cache", run_folder=tmp_path / "run")
    rerun = made.summary.provenance.rerun
    assert rerun.startswith(f"benchgraft compare {photos} --parent paper --minutes 15.0 ")
    assert " --runs 1 --seed 0 " in rerun
    assert rerun.endswith(f"--out {tmp_path / 'run'}-again")


def test_prepare_trains_the_chain_and_says_what_each_stage_took(synthetic_data, tmp_path):
    (tmp_path / "tiny.toml").write_text(CHAIN)
    where = {"data": synthetic_data, "cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    made = prepare(tmp_path / "tiny.toml", tmp_path / "parent.safetensors", **where)
    file = model_file.read(made.model)
    assert made.stage == "stage2"
    assert list(made.seconds) == ["stage1", "stage2"]
    assert min(made.seconds.values()) > 0
    assert made.class_names == file.card.class_names
    assert made.accuracy == file.card.record["accuracy"]


def test_prepare_names_the_nearest_stage_for_one_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match='did you mean "stage2"'):
        prepare("paper", stage="stage22", run_folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
