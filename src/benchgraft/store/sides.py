"""Names, codes and order of the sides of a split, each written once.

Two codes, as stores on disk have the second: where an image takes part here, and where its data set puts it.
"""

from __future__ import annotations

TRAIN, VALIDATION, TEST = 0, 1, 2
NOWHERE = -1
"""A row that takes part in nothing."""
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""Name -> code, in the order in which they are shown, stored and featurised."""

GIVEN_TRAIN, GIVEN_TEST, GIVEN_VALIDATION, NOT_GIVEN = 0, 1, 2, -1
GIVEN = {"train": GIVEN_TRAIN, "test": GIVEN_TEST, "validation": GIVEN_VALIDATION, None: NOT_GIVEN}
"""Side that a data set gives an image -> code in a store."""
