"""A store is built once, found again without work, and never half there."""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchgraft.config.frame import Frame
from benchgraft.errors import DataError, StorageError
from benchgraft.photos.readers import Source, open_source
from benchgraft.progress import BarProgress, PlainProgress
from benchgraft.store import packing, rows, store
from benchgraft.store.store import Store, open_store
from benchgraft.tasks.check import check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five images of 8 x 8."""
    root = tmp_path / "photos"
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            write_png(root / name / f"{number}.png", random)
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_rows_stand_in_key_order_with_their_pixels(folder: Path, cache: Path) -> None:
    opened = open_folder(folder, cache)

    assert opened.keys == [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(5)]
    assert opened.pixels.shape == (10, 8, 8, 3)
    for row, key in enumerate(opened.keys):
        assert (opened.pixels[row] == np.asarray(Image.open(folder / key))).all()
    assert opened.labels.tolist() == [0] * 5 + [1] * 5
    assert opened.given.tolist() == [-1] * 10


def test_store_is_found_again_without_reading_an_image(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_folder(folder, cache)
    monkeypatch.setattr(store, "hash_files", refuse)
    monkeypatch.setattr(Source, "samples", property(refuse))

    again = open_folder(folder, cache)

    assert first.decode_seconds > 0
    assert again.decode_seconds == 0
    assert again.key == first.key
    assert (again.pixels == first.pixels).all()


def test_same_content_elsewhere_is_hashed_but_not_decoded(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_folder(folder, cache)
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setattr(rows, "decode", refuse)

    assert open_folder(tmp_path / "copy", cache).key == first.key


def test_changed_image_gives_another_store_even_if_length_and_time_stay(folder: Path, cache: Path) -> None:
    path = folder / "cat" / "0.bmp"
    Image.new("RGB", (8, 8), "red").save(path)
    first = open_folder(folder, cache)
    before = path.stat()
    Image.new("RGB", (8, 8), "blue").save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size

    second = open_folder(folder, cache)

    assert second.key != first.key
    assert second.pixels[0, 0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("change", ["rename", "move", "size"])
def test_key_depends_on_names_classes_and_size(folder: Path, cache: Path, change: str) -> None:
    first = open_folder(folder, cache)
    if change == "rename":
        (folder / "cat" / "0.png").rename(folder / "cat" / "7.png")
    if change == "move":
        (folder / "cat" / "0.png").rename(folder / "dog" / "9.png")

    assert open_folder(folder, cache, 9 if change == "size" else 8).key != first.key


def test_pixels_may_be_written_to_without_changing_the_store(folder: Path, cache: Path) -> None:
    opened = open_folder(folder, cache)
    was = opened.pixels[0, 0, 0, 0]
    opened.pixels[0, 0, 0, 0] = 255 - was

    assert open_folder(folder, cache).pixels[0, 0, 0, 0] == was


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("pixels.npy", "missing"),
        ("pixels.npy", "cut"),
        *((f, d) for f in ("labels.npy", "digests.npy", "store.json") for d in ("missing", "cut", "garbage")),
    ],
)
def test_damaged_store_is_built_again_with_a_note(folder: Path, cache: Path, file: str, damage: str) -> None:
    first = open_folder(folder, cache)
    pixels = first.pixels.copy()
    path = first.folder / file
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(bytes(path.stat().st_size))

    again = open_folder(folder, cache)

    assert again.key == first.key
    assert len(again.notes) == 1
    assert "damaged" in again.notes[0]
    assert (again.pixels == pixels).all()
    assert open_folder(folder, cache).notes == []


def test_full_disk_is_one_message_and_leaves_nothing_behind(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    def open_full(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        # /dev/full refuses every write as a full disk does.
        target = Path("/dev/full") if path.name == "pixels.npy" and "w" in mode else path
        return real_open(target, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(StorageError, match=r"cannot write .*: No space left on device"):
        open_folder(folder, cache)
    monkeypatch.undo()

    assert [path for path in (cache / "stores").rglob("*") if path.is_file()] == []
    assert open_folder(folder, cache).notes == []


def test_cache_that_cannot_be_written_is_one_message(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        open_folder(folder, tmp_path / "file")


def test_read_only_cache_serves_what_it_has(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_folder(folder, cache)
    shutil.rmtree(cache / "stores" / "seen")

    def read_only(path: Path, data: object) -> None:
        raise StorageError(f"cannot write {path}: Read-only file system")

    monkeypatch.setattr(store, "write_whole", read_only)

    assert open_folder(folder, cache).key == first.key


def test_signature_file_with_garbage_is_ignored(folder: Path, cache: Path) -> None:
    first = open_folder(folder, cache)
    for path in (cache / "stores" / "seen").iterdir():
        path.write_bytes(b"\xff../../etc")

    assert open_folder(folder, cache).key == first.key


def test_leftovers_of_a_killed_process_are_removed_but_not_those_of_a_running_one(
    folder: Path, cache: Path
) -> None:
    for name, age in ((".old", 3600), (".new", 0)):
        left = cache / "stores" / name
        left.mkdir(parents=True)
        (left / "pixels.npy").write_bytes(b"x")
        for path in (left / "pixels.npy", left):
            os.utime(path, (time.time() - age, time.time() - age))

    open_folder(folder, cache)

    assert not (cache / "stores" / ".old").exists()
    assert (cache / "stores" / ".new").exists()


def test_file_that_changes_while_it_is_read_stops_the_build(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packing.hash_files

    def hash_then_change(*arguments: object) -> object:
        pack = real(*arguments)  # type: ignore[arg-type]
        (folder / "cat" / "0.png").write_bytes(b"other")
        return pack

    monkeypatch.setattr(store, "hash_files", hash_then_change)
    with pytest.raises(DataError, match=r"cat/0\.png changed while the images were read"):
        open_folder(folder, cache)
    assert list((cache / "stores").iterdir()) == []


def test_two_processes_building_the_same_store_do_no_harm(folder: Path, cache: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(2) as pool:
        keys = pool.starmap(key_of, [(folder, cache)] * 4)

    assert len(set(keys)) == 1
    assert len([path for path in (cache / "stores").iterdir() if path.name != "seen"]) == 1
    assert open_folder(folder, cache).notes == []


def test_rows_do_not_depend_on_the_number_of_threads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "DECODED_AT_ONCE", 3)
    opened = []
    for cores in (1, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        opened.append(open_folder(folder, tmp_path / str(cores)))

    assert opened[0].key == opened[1].key
    assert (opened[0].pixels == opened[1].pixels).all()


def test_check_reports_counts_duplicates_and_conversions(folder: Path, cache: Path) -> None:
    for side, names in (("Training", "abc"), ("Test", "xy")):
        for kind in ("cat", "dog"):
            for name in names:
                place = folder / side / kind
                place.mkdir(parents=True, exist_ok=True)
                write_png(place / f"{name}.png", np.random.default_rng([*f"{side}{kind}{name}".encode()]))
    shutil.copy(folder / "Training" / "cat" / "a.png", folder / "Test" / "cat" / "x.png")
    shutil.copy(folder / "Training" / "cat" / "b.png", folder / "Training" / "dog" / "b.png")
    (folder / "Test" / "dog" / "broken.jpg").write_bytes(b"no image")

    report = check(open_source("fruits360", folder), cache)

    assert report.counts["cat"] == {"train": 3, "test": 2, "not split": 0}
    assert report.duplicates_across == [["Test/cat/x.png", "Training/cat/a.png"]]
    assert report.duplicates_within == report.conflicts == [["Training/cat/b.png", "Training/dog/b.png"]]
    assert report.conversions == {"enlarged": 10}
    assert report.excluded[0].key == "Test/dog/broken.jpg"
    assert report.is_usable
    text = "\n".join(report.lines())
    for said in ("10 images of 100 x 100 in 2 classes", "Test/dog/broken.jpg: not an image", "10 enlarged"):
        assert said in text


def test_check_names_a_class_with_one_image(folder: Path, cache: Path) -> None:
    (folder / "emu").mkdir()
    write_png(folder / "emu" / "0.png", np.random.default_rng(9))

    report = check(open_source("folder", folder), cache)

    assert not report.is_usable
    assert "problem: one image only in emu: nothing to test on" in report.lines()


def test_progress_counts_every_image_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "DECODED_AT_ONCE", 3)
    stream = io.StringIO()
    open_store(open_source("folder", folder), cache, Frame(8), PlainProgress(stream, every=0))
    assert "decode images: 10 of 10" in stream.getvalue()

    shutil.rmtree(cache)
    open_store(open_source("folder", folder), cache, Frame(8), BarProgress(io.StringIO()))


@pytest.mark.real
def test_real_cifar_has_ten_test_images_among_its_training_images(real_data: Path, tmp_path: Path) -> None:
    report = check(open_source("cifar100", real_data / "cifar-100-binary"), tmp_path)

    assert len(report.duplicates_across) == 10
    assert all(sides == {"train": 500, "test": 100, "not split": 0} for sides in report.counts.values())


def open_folder(folder: Path, cache: Path, size: int = 8) -> Store:
    return open_store(open_source("folder", folder), cache, Frame(size))


def key_of(folder: Path, cache: Path) -> str:
    return open_folder(folder, cache).key


def write_png(path: Path, random: np.random.Generator) -> None:
    Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(path)


def refuse(*_: object) -> None:
    raise AssertionError("this should not have been called")
