"""The images of a stage: its data set opened once, split by content, narrowed by the class rules."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..config.experiment import ClassRules, DataConfig, Experiment, HoldOut
from ..config.network import PAPER, NetworkSpec
from ..errors import DataError
from ..files import SHIPPED, shipped_path
from ..photos.readers import Source, open_source
from ..progress import Progress
from ..runfolder.records import DataRecord, ExcludedImage, ImageList, ImagesRecord
from ..store.classes import StageImages, select
from ..store.overlap import apply_policy, find_overlap
from ..store.perceptual import Fingerprints, fingerprints
from ..store.sides import NOWHERE, TEST, TRAIN
from ..store.split import Dropped, Sides, assign, drop_shared, group_keys
from ..store.store import Store, Streaming, open_store
from ..store.varieties import held_out
from .bench import Bench
from .network import stage_network

PACKAGE = "package:"
"""Prefix of a data set that an installed Python package brings along."""
_EXTRAS = {"elpv_dataset": "benchgraft[sample]"}
"""Package -> the extra that installs it."""


@dataclass(frozen=True)
class OpenedData:
    """A data set as all stages see it."""

    name: str
    store: Store
    sides: Sides
    """Side of each image, before any was dropped."""
    groups: npt.NDArray[np.uint64] | None
    """Of each image, where it was said what belongs together; (n,)."""
    dropped: Dropped
    open_seconds: float
    prints: Fingerprints
    """Of the store's images."""
    without: list[str]
    """Classes that no stage on these data has: held-out varieties that take part in nothing."""
    notes: tuple[str, ...] = ()
    """What the leak gate found, in lines to print."""

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
            side=self.store.size,
            resampling=self.store.frame.resampling,
        )


def data_folder(config: DataConfig, root: Path | None) -> Path:
    """Where a data set lies. Raises DataError if it needs --data, or a package, and there is none."""
    if config.folder.startswith(PACKAGE):
        return package_folder(config.folder.removeprefix(PACKAGE))
    if config.folder.startswith(SHIPPED) or Path(config.folder).is_absolute():
        return shipped_path(config.folder)
    if root is None:
        raise DataError(
            f"this experiment needs the data set {config.folder}, which does not come with the program",
            "say where it is: --data DIR, with DIR/" + config.folder,
        )
    return root / config.folder


def list_data(config: DataConfig, root: Path | None) -> Source:
    """Raises DataError as data_folder and open_source do."""
    labels = Path(config.labels) if config.labels else None
    return open_source(config.format, data_folder(config, root), labels)


def package_folder(name: str) -> Path:
    """Folder `data` of an installed package, which is found and not imported. Raises DataError."""
    found = find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise DataError(
            f"these photos come with the package {name}, which is not installed: pip install "
            f"'{_EXTRAS.get(name, name)}'"
        )
    return Path(next(iter(found.submodule_search_locations))) / "data"


def open_data(
    name: str,
    config: DataConfig,
    root: Path | None,
    cache: Path,
    progress: Progress,
    network: NetworkSpec = PAPER,
    white_level: int | None = None,
    streaming: Streaming | None = None,
) -> OpenedData:
    """Open the store, cut the split once for all stages, drop images that are not to be judged by: what
    training has too, as the configuration wants it, and what the configuration names.

    network: which takes the pictures. white_level: of the model that is to be updated; None: found
    from the photos. streaming: no pixels are kept.
    What the fingerprints cost is told with the decoding: like this it is done once for all runs.
    Raises DataError if training has an image to judge by too and that is to be refused.
    """
    start = time.perf_counter()
    source = (streaming.source if streaming else None) or list_data(config, root)
    frame = network.frame(config.fit)
    store = open_store(source, cache, frame, progress, config.damaged, white_level, streaming)
    store, prints = _with_prints(store, progress)
    groups = group_keys(store.keys, config.group_by, store.digests, source.groups)
    sides = assign(store.digests, store.given, config.validation, config.test, groups)
    if config.every_class_trains:
        sides = with_training(store, sides)
    without: list[str] = []
    if config.hold_out:
        sides, without = _without_varieties(store, sides, config.hold_out)
    shared, notes = _without_trained_on(config, store, sides, prints)
    dropped = _left_out(shared, store.keys, config.leave_out)
    seconds = time.perf_counter() - start
    return OpenedData(name, store, sides, groups, dropped, seconds, prints, without, notes)


def _without_trained_on(
    config: DataConfig, store: Store, sides: Sides, prints: Fingerprints
) -> tuple[Dropped, tuple[str, ...]]:
    """By the leak gate where there is one, with what it found; else test images with equal bytes alone."""
    if config.overlap is not None:
        found = find_overlap(store, sides, prints)
        return apply_policy(found, sides, config.overlap), tuple(found.lines())
    if config.keep_overlap:
        return Dropped(np.empty(0, np.int64), [], sides.copy()), ()
    return drop_shared(store.digests, sides, store.keys), ()


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


def open_stage(
    experiment: Experiment, stage: str, root: Path | None, bench: Bench
) -> tuple[OpenedData, StageImages, float]:
    """Data set and images of a stage, and the seconds that opening them took now, decoding apart.

    Where arms take pictures of several sizes, the smallest ones tell which images are not to be judged by, so
    that all arms are trained and tested on the same; that is no time of a run.
    Raises DataError as open_data does.
    """
    data = experiment.stages[stage].data
    config = experiment.data[data]
    networks = [
        stage_network(experiment, name, bench.cache)
        for name in dict.fromkeys([*experiment.arms.values(), stage])
        if experiment.stages[name].data == data
    ]
    smallest = min(networks, key=lambda network: network.side)
    several = len({network.frame(config.fit) for network in networks}) > 1
    judged = open_data(data, config, root, bench.cache, bench.events, smallest) if several else None
    start = time.perf_counter()
    network = stage_network(experiment, stage, bench.cache)
    opened = open_data(data, config, root, bench.cache, bench.events, network)
    if judged is not None:
        opened = judged_as(opened, judged)
    bench.profiler.add_decoding(data, opened.store.decode_seconds)
    images = stage_images(experiment, stage, opened)
    return opened, images, time.perf_counter() - start - opened.store.decode_seconds


def judged_as(opened: OpenedData, other: OpenedData) -> OpenedData:
    """The data set with the split and the dropped images of another opening of the same images.

    Raises DataError where the two do not hold the same images.
    """
    if opened.store.keys != other.store.keys or not np.array_equal(opened.store.digests, other.store.digests):
        raise DataError(
            f"{opened.name} does not hold the same images at {opened.store.size} pixels as at "
            f"{other.store.size}",
            "leave its photos as they are while the experiment runs",
        )
    return replace(opened, sides=other.sides, dropped=other.dropped, notes=other.notes)


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
        unmatched=images.unmatched,
    )


def digests_of(images: StageImages, *splits: str) -> npt.NDArray[np.uint64]:
    """Content digests of the images of these splits, uint64."""
    rows = np.concatenate([images.rows[split] for split in splits])
    return np.asarray(images.store.digests[rows], np.uint64)


def keys_of(images: StageImages, *splits: str) -> list[str]:
    """Keys of the images of these splits, in the order of digests_of."""
    return [images.store.keys[row] for split in splits for row in images.rows[split].tolist()]
