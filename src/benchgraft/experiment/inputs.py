"""What the training loop of a stage is given: pixels and the whole model, or cached features and the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..cache import GB, LIMIT_VARIABLE, free_bytes, gigabytes, limit_bytes, make_room
from ..config.experiment import Stage
from ..engines.exporter import wants_onnx
from ..engines.prefix import Prefix
from ..networks.contract import Network, split_at
from ..networks.freeze import Frozen, constant_prefix
from ..runfolder.ledger import Clock
from ..store.classes import StageImages
from ..store.sides import SPLITS
from ..training import cuts, features
from ..training.batches import Rows, rows_of, steps_per_epoch, with_views
from ..training.cuts import Cut
from ..training.feature_work import Joined, Wanted
from ..training.features import FeatureCache, Features, view_ids
from .bench import Bench
from .images import digests_of
from .prefixes import EXAMPLES, cache_of, prefix_for
from .run import Run

DOES_NOT_PAY = "computing features anew takes no longer than reading them"
FeatureMode = Literal["computed", "cached", "none"]


@dataclass(frozen=True)
class Inputs:
    """What the loop is given: a module, and rows for each split."""

    module: nn.Sequential
    rows: dict[str, Rows]
    features: FeatureMode
    cut: str | None
    computed: int = 0
    """Features that were computed now."""
    engine: str | None = None
    """What computes the constant prefix, where there is one."""
    why_uncached: str | None = None
    """Where there is no cut: why, for the user."""


@dataclass(frozen=True)
class Room:
    """How much features may take."""

    place: Path
    """The cache that they would lie in."""
    limit: int
    """Bytes that the cache may take."""
    bytes_there: Callable[[str], int]
    """What the features of a cut take on the disk already."""


def prepare_inputs(
    run: Run, model: Network, frozen: Frozen, images: StageImages, bench: Bench, clock: Clock
) -> Inputs:
    """Cached features and what comes after the cut, where a constant prefix pays; else pixels and all."""
    stage = run.settings
    pixels, viewed = _pixel_rows(run, images, bench)
    blocks = constant_prefix(model, frozen)
    if not blocks:
        why = "nothing is frozen before the first block that is trained"
        return Inputs(model, viewed, "none", None, why_uncached=why)
    prefix = _prefix(model, frozen, blocks, pixels["train"], bench, clock)
    is_off = not bench.use_cache or stage.cache == "off"
    if stage.recipe.augment.is_drawn or (is_off and stage.recipe.optimizer != "logistic"):
        return _from_pixels(prefix, viewed, clock, "caching is off")
    is_own = is_off or stage.cache == "own"
    place, reuse = (
        (bench.own_cache(run.seed), True) if is_own else (bench.features or bench.cache, run.want_warm)
    )

    def cache_at(cut: str) -> FeatureCache:
        return _cache_at(place, cut, prefix, frozen, images, run)

    with clock.phase("features"):
        wanted = _wanted(run, viewed, images)
        ids = np.concatenate([part.ids for part in wanted])
        room = Room(place, limit_bytes(), lambda cut: cache_at(cut).bytes_there(ids))
        cut = _chosen_cut(run.stage, stage, prefix, pixels["train"], len(ids), room, bench)
        if cut is None:
            return _from_pixels(prefix, viewed, clock, bench.uncached.get(run.stage))
        cached = _features(run, cache_at(cut), prefix, cut, wanted, reuse, bench)
    if cached.computed and stage.cache != "own":
        make_room(bench.cache, limit_bytes())
    rows = _feature_rows(cached.array, pixels, stage.recipe.augment.view_count, bench.device)
    mode: FeatureMode = "computed" if cached.computed else "cached"
    return Inputs(split_at(model, cut)[1], rows, mode, cut, cached.computed, prefix.engine_name)


@dataclass(frozen=True)
class Share:
    """A part of a stage's features."""

    cut: str
    number: int
    """From 0."""
    of: int
    """So many parts are the whole."""


def compute_share(
    run: Run, model: Network, frozen: Frozen, images: StageImages, bench: Bench, share: Share
) -> int:
    """Compute a part of what `prepare_inputs` would, into the cache, where a warm run finds it; how many."""
    pixels, viewed = _pixel_rows(run, images, bench)
    blocks = constant_prefix(model, frozen)
    prefix = _prefix(model, frozen, blocks, pixels["train"], bench, bench.clock())
    size = run.settings.recipe.batch_size
    parts = [part.part(share.number, share.of, size) for part in _wanted(run, viewed, images)]
    cache = _cache_at(bench.cache, share.cut, prefix, frozen, images, run)
    some = [part for part in parts if len(part.ids)]
    return cache.compute(prefix.engine(share.cut), some, size, True, bench.events).computed if some else 0


def _pixel_rows(run: Run, images: StageImages, bench: Bench) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """(rows of each split, the same with the views that training takes)."""
    pixels = {
        split: rows_of(images.store.pixels, images.rows[split], images.labels[split], bench.device)
        for split in SPLITS
    }
    viewed = with_views(pixels["train"], digests_of(images, "train"), run.settings.recipe.augment)
    return pixels, pixels | {"train": viewed}


def _wanted(run: Run, viewed: dict[str, Rows], images: StageImages) -> list[Wanted]:
    augmentation = run.settings.recipe.augment
    return [
        Wanted(viewed[split], view_ids(digests_of(images, split), augmentation, view), view)
        for split in SPLITS
        for view in range(augmentation.view_count if split == "train" else 1)
    ]


def _cache_at(
    place: Path, cut: str, prefix: Prefix, frozen: Frozen, images: StageImages, run: Run
) -> FeatureCache:
    store, size = images.store, run.settings.recipe.batch_size
    return cache_of(place, cut, prefix, frozen, store.size, store.look, size)


def _prefix(
    model: Network, frozen: Frozen, blocks: list[str], train: Rows, bench: Bench, clock: Clock
) -> Prefix:
    """The constant blocks with their engine."""
    if not wants_onnx(model):
        return Prefix(model, blocks, None)
    with clock.phase("features"):
        photos = train.take(torch.arange(min(EXAMPLES, len(train)))).cpu().numpy()
        return prefix_for(model, frozen, blocks, photos, bench)


def _from_pixels(prefix: Prefix, rows: dict[str, Rows], clock: Clock, why: str | None) -> Inputs:
    """What is constant is computed anew for every batch, by the same engine as if it were cached."""
    module = prefix.whole()
    if prefix.onnx is not None:
        module[0].register_forward_hook(lambda *_: clock.lap("frozen prefix"))
    return Inputs(module, rows, "none", None, engine=prefix.engine_name, why_uncached=why)


def _chosen_cut(
    name: str, stage: Stage, prefix: Prefix, train: Rows, images: int, room: Room, bench: Bench
) -> str | None:
    """The cut that pays by measurement and has room, measured once for each stage.

    A solver of the head looks at all features many times: it gets those right before the head, the fewest.
    """
    if stage.recipe.optimizer == "logistic":
        return prefix.cuts[-1]
    if name not in bench.chosen_cuts or bench.chosen_cuts[name] not in (None, *prefix.cuts):
        batch_size = stage.recipe.batch_size
        if prefix.onnx is None:
            measured = cuts.measure_cuts(prefix.network, prefix.cuts, train, batch_size)
        else:
            measured = [cuts.measure_engine(prefix.onnx, prefix.cuts[0], train, batch_size)]
        epochs = stage.recipe.stop.epochs_of(steps_per_epoch(len(train), batch_size))
        bench.chosen_cuts[name], bench.uncached[name] = cut_with_room(measured, images, epochs, room)
        if bench.uncached[name] not in (None, DOES_NOT_PAY):
            bench.events.say(
                f"note: {name} computes all features anew in every epoch: {bench.uncached[name]}"
            )
    return bench.chosen_cuts[name]


def cut_with_room(
    measured: Sequence[Cut], images: int, epochs: int, room: Room
) -> tuple[str | None, str | None]:
    """(the cut that saves most time and whose features have room, None), or (None, why there is none)."""
    left, free = {cut.block: cut for cut in measured}, free_bytes(room.place)
    while (best := cuts.choose_cut(list(left.values()), images, epochs, room.limit)) is not None:
        if images * left.pop(best).image_bytes <= free + room.bytes_there(best):
            return best, None
    sizes = [
        images * cut.image_bytes
        for cut in measured
        if cuts.choose_cut([cut], images, epochs, images * cut.image_bytes)
    ]
    if not sizes:
        return None, DOES_NOT_PAY
    least = min(sizes)
    has = f"{room.place} has room for {gigabytes(free)}: free some, or choose another folder with --cache-dir"
    if least > room.limit:
        needed = math.ceil(least / GB * 10) / 10
        has = f"the cache may take {gigabytes(room.limit)}: set {LIMIT_VARIABLE} to {needed:g} or more"
    return None, f"those of {images:,} photos take {gigabytes(least)}, and {has}"


def _features(
    run: Run, cache: FeatureCache, prefix: Prefix, cut: str, wanted: list[Wanted], reuse: bool, bench: Bench
) -> Features:
    """From the cache as far as that is wanted, else computed and compared with the uncached run."""
    if reuse:
        array = cache.open(np.concatenate([part.ids for part in wanted]))
        if array is not None:
            return Features(array, 0)
    size, engine = run.settings.recipe.batch_size, prefix.engine(cut)
    found = cache.compute(engine, wanted, size, reuse, bench.events)
    # As few as are computed in the way of many, where a batch may have any size.
    compared = min(size, prefix.onnx.many) if prefix.onnx else size
    difference = features.difference_from_uncached(prefix.uncached(cut), wanted[0], found.array, compared)
    if difference and bench.device.type == "cpu":
        bench.events.say(
            f"note: features of {run.stage} differ from the uncached run by up to {difference:.1e}"
        )
    return found


def _feature_rows(
    array: npt.NDArray[np.float32] | Joined, pixels: dict[str, Rows], views: int, device: torch.device
) -> dict[str, Rows]:
    """Rows over cached features, which lie split by split, in the training split view by view."""
    rows, start = {}, 0
    for split in SPLITS:
        count, of_split = len(pixels[split]), views if split == "train" else 1
        index = np.arange(start, start + of_split * count).reshape(of_split, count)
        rows[split] = rows_of(array, index, pixels[split].labels.numpy(), device)
        start += of_split * count
    return rows
