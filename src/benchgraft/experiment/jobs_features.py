"""Features of many photos, shard by shard on the machines of a cluster; what comes back is written here.

A shard gives what this machine would have come to: a journal of decoded photos, as a build of the store that
was stopped leaves it, and features in the cache. The same steps as without a cluster then find all done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..config.requests import ClusterRequest
from ..engines.engine import compute_batch
from ..errors import DataError, UserError
from ..files import digest_bytes
from ..parallel import in_parallel, pieces
from ..photos.decode import Pixels, Rule, decode
from ..photos.formats import Undecodable, pillow_warnings_off
from ..store.packing import Listing
from ..store.prints import prints_of
from ..store.store import build_begun
from ..training.feature_stream import FeatureStream
from .bench import Bench
from .folder import BATCH_SIZE, Start, start_of
from .photos import decode_some
from .prefixes import EXAMPLES, FrozenParent, frozen_parent

if TYPE_CHECKING:
    from .jobs_ray import NodeWorker

PHOTOS, BYTES = 1024, 2**27
"""Of a shard, at most: a lost machine costs so many; one that does not see them is sent so much at once."""
_AT_ONCE = 16

Photo = tuple[bytes, str | bytes]
"""SHA-256 of a file, and where it is below its folder, or all of it."""


@dataclass(frozen=True)
class FeatureTask:
    """What is computed of photos, whichever they are."""

    rule: Rule
    look: str
    """Of photos under this rule, for the key of their features."""
    is_updated: bool
    """Whether the parent is a model to update."""
    device: str
    threads: int


@dataclass(frozen=True, eq=False)
class Shard:
    """What some photos came to."""

    key: str | None
    """Of the features: engine and version, weights, rule; None: no photo of these can be used."""
    kept: list[tuple[bytes, tuple[str, ...]]]
    """SHA-256 and conversions of each photo that can be used."""
    excluded: list[tuple[bytes, str]]
    """SHA-256 of each other one, and why."""
    prints: npt.NDArray[np.uint64]
    """Of the kept ones, (n, 2)."""
    rows: npt.NDArray[np.float32]
    """Their features, (n, ...)."""

    @property
    def ids(self) -> npt.NDArray[np.uint64]:
        """Content digests of the kept ones, (n,)."""
        return np.array([int.from_bytes(sha256[:8], "big") for sha256, _ in self.kept], np.uint64)


class Featuriser:
    """A parent's frozen part on one machine, opened with the first photos."""

    def __init__(self, task: FeatureTask, parent: Path, bench: Bench) -> None:
        self._task, self._parent, self._bench = task, parent, bench
        self._opened: FrozenParent | None = None

    def shard(self, photos: Sequence[Photo], folder: Path | None) -> Shard:
        """Decode these photos and compute their features. folder: what names are below.

        Raises DataError for a photo that is not the one that is meant, ModelFileError for a parent that
        cannot be used.
        """
        kept: list[tuple[bytes, tuple[str, ...]]] = []
        excluded: list[tuple[bytes, str]] = []
        prints, features = [np.empty((0, 2), np.uint64)], []
        for pixels in _in_batches(self._decoded(photos, folder, kept, excluded)):
            self._bench.events.stop_if_cancelled()
            prints.append(prints_of(pixels))
            rows = compute_batch(self._parent_for(pixels).engine, pixels, BATCH_SIZE)
            features.append(np.asarray(rows, np.float32))
        key = None if self._opened is None else self._opened.cache(Path(), self._task.look).key
        whole = np.concatenate(features) if features else np.empty((0, 0), np.float32)
        return Shard(key, kept, excluded, np.concatenate(prints), whole)

    def _parent_for(self, pixels: Pixels) -> FrozenParent:
        if self._opened is None:
            cache, path = self._bench.cache, self._parent
            is_updated = self._task.is_updated
            start = start_of(None, cache, update=path) if is_updated else start_of(str(path), cache)
            self._opened = frozen_parent(start.head_alone, pixels, self._bench)
        return self._opened

    def _decoded(
        self,
        photos: Sequence[Photo],
        folder: Path | None,
        kept: list[tuple[bytes, tuple[str, ...]]],
        excluded: list[tuple[bytes, str]],
    ) -> Iterator[Pixels]:
        """Pixels of one photo after the other, (side, side, 3); the lists grow with them."""
        with pillow_warnings_off():
            parts = pieces(photos, _AT_ONCE)
            for part in in_parallel(lambda part: [self._decode(photo, folder) for photo in part], parts):
                for sha256, found in part:
                    if isinstance(found, str):
                        excluded.append((sha256, found))
                    else:
                        kept.append((sha256, found[1]))
                        yield found[0]

    def _decode(
        self, photo: Photo, folder: Path | None
    ) -> tuple[bytes, tuple[Pixels, tuple[str, ...]] | str]:
        sha256, where = photo
        if isinstance(where, str):
            assert folder is not None
            where = _content_of(folder / where)
        if digest_bytes(where) != sha256.hex():
            raise DataError("a photo changed while the images were read", "run again")
        try:
            return sha256, decode(where, self._task.rule)
        except Undecodable as reason:
            return sha256, str(reason)


def _content_of(path: Path) -> bytes:
    """Raises DataError where it is not there any more."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "run again") from error


def _in_batches(photos: Iterator[Pixels]) -> Iterator[Pixels]:
    """(n, side, side, 3), n being BATCH_SIZE but for the last."""
    batch: list[Pixels] = []
    for photo in photos:
        batch.append(photo)
        if len(batch) == BATCH_SIZE:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


@dataclass(frozen=True, eq=False)
class ShardOf:
    """Those that have no features yet, each content once, by shards."""

    listing: Listing
    parts: list[list[int]]
    """Rows of the listing, a part a shard."""

    @property
    def folder(self) -> Path:
        """What their names are below."""
        return self.listing.source.root

    @staticmethod
    def without(known: npt.NDArray[np.uint64], listing: Listing) -> ShardOf:
        """All but those with these content digests."""
        digests = listing.digests
        first = np.zeros(len(digests), bool)
        first[np.unique(digests, return_index=True)[1]] = True
        first[list(listing.unreadable)] = False
        parts: list[list[int]] = []
        room = 0
        for row in np.flatnonzero(first & ~np.isin(digests, known)).tolist():
            file = listing.source.samples[row].file
            size = file.facts[0] if file else 0
            if not parts or len(parts[-1]) == PHOTOS or size > room:
                parts.append([])
                room = BYTES
            parts[-1].append(row)
            room -= size
        return ShardOf(listing, parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def shard(self, number: int, is_there: bool) -> list[Photo]:
        """is_there: whether they lie where they are sent to, so that their names will do."""
        found: list[Photo] = []
        for row in self.parts[number]:
            path = self.listing.source.samples[row].path
            where = str(path.relative_to(self.folder)) if is_there else _content_of(path)
            found.append((self.listing.files.sha256[row].tobytes(), where))
        return found


def features_on_cluster(
    request: ClusterRequest,
    start: Start,
    listing: Listing,
    task: FeatureTask,
    stream: FeatureStream,
    bench: Bench,
) -> None:
    """Have the machines of the cluster decode all photos that have no features yet, and compute these.

    Raises UserError where no cluster answers, DataError for a photo that changes meanwhile, Interrupted.
    """
    from .jobs_ray import OnRay  # Ray is an extra

    started = time.perf_counter()
    cache = stream.open(_examples(listing, task.rule))
    photos = ShardOf.without(cache.ids(), listing)
    if not len(photos):
        return
    guard = threading.Lock()
    with (
        OnRay(request, bench) as crew,
        build_begun(listing, bench.cache, task.rule) as journal,
        bench.events.track(len(photos), "photos on the cluster") as advance,
    ):

        def carry_out(number: int, worker: NodeWorker) -> None:
            shard = worker.features(task, Path(start.name), photos, number)
            with guard:
                if shard.key not in (None, cache.key):
                    raise UserError(
                        f"{worker.name} computes these features by another engine, or another version of it",
                        "install the same versions there, or run without --cluster",
                    )
                journal.add(np.empty(0, np.uint8), shard.kept, shard.excluded, shard.prints)
                if shard.kept:
                    cache.keep(shard.ids, shard.rows)
                stream.computed += len(shard.kept)
                advance(len(shard.kept) + len(shard.excluded))

        crew.for_each(range(len(photos.parts)), carry_out)
    stream.seconds_elsewhere += time.perf_counter() - started


def _examples(listing: Listing, rule: Rule) -> Pixels:
    """Some photos, (n, side, side, 3). Raises DataError if none can be decoded."""
    for rows in pieces(range(len(listing.source.samples)), EXAMPLES):
        tried = decode_some(listing, np.array(rows), rule, rule.white_level)
        if found := [photo[0] for photo in tried if photo]:
            return np.stack(found)
    raise DataError(f"{listing.source.root}: no photo can be decoded")
