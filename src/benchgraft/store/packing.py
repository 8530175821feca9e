"""From listed files to a pack: everything about a store but its pixels, and the key that follows from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..config.frame import Frame
from ..parallel import in_parallel, pieces
from ..photos import cifar100
from ..photos.decode import Pixels, Rule, look_of, rule_of
from ..photos.formats import missing_reader
from ..photos.grey import level_of, peak_of
from ..photos.readers import Sample, Source
from ..progress import Progress
from .reuse import Facts, Hashes, Seen, name_below
from .sides import GIVEN

BARE = " bare"
"""In keys, of stores without pixels."""
MAX_FILE_BYTES = 200_000_000
"""A larger file is left out unread."""
_HASHED_AT_ONCE = 256
_NOTHING_SEEN = Seen(b"\0" * 32, 0)


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
    paths: list[Path]
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
    seen: list[Seen]
    """One for each sample; of nothing where it is unreadable."""
    unreadable: dict[int, str]
    """Sample -> why its file cannot be read."""

    @property
    def digests(self) -> npt.NDArray[np.uint64]:
        """As a store has them, uint64 (n,)."""
        return _first_eight([seen.sha256 for seen in self.seen])

    @property
    def given(self) -> npt.NDArray[np.int8]:
        """As a store has them, int8 (n,)."""
        return np.array([GIVEN[sample.given] for sample in self.source.samples], np.int8)

    @property
    def _peaks(self) -> npt.NDArray[np.int32]:
        return np.array([seen.peak for seen in self.seen], np.int32)

    @property
    def peak(self) -> int:
        """Largest value of all photos of 16-bit grey; 0 where there are none."""
        return int(self._peaks.max(initial=0))

    def rule(self, frame: Frame, white_level: int | None = None) -> Rule:
        """For these photos. white_level: None finds it from those of 16-bit grey."""
        level = level_of(self.peak) if white_level is None else white_level
        return rule_of(frame, level)

    def look(self, frame: Frame, white_level: int | None = None) -> str:
        """As a store of them has it, for keys of features."""
        return look_of(frame, self.rule(frame, white_level).white_level, bool(self._peaks.any()))

    def pack(self, frame: Frame, white_level: int | None = None, is_bare: bool = False) -> Pack:
        """Under one rule. white_level: None finds it. is_bare: for a store without pixels."""
        rule = self.rule(frame, white_level)
        sha256, peaks = [seen.sha256 for seen in self.seen], self._peaks
        return _pack_of(self.source.samples, sha256, self.unreadable, peaks, rule, is_bare)

    def hashes(self) -> Hashes:
        """What the next opening of the same folder need not read again."""
        files: dict[bytes, tuple[Facts, Seen]] = {}
        for row, sample in enumerate(self.source.samples):
            if sample.file is not None and row not in self.unreadable:
                files[name_below(self.source.root, sample.path)] = (sample.file.facts, self.seen[row])
        return Hashes(files)


def hash_files(source: Source, progress: Progress, earlier: Hashes | None = None) -> Listing:
    """Read every file once for its SHA-256, but for those that `earlier` has with the same size and times.

    Photos of 16-bit grey are decoded, for their largest value.
    """
    paths = [sample.path for sample in source.samples]
    seen = _known(source, earlier or Hashes())
    new = [row for row, known in enumerate(seen) if known is None]
    unreadable: dict[int, str] = {}
    with progress.track(len(new), "read images") as advance:
        parts = pieces(new, _HASHED_AT_ONCE)
        for part in in_parallel(lambda rows: [(row, *_look(paths[row])) for row in rows], parts):
            for row, found, reason in part:
                seen[row] = found
                if reason:
                    unreadable[row] = reason
            advance(len(part))
    return Listing(source, [found or _NOTHING_SEEN for found in seen], unreadable)


def _known(source: Source, earlier: Hashes) -> list[Seen | None]:
    return [
        earlier.find(name_below(source.root, sample.path), sample.file.facts) if sample.file else None
        for sample in source.samples
    ]


def _pack_of(
    samples: list[Sample],
    sha256: list[bytes],
    unreadable: dict[int, str],
    peaks: npt.NDArray[np.int32],
    rule: Rule,
    is_bare: bool,
) -> Pack:
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
        digests=_first_eight(sha256),
        sha256=sha256,
        paths=[sample.path for sample in samples],
        unreadable=unreadable,
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
        digests=_first_eight(sha256),
        sha256=sha256,
        paths=[],
        unreadable={},
        peaks=np.zeros(len(keys), np.int32),
        pixels=tuple(pixels),
    )


def _look(path: Path) -> tuple[Seen, str]:
    """What the file's bytes say and "", or nothing and why it cannot be read.

    A photo whose reader is not installed counts as one that cannot be read: once it is installed, this store
    is not to be found again.
    """
    try:
        # open(), not Path.open(), which takes twice as long for small files
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            length = os.fstat(file.fileno()).st_size
            if length > MAX_FILE_BYTES:
                return _NOTHING_SEEN, f"too large: a file of {length:,} bytes, limit {MAX_FILE_BYTES:,}"
            raw = file.read()
    except OSError as error:
        return _NOTHING_SEEN, f"cannot be read: {error.strerror or error}"
    reason = missing_reader(raw)
    return (_NOTHING_SEEN, reason) if reason else (Seen(hashlib.sha256(raw).digest(), peak_of(raw)), "")


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
