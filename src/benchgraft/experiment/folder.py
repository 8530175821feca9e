"""The experiment for a user's own folder of photos: one arm to make a model, or both to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..config.experiment import DataConfig, Experiment, Stage
from ..config.network import PAPER, NetworkSpec
from ..config.parents import is_name
from ..config.recipe import Augmentation, Recipe, Stop
from ..files import SHIPPED
from ..networks import model_file, paper_cnn
from ..networks.freeze import blocks_before
from ..networks.model_file import ModelFile
from ..networks.parents import parent_place

DEFAULT_PARENT = "shipped:stage2.safetensors"
REAL_PARENT = "imagenet"
"""Of the parents with a name, the first choice for ordinary photos."""
STAGE = "adapt"
HEAD = "head"
"""The stage that trains the head alone, where another one trains more."""
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
    train_from: str
    """The first block that trains."""
    is_updated: bool = False
    """Whether it is an earlier state of the model to be made, and its photos may be in the folder."""
    parent: str | None = None
    """What asks for the same parent again, wherever that is done: its name, or the path of its file."""
    weights: Path | None = None

    @property
    def freeze(self) -> list[str]:
        """The blocks before it."""
        return blocks_before(self.file.card.block_names, self.train_from)

    @property
    def is_papers(self) -> bool:
        """Whether the network is the paper's, which keeps the recipe of its own."""
        return self.file.card.network.family == PAPER.family

    @property
    def is_solved(self) -> bool:
        """Whether all but the head is frozen of a network that is not the paper's: then it is solved."""
        return not self.is_papers and self.train_from == self.file.card.block_names[-1]

    @property
    def is_deeper(self) -> bool:
        """Whether more than the head trains of a network that is not the paper's."""
        return not self.is_papers and not self.is_solved

    @property
    def head_alone(self) -> Start:
        """The same with all but the head frozen."""
        return replace(self, train_from=self.file.card.block_names[-1])


def first_to_train(parent: ModelFile) -> str:
    """Where nobody says: of the paper's network the first dense layer, of others the head."""
    is_papers = parent.card.network.family == PAPER.family
    return paper_cnn.FIRST_DENSE if is_papers else parent.card.block_names[-1]


def start_of(
    parent: str | None,
    cache: Path,
    weights: Path | None = None,
    train_from: str | None = None,
    update: Path | None = None,
) -> Start:
    """The parent that is asked for (None: the paper's), or the model to update, read.

    cache: keeps the model file that a parent by a name of timm becomes. train_from: None says the default.
    Raises ModelFileError if it cannot be used, ConfigError if the block that is to train first is none.
    """
    asked = parent or DEFAULT_PARENT
    weights = weights.absolute() if weights else None
    name = _place(update) if update else parent_place(asked, weights, cache)
    file = model_file.read(Path(name))
    start = Start(
        name,
        file,
        train_from or first_to_train(file),
        update is not None,
        asked if is_name(asked) else name,
        weights,
    )
    blocks_before(file.card.block_names, start.train_from)
    return start


def _place(path: Path) -> str:
    return str(path) if str(path).startswith(SHIPPED) else str(path.absolute())


@dataclass(frozen=True, eq=False)
class FolderArm:
    """One way to train on a folder of photos."""

    name: str
    stage: str
    recipe: Recipe
    start: Start | None = None
    """None: random weights."""
    parent_stage: str = "parent"
    """What the stage is called that stands for what it starts from."""
    network: NetworkSpec | None = None
    """Of random weights; None: the paper's."""
    rename: Mapping[str, str] = field(default_factory=dict)


def folder_experiment(
    photos: DataConfig,
    arms: Sequence[FolderArm],
    runs: int = 1,
    seed: int = 0,
    minutes: float | None = None,
) -> Experiment:
    """Every class folder is a class. Arms from one model share the stage that stands for it."""
    stages: dict[str, Stage] = {}
    parents: dict[str, str] = {}
    for arm in arms:
        start, parent = arm.start, None
        if start is not None:
            parent = parents.setdefault(start.name, arm.parent_stage)
            stages[parent] = Stage(data=PHOTOS, model_file=start.name, recipe=arm.recipe)
        stages[arm.stage] = Stage(
            data=PHOTOS,
            network=arm.network.name if arm.network else None,
            parent=parent,
            freeze=start.freeze if start else [],
            carry_over=start.is_updated if start else False,
            rename=dict(arm.rename),
            recipe=arm.recipe,
        )
    return Experiment(
        name=f"{'-'.join(arm.name for arm in arms)} on {Path(photos.folder).name}",
        protocol="like_for_like",
        seed=seed,
        runs=runs,
        minutes=minutes,
        networks={arm.network.name: arm.network for arm in arms if arm.network},
        data={PHOTOS: photos},
        stages=stages,
        arms={arm.name: arm.stage for arm in arms},
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


def deeper_recipe(epochs: int, views: int, is_balanced: bool) -> Recipe:
    """For the last blocks of a network with its head, which starts solved. Found on training and validation
    photos of clothing, solar cells and CIFAR-100: docs/method.md."""
    return Recipe(
        optimizer="adamw",
        learning_rate=6e-4,
        head_rate=2e-3,
        head_start="solved",
        statistics="kept",
        calibrate=True,
        weight_decay=0.01,
        batch_size=BATCH_SIZE,
        schedule="cosine",
        warm_up=0.1,
        label_smoothing=0.1,
        balance=is_balanced,
        augment=Augmentation(flip=True, zoom=0.35, views=views),
        stop=Stop(epochs=epochs),
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
