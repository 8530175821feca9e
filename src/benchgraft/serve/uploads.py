"""Photos that come through the door become files of the project: whole ones, photos alone, nothing beside it.

A name is taken from the upload only as far as it is a plain one; a path in it says the class at most.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..config.frame import Frame
from ..errors import RequestError
from ..files import write_new
from ..names import class_name, printable
from ..photos.decode import decode, rule_of
from ..photos.formats import SUFFIXES, Undecodable
from ..photos.grey import FULL_RANGE
from ..photos.table import read_table
from .body import shown
from .limits import Limits
from .project import Project, checked_name

ZIP = ".zip"
MOST_IN_ZIP = 20_000
LARGEST_ZIP = 2 << 30
"""Bytes of all its photos, unpacked."""
_LOOKED_AT = Frame(64, "crop", "bicubic")
"""Every photo is decoded once, so that a damaged one is told at the door."""


@dataclass
class Taken:
    """What became of an upload."""

    made: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(name, reason)"""


class _Skip(Exception):  # noqa: N818 - says what the file is
    """This one does not become a photo of the project; the message is the reason."""


def take(
    project: Project,
    uploads: Sequence[tuple[str, bytes]],
    label: str | None,
    limits: Limits,
    drop: str | None = None,
) -> Taken:
    """Put photos, and those in zips, into the folders of their classes. uploads: (name, bytes).

    label: their class; None: each one's last folder in its name. drop: uploads with the same one are taken
    back together. Files of equal bytes are taken once, those that were taken out of the project too.
    Raises RequestError for a label that cannot be, StorageError.
    """
    with project.uploading:
        taker = _Taker(project, label, limits)
        for name, raw in uploads:
            try:
                for inside, content in taker.photos(name, raw):
                    taker.take(inside, content)
            except _Skip as reason:
                taker.taken.skipped.append((shown(name), str(reason)))
        if taker.taken.made:
            project.keep(taker.taken.made, drop)
        return taker.taken


class _Taker:
    """One request's uploads on their way into the folder."""

    def __init__(self, project: Project, label: str | None, limits: Limits) -> None:
        self.taken = Taken()
        self._limits = limits
        listed = project.listed()
        self._label = label if label is None or label in listed.classes else checked_name(label, "class")
        self._root, self._place = project.folder, project.place_for_new()
        self._classes = set(listed.classes)
        self._named = {*listed.samples, *listed.out}
        """Keys that the table, or the folder, speaks of."""
        self._sizes: dict[int, list[Path]] = {}
        for sample in [*listed.samples.values(), *listed.out.values()]:
            if sample.file is not None:
                self._sizes.setdefault(sample.file.bytes, []).append(sample.path)
        if project.table.is_file():
            self._named |= {path for path, _ in read_table(project.table).lines}

    def photos(self, name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
        """The photo itself, or those in a zip. Raises _Skip."""
        if not name.lower().endswith(ZIP):
            if len(raw) > self._limits.photo_bytes:
                raise _Skip(_too_large(self._limits))
            yield name, raw
            return
        try:
            archive = zipfile.ZipFile(io.BytesIO(raw))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise _Skip(f"no zip that can be read: {printable(str(error))[:100]}") from None
        with archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MOST_IN_ZIP:
                raise _Skip(f"a zip may hold {MOST_IN_ZIP:,} files, this one has {len(entries):,}")
            whole = 0
            for entry in entries:
                try:
                    content = _unpacked(archive, entry, self._limits)
                except _Skip as reason:
                    self.taken.skipped.append((shown(entry.filename), str(reason)))
                    continue
                whole += len(content)
                if whole > LARGEST_ZIP:
                    raise _Skip(f"unpacked it has more than {LARGEST_ZIP >> 30} GiB: the rest is left out")
                if len(content) > self._limits.photo_bytes:
                    self.taken.skipped.append((shown(entry.filename), _too_large(self._limits)))
                else:
                    yield f"{PurePosixPath(name).stem}/{entry.filename}", content

    def take(self, name: str, raw: bytes) -> None:
        """Write one photo, or tell why not."""
        try:
            place, plain = self._target(name, raw)
            twin = next((path for path in self._sizes.get(len(raw), ()) if _is_same(path, raw)), None)
            if twin is not None:
                raise _Skip(f"the same bytes as {printable(twin.relative_to(self._root).as_posix())}")
        except _Skip as reason:
            self.taken.skipped.append((shown(name), str(reason)))
            return
        if not place.exists():
            place.mkdir()
            self.taken.made.append(place)
        target, number = place / plain, 2
        while self._is_named(target) or not write_new(target, raw):
            target, number = place / f"{plain.stem} ({number}){plain.suffix}", number + 1
        self.taken.made.append(target)
        self._sizes.setdefault(len(raw), []).append(target)

    def _is_named(self, target: Path) -> bool:
        return printable(target.relative_to(self._root).as_posix()) in self._named

    def _target(self, name: str, raw: bytes) -> tuple[Path, Path]:
        """(the folder of the class, the name of the file in it). Raises _Skip."""
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        _need_photo_name(name)
        folder = self._label or (class_name(parts[-2]) if len(parts) > 1 else None)
        if folder is None:
            raise _Skip("its class is not known: drop it onto a class, or in a folder of that name")
        _need_photo(raw)
        try:
            place = self._place / (folder if folder in self._classes else checked_name(folder, "class"))
        except RequestError as error:
            raise _Skip(error.what) from None
        if place.parent != self._place or place.is_symlink() or (place.exists() and not place.is_dir()):
            raise _Skip(f"{printable(folder)} in the project is no plain folder")
        try:
            plain = Path(checked_name(parts[-1], "photo"))
        except RequestError:
            suffix = PurePosixPath(parts[-1]).suffix.lower()
            plain = Path(hashlib.sha256(raw).hexdigest()[:16] + suffix)
        return place, plain


def _too_large(limits: Limits) -> str:
    return f"larger than {limits.photo_bytes >> 20} MiB"


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: Limits) -> bytes:
    """Read no further than a photo may be long, whatever the zip says of its length."""
    if entry.flag_bits & 1:
        raise _Skip("it is encrypted")
    if (entry.external_attr >> 16) & 0o170000 == 0o120000:
        raise _Skip("links are not followed")
    _need_photo_name(entry.filename)
    try:
        with archive.open(entry) as file:
            content = file.read(limits.photo_bytes + 1)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RuntimeError) as error:
        raise _Skip(f"damaged in the zip: {printable(str(error))[:100]}") from None
    except Exception as error:  # zlib and lzma raise their own
        raise _Skip(f"damaged in the zip: {type(error).__name__}") from None
    return content


def _need_photo_name(name: str) -> None:
    last = name.rpartition("/")[2]
    if last.startswith(".") or "__MACOSX" in name:
        raise _Skip("a hidden file")
    if PurePosixPath(last).suffix.lower() not in SUFFIXES:
        raise _Skip("no photo by its name")


def _need_photo(raw: bytes) -> None:
    try:
        decode(raw, rule_of(_LOOKED_AT, FULL_RANGE))
    except Undecodable as error:
        raise _Skip(str(error)) from None


def _is_same(path: Path, raw: bytes) -> bool:
    with contextlib.suppress(OSError):
        return path.read_bytes() == raw
    return False
