"""What looks like a mistake in a set of photos, in words: told by every command, decided by none."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..photos.decode import CLIPPED, FLAT, ONE_COLOUR
from ..photos.grey import FULL_RANGE, level_of
from ..photos.scan import photos, some

if TYPE_CHECKING:
    from .store import Store

_SHOWN = 3


def findings_of(store: Store, is_level_given: bool = False) -> list[str]:
    """All of them, a line each; is_level_given: a model said which value of 16-bit grey is white."""
    return [*conflicts(store), *names_alike(store), *_one_colour(store), *_grey16(store, is_level_given)]


def conflicts(store: Store) -> list[str]:
    """One line on photos of equal bytes in different classes; none if there are none."""
    groups = [rows for rows in equal_rows(store) if len(np.unique(store.labels[rows])) > 1]
    if not groups:
        return []
    first = " = ".join(store.keys[row] for row in groups[0][:_SHOWN].tolist())
    return [
        f"{_are(len(groups))} in more than one class, byte for byte, such as {first}: "
        "more than one label a photo is not supported; leave each in one class"
    ]


def equal_rows(store: Store) -> list[npt.NDArray[np.int64]]:
    """Rows of each content that is there more than once, int64, in the order of their keys."""
    order = np.argsort(store.digests, kind="stable")
    ordered = store.digests[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, len(ordered)))
    several = [
        order[start : start + length]
        for start, length in zip(starts[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True)
    ]
    return sorted(several, key=lambda rows: int(rows[0]))


def names_alike(store: Store) -> list[str]:
    """One line on classes whose names are the same but for case, spaces or the form of a letter."""
    groups: dict[str, list[int]] = {}
    for label, name in enumerate(store.class_names):
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        groups.setdefault(plain, []).append(label)
    counts = np.bincount(store.labels, minlength=len(store.class_names)).tolist()
    told = [
        " and ".join(f'"{store.class_names[label]}" ({photos(counts[label])})' for label in labels)
        for labels in groups.values()
        if len(labels) > 1
    ]
    if not told:
        return []
    return [f"different classes by name only: {some(told)}; rename a folder if they are one class"]


def _one_colour(store: Store) -> list[str]:
    rows = store.findings.get(ONE_COLOUR, [])
    if not rows:
        return []
    names = some([store.keys[row] for row in rows], _SHOWN)
    return [f"{_are(len(rows))} nearly one colour (within {FLAT + 1} grey levels): {names}"]


def _grey16(store: Store, is_level_given: bool) -> list[str]:
    level, peak = store.white_level, store.grey16_peak
    if not peak:
        return []
    clipped = store.findings.get(CLIPPED, [])
    if clipped:
        names = some([store.keys[row] for row in clipped], _SHOWN)
        return [
            f"{photos(len(clipped))} of 16-bit grey beyond {level:,}, the white of the model, where what is "
            f"brighter is lost: {names}"
        ]
    if is_level_given and level_of(peak) < level:
        return [
            f"16-bit grey photos with values up to {peak:,}, where the model takes {level:,} for white: they "
            "come out dark; a model trained anew takes its white from them"
        ]
    if level < FULL_RANGE:
        return [
            f"16-bit grey photos with values up to {peak:,}: read as {level.bit_length()}-bit, {level:,} is "
            "white; this is part of the model"
        ]
    return []


def _are(count: int) -> str:
    return f"{photos(count)} {'is' if count == 1 else 'are'}"
