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
from ..networks.contract import Network, split_at
from ..networks.freeze import Frozen, constant_prefix
from ..runfolder.ledger import Clock
from ..store.classes import StageImages
from ..training import features
from ..training.batches import Rows, rows_of, steps_per_epoch, with_views
from ..training.features import Cut, FeatureCache, Features, Wanted, view_ids
from .bench import Bench
from .images import digests_of
from .run import Run

SPLITS = ("train", "validation", "test")
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
    name, stage = run.stage, run.settings
    augmentation, batch_size = stage.recipe.augment, stage.recipe.batch_size
    pixels = {
        split: rows_of(images.store.pixels, images.rows[split], images.labels[split], bench.device)
        for split in SPLITS
    }
    digests = {split: digests_of(images, split) for split in SPLITS}
    viewed = pixels | {"train": with_views(pixels["train"], digests["train"], augmentation)}
    prefix = constant_prefix(model, frozen)
    if not bench.use_cache or stage.cache == "off" or not prefix or augmentation.is_drawn:
        why = "nothing is frozen before the first block that is trained" if not prefix else "caching is off"
        return Inputs(model, viewed, "none", None, why_uncached=why)
    place, reuse = (bench.own_cache(run.seed), True) if stage.cache == "own" else (bench.cache, run.want_warm)

    def cache_at(cut: str) -> FeatureCache:
        key = features.prefix_key(model, cut, frozen, images.store.size, images.store.look, batch_size)
        return FeatureCache(place, key)

    with clock.phase("features"):
        wanted = [
            Wanted(viewed[split], view_ids(digests[split], augmentation, view), view)
            for split in SPLITS
            for view in range(augmentation.view_count if split == "train" else 1)
        ]
        ids = np.concatenate([part.ids for part in wanted])
        room = Room(place, limit_bytes(), lambda cut: cache_at(cut).bytes_there(ids))
        cut = _chosen_cut(name, stage, model, prefix, pixels["train"], len(ids), room, bench)
        if cut is None:
            return Inputs(model, viewed, "none", None, why_uncached=bench.uncached.get(name))
        first, rest = split_at(model, cut)
        cached = _features(name, cache_at(cut), first, wanted, batch_size, reuse, bench)
    if cached.computed and stage.cache != "own":
        make_room(bench.cache, limit_bytes())
    rows = _feature_rows(cached.array, pixels, augmentation.view_count, bench.device)
    return Inputs(rest, rows, "computed" if cached.computed else "cached", cut, cached.computed)


def _chosen_cut(
    name: str,
    stage: Stage,
    model: Network,
    prefix: list[str],
    train: Rows,
    images: int,
    room: Room,
    bench: Bench,
) -> str | None:
    """The cut that pays by measurement and has room, measured once for each stage."""
    if name not in bench.chosen_cuts:
        batch_size = stage.recipe.batch_size
        cuts = features.measure_cuts(model, prefix, train, batch_size)
        epochs = stage.recipe.stop.epochs_of(steps_per_epoch(len(train), batch_size))
        bench.chosen_cuts[name], bench.uncached[name] = cut_with_room(cuts, images, epochs, room)
        if bench.uncached[name] not in (None, DOES_NOT_PAY):
            bench.events.say(
                f"note: {name} computes all features anew in every epoch: {bench.uncached[name]}"
            )
    return bench.chosen_cuts[name]


def cut_with_room(cuts: Sequence[Cut], images: int, epochs: int, room: Room) -> tuple[str | None, str | None]:
    """(the cut that saves most time and whose features have room, None), or (None, why there is none)."""
    left, free = {cut.block: cut for cut in cuts}, free_bytes(room.place)
    while (best := features.choose_cut(list(left.values()), images, epochs, room.limit)) is not None:
        if images * left.pop(best).image_bytes <= free + room.bytes_there(best):
            return best, None
    sizes = [
        images * cut.image_bytes
        for cut in cuts
        if features.choose_cut([cut], images, epochs, images * cut.image_bytes)
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
    name: str,
    cache: FeatureCache,
    prefix: nn.Sequential,
    wanted: list[Wanted],
    batch_size: int,
    reuse: bool,
    bench: Bench,
) -> Features:
    """From the cache as far as that is wanted, else computed and compared with the uncached run."""
    if reuse:
        array = cache.open(np.concatenate([part.ids for part in wanted]))
        if array is not None:
            return Features(array, 0)
    found = cache.compute(prefix, wanted, batch_size, reuse, bench.events)
    difference = features.difference_from_uncached(prefix, wanted[0], found.array, batch_size)
    if difference and bench.device.type == "cpu":
        bench.events.say(f"note: features of {name} differ from the uncached run by up to {difference:.1e}")
    return found


def _feature_rows(
    array: npt.NDArray[np.float32], pixels: dict[str, Rows], views: int, device: torch.device
) -> dict[str, Rows]:
    """Rows over cached features, which lie split by split, in the training split view by view."""
    rows, start = {}, 0
    for split in SPLITS:
        count, of_split = len(pixels[split]), views if split == "train" else 1
        index = np.arange(start, start + of_split * count).reshape(of_split, count)
        rows[split] = rows_of(array, index, pixels[split].labels.numpy(), device)
        start += of_split * count
    return rows
