"""Photos to judge by that were trained on are found: by bytes, by pixels, by look."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from photos import cloud
from PIL import Image
from typer.testing import CliRunner

from benchgraft.cli import app
from benchgraft.config.experiment import DataConfig
from benchgraft.config.frame import Frame
from benchgraft.errors import DataError
from benchgraft.experiment.images import open_data
from benchgraft.photos.readers import guess_format, open_source
from benchgraft.progress import NoProgress
from benchgraft.runfolder.ledger import Ledger
from benchgraft.runfolder.records import DataRecord
from benchgraft.store.overlap import (
    Overlap,
    Pair,
    TrainedOn,
    apply_policy,
    find_overlap,
    nearest,
    write_pairs,
)
from benchgraft.store.perceptual import fingerprints
from benchgraft.store.sides import NOWHERE, TEST
from benchgraft.store.split import Dropped, assign
from benchgraft.store.store import Store, open_store

PLANTED = ("Test/Cherry Wax Red 1/0_100.jpg", "Training/Cherry Wax Red 1/1_100.jpg")
"""The same bytes in the data as published."""


def _write(place: Path, picture: Image.Image, **how: int) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place, **how)
    return place


@pytest.fixture
def photos(tmp_path) -> Path:
    """train/ and test/ of ten and three photos, no two of which show the same."""
    folder = tmp_path / "photos"
    for number in range(10):
        _write(folder / "train" / "a" / f"{number}.png", cloud(number))
    for number in range(100, 103):
        _write(folder / "test" / "a" / f"{number}.png", cloud(number))
    return folder


def _opened(folder: Path) -> Store:
    return open_store(open_source(guess_format(folder), folder), folder.parent / "cache")


def _found(store: Store, *parents: TrainedOn) -> tuple[Overlap, np.ndarray]:
    sides = assign(store.digests, store.given, 0.0)
    return find_overlap(store, sides, fingerprints(store), parents), sides


def _saved_again(path: Path) -> Image.Image:
    """What a photo looks like after one more JPEG."""
    file = io.BytesIO()
    Image.open(path).save(file, "JPEG", quality=75)
    return Image.open(file)


def _assert_refused(overlap: Overlap, sides: np.ndarray, *said: str) -> None:
    with pytest.raises(DataError, match="among the training images") as refused:
        apply_policy(overlap, sides, "refuse")
    for words in said:
        assert words in str(refused.value)


def _assert_stays(dropped: Dropped, sides: np.ndarray) -> None:
    assert dropped.images == []
    assert (dropped.sides == sides).all()


def _assert_dropped(dropped: Dropped, store: Store, key: str, reason: str) -> None:
    row = store.keys.index(key)
    assert dropped.rows.tolist() == [row]
    assert [(image.key, image.reason) for image in dropped.images] == [(key, reason)]
    assert dropped.sides[row] == NOWHERE
    assert (dropped.sides == TEST).sum() == 3


def test_photos_that_show_different_things_make_no_pair(photos):
    overlap, sides = _found(_opened(photos))
    assert overlap.pairs == []
    assert overlap.lines() == []
    _assert_stays(apply_policy(overlap, sides), sides)


def test_equal_bytes_are_refused_dropped_or_kept(photos):
    shutil.copy(photos / "train" / "a" / "4.png", photos / "test" / "a" / "copy.png")
    store = _opened(photos)
    overlap, sides = _found(store)
    assert overlap.pairs == [Pair("bytes", "test", "test/a/copy.png", "train", "train/a/4.png", 0)]
    _assert_refused(overlap, sides, "test/a/copy.png = train/a/4.png (the same bytes)", "--overlap drop-test")
    reason = "the same bytes as the train image train/a/4.png"
    _assert_dropped(apply_policy(overlap, sides, "drop-test"), store, "test/a/copy.png", reason)
    _assert_stays(apply_policy(overlap, sides, "keep"), sides)


def test_equal_pixels_in_another_file_format_are_refused_dropped_or_kept(photos):
    _write(photos / "test" / "a" / "copy.bmp", Image.open(photos / "train" / "a" / "4.png"))
    store = _opened(photos)
    overlap, sides = _found(store)
    assert overlap.pairs == [Pair("pixels", "test", "test/a/copy.bmp", "train", "train/a/4.png", 0)]
    _assert_refused(overlap, sides, "test/a/copy.bmp = train/a/4.png (the same pixels)")
    reason = "the same pixels as the train image train/a/4.png"
    _assert_dropped(apply_policy(overlap, sides, "drop-test"), store, "test/a/copy.bmp", reason)
    _assert_stays(apply_policy(overlap, sides, "keep"), sides)


@pytest.mark.parametrize("policy", ["refuse", "drop-test", "keep"])
def test_a_photo_saved_again_is_told_and_stays_whatever_the_policy(photos, policy):
    again = _saved_again(photos / "train" / "a" / "4.png")
    _write(photos / "test" / "a" / "again.jpg", again, quality=75)
    overlap, sides = _found(_opened(photos))
    (pair,) = overlap.pairs
    assert pair[:5] == ("near", "test", "test/a/again.jpg", "train", "train/a/4.png")
    assert 0 <= pair.bits <= 2
    assert overlap.lines() == [
        "1 images to validate or test on have nearly the same picture as a training image, such as "
        "test/a/again.jpg = train/a/4.png"
    ]
    _assert_stays(apply_policy(overlap, sides, policy), sides)


def test_drop_near_takes_out_what_looks_like_a_training_photo_and_what_equals_one(photos):
    again = _saved_again(photos / "train" / "a" / "4.png")
    _write(photos / "test" / "a" / "again.jpg", again, quality=75)
    shutil.copy(photos / "train" / "a" / "5.png", photos / "test" / "a" / "copy.png")
    store = _opened(photos)
    overlap, sides = _found(store)
    dropped = apply_policy(overlap, sides, "drop-near")
    assert [(image.key, image.reason) for image in dropped.images] == [
        ("test/a/again.jpg", "nearly the same picture as the train image train/a/4.png"),
        ("test/a/copy.png", "the same bytes as the train image train/a/5.png"),
    ]
    assert (dropped.sides[dropped.rows] == NOWHERE).all()
    assert (dropped.sides == TEST).sum() == 3


@pytest.mark.parametrize(
    ("policy", "dropped"), [(None, []), ("keep", []), ("drop-test", []), ("drop-near", ["test/a/again.jpg"])]
)
def test_a_data_set_may_ask_for_the_gate_and_has_none_by_itself(photos, policy, dropped):
    _write(photos / "test" / "a" / "again.jpg", _saved_again(photos / "train" / "a" / "4.png"), quality=75)
    data = DataConfig(format="fruits360", folder=str(photos), overlap=policy)
    opened = open_data("photos", data, None, photos.parent / "cache", NoProgress())
    assert [image.key for image in opened.record().dropped_from_test] == dropped
    assert len(opened.notes) == (0 if policy is None else 1)


def test_a_data_set_that_refuses_overlap_ends_the_run(photos):
    shutil.copy(photos / "train" / "a" / "4.png", photos / "test" / "a" / "copy.png")
    data = DataConfig(format="fruits360", folder=str(photos), overlap="refuse")
    with pytest.raises(DataError, match="among the training images"):
        open_data("photos", data, None, photos.parent / "cache", NoProgress())


@pytest.mark.parametrize("command", ["adapt", "compare"])
def test_both_commands_for_folders_take_drop_near(command, tmp_path, monkeypatch):
    for name in ("adapt.STEPS", "compare.COMPARED_STEPS"):
        monkeypatch.setattr(f"benchgraft.tasks.{name}", 1)
    for number in range(160):
        path, picture = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", cloud(number)
        _write(path, picture)
        if number < 40:
            _write(path.with_stem(f"{number} again"), picture.point(lambda value: value ^ 1))
    where = {"adapt": ["--out", "m.safetensors", "--run-folder", "run"], "compare": ["--out", "run"]}
    words = [
        command,
        "photos",
        "--parent",
        "paper",
        "--overlap",
        "drop-near",
        "--cache-dir",
        "cache",
        *where[command],
    ]
    words += ["--runs", "1"] if command == "compare" else []
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (data,) = [record for record in Ledger(tmp_path / "run").records if isinstance(record, DataRecord)]
    assert data.dropped_from_test
    assert all("nearly the same picture" in image.reason for image in data.dropped_from_test)
    assert "keep them together with --group-by" in " ".join(result.output.split())


def test_a_parents_training_photos_are_known_by_bytes_and_by_look(photos, tmp_path):
    seen = _write(tmp_path / "parent" / "a" / "seen.png", cloud(200))
    other = _write(tmp_path / "parent" / "a" / "other.png", cloud(201))
    _write(tmp_path / "parent" / "b" / "third.png", cloud(202))
    shutil.copy(seen, photos / "test" / "a" / "copy.png")
    _write(photos / "test" / "a" / "again.jpg", _saved_again(other), quality=75)
    theirs, store = _opened(tmp_path / "parent"), _opened(photos)
    content, perceptual = np.unique(theirs.digests), np.unique(fingerprints(theirs).perceptual)
    overlap, sides = _found(store, TrainedOn("parent.safetensors", content, perceptual))
    assert [pair[:5] for pair in overlap.pairs] == [
        ("near", "test", "test/a/again.jpg", "model", "parent.safetensors"),
        ("bytes", "test", "test/a/copy.png", "model", "parent.safetensors"),
    ]
    _assert_refused(overlap, sides, "test/a/copy.png = parent.safetensors (the same bytes)")
    dropped = apply_policy(overlap, sides, "drop-test")
    assert [image.key for image in dropped.images] == ["test/a/copy.png"]
    assert dropped.images[0].reason == "the same bytes as a training image of model parent.safetensors"
    # Without digests of the look the same photo is not known.
    overlap, _ = _found(store, TrainedOn("parent.safetensors", content))
    assert [pair.kind for pair in overlap.pairs] == ["bytes"]


def test_each_photo_is_told_once_by_the_strongest_kind(photos):
    shutil.copy(photos / "train" / "a" / "4.png", photos / "test" / "a" / "copy.png")
    _write(photos / "train" / "a" / "4 again.bmp", Image.open(photos / "train" / "a" / "4.png"))
    overlap, _ = _found(_opened(photos))
    assert [(pair.kind, pair.other) for pair in overlap.pairs] == [("bytes", "train/a/4.png")]


def test_all_pairs_are_lines_of_a_csv_whatever_the_names(photos, tmp_path):
    name = 'a "quoted", long name.png'
    shutil.copy(photos / "train" / "a" / "4.png", photos / "test" / "a" / name)
    _write(photos / "test" / "a" / "again.jpg", _saved_again(photos / "train" / "a" / "5.png"), quality=75)
    overlap, _ = _found(_opened(photos))
    write_pairs(tmp_path / "overlap.csv", overlap)
    with (tmp_path / "overlap.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["kind", "split", "key", "other_split", "other", "bits"]
    assert lines[1:] == [[str(value) for value in pair] for pair in overlap.pairs]
    assert {line[2] for line in lines[1:]} == {f"test/a/{name}", "test/a/again.jpg"}


@pytest.mark.real
def test_the_pair_planted_by_nature_in_the_fruits_is_found(real_data, tmp_path):
    (tmp_path / "fruits-360").symlink_to(real_data / "fruits-360")
    overlap, sides = _found(_opened(tmp_path / "fruits-360"))
    exact = [pair for pair in overlap.pairs if pair.kind != "near"]
    assert exact == [Pair("bytes", "test", PLANTED[0], "train", PLANTED[1], 0)]
    _assert_refused(overlap, sides, PLANTED[0])


@pytest.mark.real
def test_the_ten_test_images_of_cifar_100_that_it_trains_on_are_found(real_data, tmp_path):
    (tmp_path / "cifar").symlink_to(real_data / "cifar-100-binary")
    overlap, sides = _found(_opened(tmp_path / "cifar"))
    exact = [pair for pair in overlap.pairs if pair.kind != "near"]
    assert [(pair.kind, pair.split, pair.other_split) for pair in exact] == [("bytes", "test", "train")] * 10
    _assert_refused(overlap, sides, "10 images to validate or test on", "and 7 more")
    assert len(apply_policy(overlap, sides, "drop-test").rows) == 10


def test_a_grown_folder_brings_its_fingerprints_along(photos, tmp_path):
    first = fingerprints(_opened(photos))
    assert first.computed == 13
    _write(photos / "train" / "a" / "0a.png", cloud(50))
    (photos / "train" / "a" / "3.png").unlink()
    grown = fingerprints(_opened(photos))
    assert grown.computed == 1
    shutil.copytree(photos, tmp_path / "elsewhere" / "photos")
    anew = fingerprints(_opened(tmp_path / "elsewhere" / "photos"))
    assert anew.computed == 13
    assert np.array_equal(grown.pixels, anew.pixels)
    assert np.array_equal(grown.perceptual, anew.perceptual)


def test_fingerprints_of_photos_fitted_otherwise_are_not_taken(photos):
    _write(photos / "train" / "a" / "wide.png", cloud(60).resize((100, 50)))
    letterboxed = fingerprints(_opened(photos))
    source = open_source(guess_format(photos), photos)
    stretched = fingerprints(open_store(source, photos.parent / "cache", Frame(100, "stretch")))
    assert stretched.computed == len(stretched.pixels)
    assert not np.array_equal(stretched.pixels, letterboxed.pixels)


@pytest.mark.parametrize("most", [0, 2, 5])
def test_nearest_is_that_of_comparing_all_with_all(most):
    rng = np.random.default_rng(most)
    others = rng.integers(0, 1 << 63, 2000, np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (2, 400), np.uint64)
    hashes = np.concatenate([others[:400] ^ flips[0] ^ flips[1], others[:50], np.zeros(3, np.uint64)])
    others = np.concatenate([others, others[:100], others[:9] ^ np.uint64(1)])
    bits = np.bitwise_count(hashes[:, None] ^ others)
    places, twins, apart = nearest(hashes, others, most)
    assert places.tolist() == np.flatnonzero(bits.min(1) <= most).tolist()
    assert apart.tolist() == bits.min(1)[places].tolist() == bits[places, twins].tolist()
    assert all(twin == np.flatnonzero(others == others[twin])[0] for twin in twins)


def test_nearest_of_none_is_none():
    none, one = np.empty(0, np.uint64), np.ones(1, np.uint64)
    assert [len(found) for found in nearest(none, one, 2) + nearest(one, none, 2)] == [0] * 6
