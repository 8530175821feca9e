"""The experiment for a user's own folder of photos: one arm to make a model, or both to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..config.experiment import DataConfig, Experiment, Stage
from ..config.network import PAPER
from ..config.parents import is_name
from ..config.recipe import Recipe, Stop
from ..config.requests import PhotosRequest
from ..files import SHIPPED
from ..networks import model_file, paper_cnn
from ..networks.freeze import match_blocks
from ..networks.model_file import ModelFile
from ..networks.parents import parent_place

DEFAULT_PARENT = "shipped:stage2.safetensors"
REAL_PARENT = "imagenet"
"""Of the parents with a name, the first choice for ordinary photos."""
STAGE = "adapt"
PHOTOS = "photos"
BATCH_SIZE = 64
LEARNING_RATES = {"transfer": 0.02, "scratch": 0.05}
"""Found with one grid for both arms on fruit photos (docs/method.md)."""
CLIP = 10.0
"""Norm of the gradient, at most, in both arms. Few photos have few steps of warm-up, and without it some
scratch runs diverge or learn nothing (benchmarks/results/small_folders.md)."""

UNEVEN = 3
"""So many times as many training photos of one class as of another: then a solved head weighs every class the
same. Below it every photo counts alike: on solar cells, two to one, that is 1.5 points more right, at 1.3
points less in the mean over classes."""

Arm = Literal["transfer", "scratch"]


@dataclass(frozen=True, eq=False)
class Start:
    """What training by transfer starts from."""

    name: str
    """Of its model file: a path, or the name of one that comes along."""
    file: ModelFile
    freeze: tuple[str, ...]
    """Patterns of blocks."""
    is_updated: bool = False
    """Whether it is an earlier state of the model to be made, and its photos may be in the folder."""
    parent: str | None = None
    """What asks for the same parent again, wherever that is done: its name, or the path of its file."""
    weights: Path | None = None

    @property
    def is_solved(self) -> bool:
        """Whether all but the head is frozen of a network that is not the paper's: then it is solved."""
        network, names = self.file.card.network, list(self.file.card.block_names)
        return network.family != PAPER.family and match_blocks(names, self.freeze) == names[:-1]


def _default_freeze(parent: ModelFile) -> tuple[str, ...]:
    """Patterns: of the paper's network all but the dense layers, of others all but the head."""
    if parent.card.network.family == PAPER.family:
        return paper_cnn.CONVOLUTIONAL
    return tuple(parent.card.block_names[:-1])


def start_of(request: PhotosRequest, cache: Path, update: Path | None = None) -> Start:
    """The parent that is asked for, or the model to update, read.

    cache: keeps the model file that a parent by a name of timm becomes.
    Raises ModelFileError if it cannot be used, ConfigError if a pattern matches no block.
    """
    asked = request.parent or DEFAULT_PARENT
    weights = request.weights.absolute() if request.weights else None
    name = _place(update) if update else parent_place(asked, weights, cache)
    file = model_file.read(Path(name))
    freeze = request.freeze or _default_freeze(file)
    match_blocks(file.card.block_names, freeze, "freeze")
    return Start(name, file, freeze, update is not None, asked if is_name(asked) else name, weights)


def _place(path: Path) -> str:
    return str(path) if str(path).startswith(SHIPPED) else str(path.absolute())


def folder_experiment(
    photos: DataConfig,
    start: Start,
    epochs: int,
    arms: Sequence[Arm] = ("transfer",),
    runs: int = 1,
    seed: int = 0,
    rename: Mapping[str, str] | None = None,
    is_uneven: bool = False,
) -> Experiment:
    """Every class folder is a class; both arms get the same number of epochs. is_uneven: see are_uneven."""
    is_solved = arms == ("transfer",) and start.is_solved
    transfer = Stage(
        data=PHOTOS,
        parent="parent",
        freeze=list(start.freeze),
        carry_over=start.is_updated,
        rename=dict(rename or {}),
        recipe=solved_recipe(is_uneven) if is_solved else recipe_of("transfer", epochs),
    )
    stages = {
        "parent": Stage(data=PHOTOS, model_file=start.name, recipe=transfer.recipe),
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


def epochs_for(steps: int, train_images: int) -> int:
    """As many epochs as make so many steps, 5 to 200: few photos need many passes, many photos few."""
    return min(200, max(5, -(-steps // max(1, train_images // BATCH_SIZE))))


def are_uneven(labels: npt.NDArray[np.int64]) -> bool:
    """Whether some class has UNEVEN times as many of these as another that has any, (n,)."""
    counts = np.bincount(labels)
    return bool(counts.max() >= UNEVEN * counts[counts > 0].min())


def solved_recipe(is_balanced: bool) -> Recipe:
    """A head on frozen features. The paper's own network keeps its recipe, which trains its dense layers."""
    return Recipe(
        optimizer="logistic",
        learning_rate=1.0,
        batch_size=BATCH_SIZE,
        balance=is_balanced,
        stop=Stop(epochs=1),
    )


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
