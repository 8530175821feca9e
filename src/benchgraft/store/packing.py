"""From listed files to a pack: everything about a store but its pixels, and the key that follows from it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..config.frame import Frame
from ..parallel import in_parallel, pieces
from ..photos import cifar100
from ..photos.decode import Pixels, Rule, look_of, rule_of
from ..photos.formats import missing_reader
from ..photos.grey import level_of, peak_of
from ..photos.readers import Source
from ..progress import Progress
from .reuse import Hashes
from .sides import GIVEN

BARE = " bare"
"""In keys, of stores without pixels."""
MAX_FILE_BYTES = 200_000_000
"""A larger file is left out unread."""
_HASHED_AT_ONCE = 256
_UNREAD = b"\0" * 32


@dataclass(frozen=True, eq=False)
class Pack:
    """All that goes into a store, before decoding; one row a sample, in key order."""

    key: str
    rule: Rule
    keys: list[str]
    class_names: list[str]
    labels: npt.NDArray[np.int32]
    given: npt.NDArray[np.int8]
    digests: npt.NDArray[np.uint64]
    sha256: list[bytes]
    paths: list[str]
    """Files to decode; empty where `pixels` is there already."""
    unreadable: dict[int, str]
    """Row -> why its file cannot be read."""
    peaks: npt.NDArray[np.int32]
    """Largest value of each photo of 16-bit grey, 0 of all others: see grey.peak_of."""
    is_bare: bool = False
    """Whether the store keeps no pixels."""
    pixels: tuple[Pixels, ...] = ()
    """CIFAR-100: its parts, (n, 32, 32, 3)."""

    @property
    def peak(self) -> int:
        """Largest value of all photos of 16-bit grey; 0 where there are none."""
        return int(self.peaks.max(initial=0))


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a source and what their bytes say: nothing is decoded, and no rule is chosen yet."""

    source: Source
    files: Hashes
    """A row for each sample; its hash is zero where it is unreadable."""
    unreadable: dict[int, str]
    """Sample -> why its file cannot be read."""

    @property
    def digests(self) -> npt.NDArray[np.uint64]:
        """As a store has them, uint64 (n,)."""
        return _first_eight(self.files.sha256)

    @property
    def given(self) -> npt.NDArray[np.int8]:
        """As a store has them, int8 (n,)."""
        return np.array([GIVEN[sample.given] for sample in self.source.samples], np.int8)

    @property
    def peak(self) -> int:
        """Largest value of all photos of 16-bit grey; 0 where there are none."""
        return int(self.files.peaks.max(initial=0))

    def rule(self, frame: Frame, white_level: int | None = None) -> Rule:
        """For these photos. white_level: None finds it from those of 16-bit grey."""
        level = level_of(self.peak) if white_level is None else white_level
        return rule_of(frame, level)

    def look(self, frame: Frame, white_level: int | None = None) -> str:
        """As a store of them has it, for keys of features."""
        return look_of(frame, self.rule(frame, white_level).white_level, bool(self.files.peaks.any()))

    def pack(self, frame: Frame, white_level: int | None = None, is_bare: bool = False) -> Pack:
        """Under one rule. white_level: None finds it. is_bare: for a store without pixels."""
        return _pack_of(self, self.rule(frame, white_level), is_bare)

    def hashes(self) -> Hashes:
        """What the next opening of the same folder need not read again."""
        if not self.unreadable:
            return self.files
        return self.files.take(np.delete(np.arange(len(self.files.names)), list(self.unreadable)))


def hash_files(source: Source, progress: Progress, earlier: Hashes | None = None) -> Listing:
    """Read every file once for its SHA-256, but for those that `earlier` has with the same size and times.

    Photos of 16-bit grey are decoded, for their largest value. Not for CIFAR-100.
    """
    samples, earlier = source.samples, earlier or Hashes.none()
    root = os.path.join(source.root, "")  # noqa: PTH118 - with a separator at its end
    names = [sample.place.removeprefix(root) for sample in samples]
    facts = _as_array([sample.file.facts for sample in samples if sample.file])
    known = earlier.find(names, facts)
    files = Hashes(names, facts, np.zeros((len(names), 32), np.uint8), np.zeros(len(names), np.int32))
    there = np.flatnonzero(known >= 0)
    files.sha256[there], files.peaks[there] = earlier.sha256[known[there]], earlier.peaks[known[there]]
    new = np.flatnonzero(known < 0).tolist()
    unreadable: dict[int, str] = {}
    with progress.track(len(new), "read images") as advance:
        parts = pieces(new, _HASHED_AT_ONCE)
        for part in in_parallel(lambda rows: [(row, *_look(samples[row].place)) for row in rows], parts):
            for row, sha256, peak, reason in part:
                files.sha256[row], files.peaks[row] = np.frombuffer(sha256, np.uint8), peak
                if reason:
                    unreadable[row] = reason
            advance(len(part))
    return Listing(source, files, unreadable)


def _as_array(facts: list[tuple[int, int, int]]) -> npt.NDArray[np.int64]:
    """(n, 3). Times after the year 2262, which broken clocks write, wrap: they serve to tell files apart."""
    try:
        return np.array(facts, np.int64).reshape(-1, 3)
    except OverflowError:
        wrapped = [[(number + 2**63) % 2**64 - 2**63 for number in each] for each in facts]
        return np.array(wrapped, np.int64).reshape(-1, 3)


def _pack_of(listing: Listing, rule: Rule, is_bare: bool) -> Pack:
    samples, peaks = listing.source.samples, listing.files.peaks
    raw = listing.files.sha256.tobytes()
    sha256 = [raw[start : start + 32] for start in range(0, len(raw), 32)]
    class_names = sorted({sample.class_name for sample in samples})
    number = {name: label for label, name in enumerate(class_names)}
    labels = np.array([number[sample.class_name] for sample in samples], np.int32)
    given = np.array([GIVEN[sample.given] for sample in samples], np.int8)
    keys = [sample.key for sample in samples]
    return Pack(
        key=_content_key(
            rule.text(bool(peaks.any())) + BARE * is_bare, keys, class_names, labels, given, sha256
        ),
        rule=rule,
        is_bare=is_bare,
        keys=keys,
        class_names=class_names,
        labels=labels,
        given=given,
        digests=listing.digests,
        sha256=sha256,
        paths=[sample.place for sample in samples],
        unreadable=listing.unreadable,
        peaks=peaks,
    )


def pack_cifar100(source: Source, size: int) -> Pack:
    """Both files of CIFAR-100, as whole arrays."""
    keys: list[str] = []
    sha256: list[bytes] = []
    class_names: list[str] = []
    labels, given, pixels = [], [], []
    for file, side, names, part in cifar100.load(source.root):
        class_names = sorted(names)
        # Fine labels number the classes in the order of the names file, a store in sorted order.
        renumber = np.array([class_names.index(name) for name in names], np.int32)
        count = len(part.labels)
        keys += [cifar100.key(file, row) for row in range(count)]
        sha256 += part.sha256()
        labels.append(renumber[part.labels])
        given.append(np.full(count, GIVEN[side], np.int8))
        pixels.append(part.pixels())
    all_labels, all_given = np.concatenate(labels), np.concatenate(given)
    return Pack(
        key=_content_key(Rule(size).text(False), keys, class_names, all_labels, all_given, sha256),
        rule=Rule(size),
        keys=keys,
        class_names=class_names,
        labels=all_labels,
        given=all_given,
        digests=_first_eight(np.frombuffer(b"".join(sha256), np.uint8)),
        sha256=sha256,
        paths=[],
        unreadable={},
        peaks=np.zeros(len(keys), np.int32),
        pixels=tuple(pixels),
    )


def _look(path: str) -> tuple[bytes, int, str]:
    """(SHA-256, largest value of 16-bit grey, ""), or nothing and why the file cannot be read.

    A photo whose reader is not installed counts as one that cannot be read: once it is installed, this store
    is not to be found again.
    """
    try:
        # open(), not Path.open(), which takes twice as long for small files
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            length = os.fstat(file.fileno()).st_size
            if length > MAX_FILE_BYTES:
                return _UNREAD, 0, f"too large: a file of {length:,} bytes, limit {MAX_FILE_BYTES:,}"
            raw = file.read()
    except OSError as error:
        return _UNREAD, 0, f"cannot be read: {error.strerror or error}"
    reason = missing_reader(raw)
    return (_UNREAD, 0, reason) if reason else (hashlib.sha256(raw).digest(), peak_of(raw), "")


def _first_eight(sha256: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    whole = sha256.reshape(-1, 32)
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
