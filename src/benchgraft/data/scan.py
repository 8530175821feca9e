"""Walk a folder of untrusted content: plain image files only, the rest counted and told."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from .decode import SUFFIXES


class ImageFile(NamedTuple):
    """One plain file with an image suffix, as the folder listing shows it; it was not opened."""

    name: str
    bytes: int
    changed: int
    """mtime in ns."""
    touched: int
    """ctime in ns: an edit that keeps length and mtime still moves it."""


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


def printable(name: str) -> str:
    """The name with control characters and undecodable bytes written as escapes, so that it fits on one line.

    Keys and class names are made with it: they go to terminals, JSON and tables, where a newline, an escape
    sequence or a lone surrogate in a file name would do harm. Spaces, quotes and all letters stay.
    """
    if name.isprintable():
        return name
    whole = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


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


def need_folder(root: Path) -> None:
    """Raises DataError if `root` is not a folder that exists. A link to a folder is good enough here."""
    if root.is_dir():
        return
    if root.is_symlink() and not root.exists():
        raise DataError(f"{root} is a link to something that does not exist", "mend it or name the folder")
    if root.exists():
        raise DataError(f"{root} is not a folder", "name the folder that holds the images; unpack archives")
    near = root.parent
    while not near.is_dir() and near != near.parent:
        near = near.parent
    raise DataError(f"{root} does not exist", f"the nearest folder that does: {near}")
