"""The leak gate: is an image to validate or test on among those that are, or were, trained on?"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..config.choices import Policy
from ..errors import DataError
from ..files import write_whole
from ..names import printable
from ..runfolder.records import ExcludedImage
from .perceptual import NEAR_BITS, Fingerprints
from .sides import NOWHERE, TEST, TRAIN, VALIDATION
from .split import Digests, Dropped, Sides
from .store import Store

Kind = Literal["bytes", "pixels", "near"]
_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
_SAID: dict[str, str] = {
    "bytes": "the same bytes",
    "pixels": "the same pixels",
    "near": "nearly the same picture",
}
_AT_ONCE = 1 << 18
"""Pairs of hashes."""
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """What a parent model has learned from, as its model file says."""

    name: str
    """How to call the model in messages."""
    content: Digests
    """uint64 content digests of its training images, and of its parents'."""
    perceptual: Digests | None = None


class Pair(NamedTuple):
    """An image to validate or test on, and the nearest training image that it equals or resembles."""

    kind: Kind
    split: str
    """"validation" or "test"."""
    key: str
    other_split: str
    """"train", "validation" or "model"."""
    other: str
    """Key of the training image, or name of the model."""
    bits: int
    """Bits in which the perceptual hashes differ; 0 where they were not compared."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """All pairs, each image to validate or test on once for each thing that it is compared with."""

    pairs: list[Pair]
    rows: list[int]
    """Row of the image to validate or test on, for each pair."""

    def lines(self) -> list[str]:
        """What was found, by kind, with an example; to print."""
        lines = []
        for kind, said in _SAID.items():
            found = [pair for pair in self.pairs if pair.kind == kind]
            if found:
                pair = found[0]
                lines.append(
                    f"{len(found):,} images to validate or test on have {said} as a training image, such as "
                    f"{pair.key} = {pair.other}"
                )
        return lines


def find_overlap(
    store: Store, sides: Sides, prints: Fingerprints, parents: Sequence[TrainedOn] = (), near: int = NEAR_BITS
) -> Overlap:
    """Compare test with train and validation, validation with train, and both with what parents learned from.

    Each image is told once for each comparison, by the strongest kind: equal bytes, equal pixels, or
    perceptual hashes that differ in at most `near` bits. A parent's pixels are not known, so that kind is not
    told of it. Memory is bounded.
    """
    found = Overlap([], [])
    for side, learned_sides in ((VALIDATION, (TRAIN,)), (TEST, (TRAIN, VALIDATION))):
        tested, learned = np.flatnonzero(sides == side), np.flatnonzero(np.isin(sides, learned_sides))
        columns = (store.digests, prints.pixels, prints.perceptual)
        for place, kind, twin, bits in _matches(
            [column[tested] for column in columns], [column[learned] for column in columns], near
        ):
            row, other = int(tested[place]), int(learned[twin])
            _add(found, store, side, row, kind, _NAMES[int(sides[other])], store.keys[other], bits)
    tested = np.flatnonzero((sides == VALIDATION) | (sides == TEST))
    for parent in parents:
        for place, kind, _, bits in _matches(
            [store.digests[tested], None, prints.perceptual[tested]],
            [parent.content, None, parent.perceptual],
            near,
        ):
            row = int(tested[place])
            _add(found, store, int(sides[row]), row, kind, "model", printable(parent.name), bits)
    return found


def apply_policy(overlap: Overlap, sides: Sides, policy: Policy = "refuse") -> Dropped:
    """What takes part after the gate.

    "refuse": raises DataError if an image has the bytes or pixels of a training image; "drop-test": takes
    those out of validation and test, named; "drop-near": near-duplicates too; "keep": changes nothing. Where
    near-duplicates stay, `overlap.lines()` is the warning.
    """
    found = list(zip(overlap.rows, overlap.pairs, strict=True))
    exact = [(row, pair) for row, pair in found if pair.kind != "near"]
    if policy == "refuse" and exact:
        rows = {row for row, _ in exact}
        shown = [f"{pair.key} = {pair.other} ({_SAID[pair.kind]})" for _, pair in exact[:_SHOWN]]
        more = [f"and {len(exact) - _SHOWN:,} more"] if len(exact) > _SHOWN else []
        raise DataError(
            f"{len(rows):,} images to validate or test on are among the training images",
            *shown,
            *more,
            "leave them out with --overlap drop-test (in an experiment file: overlap), or mend the folders",
        )
    out = {"drop-test": exact, "drop-near": found}.get(policy, [])
    dropped: dict[int, ExcludedImage] = {}
    for row, pair in sorted(out, key=lambda entry: entry[1].kind == "near"):  # the stronger reason is told
        whose = (
            "a training image of model" if pair.other_split == "model" else f"the {pair.other_split} image"
        )
        reason = f"{_SAID[pair.kind]} as {whose} {pair.other}"
        dropped.setdefault(row, ExcludedImage(key=pair.key, reason=reason))
    left_out = np.array(sorted(dropped), np.int64)
    without = sides.copy()
    without[left_out] = NOWHERE
    return Dropped(left_out, [dropped[row] for row in left_out.tolist()], without)


def write_pairs(path: Path, overlap: Overlap) -> None:
    """All pairs as CSV, a line each. Raises StorageError."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(Pair._fields)
    table.writerows(overlap.pairs)
    write_whole(path, stream.getvalue())


def nearest(
    hashes: Digests, others: Digests, most: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each hash the nearest of `others`, if it differs in at most `most` bits.

    Of several as near the least hash counts, and of its equals the first. Returns positions in `hashes`,
    positions in `others`, and bits, all int64. Of `most` + 1 stretches of bits two such hashes have one in
    common: only those that agree in one are compared, some megabytes at a time.
    """
    different, first = np.unique(others, return_index=True)
    count = max(1, len(different))
    none = (most + 1) * count
    best = np.full(len(hashes), none, np.int64)
    """Bits, and among as many the place in `different`, as one number."""
    edges = np.linspace(0, 64, most + 2).astype(np.uint64)
    for low, high in pairwise(edges.tolist()):
        shift, mask = np.uint64(low), np.uint64((1 << (high - low)) - 1)
        keys = different >> shift & mask
        order = np.argsort(keys, kind="stable")
        ordered, wanted = keys[order], hashes >> shift & mask
        starts, ends = (np.searchsorted(ordered, wanted, side) for side in ("left", "right"))
        for rows, columns in _pairs(starts, ends - starts):
            places = order[columns]
            bits = np.bitwise_count(hashes[rows] ^ different[places]).astype(np.int64)
            is_near = bits <= most
            np.minimum.at(best, rows[is_near], bits[is_near] * count + places[is_near])
    found = np.flatnonzero(best < none)
    return found, first[best[found] % count], best[found] // count


def _pairs(
    starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(rows, columns): each row with its `counts` columns from its start on; at most _AT_ONCE at a time."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    for begin in range(0, total, _AT_ONCE):
        numbers = np.arange(begin, min(begin + _AT_ONCE, total))
        rows = np.searchsorted(ends, numbers, "right")
        yield rows, starts[rows] + numbers - (ends[rows] - counts[rows])


def _matches(
    tested: Sequence[Digests | None], learned: Sequence[Digests | None], near: int
) -> list[tuple[int, Kind, int, int]]:
    """(position in tested, kind, position in learned, bits) of the strongest kind of each, in order."""
    found: dict[int, tuple[Kind, int, int]] = {}
    kinds: tuple[Kind, ...] = ("bytes", "pixels", "near")
    for kind, mine, theirs in zip(kinds, tested, learned, strict=True):
        if mine is None or theirs is None or not len(mine) or not len(theirs):
            continue
        if kind == "near":
            left = np.array([place for place in range(len(mine)) if place not in found], np.int64)
            places, twins, bits = nearest(mine[left], theirs, near)
            places = left[places]
        else:
            places, twins = _equal(mine, theirs)
            bits = np.zeros(len(places), np.int64)
        for place, twin, bit in zip(places.tolist(), twins.tolist(), bits.tolist(), strict=True):
            found.setdefault(place, (kind, twin, bit))
    return [(place, *found[place]) for place in sorted(found)]


def _equal(mine: Digests, theirs: Digests) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions in `mine`, and the first equal ones in `theirs`."""
    different, first = np.unique(theirs, return_index=True)
    place = np.searchsorted(different, mine).clip(max=len(different) - 1)
    found = np.flatnonzero(different[place] == mine)
    return found, first[place[found]]


def _add(
    overlap: Overlap, store: Store, side: int, row: int, kind: Kind, other_split: str, other: str, bits: int
) -> None:
    overlap.pairs.append(Pair(kind, _NAMES[side], store.keys[row], other_split, other, bits))
    overlap.rows.append(row)
