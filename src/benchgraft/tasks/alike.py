"""The training photos that a model finds most like a new one: what it goes by, shown instead of told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..config.checking import checked
from ..config.network import Frame
from ..config.requests import AdaptRequest
from ..engines.device import threads_put_back
from ..engines.engine import Engine
from ..experiment.bench import Bench, bench_for
from ..experiment.folder import BATCH_SIZE, start_of
from ..experiment.photos import decode_some, list_folder
from ..experiment.prefixes import FrozenParent, frozen_parent
from ..parallel import pieces
from ..photos.decode import Pixels, Rule
from ..store.packing import Listing
from ..training.feature_stream import FeatureStream

FIRST = 16
"""Photos that are tried for one that can be decoded, to open the engine with."""


Rows = npt.NDArray[np.int64]


class Neighbour(NamedTuple):
    """A training photo."""

    key: str
    class_name: str
    """As it is labelled now."""
    similarity: float
    """Cosine of both photos' features, less their mean over training photos; 1: the same."""


@dataclass(frozen=True, eq=False)
class TrainingPhotos:
    """Those of a model that are still in a folder, with what its head is given for each."""

    keys: list[str]
    class_names: list[str]
    """Of each."""
    rule: Rule
    """How a photo becomes the pixels to compare."""
    _engine: Engine
    _mean: npt.NDArray[np.float32]
    _directions: npt.NDArray[np.float16]
    """(n, features), of length 1."""
    _computing: threading.Lock = field(default_factory=threading.Lock)

    def most_alike(self, pixels: npt.NDArray[np.uint8], count: int) -> list[list[Neighbour]]:
        """Of each photo the first so many. pixels: uint8 (n, side, side, 3), as `rule` makes them."""
        with self._computing:  # an engine takes one batch at a time
            features = np.asarray(self._engine.compute(pixels), np.float32)
        found = []
        for wanted in _directions(features.reshape(len(pixels), -1) - self._mean):
            cosines = self._directions @ wanted.astype(np.float16)
            first = np.argsort(-cosines, kind="stable")[:count].tolist()
            found.append([Neighbour(self.keys[at], self.class_names[at], float(cosines[at])) for at in first])
        return found


@threads_put_back()
def training_photos(folder: Path, model: Path, **options: Any) -> TrainingPhotos | None:
    """By the feature cache; features that are not there are computed, and kept for the next update.

    options: cache, device, threads and cancel, as of `adapt`. None: no training photo of the model can be
    read there. Memory: 2 bytes a feature, 2.5 kB a photo of `imagenet`, and thrice that while it opens.
    Raises DataError and ModelFileError as an update of the model does, Interrupted where it is cancelled.
    """
    request = checked(AdaptRequest, folder=folder, update=model, **options)
    bench = bench_for(request, Path())
    start = start_of(None, bench.cache, update=request.update).head_alone
    listed, card = list_folder(request, bench), start.file.card
    if listed is None:
        return None
    photos = _Photos(listed.listing, card.frame, card.white_level)
    rows = np.flatnonzero(np.isin(photos.digests, start.file.trained_on))
    example = photos.decoded(rows[:FIRST])[1]
    if not len(example):
        return None
    parent = frozen_parent(start, example, bench)
    rows, features = _features(parent, photos, rows, bench)
    mean = features.mean(0)
    samples = [photos.listing.source.samples[row] for row in rows.tolist()]
    return TrainingPhotos(
        [sample.key for sample in samples],
        [sample.class_name for sample in samples],
        photos.listing.rule(photos.frame, photos.white_level),
        parent.engine,
        mean,
        _directions(features - mean).astype(np.float16),
    )


@dataclass(frozen=True, eq=False)
class _Photos:
    """Of a folder, as one model takes them."""

    listing: Listing
    frame: Frame
    white_level: int

    @property
    def digests(self) -> npt.NDArray[np.uint64]:
        return self.listing.digests

    def decoded(self, rows: Rows) -> tuple[Rows, Pixels]:
        """Those of these rows that can be read, with their pixels."""
        found = decode_some(self.listing, rows, self.frame, self.white_level)
        readable = [row for row, photo in zip(rows.tolist(), found, strict=True) if photo]
        side = self.frame.size
        pixels = np.array([photo[0] for photo in found if photo], np.uint8)
        return np.array(readable, np.int64), pixels.reshape(-1, side, side, 3)


def _features(
    parent: FrozenParent, photos: _Photos, rows: Rows, bench: Bench
) -> tuple[Rows, npt.NDArray[np.float32]]:
    """(rows of photos that can be read, what the head is given for each (n, columns))."""
    cache = parent.cache(bench.cache, photos.listing.look(photos.frame, photos.white_level))
    ids = photos.digests[rows]
    missing = rows[~np.isin(ids, cache.ids())]
    stream = FeatureStream(lambda _pixels: (cache, parent.engine), BATCH_SIZE)
    for part in pieces(missing.tolist(), BATCH_SIZE):
        bench.events.stop_if_cancelled()
        readable, pixels = photos.decoded(np.array(part))
        if len(readable):
            stream.watch(photos.digests[readable], pixels)
    stream.close()
    there, features = cache.find(ids)
    return rows[there], features.reshape(len(features), -1)


def _directions(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
