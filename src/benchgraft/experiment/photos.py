"""A user's own photos: opened, split, and through the leak gate, the same way for every task on a folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..config.choices import Fit, Format
from ..config.experiment import ClassRules, DataConfig
from ..config.frame import Frame
from ..config.requests import PhotosRequest
from ..errors import DataError, Interrupted, RunFolderError
from ..files import lock
from ..parallel import in_parallel, pieces
from ..photos.decode import Pixels, decode
from ..photos.formats import Undecodable, pillow_warnings_off
from ..photos.readers import Source, guess_format
from ..store.classes import StageImages, select
from ..store.overlap import Overlap, TrainedOn, apply_policy, find_overlap, write_pairs
from ..store.packing import Listing
from ..store.sides import TEST, TRAIN, VALIDATION
from ..store.split import Dropped, Sides, assign, group_keys
from ..store.store import Streaming, list_photos
from ..training.feature_stream import FeatureStream
from .account import choose_place
from .bench import Bench
from .folder import PHOTOS, Start, are_uneven
from .images import OpenedData, list_data, open_data, with_training

OVERLAP = "overlap.csv"
FEW_IMAGES = 10
_AT_ONCE = 16
MANY_COPIES = 0.05
"""Of the photos to judge by, that look like one to train on: then it is said what can be done."""
SHOWN_CLASSES = 5


@dataclass(frozen=True, eq=False)
class UserPhotos:
    """A user's photos, opened, split, and compared with what was trained on."""

    config: DataConfig
    """Opening by it gives the same split again, but for an update's old photos."""
    opened: OpenedData
    """Its `dropped` has the sides that hold: what the gate takes out is NOWHERE."""
    images: StageImages
    overlap: Overlap
    notes: list[str]
    """What a user must know of them."""
    seconds: float
    """What all of this took, decoding apart."""


@dataclass(frozen=True, eq=False)
class Listed:
    """The photos of a folder before any is decoded, for what has to be known of them first."""

    listing: Listing
    sides: Sides
    """Of each photo, before the leak gate, int8 (n,)."""
    groups: npt.NDArray[np.uint64] | None
    """Of each photo, where it was said what belongs together, (n,)."""


@dataclass(frozen=True, eq=False)
class PhotoStream:
    """Photos on their way from files to features, past any store of pixels."""

    features: FeatureStream
    listing: Callable[[], Listing]
    source: Source


def decode_some(
    listing: Listing, rows: npt.NDArray[np.int64], frame: Frame, white_level: int | None = None
) -> list[tuple[Pixels, tuple[str, ...]] | None]:
    """These photos as `decode` gives them, (n,); None for one that cannot be read.

    white_level: None finds it from those of 16-bit grey.
    """
    rule, samples = listing.rule(frame, white_level), listing.source.samples

    def decoded(rows: Sequence[int]) -> list[tuple[Pixels, tuple[str, ...]] | None]:
        found: list[tuple[Pixels, tuple[str, ...]] | None] = []
        for row in rows:
            try:
                found.append(decode(samples[row].path.read_bytes(), rule))
            except (Undecodable, OSError):
                found.append(None)
        return found

    with pillow_warnings_off():
        parts = in_parallel(decoded, pieces(rows.tolist(), _AT_ONCE))
        return [photo for part in parts for photo in part]


def source_of(request: PhotosRequest) -> Source:
    """The files of a folder, by name. Raises DataError, ConfigError as opening them does."""
    return list_data(photos_config(request, None), None)


def list_folder(request: PhotosRequest, source: Source, bench: Bench) -> Listed | None:
    """None for CIFAR-100, whose images are no files. Raises DataError."""
    if source.format == "cifar100":
        return None
    config = photos_config(request, None, source.format)
    listing = list_photos(source, bench.cache, bench.events)
    digests, keys = listing.digests, [sample.key for sample in source.samples]
    groups = group_keys(keys, config.group_by, digests, source.groups)
    return Listed(listing, assign(digests, listing.given, config.validation, config.test, groups), groups)


def user_photos(
    request: PhotosRequest,
    starts: Sequence[Start],
    bench: Bench,
    default: Path,
    stream: PhotoStream | None = None,
) -> UserPhotos:
    """Open the photos, split them, and take out what the leak gate is to take out, with notes.

    starts: what is trained from, the first as its network takes photos. stream: takes them while they are
    decoded, and no pixels are kept.

    Raises DataError if they cannot be used, too few are left, or a photo to judge by was trained on and that
    is to be refused. All pairs that the gate found are left as overlap.csv then: in the run folder, `default`
    where the request names none.
    """
    started = time.perf_counter()
    config = photos_config(request, starts[0], stream.source.format if stream else None)
    opened = _opened(config, starts[0], bench, stream)
    learned = [_learned_by(start, opened) for start in starts]
    overlap = find_overlap(opened.store, opened.sides, opened.prints, learned)
    try:
        dropped = apply_policy(overlap, opened.sides, request.overlap)
        images = _split(config, opened, dropped)
    except DataError:
        # A folder that holds the account of a run, or in which one works, is left as it is.
        with contextlib.suppress(RunFolderError):
            if overlap.pairs:
                place = choose_place(request.run_folder, default, lambda _: False)
                with lock(place):
                    leave_pairs(overlap, place)
        raise
    opened = replace(opened, dropped=dropped)
    elsewhere = opened.store.decode_seconds + (stream.features.seconds if stream else 0.0)
    return UserPhotos(
        config.model_copy(update={"leave_out": {image.key: image.reason for image in dropped.images}}),
        opened,
        images,
        overlap,
        [*overlap.lines(), *_copies_note(overlap, opened), *_class_notes(opened, images)],
        time.perf_counter() - started - elsewhere,
    )


def leave_pairs(overlap: Overlap, folder: Path) -> list[str]:
    """All pairs that were found, in a file of the folder, and a note that says so. Raises StorageError."""
    if not overlap.pairs:
        return []
    write_pairs(folder / OVERLAP, overlap)
    return [f"all pairs of photos that are equal or look alike: {folder / OVERLAP}"]


def photos_config(request: PhotosRequest, start: Start | None, layout: Format | None = None) -> DataConfig:
    """A user's folder as a data set: 10 % of the photos validate and 15 % test, where it does not say.

    start: a model that is updated has rules of its own. layout: of the folder, where it is known already.
    """
    folder = request.folder.absolute()
    card = start.file.card if start and start.is_updated else None
    return DataConfig(
        format=layout or guess_format(folder),
        folder=str(folder),
        validation=0.1,
        test=0.15,
        every_class_trains=True,
        fit=fit_of(request, start),
        damaged=request.damaged,
        labels=str(request.labels.absolute()) if request.labels else None,
        group_by=request.group_by or (card.group_by if card else None),
        keep_overlap=request.overlap == "keep",
    )


def fit_of(request: PhotosRequest, start: Start | None) -> Fit:
    """How photos are brought to a square; see photos_config."""
    return start.file.card.fit if start and start.is_updated else request.fit or "letterbox"


def _opened(config: DataConfig, start: Start, bench: Bench, stream: PhotoStream | None) -> OpenedData:
    """With an update its photos stay where they were, and white in 16-bit grey stays what it was."""
    old = start.file
    level = old.card.white_level if start.is_updated else None
    taken = old.card.network
    streaming = Streaming(stream.features.watch, stream.listing, stream.source) if stream else None
    try:
        opened = open_data(PHOTOS, config, None, bench.cache, bench.events, taken, level, streaming)
    except (Interrupted, KeyboardInterrupt):
        if stream:
            stream.features.keep()
        raise
    if stream:
        decoding = opened.store.decode_seconds - stream.features.seconds
        stream.features.close()
        opened = replace(opened, store=replace(opened.store, decode_seconds=decoding))
    bench.profiler.add_decoding(PHOTOS, opened.store.decode_seconds)
    if not start.is_updated:
        return opened
    store, sides = opened.store, opened.sides.copy()
    sides[np.isin(store.digests, old.trained_on)] = TRAIN
    sides[np.isin(store.digests, old.tested_on)] = TEST
    return replace(opened, sides=with_training(store, sides))


def _learned_by(start: Start, opened: OpenedData) -> TrainedOn:
    """What the parent has learned from; of one that is updated, by look and without the photos still here."""
    parent = start.file
    if not start.is_updated:
        return TrainedOn(start.name, parent.trained_on, parent.trained_on_perceptual)
    here = opened.prints.perceptual[opened.sides == TRAIN]  # compared as photos, by name
    looks = np.setdiff1d(parent.trained_on_perceptual, here)
    return TrainedOn(start.name, np.empty(0, np.uint64), looks)


def _split(config: DataConfig, opened: OpenedData, dropped: Dropped) -> StageImages:
    """Raises DataError if a split is empty."""
    images = select(opened.store, dropped.sides, ClassRules(), need_every_split=False)
    for split in ("validation", "test"):
        if not len(images.rows[split]):
            raise DataError(
                f"{config.folder}: {len(opened.store):,} photos are too few to set any aside for {split}",
                "add photos: about 30 per class for a first result you can trust",
            )
    return images


def _copies_note(overlap: Overlap, opened: OpenedData) -> list[str]:
    """What to do where many photos look like another one, as frames of one object do."""
    pairs = zip(overlap.rows, overlap.pairs, strict=True)
    alike = {row for row, pair in pairs if pair.kind == "near" and pair.other_split != "model"}
    judged = int(np.isin(opened.sides, (VALIDATION, TEST)).sum())
    if opened.groups is not None or len(alike) <= MANY_COPIES * judged:
        return []
    return [
        f"{len(alike):,} of {judged:,} photos to validate or test on look almost like a training photo: if "
        "several photos show one object, keep them together with --group-by (what their names have in "
        "common), or the accuracy is only for objects seen in training"
    ]


def _class_notes(opened: OpenedData, images: StageImages) -> list[str]:
    """What is odd about the classes: without test photos, small, uneven."""
    counts = images.counts()
    untested = [name for name in images.class_names if not counts["test"][name]]
    store = opened.store
    in_all = dict(
        zip(store.class_names, np.bincount(store.labels, minlength=len(store.class_names)), strict=True)
    )
    small = [name for name in images.class_names if counts["test"][name] and in_all[name] < FEW_IMAGES]
    notes = []
    if untested:
        notes.append(
            f"no test photo, so the accuracy is not known for {_them(untested)}: "
            f"{_with_counts(untested, in_all)}; add photos"
        )
    if small:
        notes.append(
            f"fewer than {FEW_IMAGES} photos: {_with_counts(small, in_all)}; add more before you trust "
            f"the figures of {_them(small)}"
        )
    trained = np.bincount(images.labels["train"])
    if are_uneven(images.labels["train"]):
        notes.append(
            f"classes are uneven ({trained.min():,} to {trained.max():,} training photos): each photo is "
            "weighted by the inverse of its class's share; look at the mean over classes"
        )
    return notes


def _them(names: Sequence[str]) -> str:
    return "this class" if len(names) == 1 else f"these {len(names):,} classes"


def _with_counts(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """The first few classes with their photos."""
    shown = ", ".join(f'"{name}" ({counts[name]:,} in all)' for name in names[:SHOWN_CLASSES])
    return shown + (f" and {len(names) - SHOWN_CLASSES:,} more" if len(names) > SHOWN_CLASSES else "")
