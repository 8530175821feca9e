"""fastai on ordinary photos: vision_learner and fine_tune, one epoch frozen and then all layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)

from .ordinary_torch import BATCH, NETWORK, WORKERS, given_weights
from .timeline import Timeline


class _Ends(Callback):  # type: ignore[misc]
    order = 60  # after the recorder

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def after_epoch(self) -> None:
        """With the accuracy on validation photos."""
        self._timeline.epoch(float(self.learn.final_record[-1]))


def ordinary(job: dict[str, Any]) -> dict[str, Any]:
    """As its quick start has it: transforms, learner, fine_tune(1)."""
    timeline = Timeline(started=job["started"])
    set_seed(job["seed"])
    photos = ImageDataLoaders.from_folder(
        Path(job["photos"]),
        valid="validation",
        item_tfms=Resize(256),
        batch_tfms=aug_transforms(size=224),
        bs=BATCH,
        num_workers=WORKERS,
    )
    # Only a learner that is told of its weights brings pixels to their mean and freezes by itself.
    learner = vision_learner(photos, NETWORK, metrics=accuracy, **given_weights(job))
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(1, cbs=_Ends(timeline))
        tests = photos.test_dl(sorted((Path(job["photos"]) / "test").rglob("*.*")), with_labels=True)
        right = float(learner.validate(dl=tests)[1])
    return timeline.result(right)
