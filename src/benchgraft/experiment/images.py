"""The images of a stage: its data set opened once, split by content, narrowed by the class rules."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..data.classes import ClassRules, StageImages, select
from ..data.perceptual import Fingerprints, fingerprints
from ..data.readers import open_source
from ..data.split import NOWHERE, TEST, TRAIN, Dropped, Sides, assign, drop_shared, group_keys
from ..data.store import Store, open_store
from ..data.varieties import held_out
from ..errors import DataError
from ..files import SHIPPED, shipped_path
from ..ledger import DataRecord, ExcludedImage, ImageList, ImagesRecord
from ..progress import Progress
from .config import DataConfig, Experiment, HoldOut


@dataclass(frozen=True)
class OpenedData:
    """A data set as all stages see it."""

    name: str
    store: Store
    sides: Sides
    """Side of each image, before test images with the bytes of a training image were dropped."""
    dropped: Dropped
    open_seconds: float
    prints: Fingerprints
    """Of the store's images."""
    without: list[str]
    """Classes that no stage on these data has: held-out varieties that take part in nothing."""

    def record(self) -> DataRecord:
        """For the ledger."""
        return DataRecord(
            name=self.name,
            format=self.store.format,
            store_key=self.store.key,
            images=len(self.store),
            excluded=self.store.excluded,
            dropped_from_test=self.dropped.images,
            decode_seconds=self.store.decode_seconds,
            decoded=self.store.decoded,
            reused=self.store.reused,
        )


def data_folder(config: DataConfig, root: Path | None) -> Path:
    """Where a data set lies. Raises DataError if it needs --data and there is none."""
    if config.folder.startswith(SHIPPED) or Path(config.folder).is_absolute():
        return shipped_path(config.folder)
    if root is None:
        raise DataError(
            f"this experiment needs the data set {config.folder}, which does not come with the program",
            "say where it is: --data DIR, with DIR/" + config.folder,
        )
    return root / config.folder


def open_data(
    name: str,
    config: DataConfig,
    root: Path | None,
    cache: Path,
    progress: Progress,
    white_level: int | None = None,
) -> OpenedData:
    """Open the store, cut the split once for all stages, drop test images that are training images too
    (unless they are to be kept) and what the configuration leaves out.

    white_level: of the model that is to be updated; None: found from the photos.
    What the fingerprints cost is told with the decoding: like this it is done once for all runs.
    """
    start = time.perf_counter()
    source = open_source(config.format, data_folder(config, root))
    store = open_store(
        source, cache, progress=progress, fit=config.fit, damaged=config.damaged, white_level=white_level
    )
    store, prints = _with_prints(store, progress)
    groups = group_keys(store.keys, config.group_by, store.digests) if config.group_by else None
    sides = assign(store.digests, store.given, config.validation, config.test, groups)
    if config.every_class_trains:
        sides = with_training(store, sides)
    without: list[str] = []
    if config.hold_out:
        sides, without = _without_varieties(store, sides, config.hold_out)
    shared = drop_shared(store.digests, sides, store.keys)
    if config.keep_overlap:
        shared = Dropped(np.empty(0, np.int64), [], sides.copy())
    dropped = _left_out(shared, store.keys, config.leave_out)
    return OpenedData(name, store, sides, dropped, time.perf_counter() - start, prints, without)


def with_training(store: Store, sides: Sides) -> Sides:
    """Sides where every class has training images: one that had none gives all that it has."""
    trained = np.bincount(store.labels[sides == TRAIN], minlength=len(store.class_names)) > 0
    return np.where(trained[store.labels], sides, TRAIN).astype(np.int8)


def _left_out(dropped: Dropped, keys: Sequence[str], reasons: Mapping[str, str]) -> Dropped:
    """Dropped, and with it the images named that it has not dropped already."""
    rows = [row for row, key in enumerate(keys) if key in reasons and dropped.sides[row] != NOWHERE]
    if not rows:
        return dropped
    sides = dropped.sides.copy()
    sides[rows] = NOWHERE
    images = [ExcludedImage(key=keys[row], reason=reasons[keys[row]]) for row in rows]
    return Dropped(np.union1d(dropped.rows, rows), [*dropped.images, *images], sides)


def _with_prints(store: Store, progress: Progress) -> tuple[Store, Fingerprints]:
    start = time.perf_counter()
    prints = fingerprints(store, progress)
    seconds = time.perf_counter() - start if prints.computed else 0.0
    return replace(store, decode_seconds=store.decode_seconds + seconds), prints


def _without_varieties(store: Store, sides: Sides, rule: HoldOut) -> tuple[Sides, list[str]]:
    """Sides where the held-out varieties test, alone, or take part in nothing; and which then do that."""
    held = held_out(store.class_names, rule.fold, rule.of)
    is_held = held[store.labels]
    if rule.held == "nowhere":
        names = [name for name, out in zip(store.class_names, held, strict=True) if out]
        return np.where(is_held, NOWHERE, sides).astype(np.int8), names
    seen = np.where(sides == TEST, NOWHERE, sides)
    return np.where(is_held, TEST, seen).astype(np.int8), []


def stage_images(experiment: Experiment, stage: str, opened: OpenedData) -> StageImages:
    """The stage's training, validation and test images."""
    name = experiment.stages[stage].classes
    rules = experiment.classes[name] if name else ClassRules()
    need_every_split = not experiment.data[experiment.stages[stage].data].every_class_trains
    return select(opened.store, opened.dropped.sides, rules, need_every_split, without=opened.without)


def images_record(stage: str, data: str, images: StageImages) -> ImagesRecord:
    """For the ledger."""
    return ImagesRecord(
        stage=stage,
        data=data,
        digest=images.digest,
        class_names=images.class_names,
        matched=images.matched,
        counts=images.counts(),
        test=ImageList(keys=images.keys, sources=images.sources, labels=images.labels["test"].tolist()),
    )


def digests_of(images: StageImages, *splits: str) -> npt.NDArray[np.uint64]:
    """Content digests of the images of these splits, uint64."""
    rows = np.concatenate([images.rows[split] for split in splits])
    return np.asarray(images.store.digests[rows], np.uint64)


def keys_of(images: StageImages, *splits: str) -> list[str]:
    """Keys of the images of these splits, in the order of digests_of."""
    return [images.store.keys[row] for split in splits for row in images.rows[split].tolist()]
