"""What commands leave: run folders that verify and report understand, and nothing overwritten."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from photos import write_photos

from benchgraft import adapt, compare
from benchgraft.errors import DataError, RunFolderError, StorageError, UserError
from benchgraft.networks import model_file
from benchgraft.runfolder.ledger import Ledger, read
from benchgraft.runfolder.records import RunRecord
from benchgraft.tasks.report import summarise, verify


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """What is looked at here does not depend on how long a training lasts."""
    for name in ("adapt.STEPS", "adapt.UPDATE_STEPS", "compare.COMPARED_STEPS"):
        monkeypatch.setattr(f"benchgraft.tasks.{name}", 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of photos, adapted in a folder of its own as a user does it: nothing named but the photos."""
    place = tmp_path_factory.mktemp("places")
    write_photos(place / "a" / "photos", {"red": 40, "green": 40})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("benchgraft.tasks.adapt.STEPS", 5)
        adapt(place / "a" / "photos", cache=place / "cache", parent="paper")
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_verify_finds_nothing_different_after_adapt_and_after_each_update(place):
    write_photos(place / "a" / "photos", {"red": 5}, start=500)
    adapt("a/photos", update="photos.safetensors", cache="cache")
    write_photos(place / "a" / "photos", {"green": 5}, start=600)
    adapt("a/photos", update="photos.safetensors", cache="cache")
    folders = sorted((place / "runs").iterdir())
    assert [folder.name for folder in folders] == ["adapt-photos", "adapt-photos-2", "adapt-photos-3"]
    for folder in folders:
        found = verify(folder)
        assert found.differences == []
        assert any("weights of all model files" in line for line in found.checked)
        [run] = [run for run in Ledger(folder).of_kind(RunRecord) if not run.given]
        assert run.arm == "transfer"


def test_a_changed_model_in_the_run_folder_of_adapt_is_noticed(place):
    [model] = (place / "runs" / "adapt-photos" / "models").iterdir()
    raw = bytearray(model.read_bytes())
    raw[-100] ^= 1
    model.write_bytes(raw)
    assert verify(place / "runs" / "adapt-photos").differences


def test_report_on_a_run_of_adapt_says_what_its_model_is_worth(place):
    done = subprocess.run(
        [sys.executable, "-m", "benchgraft", "report", "runs/adapt-photos"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer = done.stdout[done.stdout.index("The answer") :]
    assert "Arm transfer gets" in answer
    assert "No answer yet" not in done.stdout
    assert "the paper" not in done.stdout.lower()
    assert verify(place / "runs" / "adapt-photos").differences == []


def test_photos_of_another_folder_of_the_same_name_replace_neither_model_nor_run_folder(place):
    write_photos(place / "b" / "photos", {"blue": 40, "yellow": 40})
    before = (place / "photos.safetensors").read_bytes()
    account = (place / "runs" / "adapt-photos" / "ledger.jsonl").read_bytes()
    with pytest.raises(StorageError, match="exists already and is not a model of the photos in b/photos"):
        adapt("b/photos", cache="cache", parent="paper")
    assert (place / "photos.safetensors").read_bytes() == before
    made = adapt("b/photos", "other.safetensors", cache="cache", parent="paper")
    assert made.model == Path("other.safetensors")
    assert (place / "runs" / "adapt-photos" / "ledger.jsonl").read_bytes() == account
    assert (place / "runs" / "adapt-photos-2" / "ledger.jsonl").is_file()


def test_an_update_keeps_the_file_before_it(place):
    before = (place / "photos.safetensors").read_bytes()
    write_photos(place / "a" / "photos", {"red": 5}, start=500)
    made = adapt("a/photos", update="photos.safetensors", cache="cache")
    assert (place / "photos.previous.safetensors").read_bytes() == before
    assert (place / "photos.safetensors").read_bytes() != before
    assert any("photos.previous.safetensors" in note for note in made.notes)


def test_a_file_that_the_user_names_is_kept_beside_its_successor(place):
    (place / "notes.safetensors").write_text("no model at all")
    adapt("a/photos", "notes.safetensors", cache="cache", parent="paper")
    assert (place / "notes.previous.safetensors").read_text() == "no model at all"
    assert model_file.read(place / "notes.safetensors").card.class_names == ["green", "red"]


def test_a_run_folder_that_is_named_is_never_shared_by_two_runs(place):
    with pytest.raises(RunFolderError, match="holds the account of another run"):
        adapt(
            "a/photos", "m.safetensors", seed=1, cache="cache", run_folder="runs/adapt-photos", parent="paper"
        )
    assert len([run for run in read(place / "runs" / "adapt-photos") if isinstance(run, RunRecord)]) > 0
    assert not (place / "m.safetensors").exists()


def test_an_update_with_a_folder_that_shares_no_class_is_refused(place):
    write_photos(place / "b", {"blue": 40, "yellow": 40})
    before = (place / "photos.safetensors").read_bytes()
    with pytest.raises(DataError, match="has no class of photos"):
        adapt("b", update="photos.safetensors", cache="cache")
    assert (place / "photos.safetensors").read_bytes() == before
    assert not (place / "runs" / "adapt-b").exists()


def test_compare_takes_what_adapt_takes_with_the_same_split(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 60, "green": 7, "blue": 1})
    one = adapt(photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "one", parent="paper")
    both = compare(photos, parent="paper", runs=1, cache=tmp_path / "cache", run_folder=tmp_path / "both")
    [data] = [data for data in both.summary.data if data.stage == "adapt"]
    assert data.images == one.images
    assert verify(tmp_path / "both").differences == []


def test_compare_speaks_of_the_users_photos_and_not_of_the_paper(tmp_path):
    classes = {"red": 30, "green": 30, "blue": 30, "yellow": 30}
    photos = write_photos(tmp_path / "photos", classes)
    made = compare(photos, parent="paper", runs=1, cache=tmp_path / "cache", run_folder=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "paper's edition" not in page
    assert made.summary.networks[0].blocks[-1].output == [4]
    assert made.summary.networks[0].blocks[-1].parameters == 513 * 4
    assert not any("the paper" in note for note in made.summary.notes)


def test_a_hundred_small_classes_give_two_notes_and_not_a_hundred(tmp_path):
    names = {f"class {number:03}": 4 for number in range(100)}
    photos = write_photos(tmp_path / "photos", names | {"red": 30})
    made = adapt(
        photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper"
    )
    small = [note for note in made.notes if "test photo" in note or "fewer than 10 photos" in note]
    assert len(small) == 2
    assert " more" in small[0]


def test_what_prepare_and_the_summary_say_of_a_folder_without_a_comparison(place):
    summary = summarise(read(place / "runs" / "adapt-photos"))
    assert summary.answer[-1] == (
        "This folder compares nothing; benchgraft compare says whether transfer pays."
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"out": "models/"}, "models"),
        ({"out": "photos.safetensors/m.safetensors"}, "is a file, not a folder"),
        ({"out": "x" * 300}, "255 at most"),
        ({"run_folder": "photos.safetensors"}, "--run-folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_noticed_before_training(place, words, said, monkeypatch):
    (place / "models").mkdir()
    monkeypatch.setattr("benchgraft.tasks.arms.run_stage", None)
    before = sorted(place.rglob("*"))
    with pytest.raises(UserError, match=said):
        adapt("a/photos", cache="cache", **words, parent="paper")
    assert sorted(place.rglob("*")) == before


def test_a_folder_whose_name_is_too_long_for_a_file_is_noticed_before_training(place, monkeypatch):
    monkeypatch.setattr("benchgraft.tasks.arms.run_stage", None)
    (place / "a" / "photos").rename(place / ("x" * 250))
    with pytest.raises(UserError, match="255 at most"):
        adapt("x" * 250, cache="cache", parent="paper")


def test_the_folder_above_is_called_by_its_own_name(place, monkeypatch):
    monkeypatch.chdir(place / "a" / "photos" / "red")
    made = adapt("..", cache=place / "cache", run_folder=place / "run", parent="paper")
    assert made.model == Path("photos.safetensors")


def test_the_same_command_again_gives_the_same_model_and_changes_nothing(place):
    write_photos(place / "b", {"blue": 30, "yellow": 30})
    adapt("b", cache="cache", parent="paper")
    before = {path: path.read_bytes() for path in place.rglob("runs/**/*") if path.is_file()}
    model = (place / "b.safetensors").read_bytes()
    adapt("b", cache="cache", parent="paper")
    assert {path: path.read_bytes() for path in place.rglob("runs/**/*") if path.is_file()} == before
    assert (place / "b.safetensors").read_bytes() == model
    assert not (place / "b.previous.safetensors").exists()
