"""A folder of photos as the page works on it. Photos that are there are never moved or changed.

    FOLDER/CLASS/...             the user's photos, and those dropped onto the page
    FOLDER/.benchgraft/labels.csv    what was said of them since: see photos/table.py
    FOLDER/.benchgraft/checked.json  labels that were looked at and found right, or mended
    FOLDER/.benchgraft/...       models, results and runs: see history.py and work.py

One thread at a time changes it; the command line may work in the same folder in turn.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..config.choices import Format
from ..errors import DataError, RequestError
from ..files import facts_of, write_whole
from ..names import class_name, printable
from ..photos.readers import NothingLeftError, Sample, guess_format, open_source, split_folders
from ..photos.scan import PROJECT, photos
from ..photos.table import COLUMNS, FILE, read_table

LOOK_EVERY = 1.0
"""Seconds after which the folder is listed again, when somebody asks."""
LONGEST_NAME = 100
"""Letters of the name of a class or a photo that is made here."""
REST = 10.0
"""So many times as long as listing takes, nobody lists again."""
KEPT_UNDOS = 50
CHECKED = "checked.json"
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))}
_FORBIDDEN = set('/\\:*?"<>|')


@dataclass(frozen=True)
class Listed:
    """The photos as they are labelled now."""

    revision: int
    signature: str
    samples: dict[str, Sample]
    """By key."""
    out: dict[str, Sample]
    """Those that were taken out."""
    classes: dict[str, int]
    """Photos of each class; 0 of one that has a folder and nothing in it."""
    notes: list[str]
    place: Path | None
    """Where folders of classes are made; None: in none, as the data set has a layout of its own."""


class Made(NamedTuple):
    """A file or folder that a change made."""

    path: Path
    facts: tuple[int, int, int] | None
    """Of a file as it was made; None: a folder."""

    @classmethod
    def of(cls, path: Path) -> Made:
        """As it is now."""
        return cls(path, None if path.is_dir() else facts_of(path))

    def take_back(self) -> None:
        """A file that is still the same, or a folder that is empty."""
        with contextlib.suppress(OSError):
            if self.facts is None:
                self.path.rmdir()
            elif facts_of(self.path) == self.facts:
                self.path.unlink()


@dataclass
class _Undo:
    """How to take back a change."""

    text: str
    """What it was."""
    before: bytes | None = None
    """labels.csv before it; None: there was none."""
    written: bytes | None = None
    """labels.csv after it; None: it did not touch that."""
    made: list[Made] = field(default_factory=list)
    drop: str | None = None
    """Uploads of one drop are one change."""


class Project:
    """One folder."""

    def __init__(self, folder: Path, on_change: Callable[[int], None]) -> None:
        """on_change: takes the new revision. Raises DataError for what is no folder."""
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder", "name the folder of photos; an empty one will do")
        self.folder = folder.absolute()
        self.place = self.folder / PROJECT
        self.uploading = threading.Lock()
        """Held while photos are put into the folder."""
        self._on_change = on_change
        self._lock = threading.RLock()
        self._undos: list[_Undo] = []
        self._look_again = 0.0
        self._error: DataError | None = None
        self._listed = Listed(0, "", {}, {}, {}, [], None)

    @property
    def table(self) -> Path:
        """labels.csv."""
        return self.place / FILE

    @property
    def undo_text(self) -> str | None:
        """What `undo` would take back."""
        return self._undos[-1].text if self._undos else None

    def place_for_new(self) -> Path:
        """Where folders of classes are made. Raises RequestError for a data set of a layout of its own."""
        place = self.listed().place
        if place is None:
            raise RequestError(
                f"{self.folder} has a layout of its own, so this page cannot add photos to it",
                "put its photos into a folder with a folder for each class",
            )
        return place

    def listed(self) -> Listed:
        """As the folder is; looked at anew now and then. Raises DataError for a table that cannot be read."""
        with self._lock:
            if time.monotonic() > self._look_again:
                self._look()
            if self._error is not None:
                raise self._error
            return self._listed

    def label(self, keys: Sequence[str], label: str) -> int:
        """Give these photos a class, or take them out where it is empty; how many that changes.

        Raises RequestError for a name that cannot be, DataError for a photo that is not there.
        """
        with self._lock:
            listed = self.listed()
            name = self._class(label) if label else ""
            there = _all_there(listed, keys)
            now = {key: "" if key in listed.out else there[key].class_name for key in dict.fromkeys(keys)}
            changed = [key for key, given in now.items() if given != name]
            text = f"{photos(len(changed))} taken out" if not name else f"{photos(len(changed))} as {name}"
            if changed:
                self._say(dict.fromkeys(changed, name), text)
            return len(changed)

    def checked(self) -> set[tuple[str, str]]:
        """Labels that somebody has looked at: (key, class) of photos. Raises DataError for a damaged file."""
        path = self.place / CHECKED
        try:
            return {(str(key), str(label)) for key, label in json.loads(path.read_bytes())}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError):
            raise DataError(f"{path} is damaged", "remove it; no photo or label is in it") from None

    def check(self, key: str, label: str, is_checked: bool) -> None:
        """Keep that a label was looked at, or was not after all.

        Raises DataError for a photo that is not there, StorageError.
        """
        with self._lock:
            _all_there(self.listed(), [key])
            pairs = self.checked() - {(key, label)} | ({(key, label)} if is_checked else set())
            write_whole(self.place / CHECKED, json.dumps(sorted(pairs), indent=0))

    def rename(self, old: str, new: str) -> int:
        """Give all photos of a class another one; two classes become one where that is there already."""
        with self._lock:
            listed = self.listed()
            name = self._class(new)
            if old not in listed.classes:
                raise DataError(f'there is no class "{printable(old)}"')
            if old == name:
                return 0
            keys = [key for key, sample in listed.samples.items() if sample.class_name == old]
            if keys:
                self._say(dict.fromkeys(keys, name), f"{old} as {name}")
                return len(keys)
            Made(self.place_for_new() / old, None).take_back()
            if name not in listed.classes:
                self.add_class(name)
            self._look()
            return 0

    def add_class(self, name: str) -> None:
        """Make a folder for it. Raises RequestError for a name that cannot be, or is there."""
        name = checked_name(name, "class")
        with self._lock:
            made = self.place_for_new() / name
            if name in self.listed().classes or made.exists():
                raise RequestError(f'there is a class, or a folder, "{name}" already')
            made.mkdir()
            self._did(_Undo(f"the new class {name}", made=[Made.of(made)]))

    def keep(self, made: Sequence[Path], drop: str | None) -> None:
        """Files were put into the folder; they can be taken back. drop: of which they are a part."""
        with self._lock:
            last = self._undos[-1] if self._undos else None
            if drop is None or last is None or last.drop != drop:
                last = _Undo("", drop=drop)
                self._undos.append(last)
            last.made += [Made.of(path) for path in made]
            last.text = f"{photos(sum(each.facts is not None for each in last.made))} added"
            self._look()

    def undo(self) -> str | None:
        """Take back the last change of this session; what it was, None where there was none.

        Raises DataError where labels.csv is no more what that change made of it.
        """
        with self._lock:
            if not self._undos:
                return None
            last = self._undos[-1]
            if last.written is not None:
                if self._bytes() != last.written:
                    self._undos.clear()
                    raise DataError(
                        f"{self.table} was changed by something else since",
                        "correct it there: nothing was undone",
                    )
                if last.before is None:
                    self.table.unlink()
                else:
                    write_whole(self.table, last.before)
            for each in reversed(last.made):
                each.take_back()
            self._undos.pop()
            self._look()
            return last.text

    def _class(self, name: str) -> str:
        """One that is there may have any name."""
        return name if name in self._listed.classes else checked_name(name, "class")

    def _say(self, labels: Mapping[str, str], text: str) -> None:
        """Put lines below those that are there. Raises StorageError."""
        before = self._bytes()
        lines = io.StringIO()
        if before is None:
            csv.writer(lines, lineterminator="\n").writerow(COLUMNS[:2])
        columns = read_table(self.table).columns if before is not None else COLUMNS[:2]
        writer = csv.DictWriter(lines, columns, restval="", lineterminator="\n")
        writer.writerows({"path": key, "label": label} for key, label in labels.items())
        start = (before or b"").rstrip(b"\n") + (b"\n" if before else b"")
        written = start + lines.getvalue().encode()
        write_whole(self.table, written)
        self._did(_Undo(text, before, written))

    def _did(self, change: _Undo) -> None:
        self._undos = [*self._undos[-KEPT_UNDOS:], change]
        self._look()

    def _bytes(self) -> bytes | None:
        return self.table.read_bytes() if self.table.is_file() else None

    def _look(self) -> None:
        """List the folder; tell where that changed it. An error is kept for those who ask."""
        before, started = self._listed, time.monotonic()
        try:
            self._error = None
            found = self._found()
        except DataError as error:
            self._error = error
            return
        finally:
            # However long it takes, it takes a small part of the time.
            took = time.monotonic() - started
            self._look_again = time.monotonic() + max(LOOK_EVERY, REST * took)
        if found.signature != before.signature:
            self._listed = found
            self._on_change(found.revision)

    def _found(self) -> Listed:
        layout = guess_format(self.folder)
        samples, out, notes, signature = {}, {}, [], "empty"
        try:
            source = open_source(layout, self.folder)
            samples = {sample.key: sample for sample in source.samples}
            out = {sample.key: sample for sample in source.out}
            notes, signature = source.notes, source.signature
        except NothingLeftError as error:
            notes = [error.what]
            if self.table.is_file():
                signature = f"empty {read_table(self.table).digest}"
                out = self._all_out(layout)
        counts = Counter(sample.class_name for sample in samples.values())
        place = self._place(layout)
        counts.update(dict.fromkeys(_empty_classes(place, [*samples.values(), *out.values()]), 0))
        classes = dict(sorted(counts.items()))
        signature += " ".join(classes)
        return Listed(self._listed.revision + 1, signature, samples, out, classes, notes, place)

    def _place(self, layout: Format) -> Path | None:
        if layout == "folder":
            return self.folder
        sides = split_folders(self.folder) if layout == "split" else {}
        return next((self.folder / name for name, side in sides.items() if side == "train"), None)

    def _all_out(self, layout: Format) -> dict[str, Sample]:
        """Where the table leaves nothing: what the folder holds without it."""
        with contextlib.suppress(NothingLeftError):
            source = open_source(layout, self.folder, use_table=False)
            return {sample.key: sample for sample in source.samples}
        return {}


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


def _all_there(listed: Listed, keys: Sequence[str]) -> dict[str, Sample]:
    """All photos by key, those taken out too. Raises DataError where one of these keys is none of them."""
    there = {**listed.out, **listed.samples}
    missing = [key for key in keys if key not in there]
    if missing:
        raise DataError(f"{missing[0]} is not among the photos", "the page is out of date: reload it")
    return there


def _empty_classes(place: Path | None, there: Iterable[Sample]) -> list[str]:
    """Names of folders in which no photo is yet."""
    if place is None:
        return []
    held = {Path(folder) for folder in {os.path.dirname(sample.place) for sample in there}}  # noqa: PTH120
    held |= {folder for path in held for folder in path.parents}
    names = [entry.name for entry in os.scandir(place) if _may_be_class(entry)]
    return [class_name(name) for name in names if place / name not in held]


def _may_be_class(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith((".", "__MACOSX"))
