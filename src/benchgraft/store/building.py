"""Build the folder of a store: whole or not at all, and from what is there already."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, Interrupted, UserError
from ..files import storage_errors, write_folder_whole
from ..photos.decode import RULE_VERSION, Pixels
from ..progress import Progress
from ..runfolder.records import ExcludedImage
from .packing import Pack
from .reuse import (
    JOURNAL,
    OUTCOMES,
    PRINTS,
    Journal,
    Known,
    Outcomes,
    known_in_leftovers,
    known_in_store,
    outcomes_in_store,
)
from .rows import Watch, Written, stream_rows, write_rows

FORMAT_VERSION = 1
_LEFTOVER_SECONDS = 600
_JOURNALED_SECONDS = 7 * 86_400
"""A half-built store that a later run can take up is kept so long."""
_SHOWN = 3


@dataclass(frozen=True)
class Building:
    """Where stores are built, and from what."""

    stores: Path
    format: str
    place: str
    """Whose half-built leftovers may be taken up: one folder under one rule."""
    last_key: str
    """Of the folder's last store under this rule; "": there is none."""

    def build(self, pack: Pack, watch: Watch | None, progress: Progress) -> int:
        """Write a new store, which appears whole or not at all; how many images were decoded for it.

        watch: see Watch, where the store keeps no pixels.
        Stopped by the user or killed, it leaves a hidden folder from which the next build goes on.
        """
        folder = self.stores / pack.key
        with known_in_leftovers(self.stores, self.place) as (known, leftovers):
            last = self.stores / self.last_key if self.last_key else None
            # The journal is closed, and with that its lock given up, when the folder has its final name:
            # until then another process would take it for the leftover of a killed one, and remove it.
            with (
                storage_errors(folder),
                contextlib.ExitStack() as held,
                write_folder_whole(folder) as temporary,
                storage_errors(folder),
            ):
                journal = Journal(temporary, self.place, pack.is_bare)
                held.enter_context(contextlib.closing(journal))
                try:
                    if pack.is_bare:
                        outcomes = _outcomes_before(pack, last).and_(Outcomes.of(known))
                        written = stream_rows(pack, outcomes, journal, watch or _look_away, progress)
                    else:
                        known = _known_before(pack, last) | known
                        written = write_rows(pack, known, temporary, journal, progress)
                except (KeyboardInterrupt, Interrupted):
                    temporary.rename(temporary.with_name(f"{temporary.name}-stopped"))
                    raise
                if not written.kept:
                    raise _nothing_usable(written.excluded)
                _write_rest(pack, written, temporary, self.format)
            if pack.is_bare:  # only now: until the folder has its name, a killed build goes on from it
                with contextlib.suppress(OSError):
                    (folder / JOURNAL).unlink(missing_ok=True)
            for leftover in leftovers:
                shutil.rmtree(leftover, ignore_errors=True)
        _clear_leftovers(self.stores)
        return written.decoded


def _look_away(_digests: npt.NDArray[np.uint64], _pixels: Pixels) -> None:
    return


def _known_before(pack: Pack, folder: Path | None) -> Known:
    """The images of an earlier store; without those of 16-bit grey if white was another value there."""
    known = known_in_store(folder) if folder else {}
    for sha256 in _of_another_white(pack, folder):
        known.pop(sha256, None)
    return known


def _outcomes_before(pack: Pack, folder: Path | None) -> Outcomes:
    """The same where no pixels are kept."""
    known = outcomes_in_store(folder) if folder else Outcomes.of({})
    for sha256 in _of_another_white(pack, folder):
        known.row_of.pop(sha256, None)
    return known


def _of_another_white(pack: Pack, folder: Path | None) -> list[bytes]:
    if folder is None or not pack.peak or white_level_of(folder) == pack.rule.white_level:
        return []
    return [sha256 for sha256, peak in zip(pack.sha256, pack.peaks.tolist(), strict=True) if peak]


def white_level_of(folder: Path) -> int | None:
    """Of a store; None where that cannot be read, or is of a version that knew none."""
    try:
        level = json.loads((folder / "store.json").read_bytes()).get("white_level")
    except (OSError, ValueError, AttributeError):
        return None
    return level if isinstance(level, int) else None


def _write_rest(pack: Pack, written: Written, folder: Path, format: str) -> None:  # noqa: A002
    """Everything but the pixels."""
    kept = np.array(written.kept, np.int64)
    arrays: dict[str, npt.NDArray[Any]] = {
        "labels": pack.labels[kept],
        "given": pack.given[kept],
        "digests": pack.digests[kept],
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    if written.outcomes is not None:
        for name, prints in zip(PRINTS, written.outcomes.prints[kept].T, strict=True):
            np.save(folder / f"{name}.npy", np.ascontiguousarray(prints))
        written.outcomes.write(folder / OUTCOMES)
    head = {
        "format_version": FORMAT_VERSION,
        "rule_version": RULE_VERSION,
        "key": pack.key,
        "format": format,
        "has_pixels": not pack.is_bare,
        "size": pack.rule.size,
        "fit": pack.rule.fit,
        "resampling": pack.rule.resampling,
        "white_level": pack.rule.white_level,
        "grey16_peak": pack.peak,
        "class_names": pack.class_names,
        "keys": [pack.keys[row] for row in written.kept],
        "excluded": [[item.key, item.reason] for item in written.excluded],
        "conversions": dict(sorted(written.conversions.items())),
        "findings": written.findings,
        "arrays_digest": digest_of(*arrays.values()),
        "bytes": {
            path.name: path.stat().st_size
            for path in sorted(folder.iterdir())
            if not (pack.is_bare and path.name == JOURNAL)  # which goes
        },
    }
    (folder / "store.json").write_text(json.dumps(head), encoding="utf-8")


def digest_of(*arrays: npt.NDArray[Any]) -> str:
    """SHA-256 of the bytes of the small arrays, as store.json has it."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _clear_leftovers(stores: Path) -> None:
    """Remove half-built folders of killed processes: hidden ones that nobody has written to for a while."""
    for folder in stores.glob(".*"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            kept_seconds = _JOURNALED_SECONDS if (folder / JOURNAL).exists() else _LEFTOVER_SECONDS
            if folder.is_dir() and time.time() - newest > kept_seconds:
                shutil.rmtree(folder, ignore_errors=True)


def _nothing_usable(excluded: list[ExcludedImage]) -> UserError:
    return DataError(
        f"none of the {len(excluded):,} images can be used",
        *first_of(excluded),
        "check that the files are whole images",
    )


def first_of(excluded: list[ExcludedImage]) -> list[str]:
    """Lines that name the first few."""
    more = [f"and {len(excluded) - _SHOWN:,} more"] if len(excluded) > _SHOWN else []
    return [f"{item.key}: {item.reason}" for item in excluded[:_SHOWN]] + more
