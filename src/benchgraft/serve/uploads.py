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

from ..config.network import Frame
from ..errors import RequestError
from ..files import write_whole
from ..names import printable
from ..photos.decode import decode, rule_of
from ..photos.formats import SUFFIXES, Undecodable
from ..photos.grey import FULL_RANGE
from ..photos.scan import photos
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


def take(project: Project, uploads: Sequence[tuple[str, bytes]], label: str | None, limits: Limits) -> Taken:
    """Put photos, and those in zips, into the folders of their classes. uploads: (name, bytes).

    label: their class; None: each one's last folder in its name. Files of equal bytes are taken once.
    Raises RequestError for a label that cannot be, StorageError.
    """
    if label is not None:
        label = checked_name(label, "class")
    taken = Taken()
    sizes: dict[int, list[Path]] = {}
    for sample in project.listed().samples.values():
        if sample.file is not None:
            sizes.setdefault(sample.file.bytes, []).append(sample.path)
    for name, raw in uploads:
        try:
            for inside, content in _photos(name, raw, limits, taken):
                _take_one(project, inside, content, label, sizes, taken)
        except _Skip as reason:
            taken.skipped.append((_shown(name), str(reason)))
    if taken.made:
        files = [path for path in taken.made if not path.is_dir()]
        project.keep(taken.made, f"{photos(len(files))} added")
    return taken


def _photos(name: str, raw: bytes, limits: Limits, taken: Taken) -> Iterator[tuple[str, bytes]]:
    """The photo itself, or those in a zip."""
    if not name.lower().endswith(ZIP):
        yield name, raw
        return
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise _Skip(f"no zip that can be read: {printable(str(error))[:100]}") from None
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > MOST_IN_ZIP:
            raise _Skip(f"a zip may hold {MOST_IN_ZIP:,} files, this one has {len(entries):,}")
        whole = 0
        for entry in entries:
            inside = f"{PurePosixPath(name).stem}/{entry.filename}"
            try:
                content = _unpacked(archive, entry, limits)
            except _Skip as reason:
                taken.skipped.append((_shown(entry.filename), str(reason)))
                continue
            whole += len(content)
            if whole > LARGEST_ZIP:
                raise _Skip(f"unpacked it has more than {LARGEST_ZIP >> 30} GiB: the rest is left out")
            yield inside, content


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


def _take_one(
    project: Project,
    name: str,
    raw: bytes,
    label: str | None,
    sizes: dict[int, list[Path]],
    taken: Taken,
) -> None:
    try:
        target = _target(project, name, raw, label)
        twin = next((path for path in sizes.get(len(raw), ()) if _is_same(path, raw)), None)
        if twin is not None:
            raise _Skip(f"the same bytes as {printable(twin.relative_to(project.folder).as_posix())}")
    except _Skip as reason:
        taken.skipped.append((_shown(name), str(reason)))
        return
    if not target.parent.exists():
        taken.made.append(target.parent)
    write_whole(target, raw)
    taken.made.append(target)
    sizes.setdefault(len(raw), []).append(target)


def _target(project: Project, name: str, raw: bytes, label: str | None) -> Path:
    """A free path in the folder of the class. Raises _Skip."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    _need_photo_name(name)
    folder = label or (parts[-2] if len(parts) > 1 else None)
    if folder is None:
        raise _Skip("its class is not known: drop it onto a class, or in a folder of that name")
    _need_photo(raw)
    try:
        place = project.place_for_new() / checked_name(folder, "class")
    except RequestError as error:
        raise _Skip(error.what) from None
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise _Skip(f"{printable(folder)} in the project is no plain folder")
    try:
        plain = Path(checked_name(parts[-1], "photo"))
    except RequestError:
        plain = Path(hashlib.sha256(raw).hexdigest()[:16] + PurePosixPath(parts[-1]).suffix.lower())
    target, number = place / plain, 2
    while target.exists() or target.is_symlink():
        target, number = place / f"{plain.stem} ({number}){plain.suffix}", number + 1
    return target


def _need_photo_name(name: str) -> None:
    last = name.replace("\\", "/").rpartition("/")[2]
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


def _shown(name: str) -> str:
    return printable(name)[: Limits.name_letters]
