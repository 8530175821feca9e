"""The training photos that a model finds most like a new one: what it goes by, shown instead of told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..cache import limit_bytes, make_room
from ..config.checking import checked
from ..config.frame import Frame
from ..config.requests import AdaptRequest
from ..engines.device import threads_put_back
from ..engines.engine import Engine
from ..errors import DataError
from ..experiment.bench import Bench, bench_for
from ..experiment.folder import BATCH_SIZE, start_of
from ..experiment.photos import decode_some, list_folder, source_of
from ..experiment.prefixes import FrozenParent, frozen_parent
from ..parallel import pieces
from ..photos.decode import Pixels, Rule
from ..store.packing import Listing
from ..training.feature_stream import FeatureStream

FIRST = 16
"""Photos that are tried for one that can be decoded, to open the engine with."""


BLOCK = 2048
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Neighbour(NamedTuple):
    """A training photo."""

    key: str
    similarity: float
    """Cosine of both photos' features, less their mean over training photos; 1: the same."""


@dataclass(frozen=True, eq=False)
class TrainingPhotos:
    """Those of a model that were in a folder when it was opened, with what the head is given for each."""

    keys: list[str]
    rule: Rule
    """How a photo becomes the pixels to compare."""
    _engine: Engine
    _mean: Floats
    _directions: npt.NDArray[np.float16]
    """(n, features), of length 1."""
    _computing: threading.Lock = field(default_factory=threading.Lock)

    def most_alike(self, pixels: npt.NDArray[np.uint8], count: int) -> list[list[Neighbour]]:
        """Of each photo the first so many. pixels: uint8 (n, side, side, 3), as `rule` makes them."""
        with self._computing:  # an engine takes one batch at a time
            features = np.asarray(self._engine.compute(pixels), np.float32).reshape(len(pixels), -1)
        wanted = _directions(features - self._mean)
        cosines = np.empty((len(pixels), len(self.keys)), np.float32)
        for block in _blocks(len(self.keys)):  # products of float16 know no BLAS
            cosines[:, block] = wanted @ self._directions[block].astype(np.float32).T
        first = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        return [
            [Neighbour(self.keys[at], float(row[at])) for at in best.tolist()]
            for row, best in zip(cosines, first, strict=True)
        ]


@threads_put_back()
def training_photos(folder: Path, model: Path, **options: Any) -> TrainingPhotos:
    """By the feature cache; features that are not there are computed, and kept for the next update.

    options: cache, device, threads and cancel, as of `adapt`. Memory: 2 bytes a feature, 2.5 kB a photo of
    `imagenet`, and 6 bytes a feature while it opens.
    Raises DataError where no training photo of the model can be read there, and as an update of the model
    does; ModelFileError; Interrupted where it is cancelled.
    """
    request = checked(AdaptRequest, folder=folder, update=model, **options)
    bench = bench_for(request, Path())
    start = start_of(None, bench.cache, update=request.update).head_alone
    listed, card = list_folder(request, source_of(request), bench), start.file.card
    if listed is None:
        raise DataError(f"{folder} holds no files of photos")
    photos = _Photos(listed.listing, card.frame, card.white_level)
    rows = np.flatnonzero(np.isin(listed.listing.digests, start.file.trained_on))
    example = photos.decoded(rows[:FIRST])[1]
    if not len(example):
        raise DataError(f"of the photos that {model} was trained on none can be read in {folder}")
    parent = frozen_parent(start, example, bench)
    rows, features = _features(parent, photos, rows, bench)
    mean = features.mean(0)
    directions = np.empty(features.shape, np.float16)
    for block in _blocks(len(features)):
        directions[block] = _directions(features[block] - mean)
    keys = [photos.listing.source.samples[row].key for row in rows.tolist()]
    rule = photos.listing.rule(photos.frame, photos.white_level)
    return TrainingPhotos(keys, rule, parent.engine, mean, directions)


@dataclass(frozen=True, eq=False)
class _Photos:
    """Of a folder, as one model takes them."""

    listing: Listing
    frame: Frame
    white_level: int

    def decoded(self, rows: Rows) -> tuple[Rows, Pixels]:
        """Those of these rows that can be read, with their pixels."""
        found = decode_some(self.listing, rows, self.frame, self.white_level)
        readable = [row for row, photo in zip(rows.tolist(), found, strict=True) if photo]
        side = self.frame.size
        pixels = np.array([photo[0] for photo in found if photo], np.uint8)
        return np.array(readable, np.int64), pixels.reshape(-1, side, side, 3)


def _features(parent: FrozenParent, photos: _Photos, rows: Rows, bench: Bench) -> tuple[Rows, Floats]:
    """(rows of photos that can be read, what the head is given for each (n, columns))."""
    cache = parent.cache(bench.cache, photos.listing.look(photos.frame, photos.white_level))
    digests = photos.listing.digests
    there, features = cache.find(digests[rows])
    if len(there) < len(rows):
        stream = FeatureStream(lambda _pixels: (cache, parent.engine), BATCH_SIZE)
        missing = np.delete(rows, there)
        for part in pieces(missing.tolist(), BATCH_SIZE):
            bench.events.stop_if_cancelled()
            readable, pixels = photos.decoded(np.array(part))
            if len(readable):
                stream.watch(digests[readable], pixels)
        stream.close()
        make_room(bench.cache, limit_bytes())
        there, features = cache.find(digests[rows])
    return rows[there], features.reshape(len(features), -1)


def _directions(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))
