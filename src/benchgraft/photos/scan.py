"""Walk a folder of untrusted content: plain image files only, the rest counted and told."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import DataError
from ..names import class_name as name_of_class
from ..names import printable
from .formats import RAW_SUFFIXES, SUFFIXES

Given = Literal["train", "test", "validation"]
"""The side on which a data set puts an image."""
SHOWN = 5
LOOKED_AT = 50_000
"""So many files and folders are looked at to say how many photos are left out with their folders."""
PROJECT = ".benchgraft"
"""Folder in a folder of photos, for what belongs to them (table.py); photos in it are not looked at."""
_HIDDEN = (".", "__MACOSX")
_NO_LINKS = "; put the folders themselves in place of the links"
LINKS, HIDDEN, SPECIAL = "links", "hidden files or folders", "special files (pipes, devices, sockets)"
RAW, FOREIGN = "raw photos of cameras (export them as JPEG)", "files that are no images by name"
LOOSE = "images outside class folders"
ABSENT, UNLABELLED = "photos named in labels.csv that are not there as plain files", "photos without a label"
_ONE = {
    LINKS: "link",
    HIDDEN: "hidden file or folder",
    SPECIAL: "special file (pipe, device, socket)",
    RAW: "raw photo of a camera (export it as JPEG)",
    FOREIGN: "file that is no image by name",
    LOOSE: "image outside class folders",
    ABSENT: "photo named in labels.csv that is not there as a plain file",
    UNLABELLED: "photo without a label",
}
"""Kinds of what is passed over -> the same of one alone."""


class ImageFile(NamedTuple):
    """One plain file with an image suffix, as the folder listing shows it; it was not opened."""

    name: str
    bytes: int
    changed: int
    """mtime in ns."""
    touched: int
    """ctime in ns: an edit that keeps length and mtime still moves it."""

    @property
    def facts(self) -> tuple[int, int, int]:
        """Size and times: equal means that the file did not change."""
        return self.bytes, self.changed, self.touched


@dataclass
class Ignored:
    """What was passed over, by kind."""

    kinds: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        """Count one; the first of a kind is shown."""
        self.kinds[kind] += 1
        self.first.setdefault(kind, path)

    def add_all(self, other: Ignored) -> None:
        """What was passed over elsewhere, too."""
        self.kinds.update(other.kinds)
        self.first = other.first | self.first

    def notes(self, root: Path | None = None) -> list[str]:
        """One line a kind, with an example relative to `root`, or as it was found."""
        return [
            f"{count:,} {kind if count > 1 else _ONE.get(kind, kind)} ignored, such as "
            f"{printable(self._example(kind, root))}"
            for kind, count in sorted(self.kinds.items())
        ]

    def _example(self, kind: str, root: Path | None) -> str:
        return self.first[kind] if root is None else os.path.relpath(self.first[kind], root)


class Listing(NamedTuple):
    """One folder."""

    folders: list[str]
    files: list[ImageFile]
    links: list[str]


def list_folder(folder: str, ignored: Ignored) -> Listing:
    """Names of the subfolders, image files and links of one folder; links are not followed, nor counted here.

    Raises DataError if the folder cannot be listed.
    """
    listing = Listing([], [], [])
    with _told(folder), os.scandir(folder) as entries:
        for entry in entries:
            _sort_in(entry, listing, ignored)
    return listing


def folders_in(folder: Path, names: Collection[str]) -> list[str]:
    """The subfolders that are called so in small letters: no other entry is looked at.

    Raises DataError if the folder cannot be listed.
    """
    with _told(str(folder)), os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if entry.name.lower() in names and entry.is_dir(follow_symlinks=False)
        ]


@contextlib.contextmanager
def _told(folder: str) -> Iterator[None]:
    """Raises DataError for a folder that cannot be listed."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the folder {printable(folder)}: {getattr(error, 'strerror', None) or error}",
            "check its permissions, or name another folder",
        ) from None


def _sort_in(entry: os.DirEntry[str], listing: Listing, ignored: Ignored) -> None:
    name = entry.name
    is_hidden = name.startswith(_HIDDEN)
    suffix = name[name.rfind(".") :].lower()  # of a name without a point, its last letter, which is none
    if entry.is_file(follow_symlinks=False) and not is_hidden and suffix in SUFFIXES:  # most of them
        stat = entry.stat(follow_symlinks=False)
        listing.files.append(ImageFile(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    elif entry.is_symlink():
        listing.links.append(name)
    elif is_hidden:
        if name != PROJECT:
            ignored.add(HIDDEN, entry.path)
    elif entry.is_dir(follow_symlinks=False):
        listing.folders.append(name)
    elif not entry.is_file(follow_symlinks=False):
        ignored.add(SPECIAL, entry.path)
    else:
        ignored.add(RAW if suffix in RAW_SUFFIXES else FOREIGN, entry.path)


class Level(NamedTuple):
    """One folder of a walk."""

    inside: tuple[str, ...]
    """Names of the folders that lead to it from where the walk began."""
    path: str
    files: list[ImageFile]
    """By name."""


def walk(root: str, ignored: Ignored, unlisted: list[tuple[str, DataError]] | None = None) -> Iterator[Level]:
    """The folder and every folder below it, by name, each before those in it. No link is followed.

    unlisted: takes the folders that cannot be listed, with the reason; without it the first raises DataError.
    """
    waiting: list[tuple[tuple[str, ...], str]] = [((), root)]
    while waiting:  # no recursion: folders nest deeper than Python's stack is high
        inside, path = waiting.pop()
        try:
            listing = list_folder(path, ignored)
        except DataError as error:
            if unlisted is None:
                raise
            unlisted.append((path, error))
            continue
        for name in listing.links:
            ignored.add(LINKS, os.path.join(path, name))  # noqa: PTH118
        yield Level(inside, path, sorted(listing.files))
        waiting += [
            ((*inside, name), os.path.join(path, name))  # noqa: PTH118
            for name in sorted(listing.folders, reverse=True)
        ]


@dataclass
class ClassFolder:
    """The image files of one folder that belongs to a class."""

    class_name: str
    given: Given | None
    prefix: str
    """The folder below the root, with / at its end."""
    folder: Path
    files: list[ImageFile]
    inside: tuple[str, ...]
    """Names of the folders from the root, or from the side, to this one."""
    depth: int = 1
    """How many of them are the class; what lies deeper belongs to it."""


@dataclass
class Scan:
    """Folders that belong to classes, and what was passed over."""

    found: list[ClassFolder] = field(default_factory=list)
    ignored: Ignored = field(default_factory=Ignored)
    linked: list[tuple[str, int, bool]] = field(default_factory=list)
    """Folders that are links, with the photos that they leave out, and whether those are all."""
    beside: list[tuple[str, int, bool]] = field(default_factory=list)
    """Folders beside those of a split, likewise."""
    loose: Collection[str] = ()
    """Names of photos that lie beside class folders, or without any, and whose classes a table has."""
    may_look_at: int = field(default_factory=lambda: LOOKED_AT)

    def add(self, folder: Path, given: Given | None, prefix: str) -> None:
        """Take in the class folders below `folder`, and all below them. Raises DataError."""
        for name in self._folders(folder, prefix, given):
            for level in walk(str(folder / name), self.ignored):
                inside = (name, *level.inside)
                below = f"{prefix}{'/'.join(inside)}/"
                self.found.append(ClassFolder(name, given, below, Path(level.path), level.files, inside))

    def add_beside(self, folder: Path, sides: Collection[str]) -> None:
        """Count what else lies in a folder that holds those of a split. Raises DataError."""
        for name in self._folders(folder, ""):
            if name not in sides:
                self.beside.append((printable(name), *self._count(folder / name)))

    def _folders(self, folder: Path, prefix: str, given: Given | None = None) -> list[str]:
        """Those that can be looked into, by name; the rest is counted."""
        listing = list_folder(str(folder), self.ignored)
        named = [file for file in sorted(listing.files) if printable(prefix + file.name) in self.loose]
        if named:
            self.found.append(ClassFolder("", given, prefix, folder, named, ()))
        for file in set(listing.files).difference(named):
            self.ignored.add(LOOSE, str(folder / file.name))
        for name in sorted(listing.links):
            path = folder / name
            if name.startswith(_HIDDEN) or not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir() may raise
                self.ignored.add(LINKS, str(path))
            else:
                self.linked.append((printable(prefix + name), *self._count(path)))
        return sorted(listing.folders)

    def _count(self, folder: Path) -> tuple[int, bool]:
        """How many photos are left out with a folder, and whether those are all."""
        count, looked_at, is_all = _photos_below(folder, self.may_look_at)
        self.may_look_at -= looked_at
        return count, is_all

    def notes(self, root: Path) -> list[str]:
        """What was passed over, and what was taken from deeper than usual; to print."""
        return [
            *self.ignored.notes(root),
            *_left_out(self.linked, "is a link and not followed", "are links and not followed", _NO_LINKS),
            *_left_out(self.beside, "lies beside those of the split", "lie beside those of the split"),
            *self._depth_notes(root),
            *self._group_notes(),
            *self._empty_notes(),
        ]

    def _depth_notes(self, root: Path) -> list[str]:
        deep = [item for item in self.found if item.files and len(item.inside) > item.depth]
        if not deep:
            return []
        first, count = deep[0], sum(len(item.files) for item in deep)
        name = name_of_class(first.class_name)
        lines = [
            f"{photos(count)} in folders inside the class folder, such as "
            f'{printable(first.prefix + first.files[0].name)}: taken for "{name}"'
        ]
        is_one = {item.class_name for item in self.found if item.files} == {first.class_name}
        if is_one and first.given is None and len(deep) == sum(bool(item.files) for item in self.found):
            top = printable(str(root / first.inside[0]))
            lines.append(f"if the folders in {top} are the classes, name that folder")
        return lines

    def _group_notes(self) -> list[str]:
        groups = {
            item.inside[0]: item.folder.parent for item in self.found if item.depth == len(item.inside) == 2
        }
        if not groups:
            return []
        first = printable(str(next(iter(groups.values()))))
        if len(groups) == 1:
            return [f"{first} holds folders alone: each of them is a class"]
        return [f"{len(groups):,} folders such as {first} hold folders alone: each of those is a class"]

    def _empty_notes(self) -> list[str]:
        held: Counter[str] = Counter()
        for item in self.found:
            deeper = len(item.inside) - item.depth
            if deeper >= 0:
                held["/".join(item.prefix.split("/")[: -1 - deeper])] += len(item.files)
        empty = [f"{printable(name)}/" for name, count in held.items() if not count]
        if len(empty) == 1:
            return [f"the class folder {empty[0]} holds no image"]
        return [f"{len(empty):,} class folders hold no image: {some(empty)}"] if empty else []


def _left_out(
    folders: list[tuple[str, int, bool]], is_one: str, are_several: str, advice: str = ""
) -> list[str]:
    """One line on folders that are left out with all that is in them."""
    if not folders:
        return []
    total = _at_least(sum(count for _, count, _ in folders), all(is_all for *_, is_all in folders))
    if len(folders) == 1:
        return [f'the folder "{folders[0][0]}" {is_one}: {total} left out{advice}']
    names = some([f'"{name}" ({_at_least(count, is_all)})' for name, count, is_all in folders])
    return [f"{len(folders):,} folders {are_several}, {total} left out: {names}{advice}"]


def _at_least(count: int, is_all: bool) -> str:
    return photos(count) if is_all else f"at least {photos(count)}"


def _photos_below(folder: Path, most: int) -> tuple[int, int, bool]:
    """How many photos lie behind a link, how much was looked at for it, and whether that was all.

    No link there is followed.
    """
    seen, looked_at, count = Ignored(), 0, 0
    unlisted: list[tuple[str, DataError]] = []
    for level in walk(str(folder), seen, unlisted):
        count += len(level.files)
        looked_at += 1 + len(level.files)
        if looked_at + seen.kinds.total() > most:
            return count, looked_at, False
    return count, looked_at, not unlisted


def group_classes(found: list[ClassFolder]) -> None:
    """Training/Apple/Apple 10 is class "Apple 10", as in Fruits-360, unless two groups have such a folder.

    A group is a folder that holds no photo itself on any side, only folders: those are the classes then.
    """
    tops = [name_of_class(item.inside[0]) for item in found]
    with_photos = {top for top, item in zip(tops, found, strict=True) if len(item.inside) == 1 and item.files}
    with_folders = {top for top, item in zip(tops, found, strict=True) if len(item.inside) > 1}
    for top, item in zip(tops, found, strict=True):
        if top in with_folders - with_photos:
            item.depth = 2
            item.class_name = "/".join(item.inside[:2])
    groups: dict[str, set[str]] = {}
    for item in found:
        groups.setdefault(item.class_name.rpartition("/")[2], set()).add(item.class_name)
    for item in found:
        leaf = item.class_name.rpartition("/")[2]
        if len(groups[leaf]) == 1:
            item.class_name = leaf


def photos(count: int) -> str:
    """So many photos, in words."""
    return f"{count:,} photo{'' if count == 1 else 's'}"


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")


def need_folder(root: Path) -> None:
    """Raises DataError if `root` is not a folder that can be looked into. A link to a folder will do here."""
    try:
        if root.is_dir():
            return
        is_there, is_link = root.exists(), root.is_symlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot reach {printable(str(root))}: {reason}", "check the path") from None
    shown = printable(str(root))
    if is_there:
        raise DataError(f"{shown} is not a folder", "name the folder that holds the images; unpack archives")
    if is_link:
        raise DataError(f"{shown} is a link that leads nowhere", "mend it or name the folder itself")
    near = next(folder for folder in root.absolute().parents if os.path.isdir(folder))  # noqa: PTH112
    raise DataError(f"{shown} does not exist", f"the nearest folder that does: {near}")


def images_below(
    root: Path, ignored: Ignored | None = None, unlisted: list[tuple[str, DataError]] | None = None
) -> Iterator[str]:
    """Paths of the image files below `root`, relative to it, folder by folder, by name.

    unlisted: see walk. Raises DataError if a folder cannot be listed.
    """
    for level in walk(str(root), Ignored() if ignored is None else ignored, unlisted):
        start = "".join(f"{name}/" for name in level.inside)
        yield from (start + file.name for file in level.files)
