"""The experiment for a user's own folder of photos: one arm to make a model, or both to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ..data.classes import ClassRules, select
from ..data.decode import Fit
from ..data.overlap import Policy, TrainedOn, apply_policy, find_overlap
from ..data.readers import guess_format
from ..model import model_file
from ..model.freeze import match_layers
from ..model.paper_cnn import PaperCNN
from ..training.loop import Recipe, Stop
from .bench import Bench
from .config import Damaged, DataConfig, Experiment, Stage, shipped_path
from .images import open_data

DEFAULT_PARENT = "shipped:stage2.safetensors"
DEFAULT_FREEZE = ("conv2d_*", "batch_normalization_*")
STAGE = "adapt"
PHOTOS = "photos"
BATCH_SIZE = 64
COMPARED_STEPS = 400
LEARNING_RATES = {"transfer": 0.02, "scratch": 0.05}
"""Found with one grid for both arms on fruit photos (docs/method.md)."""
CLIP = 5.0
"""Norm of the gradient, at most, in both arms. Few photos have few steps of warm-up: without it scratch
diverged on every fifteenth small folder (benchmarks/results/small_folders.md)."""

Arm = Literal["transfer", "scratch"]


def photos_of(
    folder: Path,
    fit: Fit = "letterbox",
    damaged: Damaged = "exclude",
    group_by: str | None = None,
    keep_overlap: bool = False,
) -> DataConfig:
    """A user's folder as a data set: 10 % of the photos validate and 15 % test, where it does not say."""
    return DataConfig(
        format=guess_format(folder),
        folder=str(folder),
        validation=0.1,
        test=0.15,
        fit=fit,
        damaged=damaged,
        group_by=group_by,
        keep_overlap=keep_overlap,
    )


def photo_words(
    fit: Fit, damaged: Damaged, group_by: str | None, overlap: Policy, freeze: Sequence[str]
) -> list[str]:
    """The same settings, and what is frozen, as words of a command line."""
    words = ["--fit", fit, "--damaged", damaged, "--overlap", overlap]
    words += ["--group-by", group_by] if group_by else []
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
    """Every class folder is a class; both arms get the same number of epochs.

    Raises ConfigError if a pattern matches no layer.
    """
    match_layers(PaperCNN(2).layer_names, freeze, "--freeze")
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


def comparison_of_folder(
    photos: DataConfig,
    bench: Bench,
    parent: Path | str,
    freeze: Sequence[str],
    runs: int,
    seed: int,
    overlap: Policy,
) -> Experiment:
    """The experiment that compares both arms on a folder; opens its store to count and to compare the photos.

    Raises DataError if a photo to judge by was trained on, by the parent too, and that is to be refused.
    """
    opened = open_data(PHOTOS, photos, None, bench.cache, bench.progress)
    bench.profiler.add_decoding(PHOTOS, opened.store.decode_seconds)
    old = model_file.read(shipped_path(str(parent)))
    learned = TrainedOn(str(parent), old.trained_on, old.trained_on_perceptual)
    found = find_overlap(opened.store, opened.sides, opened.prints, [learned])
    dropped = apply_policy(found, opened.sides, overlap)
    for line in found.lines():
        bench.say(line)
    count = len(select(opened.store, dropped.sides, ClassRules()).rows["train"])
    photos = photos.model_copy(update={"leave_out": {image.key: image.reason for image in dropped.images}})
    epochs = epochs_for(COMPARED_STEPS, count)
    return folder_experiment(photos, parent, freeze, epochs, ("transfer", "scratch"), runs, seed)


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
