"""Who is where: train, validation and test by content, so that every stage and every run agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..ledger import ExcludedImage

TRAIN, VALIDATION, TEST = 0, 1, 2
NOWHERE = -1
"""A row that takes part in nothing."""

Digests = npt.NDArray[np.uint64]
Sides = npt.NDArray[np.int8]
_GIVEN_TEST = 1
_NOT_GIVEN = -1


def assign(digests: Digests, given: npt.NDArray[np.int8], validation: float, test: float = 0.0) -> Sides:
    """The side of each image, int8 (N,), from its own content and nothing else.

    u = digest / 2**64. An image given as test is TEST. Else u < validation puts it in VALIDATION; else, where
    the data set gives no side (-1), u < validation + test puts it in TEST; the rest is TRAIN. New images
    therefore never move old ones, and equal bytes cut from the same given side fall on the same side.
    Raises ValueError if the fractions are negative or leave nothing to train on.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError(f"validation {validation} and test {test} must be fractions that leave a rest")
    u = digests.astype(np.float64) / 2.0**64
    sides = np.full(len(digests), TRAIN, np.int8)
    sides[(given == _NOT_GIVEN) & (u < validation + test)] = TEST
    sides[u < validation] = VALIDATION
    sides[given == _GIVEN_TEST] = TEST
    return sides


@dataclass(frozen=True, eq=False)
class Dropped:
    """Test images that training or validation has too."""

    rows: npt.NDArray[np.int64]
    """Sorted rows that were TEST."""
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
            "give all stages on one data set the same validation share, or another data set",
        )
