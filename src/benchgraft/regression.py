"""Whether an updated model got worse on the photos that the old one was tested on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from .data.classes import StageImages
from .experiment.images import digests_of
from .model import model_file
from .model.model_file import ModelFile
from .report.answers import ClassChange
from .statistics.proportions import sign_test
from .training.batches import rows_of
from .training.evaluate import evaluate

BATCH_SIZE = 64


def compare_models(
    old: ModelFile,
    predicted: npt.NDArray[np.int64],
    images: StageImages,
    rename: Mapping[str, str],
    device: torch.device,
) -> list[ClassChange]:
    """All classes together first, then each class that the old model was tested on; empty if none is left.

    predicted: the new model's labels of all test images, (n,). rename: class name in the old model -> its
    name in the new one.
    """
    is_old = np.isin(digests_of(images, "test"), old.tested_on)
    rows, labels = images.rows["test"][is_old], images.labels["test"][is_old]
    if not len(rows):
        return []
    result = evaluate(
        model_file.load(old).to(device), rows_of(images.store.pixels, rows, labels, device), BATCH_SIZE
    )
    names = np.array([rename.get(name, name) for name in old.card.class_names])
    given = np.array(images.class_names)[labels]
    before, after = names[result.predicted] == given, predicted[is_old] == labels
    every = np.ones(len(rows), bool)
    groups = [(None, every), *((str(name), given == name) for name in np.unique(given))]
    return [_change(name, before[chosen], after[chosen]) for name, chosen in groups]


def _change(name: str | None, before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> ClassChange:
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    return ClassChange(
        name=name,
        images=len(before),
        right_before=int(before.sum()),
        right_after=int(after.sum()),
        lost=lost,
        won=won,
        p=sign_test(lost, won),
    )
