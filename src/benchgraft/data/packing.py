"""From listed files to rows of pixels on disk: hash, decode in parallel, write in order."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..ledger import ExcludedImage
from ..progress import Progress
from . import cifar100
from .decode import RULE_VERSION, Pixels, Undecodable, decode, pillow_warnings_off
from .readers import Source

MAX_FILE_BYTES = 200_000_000
"""A larger file is left out unread."""
_HASHED_AT_ONCE = 256
_DECODED_AT_ONCE = 64
_GIVEN = {"train": 0, "test": 1, None: -1}
_UNREADABLE = b"\0" * 32
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, eq=False)
class Pack:
    """All that goes into a store, before decoding; one row a sample, in key order."""

    key: str
    size: int
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


def hash_files(source: Source, size: int, progress: Progress) -> Pack:
    """Read every file once for its SHA-256."""
    samples = source.samples
    paths = [sample.path for sample in samples]
    sha256: list[bytes] = []
    unreadable: dict[int, str] = {}
    with progress.track(len(paths), "read images") as advance:
        for part in _in_parallel(_hash_some, _pieces(paths, _HASHED_AT_ONCE)):
            for digest, reason in part:
                if reason:
                    unreadable[len(sha256)] = reason
                sha256.append(digest)
            advance(len(part))
    class_names = sorted({sample.class_name for sample in samples})
    number = {name: label for label, name in enumerate(class_names)}
    labels = np.array([number[sample.class_name] for sample in samples], np.int32)
    given = np.array([_GIVEN[sample.given] for sample in samples], np.int8)
    keys = [sample.key for sample in samples]
    return Pack(
        key=_content_key(size, keys, class_names, labels, given, sha256),
        size=size,
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
    names, _ = cifar100.inspect(source.root)
    class_names = sorted(names)
    # Fine labels number the classes in the order of the names file, a store in sorted order.
    renumber = np.array([class_names.index(name) for name in names], np.int32)
    keys: list[str] = []
    sha256: list[bytes] = []
    labels, given, pixels = [], [], []
    for file, side in cifar100.PARTS.items():
        part = cifar100.read(source.root, file, names)
        count = len(part.labels)
        keys += [cifar100.key(file, row) for row in range(count)]
        sha256 += part.sha256()
        labels.append(renumber[part.labels])
        given.append(np.full(count, _GIVEN[side], np.int8))
        pixels.append(part.pixels())
    all_labels, all_given = np.concatenate(labels), np.concatenate(given)
    return Pack(
        key=_content_key(size, keys, class_names, all_labels, all_given, sha256),
        size=size,
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


def pack_files(
    pack: Pack, path: Path, progress: Progress
) -> tuple[npt.NDArray[np.int64], list[ExcludedImage], Counter[str]]:
    """Write the pixels of every usable image to a .npy file; rows kept, images excluded, conversions.

    Written with plain writes, not through a map: on a full disk a map ends the process with SIGBUS, a write
    raises. The number of rows is known at the end only, so the header is written twice.
    """
    kept: list[int] = []
    excluded: list[ExcludedImage] = []
    conversions: Counter[str] = Counter()
    shape = (pack.size, pack.size, 3)
    with path.open("wb") as file, progress.track(len(pack.keys), "decode images") as advance:
        start = _write_header(file, (len(pack.keys), *shape))
        for piece in _decoded(pack):
            file.write(piece.pixels.data)
            kept += piece.kept
            excluded += [ExcludedImage(key=pack.keys[row], reason=why) for row, why in piece.excluded]
            conversions.update(piece.conversions)
            advance(len(piece.kept) + len(piece.excluded))
        file.seek(0)
        if _write_header(file, (len(kept), *shape)) != start:
            raise RuntimeError("the header of pixels.npy changed its length")
    return np.array(kept, np.int64), excluded, conversions


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some rows, decoded: pixels of the kept ones, C order."""

    pixels: Pixels
    kept: list[int]
    excluded: list[tuple[int, str]]
    conversions: Counter[str]


def _decoded(pack: Pack) -> Iterator[_Piece]:
    first = 0
    for part in pack.pixels:
        for start in range(0, len(part), 4096):
            block = np.ascontiguousarray(part[start : start + 4096])
            rows = list(range(first + start, first + start + len(block)))
            yield _Piece(block, rows, [], Counter())
        first += len(part)
    if not pack.pixels:
        with pillow_warnings_off():
            yield from _in_parallel(
                lambda rows: _decode_some(pack, rows), _pieces(range(len(pack.paths)), _DECODED_AT_ONCE)
            )


def _decode_some(pack: Pack, rows: Sequence[int]) -> _Piece:
    pixels = np.empty((len(rows), pack.size, pack.size, 3), np.uint8)
    kept: list[int] = []
    excluded: list[tuple[int, str]] = []
    conversions: Counter[str] = Counter()
    for row in rows:
        try:
            if row in pack.unreadable:
                raise Undecodable(pack.unreadable[row])
            pixels[len(kept)], converted = decode(_same_bytes(pack, row), pack.size)
        except Undecodable as reason:
            excluded.append((row, str(reason)))
        else:
            kept.append(row)
            conversions.update(converted)
    return _Piece(pixels[: len(kept)], kept, excluded, conversions)


def _same_bytes(pack: Pack, row: int) -> bytes:
    """The file as it was when the key was made; otherwise the store would lie about its content."""
    try:
        raw = pack.paths[row].read_bytes()
    except OSError:
        raw = b""
    if hashlib.sha256(raw).digest() != pack.sha256[row]:
        raise DataError(f"{pack.keys[row]} changed while the images were read", "run again")
    return raw


def _hash_some(paths: Sequence[Path]) -> list[tuple[bytes, str]]:
    return [_hash(path) for path in paths]


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


def _in_parallel(work: Callable[[A], B], pieces: Iterable[A]) -> Iterator[B]:
    """The results in order, a few pieces ahead of the reader, on all cores.

    Threads, not processes: Pillow's decoders let go of the interpreter lock, the more so the larger the
    image. Decoding 16,911 JPEGs of 100 x 100 on 2 cores took 2.9 s with one thread, 2.3 s with two and 3.5 s
    with two processes (medians of 4), which must be started afresh beside PyTorch's threads and send pixels.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _pieces(items: Sequence[A], length: int) -> Iterator[Sequence[A]]:
    return (items[start : start + length] for start in range(0, len(items), length))


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Header of a C-order uint8 .npy file; returns its length. numpy leaves room for any number of rows."""
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.tell()


def _first_eight(sha256: list[bytes]) -> npt.NDArray[np.uint64]:
    whole = np.frombuffer(b"".join(sha256), np.uint8).reshape(-1, 32)
    return np.ascontiguousarray(whole[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def _content_key(
    size: int,
    keys: list[str],
    class_names: list[str],
    labels: npt.NDArray[np.int32],
    given: npt.NDArray[np.int8],
    sha256: list[bytes],
) -> str:
    sha = hashlib.sha256()
    for part in (f"{RULE_VERSION} {size} {len(keys)}", "\n".join(keys), "\n".join(class_names)):
        sha.update(part.encode() + b"\0")
    sha.update(labels.tobytes() + given.tobytes() + b"".join(sha256))
    return sha.hexdigest()
