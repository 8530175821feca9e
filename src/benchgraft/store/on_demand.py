"""Photos of a store that keeps no pixels: decoded whenever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from ..files import digest_bytes
from ..parallel import in_parallel, pieces
from ..photos.decode import Pixels, Rule, decode
from ..photos.formats import Undecodable, pillow_warnings_off
from ..photos.readers import Source

_AT_ONCE = 8


class OnDemand:
    """Looks like the array of their pixels, uint8 (N, size, size, 3), to whoever takes some rows of it."""

    dtype = np.dtype(np.uint8)
    maps = ()

    def __init__(
        self, source: Source, keys: Sequence[str], digests: npt.NDArray[np.uint64], rule: Rule
    ) -> None:
        """keys, digests: of the rows, as in the store. The source lists its files when one is wanted."""
        self._source, self._keys, self._digests, self._rule = source, keys, digests, rule

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As of the array."""
        return len(self._keys), self._rule.size, self._rule.size, 3

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Pixels:
        """Pixels of these rows, int64 (n,), decoded now.

        Raises DataError for a photo that is not what it was when the store was made.
        """
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        with pillow_warnings_off():
            parts = pieces(rows.tolist(), _AT_ONCE)
            decoded = in_parallel(lambda part: [self._decode(row) for row in part], parts)
            for place, pixels in enumerate(pixels for part in decoded for pixels in part):
                found[place] = pixels
        return found

    def _decode(self, row: int) -> Pixels:
        key = self._keys[row]
        try:
            raw = Path(self._places[key]).read_bytes()
            if int(digest_bytes(raw)[:16], 16) == int(self._digests[row]):
                return decode(raw, self._rule)[0]
        except (OSError, KeyError, Undecodable):
            pass
        raise DataError(f"{key} changed while the images were read", "run again")

    @cached_property
    def _places(self) -> dict[str, str]:
        return {sample.key: sample.place for sample in self._source.samples}
