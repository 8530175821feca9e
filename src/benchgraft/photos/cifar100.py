"""The binary version of CIFAR-100, read as whole arrays: no Python work for each image but its digest.

A record is 3,074 bytes: coarse label, fine label, 1,024 red, 1,024 green and 1,024 blue values, row by row
(https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..names import class_name

SIDE = 32
PIXEL_BYTES = 3 * SIDE * SIDE
RECORD_BYTES = 2 + PIXEL_BYTES
Side = Literal["train", "test"]
PARTS: dict[str, Side] = {"test.bin": "test", "train.bin": "train"}
"""File -> side, in key order."""
NAMES = "fine_label_names.txt"
_PYTHON_FILES = ("meta", "test", "train")
_GET_IT = "get cifar-100-binary.tar.gz: benchgraft data fetch cifar100 --out DIR"
_OFFICIAL = {"test.bin": 10_000, "train.bin": 50_000}
_OFFICIAL_CLASSES = 100


class Part(NamedTuple):
    """One file: uint8 records (n, 3074) as mapped from disk, and fine labels int64 (n,)."""

    records: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def pixels(self) -> npt.NDArray[np.uint8]:
        """uint8 (n, 32, 32, 3), a view: channels last without a copy."""
        return self.records[:, 2:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)

    def sha256(self) -> list[bytes]:
        """SHA-256 of each image's 3,072 pixel bytes as stored in the file."""
        data = np.ascontiguousarray(self.records).data.cast("B")
        starts = range(2, len(data), RECORD_BYTES)
        return [hashlib.sha256(data[start : start + PIXEL_BYTES]).digest() for start in starts]


def key(part: str, row: int) -> str:
    """The key of an image: padded, so that sorting keys sorts rows."""
    return f"{part}#{row:05d}"


def pixel_offset(row: int) -> int:
    """Where the pixels of a record begin in its file, in bytes."""
    return row * RECORD_BYTES + 2


def has_layout(folder: Path) -> bool:
    """Whether any file of the binary version is there."""
    # os.path, as Path.is_file() raises where the folder may not be searched.
    return any(os.path.isfile(folder / name) for name in PARTS)  # noqa: PTH113


def is_python_version(folder: Path) -> bool:
    """Whether these are the files of the Python version, pickles, which is not read."""
    return all(os.path.isfile(folder / name) for name in _PYTHON_FILES)  # noqa: PTH113


def inspect(folder: Path) -> tuple[list[str], list[str]]:
    """Class names by fine label, and notes. Raises DataError: a file missing, or of a wrong length."""
    if is_python_version(folder) and not has_layout(folder):
        raise DataError(
            f"{folder} is the Python version of CIFAR-100; what is read is the binary version", _GET_IT
        )
    for part in (*PARTS, NAMES):
        if not (folder / part).is_file():
            raise DataError(
                f"{folder} is not CIFAR-100 in its binary version: {part} is missing",
                f"needed: {', '.join([*PARTS, NAMES])}",
                _GET_IT,
            )
    try:
        text = (folder / NAMES).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / NAMES} cannot be read: {error}", "unpack the archive again") from None
    names = [class_name(line.strip()) for line in text.splitlines() if line.strip()]
    if not names or len(set(names)) != len(names):
        raise DataError(f"{folder / NAMES} must name each class once, one a line; it has {len(names)} lines")
    notes = []
    for part, official in _OFFICIAL.items():
        length = (folder / part).stat().st_size
        if length == 0 or length % RECORD_BYTES:
            raise DataError(
                f"{folder / part} has a wrong length: {length:,} bytes, expected {official * RECORD_BYTES:,}",
                f"(or any other whole number of {RECORD_BYTES:,}-byte records)",
                "the file is truncated or of another version; unpack cifar-100-binary.tar.gz again",
            )
        if len(names) == _OFFICIAL_CLASSES and length != official * RECORD_BYTES:
            notes.append(f"{part} holds {length // RECORD_BYTES:,} images, the official one {official:,}")
    return names, notes


def load(folder: Path) -> Iterator[tuple[str, Side, list[str], Part]]:
    """Each file's name, side, class names by fine label, and images. Raises DataError as inspect and read."""
    names, _ = inspect(folder)
    for part, side in PARTS.items():
        yield part, side, names, read(folder, part, names)


def read(folder: Path, part: str, names: list[str]) -> Part:
    """Map one file. Raises DataError: it cannot be read, or a label has no name."""
    try:
        # A copy in memory, not a map: a file cut short while mapped would kill the process with SIGBUS.
        records = np.fromfile(folder / part, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{folder / part} cannot be read: {error.strerror or error}") from None
    if records.size % RECORD_BYTES:
        raise DataError(f"{folder / part} changed while it was read", "run again")
    records = records.reshape(-1, RECORD_BYTES)
    labels = records[:, 1].astype(np.int64)
    if labels.max(initial=0) >= len(names):
        row = int(np.argmax(labels >= len(names)))
        raise DataError(
            f"{folder / part}, image {row}: fine label {labels[row]}, but {NAMES} names {len(names)} classes",
            "the file is damaged or of another data set (CIFAR-10 has records of 3,073 bytes)",
        )
    return Part(records, labels)
