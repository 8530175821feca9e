"""A folder of photos as the page works on it. Photos that are there are never moved or changed.

    FOLDER/CLASS/...             the user's photos, and those dropped onto the page
    FOLDER/.benchgraft/labels.csv    what was said of them since: see photos/table.py
    FOLDER/.benchgraft/...       models, results and runs: see history.py and work.py

One thread at a time changes it; the command line may work in the same folder in turn.
"""

from __future__ import annotations

import csv
import io
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError, RequestError
from ..files import write_whole
from ..names import class_name, printable
from ..photos.readers import Sample, guess_format, open_source
from ..photos.scan import PROJECT, photos
from ..photos.table import COLUMNS, FILE, read_table

LOOK_EVERY = 1.0
"""Seconds after which the folder is listed again, when somebody asks."""
LONGEST_NAME = 100
"""Letters of the name of a class or a photo that is made here."""
KEPT_UNDOS = 50
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}
_FORBIDDEN = set('/\\:*?"<>|')


@dataclass(frozen=True)
class Listed:
    """The photos as they are labelled now."""

    revision: int
    signature: str
    samples: dict[str, Sample]
    """By key."""
    classes: dict[str, int]
    """Photos of each class; 0 of one that has a folder and nothing in it."""
    notes: list[str]


@dataclass
class _Undo:
    """How to take back the last change."""

    text: str
    """What it was."""
    table: bytes | None
    """labels.csv as it was before; None: there was none."""
    made: list[Path] = field(default_factory=list)
    """Files and folders that it made."""


class Project:
    """One folder."""

    def __init__(self, folder: Path, on_change: Callable[[int], None]) -> None:
        """on_change: takes the new revision. Raises DataError for what is no folder."""
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder", "name the folder of photos; an empty one will do")
        self.folder = folder.absolute()
        self.place = self.folder / PROJECT
        self._on_change = on_change
        self._lock = threading.RLock()
        self._undos: list[_Undo] = []
        self._looked = 0.0
        self._listed = Listed(0, "", {}, {}, [])

    @property
    def table(self) -> Path:
        """labels.csv."""
        return self.place / FILE

    def place_for_new(self) -> Path:
        """Where folders of classes are made. Raises RequestError for a data set of a layout of its own."""
        layout = guess_format(self.folder)
        if layout == "folder":
            return self.folder
        sides = [
            entry.name for entry in os.scandir(self.folder) if entry.name.lower() in ("train", "training")
        ]
        if layout != "split" or not sides:
            raise RequestError(
                f"{self.folder} has a layout of its own, into which no photos can be put from here",
                "put its photos into a folder with a folder for each class",
            )
        return self.folder / sides[0]

    @property
    def undo_text(self) -> str | None:
        """What `undo` would take back."""
        return self._undos[-1].text if self._undos else None

    def listed(self) -> Listed:
        """As the folder is; looked at anew now and then. Raises DataError for a table that cannot be read."""
        with self._lock:
            if time.monotonic() - self._looked > LOOK_EVERY:
                self._look()
            return self._listed

    def label(self, keys: Sequence[str], label: str) -> int:
        """Give these photos a class, or take them out where it is empty; how many that changes.

        Raises RequestError for a name that cannot be, DataError for a photo that is not there.
        """
        name = checked_name(label, "class") if label else ""
        with self._lock:
            there = self.listed().samples
            gone = [key for key in dict.fromkeys(keys) if key not in there]
            table = read_table(self.table) if gone and self.table.is_file() else None
            missing = [key for key in gone if table is None or table.of(key).label != ""]
            if missing:
                raise DataError(
                    f"{missing[0]} is not among the photos", "the page shows an older state: reload"
                )
            changed = [key for key in dict.fromkeys(keys) if key in gone or there[key].class_name != name]
            text = f"{photos(len(changed))} taken out" if not name else f"{photos(len(changed))} as {name}"
            if changed:
                self._say(dict.fromkeys(changed, name), text)
            return len(changed)

    def rename(self, old: str, new: str) -> int:
        """Give all photos of a class another one; two classes become one where that is there already."""
        name = checked_name(new, "class")
        with self._lock:
            listed = self.listed()
            if old not in listed.classes:
                raise DataError(f'there is no class "{printable(old)}"')
            keys = [key for key, sample in listed.samples.items() if sample.class_name == old]
            if old != name and keys:
                self._say(dict.fromkeys(keys, name), f"{old} as {name}")
            elif old != name:
                self.add_class(name)
            return len(keys) if old != name else 0

    def add_class(self, name: str) -> None:
        """Make a folder for it. Raises RequestError for a name that cannot be."""
        name = checked_name(name, "class")
        with self._lock:
            if name in self.listed().classes:
                raise RequestError(f'there is a class "{name}" already')
            made = self.place_for_new() / name
            made.mkdir(exist_ok=True)
            self._undos.append(_Undo(f"the new class {name}", self._bytes(), [made]))
            self._look()

    def keep(self, made: Sequence[Path], text: str) -> None:
        """Files were put into the folder; they can be taken back."""
        with self._lock:
            self._undos.append(_Undo(text, self._bytes(), list(made)))
            self._look()

    def undo(self) -> str | None:
        """Take back the last change of this session; what it was, None where there was none."""
        with self._lock:
            if not self._undos:
                return None
            last = self._undos.pop()
            for path in reversed(last.made):
                if path.is_dir():
                    if not any(path.iterdir()):
                        path.rmdir()
                else:
                    path.unlink(missing_ok=True)
            if last.table is None:
                self.table.unlink(missing_ok=True)
            else:
                write_whole(self.table, last.table)
            self._look()
            return last.text

    def _say(self, labels: Mapping[str, str], text: str) -> None:
        """Put lines below those that are there. Raises StorageError."""
        before = self._bytes()
        lines = io.StringIO()
        if before is None:
            csv.writer(lines, lineterminator="\n").writerow(COLUMNS[:2])
        columns = self._columns() if before is not None else list(COLUMNS[:2])
        writer = csv.DictWriter(lines, columns, restval="", lineterminator="\n")
        writer.writerows({"path": key, "label": label} for key, label in labels.items())
        start = (before or b"").rstrip(b"\n") + (b"\n" if before else b"")
        write_whole(self.table, start + lines.getvalue().encode())
        self._undos = [*self._undos[-KEPT_UNDOS:], _Undo(text, before)]
        self._look()

    def _columns(self) -> list[str]:
        """Of a table that may have been written elsewhere."""
        read_table(self.table)
        with self.table.open(encoding="utf-8-sig", newline="") as file:
            return [cell.strip().lower() for cell in next(csv.reader(file))]

    def _bytes(self) -> bytes | None:
        return self.table.read_bytes() if self.table.is_file() else None

    def _look(self) -> None:
        """List the folder; tell where that changed it."""
        before, self._looked = self._listed, time.monotonic()
        empty = [entry.name for entry in os.scandir(self.folder) if _may_be_class(entry)]
        try:
            source = open_source(guess_format(self.folder), self.folder)
            samples, notes, signature = source.samples, source.notes, source.signature
        except DataError as error:
            if self._has_photos():
                raise
            samples, notes, signature = [], [error.what], "empty"
        counts = Counter(sample.class_name for sample in samples)
        if not any(sample.given for sample in samples):
            held = {sample.key.partition("/")[0] for sample in samples}
            counts.update({class_name(name): 0 for name in empty if name not in held})
        signature += " ".join(sorted(counts))
        if signature != before.signature:
            by_key = {sample.key: sample for sample in samples}
            classes = dict(sorted(counts.items()))
            self._listed = Listed(before.revision + 1, signature, by_key, classes, notes)
            self._on_change(self._listed.revision)

    def _has_photos(self) -> bool:
        """Whether an error of the folder is one of a table, and not that nothing is there yet."""
        return self.table.is_file() or any(entry.is_dir() for entry in self.folder.glob("*/*"))


def checked_name(text: str, what: str) -> str:
    """The name of a class or a file that may be made in a folder, on any system.

    Raises RequestError for one that is a path, hidden, reserved, too long, or none.
    """
    name = class_name(text.strip())
    if not name or name != name.strip(" .") or name.startswith((".", "_", "~")):
        raise RequestError(
            f'"{printable(text)[:LONGEST_NAME]}" is no name for a {what}', "begin it with a letter"
        )
    if set(name) & _FORBIDDEN or "\\" in text or "\0" in text or name.partition(".")[0].lower() in _RESERVED:
        raise RequestError(
            f'"{printable(text)[:LONGEST_NAME]}" cannot be the name of a {what}',
            'leave out the characters / \\ : * ? " < > | and names such as CON',
        )
    if len(name) > LONGEST_NAME or len(name.encode()) > 2 * LONGEST_NAME:
        raise RequestError(f"the name of a {what} may have {LONGEST_NAME} letters")
    return name


def _may_be_class(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith((".", "__MACOSX"))
