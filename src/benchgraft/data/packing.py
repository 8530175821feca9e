"""From listed files to a pack: everything about a store but its pixels, and the key that follows from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..progress import Progress
from . import cifar100
from .decode import Fit, Pixels, rule_of
from .parallel import in_parallel, pieces
from .readers import Sample, Source, load_cifar100
from .reuse import Facts, Hashes, name_below

MAX_FILE_BYTES = 200_000_000
"""A larger file is left out unread."""
_HASHED_AT_ONCE = 256
_GIVEN = {"train": 0, "test": 1, "validation": 2, None: -1}
_UNREADABLE = b"\0" * 32


@dataclass(frozen=True, eq=False)
class Pack:
    """All that goes into a store, before decoding; one row a sample, in key order."""

    key: str
    size: int
    fit: Fit
    keys: list[str]
    class_names: list[str]
    labels: npt.NDArray[np.int32]
    given: npt.NDArray[np.int8]
    digests: npt.NDArray[np.uint64]
    sha256: list[bytes]
    paths: list[Path]
    """Files to decode; empty where `pixels` is there already."""
    unreadable: dict[int, str]
    """Row -> why its file cannot be read."""
    pixels: tuple[Pixels, ...] = ()
    """CIFAR-100: its parts, (n, 32, 32, 3)."""


def hash_files(
    source: Source,
    size: int,
    progress: Progress,
    fit: Fit = "letterbox",
    earlier: Hashes | None = None,
) -> Pack:
    """Read every file once for its SHA-256, but for those that `earlier` has with the same size and times."""
    samples = source.samples
    paths = [sample.path for sample in samples]
    sha256 = _known_hashes(source, earlier or Hashes())
    new = [row for row, digest in enumerate(sha256) if digest is None]
    unreadable: dict[int, str] = {}
    with progress.track(len(new), "read images") as advance:
        parts = pieces(new, _HASHED_AT_ONCE)
        for part in in_parallel(lambda rows: [(row, *_hash(paths[row])) for row in rows], parts):
            for row, digest, reason in part:
                sha256[row] = digest
                if reason:
                    unreadable[row] = reason
            advance(len(part))
    return _pack_of(samples, paths, [digest or _UNREADABLE for digest in sha256], unreadable, size, fit)


def hashes_of(source: Source, pack: Pack) -> Hashes:
    """What the next opening of the same folder need not read again."""
    files: dict[bytes, tuple[Facts, bytes]] = {}
    for row, sample in enumerate(source.samples):
        if sample.file is not None and row not in pack.unreadable:
            files[name_below(source.root, sample.path)] = (sample.file.facts, pack.sha256[row])
    return Hashes(pack.key, files)


def _known_hashes(source: Source, earlier: Hashes) -> list[bytes | None]:
    return [
        earlier.find(name_below(source.root, sample.path), sample.file.facts) if sample.file else None
        for sample in source.samples
    ]


def _pack_of(
    samples: list[Sample],
    paths: list[Path],
    sha256: list[bytes],
    unreadable: dict[int, str],
    size: int,
    fit: Fit,
) -> Pack:
    class_names = sorted({sample.class_name for sample in samples})
    number = {name: label for label, name in enumerate(class_names)}
    labels = np.array([number[sample.class_name] for sample in samples], np.int32)
    given = np.array([_GIVEN[sample.given] for sample in samples], np.int8)
    keys = [sample.key for sample in samples]
    return Pack(
        key=_content_key(rule_of(size, fit), keys, class_names, labels, given, sha256),
        size=size,
        fit=fit,
        keys=keys,
        class_names=class_names,
        labels=labels,
        given=given,
        digests=_first_eight(sha256),
        sha256=sha256,
        paths=paths,
        unreadable=unreadable,
    )


def pack_cifar100(source: Source, size: int) -> Pack:
    """Both files of CIFAR-100, as whole arrays."""
    keys: list[str] = []
    sha256: list[bytes] = []
    class_names: list[str] = []
    labels, given, pixels = [], [], []
    for file, side, names, part in load_cifar100(source.root):
        class_names = sorted(names)
        # Fine labels number the classes in the order of the names file, a store in sorted order.
        renumber = np.array([class_names.index(name) for name in names], np.int32)
        count = len(part.labels)
        keys += [cifar100.key(file, row) for row in range(count)]
        sha256 += part.sha256()
        labels.append(renumber[part.labels])
        given.append(np.full(count, _GIVEN[side], np.int8))
        pixels.append(part.pixels())
    all_labels, all_given = np.concatenate(labels), np.concatenate(given)
    return Pack(
        key=_content_key(rule_of(size), keys, class_names, all_labels, all_given, sha256),
        size=size,
        fit="letterbox",
        keys=keys,
        class_names=class_names,
        labels=all_labels,
        given=all_given,
        digests=_first_eight(sha256),
        sha256=sha256,
        paths=[],
        unreadable={},
        pixels=tuple(pixels),
    )


def _hash(path: Path) -> tuple[bytes, str]:
    """SHA-256 of the file and "", or zeros and why it cannot be read."""
    try:
        # open(), not Path.open(), which takes twice as long for small files
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            length = os.fstat(file.fileno()).st_size
            if length > MAX_FILE_BYTES:
                return _UNREADABLE, f"too large: a file of {length:,} bytes, limit {MAX_FILE_BYTES:,}"
            return hashlib.sha256(file.read()).digest(), ""
    except OSError as error:
        return _UNREADABLE, f"cannot be read: {error.strerror or error}"


def _first_eight(sha256: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    whole = np.frombuffer(b"".join(sha256), np.uint8).reshape(-1, 32)
    return np.ascontiguousarray(whole[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def _content_key(
    rule: str,
    keys: list[str],
    class_names: list[str],
    labels: npt.NDArray[np.int32],
    given: npt.NDArray[np.int8],
    sha256: list[bytes],
) -> str:
    sha = hashlib.sha256()
    for part in (f"{rule} {len(keys)}", "\n".join(keys), "\n".join(class_names)):
        sha.update(part.encode() + b"\0")
    sha.update(labels.tobytes() + given.tobytes() + b"".join(sha256))
    return sha.hexdigest()
