"""Walk a folder of untrusted content: plain image files only, the rest counted and told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import DataError
from .decode import SUFFIXES
from .names import printable

Given = Literal["train", "test", "validation"]
"""The side on which a data set puts an image."""


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

    def notes(self, root: Path) -> list[str]:
        """One line a kind, with an example relative to `root`."""
        return [
            f"{count:,} {kind} ignored, such as {printable(os.path.relpath(self.first[kind], root))}"
            for kind, count in sorted(self.kinds.items())
        ]


def list_folder(folder: str, ignored: Ignored) -> tuple[list[str], list[ImageFile]]:
    """Names of the subfolders, and the image files, of one folder; links are never followed.

    Raises DataError if the folder cannot be listed.
    """
    folders: list[str] = []
    files: list[ImageFile] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _sort_in(entry, folders, files, ignored)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {printable(folder)}: {error.strerror or error}",
            "check its permissions, or name another folder",
        ) from None
    return folders, files


def _sort_in(entry: os.DirEntry[str], folders: list[str], files: list[ImageFile], ignored: Ignored) -> None:
    if entry.is_symlink():
        ignored.add("links", entry.path)
    elif entry.name.startswith((".", "__MACOSX")):
        ignored.add("hidden files or folders", entry.path)
    elif entry.is_dir(follow_symlinks=False):
        folders.append(entry.name)
    elif not entry.is_file(follow_symlinks=False):
        ignored.add("special files (pipes, devices, sockets)", entry.path)
    elif not entry.name.lower().endswith(SUFFIXES):
        ignored.add("files that are no images by name", entry.path)
    else:
        stat = entry.stat(follow_symlinks=False)
        files.append(ImageFile(entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@dataclass
class ClassFolder:
    """The image files of one class folder."""

    class_name: str
    given: Given | None
    prefix: str
    folder: Path
    files: list[ImageFile]


def class_folders(
    folder: Path, given: Given | None, prefix: str, ignored: Ignored, depth: int
) -> list[ClassFolder]:
    """Class folders below `folder`, at most `depth` levels down; what lies elsewhere is ignored."""
    classes, loose = list_folder(str(folder), ignored)
    for file in loose:
        ignored.add("images outside class folders", str(folder / file.name))
    found = []
    for name in sorted(classes):
        path = folder / name
        below, files = list_folder(str(path), ignored)
        found.append(ClassFolder(name, given, f"{prefix}{name}/", path, files))
        for deeper in sorted(below):
            if depth > 1:
                lost, files = list_folder(str(path / deeper), ignored)
                inner = f"{name}/{deeper}"
                found.append(ClassFolder(inner, given, f"{prefix}{inner}/", path / deeper, files))
                for deepest in lost:
                    ignored.add("folders nested too deep", str(path / deeper / deepest))
            else:
                ignored.add("folders nested too deep", str(path / deeper))
    return found


def name_by_leaf(found: list[ClassFolder]) -> None:
    """Training/Apple/Apple 10 is class "Apple 10", unless two groups have a folder of that name."""
    groups: dict[str, set[str]] = {}
    for item in found:
        groups.setdefault(item.class_name.rpartition("/")[2], set()).add(item.class_name)
    for item in found:
        leaf = item.class_name.rpartition("/")[2]
        if len(groups[leaf]) == 1:
            item.class_name = leaf


def leaves(found: list[ClassFolder]) -> set[str]:
    """Class folders without subfolders: an empty one is worth a note, a group folder is not."""
    prefixes = {item.prefix.rstrip("/").rpartition("/")[0] + "/" for item in found}
    return {item.class_name for item in found if item.prefix not in prefixes}


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


def images_below(root: Path, ignored: Ignored | None = None) -> Iterator[str]:
    """Paths of the image files below `root`, relative to it, folder by folder, by name.

    Raises DataError if a folder cannot be listed.
    """
    folders, files = list_folder(str(root), ignored or Ignored())
    yield from sorted(file.name for file in files)
    for name in sorted(folders):
        yield from (f"{name}/{path}" for path in images_below(root / name, ignored))
