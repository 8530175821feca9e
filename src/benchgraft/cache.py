"""What lies in the cache, who uses it, and what has to go when it grows over its limit.

An entry is a folder `stores/KEY`, `features/PREFIX/IMAGES`, `graphs/KEY` or `parcels/KEY`. Its JSON file
tells two things more: its mtime is when the entry was last used, and whoever has the entry mapped holds a
shared lock on it.

These locks are flock's own: many may hold an entry at once, in a cache that they may not write to and without
a further file, which filelock's exclusive locks and its shared ones (a database beside the file) cannot do.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .errors import ConfigError, StorageError
from .files import storage_errors

LIMIT_GB = 20.0
"""Of the whole cache, where LIMIT_VARIABLE says nothing else."""
LIMIT_VARIABLE = "BENCHGRAFT_CACHE_GB"
GB = 10**9
SPARE_BYTES = GB // 2
"""Of a disk: models and accounts are to be written too."""
SECONDS_OF_A_DAY = 86_400
JUST_USED_SECONDS = 60
"""The limit spares what was made or opened so short ago: its maker may not hold it yet."""
PARCEL = "parcel.json"
Kind = Literal["stores", "features", "graphs", "parcels"]
_MARKERS: dict[Kind, str] = {
    "stores": "store.json",
    "features": "features.json",
    "graphs": "graph.json",
    "parcels": PARCEL,
}
_ROWS: dict[Kind, str] = {"stores": "labels.npy", "features": "ids.npy"}
_HEX = frozenset("0123456789abcdef")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One folder of the cache."""

    kind: Kind
    folder: Path
    images: int | None
    """None where the entry is damaged, and for graphs and parcels, whose images nobody has counted."""
    bytes: int
    last_used: float
    """Seconds since 1970."""

    @property
    def key(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def is_held(self) -> bool:
        """Whether a process has it mapped, this one included."""
        with _alone(self) as is_alone:
            return not is_alone


def limit_bytes() -> int:
    """How large the cache may grow. Raises ConfigError if BENCHGRAFT_CACHE_GB is no number of GB."""
    text = os.environ.get(LIMIT_VARIABLE) or str(LIMIT_GB)
    try:
        limit = float(text)
        if limit >= 0:
            return int(limit * GB)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(f'{LIMIT_VARIABLE} is "{text}", no number of GB', f"name one, as in {LIMIT_GB:g}")


def free_bytes(folder: Path) -> int:
    """What may still be written on the disk that a folder is on, or will be: SPARE_BYTES stay free."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return max(0, shutil.disk_usage(there).free - SPARE_BYTES)


def hold(folder: Path, mapped: object) -> None:
    """Note that an entry is used now, and keep it from being cleared until `mapped` is let go.

    Never fails: in a cache that may not be written, or on a file system without locks, less is noted.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder / _MARKERS[_kind_of(folder)], os.O_RDONLY)
        weakref.finalize(mapped, os.close, handle)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)  # whoever looks whether it is held lets go at once
        os.utime(handle)


def entries(cache: Path) -> list[Entry]:
    """All entries, the one longest unused first. What is being built is none."""
    folders = [
        *(cache / "stores").glob("*"),
        *(cache / "features").glob("*/*"),
        *(cache / "graphs").glob("*"),
        *(cache / "parcels").glob("*"),
    ]
    found = []
    for folder in folders:
        if len(folder.name) == 64 and _HEX.issuperset(folder.name):
            with contextlib.suppress(OSError):  # removed by another process meanwhile
                found.append(_entry(folder))
    return sorted(found, key=lambda entry: (entry.last_used, entry.folder))


def beside(cache: Path) -> dict[str, int]:
    """Bytes of what is kept beside entries and without a limit, by folder: prepared parents, choices, plans,
    and on machines of a cluster the run folders of jobs (runs)."""
    found = {}
    for folder in sorted(cache.glob("*")):
        with contextlib.suppress(OSError):  # removed by another process meanwhile
            if folder.name in _MARKERS or not folder.is_dir():
                continue
            found[folder.name] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return found


def clear(cache: Path, unused_days: float = 0.0) -> list[Entry]:
    """Remove every entry that no process holds and that was not used for so many days; what was removed.

    Raises StorageError if the cache cannot be written.
    """
    before = time.time() - unused_days * SECONDS_OF_A_DAY
    return [entry for entry in entries(cache) if entry.last_used <= before and _remove(entry)]


def remove(folder: Path) -> bool:
    """Remove one entry; whether that was possible: not where a process holds it, or may not be written."""
    with contextlib.suppress(OSError, StorageError):
        return _remove(_entry(folder))
    return False


def make_room(cache: Path, limit: int) -> None:
    """Remove the entries longest unused until the cache fits `limit` bytes; one line in the log if any went.

    What a process holds, has just used, or may not remove stays, so that the cache may remain over its limit.
    """
    found = entries(cache)
    total = sum(entry.bytes for entry in found)
    before = time.time() - JUST_USED_SECONDS
    removed = []
    for entry in found:
        if total <= limit or entry.last_used > before:
            break
        with contextlib.suppress(StorageError):  # another user's: no reason to lose what was just made
            if _remove(entry):
                removed.append(entry)
                total -= entry.bytes
    if removed:
        # Where the caller has set up no log, Python prints a warning to stderr as it is.
        _log.warning(
            "note: the cache %s was over its %g GB (%s): removed what was longest unused, %s: %s",
            cache,
            limit / GB,
            LIMIT_VARIABLE,
            megabytes(sum(entry.bytes for entry in removed)),
            ", ".join(f"{entry.kind}/{entry.key[:12]}" for entry in removed),
        )


def megabytes(count: int) -> str:
    """A number of bytes to read."""
    return f"{count / 1e6:,.1f} MB"


def gigabytes(count: int) -> str:
    """A large number of bytes to read."""
    return f"{count / GB:,.1f} GB" if count >= GB / 10 else megabytes(count)


def _entry(folder: Path) -> Entry:
    kind = _kind_of(folder)
    marker = folder / _MARKERS[kind]
    return Entry(
        kind=kind,
        folder=folder,
        images=_rows(folder / _ROWS[kind]) if kind in _ROWS else None,
        bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        last_used=(marker if marker.exists() else folder).stat().st_mtime,
    )


def _rows(path: Path) -> int | None:
    try:
        return len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, TypeError, EOFError):
        return None


def _kind_of(folder: Path) -> Kind:
    return next((kind for kind in _MARKERS if kind == folder.parent.name), "features")


@contextlib.contextmanager
def _alone(entry: Entry) -> Iterator[bool]:
    """Whether nobody holds the entry; nobody is noted as its user meanwhile."""
    try:
        handle = os.open(entry.folder / _MARKERS[entry.kind], os.O_RDONLY)
    except FileNotFoundError:  # damaged: nobody can have it open
        yield True
        return
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_alone = True
    except OSError:
        is_alone = False
    try:
        yield is_alone
    finally:
        os.close(handle)


def _remove(entry: Entry) -> bool:
    """Rename, then delete: nobody ever opens half an entry."""
    with _alone(entry) as is_alone:
        if not is_alone:
            return False
        gone = entry.folder.with_name(f".{entry.key}.removed")
        with storage_errors(entry.folder):
            shutil.rmtree(gone, ignore_errors=True)  # of a removal that was killed
            entry.folder.rename(gone)
            shutil.rmtree(gone)
    if entry.kind == "features":
        with contextlib.suppress(OSError):  # other images of the same prefix
            entry.folder.parent.rmdir()
    return True
