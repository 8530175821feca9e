"""What earlier work on a folder is worth: hashes of files that did not change, pixels of images seen before.

stores/seen/PLACE.npz   for one folder: size, times and SHA-256 of every file, and the largest value of those
                        of 16-bit grey
rows.jsonl in a store   what its rows of pixels were made from, written with them, stretch by stretch; it
                        stands in the folder of a build that was killed as well
rows.npz in a store     in its place where no pixels are kept: what every photo came to, as arrays, which many
                        photos are read from in a tenth of the time
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt
from filelock import lock_descriptor

from ..files import write_whole

PIXELS = "pixels.npy"
OUTCOMES = "rows.npz"
PRINTS = ("pixel_digests", "perceptual")
"""Names of the arrays of fingerprints beside a store: see prints.py."""
JOURNAL = "rows.jsonl"


class Earlier(NamedTuple):
    """What an image came to before: its pixels on disk, or the reason why it was left out."""

    path: Path
    offset: int
    """Where its pixels begin in `path`, in bytes."""
    converted: tuple[str, ...]
    reason: str
    """Empty if the image can be used."""
    prints: tuple[int, int] | None = None
    """Its fingerprints, where the store keeps no pixels."""


Known = dict[bytes, Earlier]
"""SHA-256 of an image's bytes -> what it came to."""


class Kind(NamedTuple):
    """What many photos have in common that came to the same."""

    reason: str
    """Why they were left out; empty if they can be used."""
    converted: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What photos came to for a store that keeps no pixels."""

    row_of: dict[bytes, int]
    """SHA-256 of a photo's bytes -> its row in the arrays."""
    kinds: list[Kind]
    """Each once."""
    kind_of: npt.NDArray[np.int64]
    """(n,), index into `kinds`."""
    prints: npt.NDArray[np.uint64]
    """(n, 2), fingerprints; of photos that were left out zeros."""

    @classmethod
    def of(cls, known: Known) -> Outcomes:
        """The same as what a journal tells."""
        numbers: dict[Kind, int] = {}
        kind_of = [
            numbers.setdefault(Kind(each.reason, each.converted), len(numbers)) for each in known.values()
        ]
        return cls(
            {sha256: row for row, sha256 in enumerate(known)},
            list(numbers),
            np.array(kind_of, np.int64),
            np.array([each.prints or (0, 0) for each in known.values()], np.uint64).reshape(-1, 2),
        )

    def and_(self, others: Outcomes) -> Outcomes:
        """Both; of a photo that both have, what the others say."""
        numbers = {kind: number for number, kind in enumerate(self.kinds)}
        theirs = np.array([numbers.setdefault(kind, len(numbers)) for kind in others.kinds], np.int64)
        return Outcomes(
            self.row_of | {sha256: len(self.kind_of) + row for sha256, row in others.row_of.items()},
            list(numbers),
            np.concatenate([self.kind_of, theirs[others.kind_of]]),
            np.concatenate([self.prints, others.prints]),
        )

    def write(self, path: Path) -> None:
        """Raises OSError."""
        rows = np.array(list(self.row_of.values()), np.int64)
        np.savez(
            path,
            sha256=np.frombuffer(b"".join(self.row_of), np.uint8),
            kinds=np.frombuffer(json.dumps(self.kinds).encode(), np.uint8),
            kind_of=self.kind_of[rows].astype(np.int32),
            prints=self.prints[rows],
        )


@dataclass(frozen=True, eq=False)
class Hashes:
    """The files of one folder, and what their bytes say of them."""

    names: list[str]
    """Paths below the folder, as the file system has them."""
    facts: npt.NDArray[np.int64]
    """(n, 3): size in bytes, mtime and ctime in ns."""
    sha256: npt.NDArray[np.uint8]
    """(n, 32)"""
    peaks: npt.NDArray[np.int32]
    """(n,), largest value of a photo of 16-bit grey, 0 of all others: see grey.peak_of."""

    @classmethod
    def none(cls) -> Hashes:
        """Of no file."""
        facts, sha256 = np.empty((0, 3), np.int64), np.empty((0, 32), np.uint8)
        return cls([], facts, sha256, np.empty(0, np.int32))

    def take(self, rows: npt.NDArray[np.int64]) -> Hashes:
        """Of these files alone."""
        names = [self.names[row] for row in rows.tolist()]
        return Hashes(names, self.facts[rows], self.sha256[rows], self.peaks[rows])

    def find(self, names: Sequence[str], facts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Row of each of these files, -1 where it is not there, or has not the same size and times; (m,)."""
        row_of = dict(zip(self.names, range(len(self.names)), strict=True))
        rows = np.array([row_of.get(name, -1) for name in names], np.int64)
        there = np.flatnonzero(rows >= 0)
        changed = (self.facts[rows[there]] != facts[there]).any(1)
        rows[there[changed]] = -1
        return rows


def read_hashes(path: Path) -> Hashes:
    """What `write_hashes` wrote; nothing where it is missing or damaged, as the files can be read again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = os.fsdecode(arrays["names"].tobytes()).split("\0")
            facts, sha256 = arrays["facts"].astype(np.int64), arrays["sha256"].reshape(-1, 32)
            peaks = arrays["peaks"].astype(np.int32)  # not there: of an earlier version, and read once more
        if facts.shape == (len(names), 3) and len(names) == len(sha256) == len(peaks):
            return Hashes(names, facts, sha256, peaks)
    except Exception:  # zipfile and numpy raise whatever they stumble on in a damaged file
        pass
    return Hashes.none()


def write_hashes(path: Path, hashes: Hashes) -> None:
    """Keep them for the next opening. Raises StorageError."""
    stream = io.BytesIO()
    np.savez(
        stream,
        names=np.frombuffer(os.fsencode("\0".join(hashes.names)), np.uint8),  # no name holds a zero byte
        facts=hashes.facts,
        sha256=hashes.sha256.reshape(-1),
        peaks=hashes.peaks,
    )
    write_whole(path, stream.getvalue())


class Journal:
    """Says, beside a growing pixels.npy, or in its place, what each stretch of its rows was made from.

    Locked while it is written, so that another process can tell a build that goes on from one that was
    killed. The checksum is for the crash of a whole machine, which may keep the line and lose the pixels.
    """

    def __init__(self, folder: Path, place: str, is_bare: bool = False) -> None:
        """is_bare: there is no pixels.npy; fingerprints stand in the lines instead."""
        self._file: TextIO = (folder / JOURNAL).open("w", encoding="ascii")
        with contextlib.suppress(OSError):  # a file system without locks: the build is then never taken over
            lock_descriptor(self._file.fileno(), blocking=False)
        try:
            self._write({"place": place, "is_bare": is_bare})
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    def add(
        self,
        pixels: npt.NDArray[np.uint8],
        kept: Sequence[tuple[bytes, tuple[str, ...]]],
        excluded: Sequence[tuple[bytes, str]],
        prints: npt.NDArray[np.uint64] | None = None,
    ) -> None:
        """`pixels` are in the file: one row for each (SHA-256, conversions) of `kept`.

        prints: in a journal without pixels, uint64 (n, 2), of the same rows.
        """
        line: dict[str, Any] = {
            "kept": [[sha256.hex(), list(converted)] for sha256, converted in kept],
            "excluded": [[sha256.hex(), reason] for sha256, reason in excluded],
        }
        if prints is None:
            line["crc32"] = zlib.crc32(pixels.data) if pixels.size else 0
        else:
            line["prints"] = prints.tolist()
        self._write(line)

    def close(self) -> None:
        """Let go of the lock."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def outcomes_in_store(folder: Path) -> Outcomes:
    """The photos of a finished store without pixels; none if that cannot be read."""
    try:
        with (folder / OUTCOMES).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            sha256 = arrays["sha256"].tobytes()
            kinds = [
                Kind(reason, tuple(converted)) for reason, converted in json.loads(arrays["kinds"].tobytes())
            ]
            kind_of, prints = arrays["kind_of"].astype(np.int64), arrays["prints"]
        row_of = {sha256[32 * row : 32 * row + 32]: row for row in range(len(sha256) // 32)}
        if len(kind_of) == len(row_of) == len(prints) and kind_of.max(initial=0) < max(1, len(kinds)):
            return Outcomes(row_of, kinds, kind_of, prints)
    except Exception:  # zipfile and numpy raise whatever they stumble on in a damaged file
        pass
    return Outcomes.of(known_in_store(folder))  # of an earlier version


def known_in_store(folder: Path) -> Known:
    """The images of a finished store; none if it was built by a version without a journal."""
    try:
        with (folder / JOURNAL).open(encoding="ascii") as lines:
            if json.loads(next(lines)).get("is_bare"):
                return _known_bare(lines)
            return _known(folder / PIXELS, lines, is_checked=False)
    except (OSError, ValueError, AttributeError, StopIteration):
        return {}


@contextlib.contextmanager
def known_in_leftovers(stores: Path, place: str) -> Iterator[tuple[Known, list[Path]]]:
    """The images in half-built folders of killed builds of the same place, and those folders.

    They stay locked meanwhile. One that a running process is filling is passed over.
    """
    known: Known = {}
    folders: list[Path] = []
    with contextlib.ExitStack() as held:
        for folder in sorted(stores.glob(".*")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                lines = held.enter_context((folder / JOURNAL).open(encoding="ascii"))
                head = json.loads(next(lines, "{}"))
                if head["place"] == place and lock_descriptor(lines.fileno(), blocking=False):
                    is_bare = head.get("is_bare")
                    found = _known_bare(lines) if is_bare else _known(folder / PIXELS, lines, is_checked=True)
                    known.update(found)
                    folders.append(folder)
        yield known, folders


def _known(path: Path, lines: TextIO, *, is_checked: bool) -> Known:
    """What the lines tell, up to the first that is broken or whose pixels are not there."""
    known: Known = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as pixels:
        offset, row_bytes = _start(pixels)
        for text in lines:
            line = json.loads(text)
            length = row_bytes * len(line["kept"])
            if is_checked:
                pixels.seek(offset)
                if zlib.crc32(pixels.read(length)) != line["crc32"] and length:
                    break
            for sha256, converted in line["kept"]:
                known[bytes.fromhex(sha256)] = Earlier(path, offset, tuple(converted), "")
                offset += row_bytes
            for sha256, reason in line["excluded"]:
                known[bytes.fromhex(sha256)] = Earlier(path, 0, (), reason)
    return known


def _known_bare(lines: TextIO) -> Known:
    """The same where no pixels are kept, up to the first line that is broken."""
    known: Known = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for text in lines:
            line = json.loads(text)
            for (sha256, converted), (pixels, perceptual) in zip(line["kept"], line["prints"], strict=True):
                prints = int(pixels), int(perceptual)
                known[bytes.fromhex(sha256)] = Earlier(Path(), 0, tuple(converted), "", prints)
            for sha256, reason in line["excluded"]:
                known[bytes.fromhex(sha256)] = Earlier(Path(), 0, (), reason)
    return known


def _start(pixels: BinaryIO) -> tuple[int, int]:
    """Length of the header and of one row, in bytes."""
    np.lib.format.read_magic(pixels)
    shape, _, _ = np.lib.format.read_array_header_1_0(pixels)
    return pixels.tell(), int(np.prod(shape[1:]))
