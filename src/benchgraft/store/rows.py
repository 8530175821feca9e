"""From a pack to rows of pixels on disk, in order: decoded in parallel, or copied from earlier work.

Or, for a store without pixels, to fingerprints, each photo shown on the way to whoever watches.

A photo that cannot be read is left out, by name and with its reason; none takes its place.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import DataError, StorageError
from ..parallel import in_parallel, pieces, usable_cores
from ..photos.decode import FINDINGS, Pixels, decode
from ..photos.formats import Undecodable, pillow_warnings_off
from ..progress import Progress
from ..runfolder.records import ExcludedImage
from .packing import Pack
from .prints import prints_of
from .reuse import JOURNAL, PIXELS, Earlier, Journal, Kind, Known, Outcomes

DECODED_AT_ONCE = 64
COPIED_BYTES = 8_000_000
_PACKED_AT_ONCE = 4096


Watch = Callable[[npt.NDArray[np.uint64], Pixels], None]
"""Is shown content digests, uint64 (n,), and pixels, uint8 (n, size, size, 3), of photos just decoded."""


@dataclass
class Written:
    """What lies in pixels.npy now, and what does not."""

    kept: list[int] = field(default_factory=list)
    """Rows of the pack, ascending."""
    excluded: list[ExcludedImage] = field(default_factory=list)
    conversions: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[int]] = field(default_factory=dict)
    """Finding -> the rows of the store that it is told of."""
    decoded: int = 0
    """Images that were decoded, or tried; the others were copied."""
    outcomes: Outcomes | None = None
    """Where no pixels are kept: of every row whose file could be read."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some rows: pixels of the kept ones, C order."""

    pixels: Pixels
    kept: list[int]
    converted: list[tuple[str, ...]]
    """For each kept row."""
    excluded: list[tuple[int, str]]
    decoded: int
    prints: npt.NDArray[np.uint64] | None = None
    """For a store without pixels, uint64 (n, 2)."""


def write_rows(pack: Pack, known: Known, folder: Path, journal: Journal, progress: Progress) -> Written:
    """Write the pixels of every usable image to pixels.npy, and tell the journal of them.

    Written with plain writes, not through a map: on a full disk a map ends the process with SIGBUS, a write
    raises. The number of rows is known at the end only, so the header is written twice.
    """
    written = Written()
    shape = (pack.rule.size, pack.rule.size, 3)
    with (folder / PIXELS).open("wb") as file, progress.track(len(pack.keys), "decode images") as advance:
        start = _write_header(file, (len(pack.keys), *shape))
        for piece in _pieces_of(pack, known):
            file.write(piece.pixels.data)
            if pack.paths:
                file.flush()
                _note(journal, pack, piece)
            _count(written, pack, piece)
            advance(len(piece.kept) + len(piece.excluded))
        file.seek(0)
        if _write_header(file, (len(written.kept), *shape)) != start:
            raise RuntimeError(f"the header of {PIXELS} changed its length")
    if not pack.paths:
        (folder / JOURNAL).unlink()
    return written


def stream_rows(pack: Pack, known: Outcomes, journal: Journal, watch: Watch, progress: Progress) -> Written:
    """Show every photo that is not known to `watch`, in order, and keep what is known of it then.

    The journal is told of these alone: the others are known from what is finished.
    """
    rows = np.array([known.row_of.get(sha256, -1) for sha256 in pack.sha256], np.int64)
    numbers = {kind: number for number, kind in enumerate(known.kinds)}
    kind_of = np.append(known.kind_of, -1)[rows]
    prints = np.append(known.prints, np.zeros((1, 2), np.uint64), axis=0)[rows]
    new = np.flatnonzero(rows < 0)
    with progress.track(len(pack.keys), "decode images") as advance, pillow_warnings_off():
        advance(len(pack.keys) - len(new))
        each = -(-len(new) // (4 * usable_cores()))  # of few photos, every core gets some
        parts = pieces(new.tolist(), min(DECODED_AT_ONCE, max(1, each)))
        for piece in in_parallel(lambda some: _decode_some(pack, some), parts):
            if piece.kept:
                watch(pack.digests[piece.kept], piece.pixels)
            _note(journal, pack, piece)
            kinds = [(row, Kind("", how)) for row, how in zip(piece.kept, piece.converted, strict=True)]
            for row, kind in [*kinds, *((row, Kind(why, ())) for row, why in piece.excluded)]:
                kind_of[row] = numbers.setdefault(kind, len(numbers))
            assert piece.prints is not None
            prints[piece.kept] = piece.prints
            advance(len(piece.kept) + len(piece.excluded))
    # A file that could not be read has no content to know again: it is tried anew each time.
    row_of = {sha256: row for row, sha256 in enumerate(pack.sha256) if row not in pack.unreadable}
    return _streamed(pack, Outcomes(row_of, list(numbers), kind_of, prints), len(new))


def _streamed(pack: Pack, outcomes: Outcomes, decoded: int) -> Written:
    """outcomes: of every row of the pack."""
    kinds, kind_of = outcomes.kinds, outcomes.kind_of
    are_kept = np.array([not kind.reason for kind in kinds], bool)[kind_of]
    kept = np.flatnonzero(are_kept)
    written = Written(kept.tolist(), decoded=decoded, outcomes=outcomes)
    for row in np.flatnonzero(~are_kept).tolist():
        written.excluded.append(ExcludedImage(key=pack.keys[row], reason=kinds[kind_of[row]].reason))
    for number, kind in enumerate(kinds):
        rows = np.flatnonzero(kind_of[kept] == number) if kind.converted else np.empty(0, np.int64)
        for name in kind.converted if len(rows) else ():
            if name in FINDINGS:
                written.findings[name] = sorted([*written.findings.get(name, []), *rows.tolist()])
            else:
                written.conversions[name] += len(rows)
    return written


def _note(journal: Journal, pack: Pack, piece: _Piece) -> None:
    kept = [(pack.sha256[row], how) for row, how in zip(piece.kept, piece.converted, strict=True)]
    # A file that could not be read has no content to know again: it is tried anew each time.
    excluded = [(pack.sha256[row], why) for row, why in piece.excluded if row not in pack.unreadable]
    journal.add(piece.pixels, kept, excluded, piece.prints)


def _count(written: Written, pack: Pack, piece: _Piece) -> None:
    for row, converted in enumerate(piece.converted, len(written.kept)):
        for name in converted:
            if name in FINDINGS:
                written.findings.setdefault(name, []).append(row)
            else:
                written.conversions[name] += 1
    written.kept += piece.kept
    written.excluded += [ExcludedImage(key=pack.keys[row], reason=why) for row, why in piece.excluded]
    written.decoded += piece.decoded


def _pieces_of(pack: Pack, known: Known) -> Iterator[_Piece]:
    first = 0
    for part in pack.pixels:
        for start in range(0, len(part), _PACKED_AT_ONCE):
            block = np.ascontiguousarray(part[start : start + _PACKED_AT_ONCE])
            rows = list(range(first + start, first + start + len(block)))
            yield _Piece(block, rows, [()] * len(rows), [], len(rows))
        first += len(part)
    if not pack.pixels:
        with pillow_warnings_off():
            yield from in_parallel(lambda rows: _some(pack, known, rows), _stretches(pack, known))


def _stretches(pack: Pack, known: Known) -> Iterator[list[int]]:
    """The rows in order, cut where known and new images meet, and into pieces of bounded size."""
    longest = {True: max(1, COPIED_BYTES // (3 * pack.rule.size**2)), False: DECODED_AT_ONCE}
    rows: list[int] = []
    was_known = False
    for row, sha256 in enumerate(pack.sha256):
        is_known = sha256 in known
        if rows and (is_known != was_known or len(rows) == longest[was_known]):
            yield rows
            rows = []
        rows.append(row)
        was_known = is_known
    if rows:
        yield rows


def _some(pack: Pack, known: Known, rows: list[int]) -> _Piece:
    earlier = [known[pack.sha256[row]] for row in rows if pack.sha256[row] in known]
    return _copy_some(pack, rows, earlier) if earlier else _decode_some(pack, rows)


def _decode_some(pack: Pack, rows: Sequence[int]) -> _Piece:
    pixels = np.empty((len(rows), pack.rule.size, pack.rule.size, 3), np.uint8)
    kept: list[int] = []
    conversions: list[tuple[str, ...]] = []
    excluded: list[tuple[int, str]] = []
    for row in rows:
        try:
            if row in pack.unreadable:
                raise Undecodable(pack.unreadable[row])
            pixels[len(kept)], converted = decode(_same_bytes(pack, row), pack.rule)
        except Undecodable as reason:
            excluded.append((row, str(reason)))
        else:
            kept.append(row)
            conversions.append(converted)
    pixels = pixels[: len(kept)]
    return _Piece(pixels, kept, conversions, excluded, len(rows), prints_of(pixels) if pack.is_bare else None)


def _same_bytes(pack: Pack, row: int) -> bytes:
    """The file as it was when the key was made; otherwise the store would lie about its content."""
    try:
        raw = Path(pack.paths[row]).read_bytes()
    except OSError:
        raw = b""
    if hashlib.sha256(raw).digest() != pack.sha256[row]:
        raise DataError(f"{pack.keys[row]} changed while the images were read", "run again")
    return raw


def _copy_some(pack: Pack, rows: Sequence[int], earlier: Sequence[Earlier]) -> _Piece:
    usable = [item for item in earlier if not item.reason]
    pixels = np.empty((len(usable), pack.rule.size, pack.rule.size, 3), np.uint8)
    row_bytes = 3 * pack.rule.size**2
    start = 0
    while start < len(usable):
        first, end = usable[start], start + 1
        while end < len(usable) and _follows(first, usable[end], (end - start) * row_bytes):
            end += 1
        _read_into(pixels[start:end], first)
        start = end
    return _Piece(
        pixels,
        kept=[row for row, item in zip(rows, earlier, strict=True) if not item.reason],
        converted=[item.converted for item in earlier if not item.reason],
        excluded=[(row, item.reason) for row, item in zip(rows, earlier, strict=True) if item.reason],
        decoded=0,
    )


def _follows(first: Earlier, item: Earlier, distance: int) -> bool:
    return item.path == first.path and item.offset == first.offset + distance


def _read_into(pixels: Pixels, first: Earlier) -> None:
    try:
        with first.path.open("rb", buffering=0) as file:
            file.seek(first.offset)
            if file.readinto(pixels.data.cast("B")) == pixels.nbytes:
                return
            reason = "it is shorter than it was"
    except OSError as error:
        reason = error.strerror or str(error)
    raise StorageError(f"cannot read the earlier pixels in {first.path}: {reason}", "run again")


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Header of a C-order uint8 .npy file; returns its length. numpy leaves room for any number of rows."""
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.tell()
