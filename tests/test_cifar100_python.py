"""The Python version of CIFAR-100 is read, and a pickle in it cannot do anything."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from benchgraft.data import cifar100
from benchgraft.data.readers import guess_format, open_source
from benchgraft.data.store import open_store
from benchgraft.errors import DataError

NAMES = [b"bee", b"ant", b"cow"]


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes bytes as Python 2 wrote its strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, text: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch[bytes] = save_string


def python2(content: object) -> bytes:
    """The content as Python 2 and its numpy pickled it, protocol 2."""
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(content)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def part(labels: list[int], seed: int) -> dict[bytes, Any]:
    pixels = np.random.default_rng(seed).integers(0, 255, (len(labels), 3072), np.uint8)
    return {
        b"filenames": [b"a.png"] * len(labels),
        b"batch_label": b"training batch 1 of 1",
        b"fine_labels": labels,
        b"coarse_labels": [0] * len(labels),
        b"data": pixels,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny cifar-100-python."""
    place = tmp_path / "cifar-100-python"
    place.mkdir()
    (place / "meta").write_bytes(python2({b"fine_label_names": NAMES, b"coarse_label_names": [b"things"]}))
    (place / "train").write_bytes(python2(part([2, 0, 1], 1)))
    (place / "test").write_bytes(python2(part([1], 2)))
    return place


def test_pixels_labels_and_sides_are_those_of_the_pickles(folder: Path, tmp_path: Path) -> None:
    store = open_store(open_source("cifar100", folder), tmp_path / "cache")

    assert store.keys == ["test#00000", "train#00000", "train#00001", "train#00002"]
    assert [store.class_names[label] for label in store.labels] == ["ant", "cow", "bee", "ant"]
    assert store.given.tolist() == [1, 0, 0, 0]
    planes = part([2, 0, 1], 1)[b"data"][2].reshape(3, 32, 32)
    assert (store.pixels[3] == planes.transpose(1, 2, 0)).all()


def test_images_have_the_same_digests_as_in_the_binary_version(folder: Path, tmp_path: Path) -> None:
    binary = tmp_path / "cifar-100-binary"
    binary.mkdir()
    (binary / cifar100.NAMES).write_text("bee\nant\ncow\n")
    for name, labels, seed in (("train.bin", [2, 0, 1], 1), ("test.bin", [1], 2)):
        records = np.zeros((len(labels), cifar100.RECORD_BYTES), np.uint8)
        records[:, 1], records[:, 2:] = labels, part(labels, seed)[b"data"]
        (binary / name).write_bytes(records.tobytes())
    stores = [open_store(open_source("cifar100", place), tmp_path / "cache") for place in (folder, binary)]

    assert stores[0].digests.tolist() == stores[1].digests.tolist()
    assert (stores[0].pixels == stores[1].pixels).all()


def test_archive_is_read_without_unpacking_it(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-100-python")
    assert guess_format(archive) == "cifar100"
    packed = open_store(open_source("cifar100", archive), tmp_path / "one")

    assert packed.key == open_store(open_source("cifar100", folder), tmp_path / "two").key
    assert open_source("cifar100", archive).samples[0].key == "test#00000"


def test_folder_is_recognised_one_level_deeper(folder: Path, tmp_path: Path) -> None:
    assert guess_format(tmp_path) == "cifar100"
    assert open_source("cifar100", tmp_path).root == folder


def test_pickles_of_python_3_are_read_too(folder: Path, tmp_path: Path) -> None:
    before = open_store(open_source("cifar100", folder), tmp_path / "cache")
    for protocol in (2, 4):
        (folder / "train").write_bytes(pickle.dumps(part([2, 0, 1], 1), protocol))
        again = open_store(open_source("cifar100", folder), tmp_path / "cache")
        assert again.key == before.key


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def hostile(mark: Path) -> dict[str, bytes]:
    deep = b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s."
    objects = np.empty((1, 3072), object)
    return {
        "system call": pickle.dumps({b"data": Evil(mark), b"fine_labels": [0]}, 2),
        "system call, protocol 0": pickle.dumps(Evil(mark), 0),
        "system call, protocol 4": pickle.dumps(Evil(mark), 4),
        "eval": b"\x80\x02c__builtin__\neval\nU\x011\x85R.",
        "getattr through numpy": b"\x80\x02cnumpy.core.multiarray\nscalar\n)R.",
        "object array": pickle.dumps({b"data": objects, b"fine_labels": [0]}, 2),
        "changing a stand-in": b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.",
        "changing the encoder": b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.",
        "huge memo number": b"\x80\x02}r\xff\xff\xff\x7f.",
        "deep tuples": deep,
        "long length": b"\x80\x02}U\x01aT\xff\xff\xff\x7fxs.",
        "extension code": b"\x80\x02\x82\x01.",
        "cut off": python2(part([0], 1))[:100],
        "empty": b"",
        "text": b"hello",
        "a list": pickle.dumps([1], 2),
        "wrong shape": python2(part([0], 1) | {b"data": np.zeros((1, 3073), np.uint8)}),
        "wrong type": python2(part([0], 1) | {b"data": np.zeros((1, 3072), np.int8)}),
        "too few labels": python2(part([0], 1) | {b"fine_labels": []}),
        "label without a name": python2(part([3], 1)),
        "negative label": python2(part([-1], 1)),
        "label of another kind": python2(part([0], 1) | {b"fine_labels": [b"0"]}),
        "no data": python2({b"fine_labels": [0]}),
    }


@pytest.mark.parametrize("attack", hostile(Path()))
def test_hostile_pickle_is_one_message_and_does_nothing(folder: Path, tmp_path: Path, attack: str) -> None:
    mark = tmp_path / "mark"
    (folder / "train").write_bytes(hostile(mark)[attack])

    with pytest.raises(DataError, match="train") as caught:
        open_store(open_source("cifar100", folder), tmp_path / "cache")

    assert not mark.exists()
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08 cut"])
def test_damaged_archive_is_one_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as CIFAR-100"):
        open_store(open_source("cifar100", tmp_path / "cifar-100-python.tar.gz"), tmp_path / "cache")


def test_archive_without_a_file_names_it(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "train", "cifar-100-python/train")
    with pytest.raises(DataError, match="cifar-100-python/meta: is missing"):
        open_store(open_source("cifar100", archive), tmp_path / "cache")
