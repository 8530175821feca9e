"""Varieties: source classes whose names differ in numbers only, and their deal into folds."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .classes import words


def variety(class_name: str) -> str:
    """The name without its numbers: `Apple Red 1` to `Apple Red 3` are one variety."""
    return " ".join(word for word in words(class_name) if not word[0].isnumeric())


def held_out(class_names: Sequence[str], fold: int, of: int) -> npt.NDArray[np.bool_]:
    """Which classes belong to the held-out varieties, bool (classes,).

    Varieties of one first word (one kind of fruit) are dealt to the folds in turn, ordered by a hash of the
    name; the deal goes on from one kind to the next, so that kinds of a single variety spread too.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in sorted({variety(name) for name in class_names}):
        kinds[name.split(" ")[0]].append(name)
    dealt = [
        name
        for kind in sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))
        for name in sorted(kinds[kind], key=lambda name: hashlib.sha256(name.encode()).digest())
    ]
    chosen = set(dealt[fold::of])
    return np.asarray([variety(name) in chosen for name in class_names])
