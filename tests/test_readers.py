"""Data sets are read in their real layouts, and nothing but listed at first."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchgraft.config.frame import Frame
from benchgraft.errors import DataError
from benchgraft.photos import cifar100
from benchgraft.photos.readers import guess_format, open_source
from benchgraft.report.words import SEEN_BY_TRAINING
from benchgraft.store.store import open_store
from benchgraft.tasks.check import check


def test_fruits360_gives_each_file_its_folder_as_class_and_its_side(synthetic_data: Path) -> None:
    source = open_source("fruits360", synthetic_data / "fruits-360")

    sample = next(s for s in source.samples if s.key == "Training/Apple Red 1/3_100.jpg")
    assert (sample.class_name, sample.given) == ("Apple Red 1", "train")
    assert sample.path.read_bytes()[:2] == b"\xff\xd8"
    assert [s.key for s in source.samples] == sorted(s.key for s in source.samples)
    assert len(source.samples) == 8 * (24 + 8)
    assert source.notes == []


def test_a_folder_with_a_split_is_not_said_to_be_of_fruits(tmp_path: Path) -> None:
    for side in ("train", "test"):
        for name in ("hat", "shoe"):
            (tmp_path / side / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / side / name / "a.png")
    source = open_source(guess_format(tmp_path), tmp_path)
    assert (source.format, [sample.given for sample in source.samples]) == (
        "split",
        ["test", "test", "train", "train"],
    )
    assert "split" not in SEEN_BY_TRAINING


def test_fruits360_is_found_one_level_deeper_and_in_any_case(tmp_path: Path) -> None:
    inner = tmp_path / "fruits-360_dataset" / "fruits-360"
    for side in ("TRAINING", "test"):
        write_image(inner / side / "Apple 1" / "0.jpg")
    (tmp_path / "fruits-360_dataset" / "papers").mkdir()

    source = open_source("fruits360", tmp_path / "fruits-360_dataset")

    assert source.root == inner
    assert [(s.key, s.given) for s in source.samples] == [
        ("TRAINING/Apple 1/0.jpg", "train"),
        ("test/Apple 1/0.jpg", "test"),
    ]


def test_classes_in_group_folders_are_named_by_the_inner_folder(tmp_path: Path) -> None:
    for side in ("Training", "Test"):
        for place in ("Apple/Apple 10", "Apple/Small", "Pear/Small", "Plum"):
            write_image(tmp_path / side / place / "0.jpg")

    names = {s.class_name for s in open_source("fruits360", tmp_path).samples}

    assert names == {"Apple 10", "Apple/Small", "Pear/Small", "Plum"}


def test_folder_of_class_folders_has_no_given_side(tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "a.png")
    write_image(tmp_path / "dog" / "b.JPG")

    source = open_source("folder", tmp_path)

    assert [(s.key, s.class_name, s.given) for s in source.samples] == [
        ("cat/a.png", "cat", None),
        ("dog/b.JPG", "dog", None),
    ]


def test_format_is_guessed_from_the_layout(synthetic_data: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "cat" / "a.png")
    assert guess_format(synthetic_data / "cifar-100-binary") == "cifar100"
    assert guess_format(synthetic_data / "fruits-360") == "split"
    assert guess_format(tmp_path) == "folder"


def test_cifar_pixels_labels_and_sides_are_those_of_the_records(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path, {"train.bin": [2, 0, 1], "test.bin": [1]})
    store = open_store(open_source("cifar100", folder), tmp_path / "cache")

    assert store.keys == ["test.bin#00000", "train.bin#00000", "train.bin#00001", "train.bin#00002"]
    assert store.class_names == ["ant", "bee", "cow"]
    assert [store.class_names[label] for label in store.labels] == ["ant", "cow", "bee", "ant"]
    assert store.given.tolist() == [1, 0, 0, 0]
    record = np.fromfile(folder / "train.bin", np.uint8)[cifar100.RECORD_BYTES :]
    red, green, blue = record[2 : cifar100.RECORD_BYTES].reshape(3, 32, 32)
    assert (store.pixels[2] == np.stack([red, green, blue], axis=-1)).all()


def test_cifar_samples_point_at_their_pixels(synthetic_data: Path, tmp_path: Path) -> None:
    source = open_source("cifar100", synthetic_data / "cifar-100-binary")
    store = open_store(source, tmp_path)

    sample = source.samples[50]
    raw = sample.path.read_bytes()[sample.offset :][: cifar100.PIXEL_BYTES]

    assert sample.key == store.keys[50]
    assert sample.class_name == store.class_names[store.labels[50]]
    assert bytes(store.pixels[50].transpose(2, 0, 1).tobytes()) == raw


def test_cifar_of_a_wrong_length_says_what_it_got_and_expected(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path, {"train.bin": [0], "test.bin": [1]})
    with (folder / "train.bin").open("ab") as file:
        file.write(b"x")

    with pytest.raises(DataError, match=r"train.bin has a wrong length: 3,075 bytes, expected 153,700,000"):
        open_source("cifar100", folder)


def test_cifar_with_a_missing_file_names_the_file_and_the_archive(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path, {"train.bin": [0], "test.bin": [1]})
    (folder / "fine_label_names.txt").unlink()

    with pytest.raises(DataError, match=r"fine_label_names.txt is missing(.|\n)*cifar-100-binary.tar.gz"):
        open_source("cifar100", folder)


@pytest.mark.parametrize("above", [False, True])
def test_python_version_of_cifar_is_refused_with_the_way_to_the_binary_one(
    tmp_path: Path, above: bool
) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"\x80\x02}.")
    named = tmp_path if above else folder

    assert guess_format(named) == "cifar100"
    with pytest.raises(
        DataError, match=r"is the Python version of CIFAR-100(.|\n)*benchgraft data fetch cifar100 --out DIR"
    ):
        open_source("cifar100", named)


def test_binary_version_beside_the_python_version_is_read(tmp_path: Path) -> None:
    binary = write_cifar(tmp_path, {"train.bin": [0], "test.bin": [1]})
    (tmp_path / "cifar-100-python").mkdir()
    for name in ("train", "test", "meta"):
        (tmp_path / "cifar-100-python" / name).write_bytes(b"\x80\x02}.")

    assert open_source("cifar100", tmp_path).root == binary


def test_cifar_label_without_a_name_is_refused(tmp_path: Path) -> None:
    folder = write_cifar(tmp_path, {"train.bin": [0, 7], "test.bin": [1]})

    with pytest.raises(DataError, match=r"train\.bin, image 1: fine label 7, but"):
        open_store(open_source("cifar100", folder), tmp_path / "cache")


def test_cifar_keeps_its_own_size(synthetic_data: Path, tmp_path: Path) -> None:
    source = open_source("cifar100", synthetic_data / "cifar-100-binary")

    assert open_store(source, tmp_path, Frame(100)).size == 32  # the network's input enlarges it


def test_unknown_format_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='did you mean "fruits360"'):
        open_source("fruits-360", tmp_path)


def test_folder_with_a_split_is_not_taken_for_two_classes(synthetic_data: Path) -> None:
    with pytest.raises(DataError, match='say format = "split"'):
        open_source("folder", synthetic_data / "fruits-360")


def test_synthetic_data_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    from benchgraft.photos.synthetic import write_synthetic

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_synthetic(tmp_path / name, seed, train_per_class=1, test_per_class=1)

    def content(name: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]

    assert content("a") == content("b") != content("c")


def test_folders_train_val_and_test_are_respected(tmp_path: Path) -> None:
    for side in ("train", "val", "Test"):
        for name in ("cat", "dog"):
            write_image(tmp_path / "photos" / side / name / "0.png")
    source = open_source(guess_format(tmp_path / "photos"), tmp_path / "photos")
    store = open_store(source, tmp_path / "cache")

    given = {key.split("/")[0]: side for key, side in zip(store.keys, store.given.tolist(), strict=True)}
    assert given == {"Test": 1, "train": 0, "val": 2}
    report = check(source, tmp_path / "cache")
    assert report.counts["cat"] == {"train": 1, "validation": 1, "test": 1, "not split": 0}
    assert "1 validation" in "\n".join(report.lines())


@pytest.mark.parametrize("name", ["validation", "valid", "VAL"])
def test_train_and_validation_alone_are_a_split_too(tmp_path: Path, name: str) -> None:
    for side in ("training", name):
        write_image(tmp_path / side / "cat" / "0.png")
    assert guess_format(tmp_path) == "split"
    givens = {sample.key: sample.given for sample in open_source("fruits360", tmp_path).samples}
    assert givens == {"training/cat/0.png": "train", f"{name}/cat/0.png": "validation"}


@pytest.mark.real
def test_real_data_sets_are_read_whole(real_data: Path) -> None:
    fruits = open_source("fruits360", real_data / "fruits-360")
    assert len(fruits.samples) == 16_911
    assert len({sample.class_name for sample in fruits.samples}) == 100
    assert (real_data / "cifar-100-binary" / "train.bin").stat().st_size == 153_700_000
    assert open_source("cifar100", real_data / "cifar-100-binary").notes == []


def write_image(path: Path, size: tuple[int, int] = (8, 8), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, *str(path).encode()])
    Image.fromarray(random.integers(0, 255, (*size[::-1], 3), np.uint8)).save(path)
    return path


def write_cifar(tmp_path: Path, parts: dict[str, list[int]]) -> Path:
    """A tiny CIFAR-100 of the classes bee, ant, cow (0, 1, 2: not in sorted order)."""
    folder = tmp_path / "cifar-100-binary"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, labels in parts.items():
        records = random.integers(0, 255, (len(labels), cifar100.RECORD_BYTES), np.uint8)
        records[:, 1] = labels
        (folder / part).write_bytes(records.tobytes())
    (folder / "fine_label_names.txt").write_text("bee\nant\ncow\n")
    return folder
