"""From a folder of photos to a model, and the next week with more photos."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from invented import TINY
from photos import content_digest, write_clouds, write_discs, write_photos
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from benchgraft import adapt
from benchgraft.errors import DataError, ModelFileError, RegressionError
from benchgraft.experiment.folder import DEFAULT_PARENT
from benchgraft.files import shipped_path
from benchgraft.networks import model_file
from benchgraft.report.answers import SHOWN_MISTAKES
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import RunRecord
from benchgraft.training.features import FeatureCache


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A folder of photos, and what adapt made of it."""
    place = tmp_path_factory.mktemp("adapted")
    photos = write_photos(place / "photos", {"red": 50, "green": 50, "blue": 50})
    return place, adapt(
        photos, place / "m.safetensors", cache=place / "cache", run_folder=place / "run", parent="paper"
    )


@pytest.fixture(scope="module")
def photos_of_timm(tmp_path_factory, tiny):
    """What adapt made of photos that are hard to tell, by a head on a network of timm."""
    place = tmp_path_factory.mktemp("solved")
    photos = write_discs(place / "photos", classes=4, count=40)
    options = {"parent": f"timm/{TINY}", "weights": tiny, "fit": "letterbox", "overlap": "keep"}
    made = adapt(photos, place / "m.safetensors", cache=place / "cache", run_folder=place / "run", **options)
    return made, Ledger(place / "run").of_kind(RunRecord)[-1]


def _copy(adapted, tmp_path: Path) -> tuple[Path, Path, Path]:
    place, _ = adapted
    shutil.copytree(place, tmp_path / "copy")
    copy = tmp_path / "copy"
    return copy / "photos", copy / "m.safetensors", copy / "cache"


def _last_run(folder: Path) -> RunRecord:
    return Ledger(folder).of_kind(RunRecord)[-1]


def test_a_folder_of_photos_becomes_a_model_with_an_accuracy_on_photos_it_never_saw(adapted):
    place, result = adapted
    file = model_file.read(place / "m.safetensors")
    assert file.card.class_names == ["blue", "green", "red"]
    assert result.accuracy.value > 0.9
    assert result.accuracy.low < result.accuracy.value <= result.accuracy.high
    assert sum(result.images.values()) == 150
    assert not set(file.tested_on.tolist()) & set(file.trained_on.tolist())
    counts = np.array(result.confusion)
    assert counts.sum() == result.images["test"]
    assert counts.trace() / counts.sum() == pytest.approx(result.accuracy.value)
    assert len(result.mistakes) == min(SHOWN_MISTAKES, counts.sum() - counts.trace())


def test_unsure_answers_are_counted_on_photos_that_the_model_had_not_seen(photos_of_timm):
    """A solved head takes in the validation photos at last: what is told is of the fit before that."""
    result, run = photos_of_timm
    all_of_them, *others = result.thresholds
    assert all_of_them.below == 0 and all_of_them.answered == 1
    chosen = run.validation_accuracy[run.kept_epoch - 1]
    assert all_of_them.right == pytest.approx(chosen)
    answered = [each.answered for each in result.thresholds]
    assert answered == sorted(answered, reverse=True)
    assert all((each.right is None) == (each.answered == 0) for each in others)


def test_update_computes_features_of_new_photos_only_and_keeps_every_old_split(adapted, tmp_path):
    photos, model, cache = _copy(adapted, tmp_path)
    before = model_file.read(model)
    write_photos(photos, {"red": 6, "green": 5, "blue": 4}, start=1000)
    result = adapt(photos, update=model, cache=cache, run_folder=tmp_path / "run")
    assert result.features_computed == 15
    assert _last_run(tmp_path / "run").features_computed == 15
    after = model_file.read(model)
    assert set(before.tested_on.tolist()) <= set(after.tested_on.tolist())
    assert set(before.trained_on.tolist()) <= set(after.trained_on.tolist())
    assert result.changes[0].images == len(before.tested_on)
    assert not result.changes[0].is_worse


def test_output_rows_go_by_class_name_when_classes_come_go_and_are_renamed(adapted, tmp_path):
    photos, model, cache = _copy(adapted, tmp_path)
    old = model_file.read(model)
    shutil.rmtree(photos / "blue")
    (photos / "red").rename(photos / "crimson")
    write_photos(photos, {"yellow": 40})
    result = adapt(photos, update=model, rename={"red": "crimson"}, cache=cache, run_folder=tmp_path / "run")
    assert [each.name for each in result.classes] == ["crimson", "green", "yellow"]
    rows = model_file.carried_rows(old.card.class_names, ["crimson", "green", "yellow"], {"red": "crimson"})
    assert rows == {0: 2, 1: 1}
    assert {change.name for change in result.changes} == {None, "crimson", "green"}
    assert result.accuracy.value > 0.9
    assert [note.partition(" (")[0] for note in result.notes if "--rename" in note] == [
        "new classes: yellow",
        "dropped classes, without a folder now: blue",
    ]


def test_a_rename_of_a_class_that_the_model_has_not_is_refused_with_the_nearest(adapted, tmp_path):
    photos, model, cache = _copy(adapted, tmp_path)
    with pytest.raises(ModelFileError, match='did you mean "red"'):
        adapt(photos, update=model, rename={"rad": "red"}, cache=cache, run_folder=tmp_path / "run")


def test_refused_regression_keeps_the_old_file(adapted, tmp_path):
    photos, model, cache = _copy(adapted, tmp_path)
    before = model.read_bytes()
    # The new photos of every class show another one: the update learns nonsense.
    for wrong, right in (("red", "green"), ("green", "blue"), ("blue", "red")):
        write_photos(tmp_path / "other", {right: 150}, start=2000)
        for photo in (tmp_path / "other" / right).iterdir():
            photo.rename(photos / wrong / f"new {photo.name}")
    with pytest.raises(RegressionError, match="kept"):
        adapt(photos, update=model, refuse_regression=True, cache=cache, run_folder=tmp_path / "run")
    assert model.read_bytes() == before


def test_wrongly_sorted_photos_lead_the_list_of_suspects(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 40, "green": 40})
    (photos / "red" / "0007.png").rename(photos / "green" / "wrong.png")
    result = adapt(
        photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper"
    )
    assert (result.suspects[0].key, result.suspects[0].likelier) == ("green/wrong.png", "red")


def test_features_are_opened_once(tmp_path, monkeypatch):
    opened = []
    open_features = FeatureCache.open
    monkeypatch.setattr(FeatureCache, "open", lambda *given: opened.append(1) or open_features(*given))
    photos = write_photos(tmp_path / "photos", {"red": 30, "green": 30})
    adapt(photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper")
    assert len(opened) == 1


def test_small_and_uneven_classes_are_named(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 80, "green": 7, "blue": 1})
    result = adapt(
        photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper"
    )
    text = "\n".join(result.notes)
    assert 'no test photo, so the accuracy is not known for this class: "blue" (1 in all)' in text
    assert "uneven" in text
    assert next(each for each in result.classes if each.name == "blue").recall is None


def test_too_few_photos_are_refused_with_advice(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 2, "green": 2})
    with pytest.raises(DataError, match=r"too few to set any aside"):
        adapt(photos, tmp_path / "m", cache=tmp_path / "cache", run_folder=tmp_path / "run", parent="paper")
    assert not (tmp_path / "m").exists()


def test_the_command_prints_json_for_machines_and_one_error_line_for_people(tmp_path):
    photos = write_photos(tmp_path / "photos", {"red": 30, "green": 30})
    command = [sys.executable, "-m", "benchgraft", "adapt"]
    places = ["--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, str(photos), "--json", *places], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "photos.safetensors"
    missing = subprocess.run([*command, "nowhere", *places], cwd=tmp_path, capture_output=True, text=True)
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ")
    assert "Traceback" not in missing.stderr


def test_photos_to_judge_by_that_the_parent_was_trained_on_are_refused_or_dropped(adapted, tmp_path):
    place, _ = adapted
    parent = model_file.read(place / "m.safetensors")
    photos = tmp_path / "photos"
    shutil.copytree(place / "photos", photos / "train")
    write_photos(photos / "test", {"red": 12, "green": 12, "blue": 12}, start=3000)
    known = next(
        path
        for path in sorted((place / "photos" / "red").iterdir())
        if content_digest(path) in parent.trained_on
    )
    shutil.copy(known, photos / "test" / "red" / "seen.png")
    where = {"parent": place / "m.safetensors", "cache": tmp_path / "cache", "run_folder": tmp_path / "run"}
    with pytest.raises(DataError, match="among the training images"):
        adapt(photos, tmp_path / "m", **where)
    assert not (tmp_path / "m").exists()
    rows = (tmp_path / "run" / "overlap.csv").read_text()
    assert "bytes,test,test/red/seen.png" in rows
    done = adapt(photos, tmp_path / "m", overlap="drop-test", **where)
    assert [image.key for image in done.dropped_from_test if image.key.startswith("test/")] == [
        "test/red/seen.png"
    ]
    assert done.images["test"] == 36


@pytest.fixture(scope="module")
def generations(tmp_path_factory):
    """A model, its parent being adapted too, and a photo that each of the two learned from."""
    place = tmp_path_factory.mktemp("generations")
    parent, learned = None, []
    for name, first in (("grandparent", 0), ("parent", 500)):
        photos = place / name
        write_photos(photos / "train", {"red": 20, "green": 20}, start=first)
        write_photos(photos / "test", {"red": 5, "green": 5}, start=first + 100)
        clouds = write_clouds(photos / "train" / "red", 6, start=first)
        model = place / f"{name}.safetensors"
        adapt(photos, model, parent=parent, cache=place / "cache", run_folder=place / f"run {name}")
        trained_on = set(model_file.read(model).trained_on.tolist())
        learned.append(next(path for path in clouds if content_digest(path) in trained_on))
        parent = model
    return parent, learned


@pytest.mark.parametrize("how", ["parent", "update"])
def test_a_photo_that_a_parent_or_its_parent_learned_from_is_found_though_saved_again(
    generations, tmp_path, how
):
    model, learned = generations
    photos = write_photos(tmp_path / "photos" / "train", {"red": 20, "green": 20}, start=1000).parent
    write_photos(photos / "test", {"red": 6, "green": 6}, start=1100)
    for path, name in zip(learned, ("of grandparent", "of parent"), strict=True):
        Image.open(path).save(photos / "test" / "red" / f"{name}.jpg", quality=75)
    done = adapt(
        photos,
        tmp_path / "m",
        cache=tmp_path / "cache",
        run_folder=tmp_path / "run",
        **{how: model},
    )
    pairs = (tmp_path / "run" / "overlap.csv").read_text()
    for name in ("of grandparent", "of parent"):
        assert f"near,test,test/red/{name}.jpg,model,{model}," in pairs
    assert any("nearly the same picture" in note for note in done.notes)
    assert done.images["test"] == 14  # told, and kept


def test_a_model_file_without_perceptual_hashes_serves_as_parent_and_its_child_has_its_own(adapted, tmp_path):
    place, result = adapted
    old = _in_format_1(shipped_path(DEFAULT_PARENT), tmp_path / "old.safetensors")
    adapt(
        place / "photos",
        tmp_path / "m.safetensors",
        parent=old,
        cache=place / "cache",
        run_folder=tmp_path / "run",
    )
    parent, child = model_file.read(old), model_file.read(tmp_path / "m.safetensors")
    assert (parent.card.format, len(parent.trained_on_perceptual)) == (1, 0)
    assert len(parent.trained_on) > 0
    assert 0 < len(child.trained_on_perceptual) <= result.images["train"]


def _in_format_1(path: Path, old: Path) -> Path:
    """The same model file as version 1 wrote it."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        metadata = file.metadata()
    del tensors[model_file.TRAINED_ON_PERCEPTUAL]
    metadata["benchgraft"] = json.dumps(json.loads(metadata["benchgraft"]) | {"format": 1})
    save_file(tensors, old, metadata)
    return old
