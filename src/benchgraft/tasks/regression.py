"""What an update changes: classes that come and go, and whether any got worse on the old test photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..config.requests import AdaptRequest
from ..errors import DataError, RegressionError
from ..experiment.folder import Start
from ..experiment.images import digests_of
from ..experiment.photos import UserPhotos
from ..experiment.stage import StageRun
from ..networks import model_file
from ..networks.contract import split_at
from ..networks.model_file import ModelFile
from ..report.answers import ClassChange
from ..runfolder.seal import seal
from ..statistics.proportions import sign_test
from ..store.classes import StageImages
from ..training.batches import rows_of
from ..training.evaluate import evaluate

BATCH_SIZE = 64


def class_changes(
    request: AdaptRequest, old: ModelFile, rename: Mapping[str, str], photos: UserPhotos
) -> list[str]:
    """Which classes an update adds and drops: of a renamed folder all that was learned would be lost.

    rename: class name in the old model -> its name now. Raises DataError if none is left of the old model's.
    """
    before = [rename.get(name, name) for name in old.card.class_names]
    here = photos.images.class_names
    if not set(before) & set(here):
        raise DataError(
            f"{request.folder} has no class of {request.update}: nothing could be carried over",
            f"classes of the model: {', '.join(before[:10])}; of the folder: {', '.join(here[:10])}",
            "use the folder the model was made from, add --rename OLD=NEW if folders were renamed, or run "
            "adapt without --update",
        )
    found = {
        "new classes": [name for name in here if name not in before],
        "dropped classes, without a folder now": [name for name in before if name not in here],
    }
    return [
        f"{what}: {', '.join(names)} (a folder that was only renamed: --rename OLD=NEW)"
        for what, names in found.items()
        if names
    ]


def compare_models(
    start: Start, done: StageRun, images: StageImages, rename: Mapping[str, str], device: torch.device
) -> list[ClassChange]:
    """All classes together first, then each class that the old model was tested on; empty if none is left.

    start: the old model. done: the run that made the new one of it. rename: class name in the old model ->
    its name in the new one.
    """
    old = start.file
    is_old = np.isin(digests_of(images, "test"), old.tested_on)
    labels = images.labels["test"][is_old]
    if not len(labels):
        return []
    names = np.array([rename.get(name, name) for name in old.card.class_names])
    given = np.array(images.class_names)[labels]
    predicted = np.asarray(done.record.predicted)
    before = names[_answers(start, done, images, is_old, device)] == given
    after = predicted[is_old] == labels
    every = np.ones(len(labels), bool)
    groups = [(None, every), *((str(name), given == name) for name in np.unique(given))]
    return [_change(name, before[chosen], after[chosen]) for name, chosen in groups]


def _answers(
    start: Start,
    done: StageRun,
    images: StageImages,
    wanted: npt.NDArray[np.bool_],
    device: torch.device,
) -> npt.NDArray[np.int64]:
    """The old model's labels of these test images, int64 (n,).

    Where both models differ in nothing but the head, of the features that the run had: in the same batches.
    """
    inputs = done.inputs
    if start.is_solved and inputs.cut is not None:
        network = model_file.load(start.file, is_dormant=True).to(device)
        head = split_at(network, inputs.cut)[1]
        return evaluate(head, inputs.rows["test"], BATCH_SIZE).predicted[wanted]
    rows, labels = images.rows["test"][wanted], images.labels["test"][wanted]
    pixels = rows_of(images.store.pixels, rows, labels, device)
    return evaluate(model_file.load(start.file).to(device), pixels, BATCH_SIZE).predicted


def refuse_worse(changes: Sequence[ClassChange], old: Path | None, new: Path, run_folder: Path) -> None:
    """Raises RegressionError if the new model is worse beyond noise; its run is sealed then."""
    worse = [change for change in changes if change.is_worse]
    if worse:
        seal(run_folder)
        raise RegressionError(
            f"{old} is kept: the new model is worse on the photos that the old one was tested on",
            *(change.text() for change in worse),
            f"the new model is at {new}; look at the new photos, or update without --refuse-regression",
        )


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
