"""Labels in a table: what photos show, where their folders do not say it.

A CSV file, UTF-8, with the header `path,label` and, if wanted, the columns `split` and `group`.

    path    of a photo, relative to the folder of photos, with /; one that ends in / is all photos below it
    label   its class; empty takes the photo out
    split   train, validation or test; empty leaves that to the content of the photo
    group   photos with the same group go into the same split; empty says nothing

Where several lines name a photo, the last one counts, in each of the columns split and group the last that
says something. So a file can be written line by line: what is mended stands below what it mends.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, get_args

from ..errors import DataError
from ..files import facts_of
from ..names import class_name, printable
from .scan import PROJECT, Given

COLUMNS = ("path", "label", "split", "group")
NEEDED = 2
"""Of them, the first two."""
FILE = "labels.csv"
LARGEST = 1 << 28
"""Bytes; what is larger is no table of labels."""
SPLITS: tuple[Given, ...] = get_args(Given)


@dataclass(frozen=True)
class Said:
    """What a table says of a photo."""

    label: str | None = None
    """None: nothing; empty: the photo is taken out."""
    split: Given | None = None
    group: str | None = None

    def with_later(self, later: Said) -> Said:
        """Of two lines."""
        label = self.label if later.label is None else later.label
        return Said(label, later.split or self.split, later.group or self.group)


_NOTHING = Said()


@dataclass(frozen=True)
class Table:
    """A table that was read."""

    path: Path
    digest: str
    """SHA-256 of its bytes."""
    columns: tuple[str, ...]
    """In the order of the file."""
    lines: list[tuple[str, Said]]
    """(path as it was written, what is said), in the order of the file."""
    absent: tuple[str, ...] = ()
    """Paths that name none of the photos that it was read for."""

    def for_photos(self, keys: Iterable[str]) -> Table:
        """The same with paths as these keys have them, where one is written otherwise: with \\ for /, or with
        spaces around it, as spreadsheets may."""
        known = set(keys)
        known |= {folder for key in known for folder in _folders(key)}
        lines = [(path if path in known else plain_path(path), said) for path, said in self.lines]
        absent = tuple(path for path in dict.fromkeys(path for path, _ in lines) if path not in known)
        return replace(self, lines=lines, absent=absent)

    def of(self, key: str) -> Said:
        """What is said of a photo; key: its path, as `names.printable` writes it."""
        found = [line for path in (key, *_folders(key)) for line in self._by_path.get(path, ())]
        answer = _NOTHING
        for _, said in sorted(found, key=lambda line: line[0]):
            answer = answer.with_later(said)
        return answer

    @property
    def photos(self) -> set[str]:
        """Those that are named one by one, and have a class, as keys may have them."""
        named = {path for path in self._by_path if not path.endswith("/") and self.of(path).label}
        return named | {plain_path(path) for path in named}

    @cached_property
    def _by_path(self) -> dict[str, list[tuple[int, Said]]]:
        """Path of a photo, or with / at its end of a folder -> (number, what is said) of its lines."""
        found: dict[str, list[tuple[int, Said]]] = {}
        for number, (path, said) in enumerate(self.lines):
            found.setdefault(path, []).append((number, said))
        return found


def plain_path(path: str) -> str:
    """As a key would have it: spaces around it taken off, and / between folders."""
    return path.strip().removeprefix("./").replace("\\", "/")


def _folders(key: str) -> Iterator[str]:
    """Those that a photo lies in, each with / at its end."""
    place = key.find("/")
    while place >= 0:
        yield key[: place + 1]
        place = key.find("/", place + 1)


def find_table(folder: Path) -> Path | None:
    """The table that belongs to a folder of photos, if it has one."""
    path = folder / PROJECT / FILE
    return path if path.is_file() else None


def read_table(path: Path) -> Table:
    """Raises DataError that names the line: unreadable, no such header, a line that says what cannot be."""
    try:
        return _read(path, facts_of(path))
    except OSError as error:
        shown = printable(str(path))
        raise DataError(f"cannot read the labels in {shown}: {error.strerror}", _EXPECTED) from None


@lru_cache(maxsize=4)
def _read(path: Path, facts: tuple[int, int, int]) -> Table:
    """facts: of the file; a page that looks again and again reads it once."""
    shown = printable(str(path))
    try:
        if facts[1] > LARGEST:
            raise DataError(f"{shown} is larger than {LARGEST:,} bytes: no table of labels")
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise DataError(f"cannot read the labels in {shown}: {reason}", _EXPECTED) from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = _columns(rows, shown)
        lines = list(_lines(rows, columns, shown))
    except csv.Error as error:
        raise DataError(f"{shown} is no CSV file: {error}", _EXPECTED) from None
    return Table(path, hashlib.sha256(raw).hexdigest(), columns, lines)


_EXPECTED = "expected: a CSV file whose first line is path,label or path,label,split,group"


def _columns(rows: Iterator[list[str]], shown: str) -> tuple[str, ...]:
    header = tuple(cell.strip().lower() for cell in next(rows, []))
    is_known = set(COLUMNS[:NEEDED]) <= set(header) <= set(COLUMNS)
    if not is_known or len(set(header)) < len(header):
        told = printable(",".join(header))[:100] or "empty"
        raise DataError(f"the first line of {shown} is {told}", _EXPECTED)
    return header


def _lines(rows: Any, columns: Sequence[str], shown: str) -> Iterator[tuple[str, Said]]:
    """rows: a reader of the csv module, after its header."""
    for row in rows:
        where = f"{shown}, line {rows.line_num}"
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(columns):
            raise DataError(f"{where}: {len(row)} cells, but {len(columns)} columns", _EXPECTED)
        yield _line(dict(zip(columns, row, strict=True)), where)


def _line(cells: dict[str, str], where: str) -> tuple[str, Said]:
    path, plain = printable(cells["path"]), plain_path(cells["path"])
    split = cells.get("split", "").strip().lower()
    if not plain or plain.startswith("/") or ".." in plain.split("/"):
        raise DataError(
            f'{where}: "{path}" is no path below the folder of photos',
            "write paths relative to that folder, with /",
        )
    if split and split not in SPLITS:
        raise DataError(f'{where}: split "{printable(split)}" is unknown', f"valid: {', '.join(SPLITS)}")
    label = cells["label"].strip()
    given: Given | None = next((each for each in SPLITS if each == split), None)
    return path, Said(class_name(label) if label else "", given, cells.get("group", "").strip() or None)
