"""Who is where: train, validation and test by content, so that every stage and every run agrees."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, DataError
from ..runfolder.records import ExcludedImage
from .sides import GIVEN_TEST, GIVEN_TRAIN, GIVEN_VALIDATION, NOT_GIVEN, NOWHERE, TEST, TRAIN, VALIDATION

Digests = npt.NDArray[np.uint64]
Sides = npt.NDArray[np.int8]


def assign(
    digests: Digests,
    given: npt.NDArray[np.int8],
    validation: float,
    test: float = 0.0,
    groups: Digests | None = None,
) -> Sides:
    """The side of each image, int8 (N,), from its own content and nothing else; or from its group, if given.

    u = digest / 2**64, with `groups` (group_keys) group / 2**64. An image given as test is TEST, one given as
    validation VALIDATION. Else u < validation puts it in VALIDATION, unless the data set gives validation
    images; else u < validation + test puts it in TEST where the data set gives no side (-1), or gives
    validation images but no test images; the rest is TRAIN. New images therefore never move old ones, and
    images of one group, or of equal bytes, that are given alike fall on the same side.
    Raises ValueError if the fractions are negative or leave nothing to train on.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError(f"validation {validation} and test {test} must be fractions that leave a rest")
    u = (digests if groups is None else groups).astype(np.float64) / 2.0**64
    has_validation, has_test = (bool((given == side).any()) for side in (GIVEN_VALIDATION, GIVEN_TEST))
    sides = np.full(len(digests), TRAIN, np.int8)
    may_be_test = (given == NOT_GIVEN) | ((given == GIVEN_TRAIN) & (has_validation and not has_test))
    sides[may_be_test & (u >= validation) & (u < validation + test)] = TEST
    sides[(u < validation) & ((given == NOT_GIVEN) | (not has_validation))] = VALIDATION
    sides[given == GIVEN_VALIDATION] = VALIDATION
    sides[given == GIVEN_TEST] = TEST
    return sides


def group_keys(
    keys: Sequence[str], pattern: str | None, digests: Digests, named: Mapping[str, str] | None = None
) -> Digests | None:
    """A number for the group of each image, uint64 (N,), for `assign`; None: nothing is said of groups.

    named: key -> group, of images that have one by name. For the others it is what `pattern`, a regular
    expression searched in the image's key, finds: its first group (the first that took part), or the whole
    match if it has none. An image without either is a group of its own.
    Raises ConfigError: no regular expression; DataError: it matches no image, or all images are one group.
    """
    if pattern is None and not named:
        return None
    try:
        expression = re.compile(pattern) if pattern is not None else None
    except re.error as error:
        raise ConfigError(f"--group-by {pattern!r} is no regular expression: {error}") from None
    numbers: dict[str, int] = {}
    groups = digests.copy()
    for row, key in enumerate(keys):
        name = (named or {}).get(key) or (_found(expression, key) if expression else None)
        if name is not None:
            if name not in numbers:
                sha = hashlib.sha256(b"group " + name.encode("utf-8", "surrogateescape"))
                numbers[name] = int.from_bytes(sha.digest()[:8], "big")
            groups[row] = numbers[name]
    if pattern is None:
        return groups
    shown = f"it is searched in names such as {keys[0]}" if len(keys) else "there are no images"
    if not numbers:
        raise DataError(f"--group-by {pattern!r} matches no image", shown)
    if len(keys) > 1 and len(np.unique(groups)) == 1:
        raise DataError(
            f"--group-by {pattern!r} puts all images into one group, {next(iter(numbers))!r}", shown
        )
    return groups


def _found(expression: re.Pattern[str], key: str) -> str | None:
    found = expression.search(key)
    return (
        None if found is None else next((part for part in found.groups() if part is not None), found.group())
    )


@dataclass(frozen=True, eq=False)
class Dropped:
    """Images that were to be judged by and are not: training has them too."""

    rows: npt.NDArray[np.int64]
    """Sorted rows that were TEST (of the leak gate, VALIDATION too)."""
    images: list[ExcludedImage]
    """The same, by name, for the ledger."""
    sides: Sides
    """As given, but NOWHERE in these rows."""


def drop_shared(digests: Digests, sides: Sides, keys: Sequence[str]) -> Dropped:
    """Take out of test what is byte for byte in train or validation as well."""
    learned = np.flatnonzero((sides == TRAIN) | (sides == VALIDATION))
    rows = np.flatnonzero((sides == TEST) & np.isin(digests, digests[learned]))
    first_row = dict(zip(digests[learned][::-1].tolist(), learned[::-1].tolist(), strict=True))
    names = {TRAIN: "training", VALIDATION: "validation"}
    images = []
    for row in rows.tolist():
        twin = first_row[int(digests[row])]
        reason = f"same bytes as the {names[int(sides[twin])]} image {keys[twin]}"
        images.append(ExcludedImage(key=keys[row], reason=reason))
    without = sides.copy()
    without[rows] = NOWHERE
    return Dropped(rows, images, without)


def find_rows(there: Digests, wanted: Digests) -> npt.NDArray[np.int64]:
    """Row in `there` of each digest that is wanted, -1 where it is not there; int64, as many as are wanted.

    there: uint64 (n,), n > 0, in any order; of equal ones the first counts.
    """
    order = np.argsort(there, kind="stable")
    rows = order[np.searchsorted(there, wanted, sorter=order).clip(max=len(order) - 1)]
    return np.where(there[rows] == wanted, rows, -1)


def refuse_overlap(stage: str, digests: Digests, trained_on: Digests, keys: Sequence[str]) -> None:
    """Raises DataError if an image to validate or test on (`digests`, `keys`) was trained on earlier.

    `trained_on`: digests of every training image of the stages that this one builds on, and of its own.
    """
    seen = np.flatnonzero(np.isin(digests, trained_on))
    if len(seen):
        shown = [keys[row] for row in seen[:3].tolist()]
        raise DataError(
            f"stage {stage}: {len(seen):,} of its validation and test images were trained on before",
            f"such as {', '.join(shown)}",
            "give all stages on one data set the same validation share, take another data set or a parent "
            "that has not seen it, or set keep_overlap = true and believe the figures less",
        )
