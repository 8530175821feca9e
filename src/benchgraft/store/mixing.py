"""Numbers that are random but fixed by what they are made from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mixed(values: npt.NDArray[np.uint64], number: int = 0) -> npt.NDArray[np.uint64]:
    """64 evenly spread bits of each value and a number: SplitMix64, `number` steps on from each value."""
    z = values + np.uint64(number * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)
