"""The experiment for a user's own folder of photos: one arm to make a model, or both to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..config.network import PAPER
from ..data.classes import ClassRules, StageImages, select
from ..data.decode import Fit
from ..data.overlap import Overlap, Policy, TrainedOn, apply_policy
from ..data.readers import guess_format
from ..data.split import TEST, TRAIN
from ..errors import DataError
from ..networks.build import block_names
from ..networks.freeze import match_blocks
from ..networks.model_file import ModelFile
from ..requests import PhotosRequest
from ..training.loop import Recipe, Stop
from .bench import Bench
from .config import DataConfig, Experiment, Stage
from .images import OpenedData, open_data, with_training

DEFAULT_PARENT = "shipped:stage2.safetensors"
STAGE = "adapt"
PHOTOS = "photos"
BATCH_SIZE = 64
FEW_IMAGES = 10
SHOWN_CLASSES = 5
LEARNING_RATES = {"transfer": 0.02, "scratch": 0.05}
"""Found with one grid for both arms on fruit photos (docs/method.md)."""
CLIP = 10.0
"""Norm of the gradient, at most, in both arms. Few photos have few steps of warm-up, and without it some
scratch runs diverge or learn nothing (benchmarks/results/small_folders.md)."""

Arm = Literal["transfer", "scratch"]


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


def photos_of(request: PhotosRequest, fit: Fit, group_by: str | None) -> DataConfig:
    """A user's folder as a data set: 10 % of the photos validate and 15 % test, where it does not say."""
    folder = request.folder.absolute()
    return DataConfig(
        format=guess_format(folder),
        folder=str(folder),
        validation=0.1,
        test=0.15,
        every_class_trains=True,
        fit=fit,
        damaged=request.damaged,
        group_by=group_by,
        keep_overlap=request.overlap == "keep",
    )


def opened_photos(config: DataConfig, bench: Bench, side: int, old: ModelFile | None = None) -> OpenedData:
    """Open and split a user's photos, stored at `side` pixels. old: of an update: its photos stay where they
    were, and white in 16-bit grey stays what it was.

    Raises DataError if they cannot be used.
    """
    level = old.card.white_level if old else None
    opened = open_data(PHOTOS, config, None, bench.cache, bench.progress, side, level)
    bench.profiler.add_decoding(PHOTOS, opened.store.decode_seconds)
    if old is None:
        return opened
    store, sides = opened.store, opened.sides.copy()
    sides[np.isin(store.digests, old.trained_on)] = TRAIN
    sides[np.isin(store.digests, old.tested_on)] = TEST
    return replace(opened, sides=with_training(store, sides))


def learned_by(name: str, parent: ModelFile, opened: OpenedData, is_updated: bool) -> TrainedOn:
    """What a parent has learned from; of one that is updated, by look and without the photos still here."""
    if not is_updated:
        return TrainedOn(name, parent.trained_on, parent.trained_on_perceptual)
    here = opened.prints.perceptual[opened.sides == TRAIN]  # compared as photos, by name
    looks = np.setdiff1d(parent.trained_on_perceptual, here)
    return TrainedOn(name, np.empty(0, np.uint64), looks)


def gated(config: DataConfig, opened: OpenedData, overlap: Overlap, policy: Policy) -> UserPhotos:
    """The photos after the leak gate, with notes.

    Raises DataError if a photo to judge by was trained on and that is to be refused, or too few are left.
    """
    dropped = apply_policy(overlap, opened.sides, policy)
    leave_out = {image.key: image.reason for image in dropped.images}
    opened = replace(opened, dropped=dropped)
    images = select(opened.store, dropped.sides, ClassRules(), need_every_split=False)
    for split in ("validation", "test"):
        if not len(images.rows[split]):
            raise DataError(
                f"{config.folder}: {len(opened.store):,} photos are too few to set any aside for {split}",
                "add photos; thirty a class give a first answer",
            )
    return UserPhotos(
        config.model_copy(update={"leave_out": leave_out}),
        opened,
        images,
        overlap,
        [*overlap.lines(), *_class_notes(opened, images)],
    )


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
            f"without a test photo, so that nothing can be said of {_them(untested)}: "
            f"{_with_counts(untested, in_all)}; add photos"
        )
    if small:
        notes.append(
            f"fewer than {FEW_IMAGES} photos: {_with_counts(small, in_all)}; add more before you trust "
            f"the figures of {_them(small)}"
        )
    trained = np.bincount(images.labels["train"])
    if trained.max() >= 3 * trained.min():
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


def photo_words(photos: DataConfig, policy: Policy, freeze: Sequence[str]) -> list[str]:
    """The settings of a user's photos, and what is frozen, as words of a command line."""
    words = ["--fit", photos.fit, "--damaged", photos.damaged, "--overlap", policy]
    words += ["--group-by", photos.group_by] if photos.group_by else []
    return words + [word for pattern in freeze for word in ("--freeze", pattern)]


def folder_experiment(
    photos: DataConfig,
    parent: Path | str,
    freeze: Sequence[str],
    epochs: int,
    arms: Sequence[Arm] = ("transfer",),
    runs: int = 1,
    seed: int = 0,
    rename: Mapping[str, str] | None = None,
    carry_over: bool = False,
) -> Experiment:
    """Every class folder is a class; both arms get the same number of epochs."""
    transfer = Stage(
        data=PHOTOS,
        parent="parent",
        freeze=list(freeze),
        carry_over=carry_over,
        rename=dict(rename or {}),
        recipe=recipe_of("transfer", epochs),
    )
    stages = {
        "parent": Stage(data=PHOTOS, model_file=str(parent), recipe=transfer.recipe),
        STAGE: transfer,
        "scratch": Stage(data=PHOTOS, recipe=recipe_of("scratch", epochs)),
    }
    stage_of = {"transfer": STAGE, "scratch": "scratch"}
    return Experiment(
        name=f"{'-'.join(arms)} on {Path(photos.folder).name}",
        protocol="like_for_like",
        seed=seed,
        runs=runs,
        data={PHOTOS: photos},
        stages=stages,
        arms={arm: stage_of[arm] for arm in arms},
    )


def default_freeze(parent: ModelFile) -> tuple[str, ...]:
    """Patterns: of the paper's network all but the dense layers, of others all but the head."""
    if parent.card.network.family == PAPER.family:
        return ("conv2d_*", "batch_normalization_*")
    return tuple(block_names(parent.card.network)[:-1])


def check_freeze(parent: ModelFile, patterns: Sequence[str] | None) -> None:
    """Raises ConfigError if one of a user's patterns matches no block of the parent."""
    if patterns:
        match_blocks(block_names(parent.card.network), patterns, "--freeze")


def epochs_for(steps: int, train_images: int) -> int:
    """As many epochs as make so many steps, 5 to 200: few photos need many passes, many photos few."""
    return min(200, max(5, -(-steps // max(1, train_images // BATCH_SIZE))))


def recipe_of(arm: Arm, epochs: int) -> Recipe:
    """How an arm is trained on a user's photos."""
    return Recipe(
        learning_rate=LEARNING_RATES[arm],
        weight_decay=5e-4,
        label_smoothing=0.1,
        batch_size=BATCH_SIZE,
        clip=CLIP,
        balance=True,
        stop=Stop(epochs=epochs, patience=max(3, epochs // 2)),
    )
