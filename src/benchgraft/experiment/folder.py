"""The experiment for a user's own folder of photos: one arm to make a model, or both to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..data.decode import Fit
from ..data.readers import guess_format
from ..model.freeze import match_layers
from ..model.paper_cnn import PaperCNN
from .bench import Bench
from .config import Damaged, Experiment
from .images import open_data, stage_images

DEFAULT_PARENT = "shipped:stage2.safetensors"
DEFAULT_FREEZE = ("conv2d_*", "batch_normalization_*")
STAGE = "adapt"
BATCH_SIZE = 64
COMPARED_STEPS = 400
LEARNING_RATES = {"transfer": 0.02, "scratch": 0.05}
"""Found with one grid for both arms on fruit photos (docs/method.md)."""

Arm = Literal["transfer", "scratch"]


def folder_experiment(
    folder: Path,
    parent: Path | str,
    freeze: Sequence[str],
    epochs: int,
    arms: Sequence[Arm] = ("transfer",),
    runs: int = 1,
    seed: int = 0,
    rename: Mapping[str, str] | None = None,
    carry_over: bool = False,
    fit: Fit = "letterbox",
    damaged: Damaged = "exclude",
    group_by: str | None = None,
    keep_overlap: bool = False,
) -> Experiment:
    """Every class folder below `folder` is a class; 10 % of the photos validate and 15 % test.

    Both arms get the same number of epochs. Raises ConfigError if a pattern matches no layer.
    """
    match_layers(PaperCNN(2).layer_names, freeze, "--freeze")
    transfer: dict[str, Any] = {
        "data": "photos",
        "parent": "parent",
        "freeze": list(freeze),
        "carry_over": carry_over,
        "rename": dict(rename or {}),
        "recipe": _recipe("transfer", epochs),
    }
    stages = {
        "parent": {"data": "photos", "model_file": str(parent), "recipe": _recipe("transfer", 1)},
        STAGE: transfer,
        "scratch": {"data": "photos", "recipe": _recipe("scratch", epochs)},
    }
    stage_of = {"transfer": STAGE, "scratch": "scratch"}
    return Experiment.model_validate(
        {
            "name": f"{'-'.join(arms)} on {folder.name}",
            "protocol": "like_for_like",
            "seed": seed,
            "runs": runs,
            "data": {
                "photos": {
                    "format": guess_format(folder),
                    "folder": str(folder),
                    "validation": 0.1,
                    "test": 0.15,
                    "fit": fit,
                    "damaged": damaged,
                    "group_by": group_by,
                    "keep_overlap": keep_overlap,
                }
            },
            "stages": stages,
            "arms": {arm: stage_of[arm] for arm in arms},
        }
    )


def comparison_of_folder(
    folder: Path,
    bench: Bench,
    parent: Path | str = DEFAULT_PARENT,
    freeze: Sequence[str] = DEFAULT_FREEZE,
    runs: int = 5,
    seed: int = 0,
) -> Experiment:
    """The experiment that compares both arms on a folder; opens its store to count the photos."""
    arms: tuple[Arm, ...] = ("transfer", "scratch")
    first = folder_experiment(folder, parent, freeze, 1, arms, runs, seed)
    opened = open_data("photos", first.data["photos"], None, bench.cache, bench.progress)
    count = len(stage_images(first, "scratch", opened).rows["train"])
    return folder_experiment(folder, parent, freeze, epochs_for(COMPARED_STEPS, count), arms, runs, seed)


def epochs_for(steps: int, train_images: int) -> int:
    """As many epochs as make so many steps, 5 to 200: few photos need many passes, many photos few."""
    return min(200, max(5, -(-steps // max(1, train_images // BATCH_SIZE))))


def _recipe(arm: Arm, epochs: int) -> dict[str, Any]:
    return {
        "learning_rate": LEARNING_RATES[arm],
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "batch_size": BATCH_SIZE,
        "balance": True,
        "stop": {"epochs": epochs, "patience": max(3, epochs // 2)},
    }
