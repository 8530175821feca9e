"""What `adapt` gives back: the model, what it is worth class by class, and what to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..experiment.photos import UserPhotos
from ..report.answers import Adapted, ClassChange, ClassResult, Suspect
from ..runfolder.records import ChoiceRecord, RunRecord
from ..statistics.by_source import accuracy_by_source
from ..statistics.estimates import Estimate
from ..statistics.proportions import proportion
from ..store.classes import StageImages
from ..store.sides import SPLITS


def adapted(
    model: Path,
    run: RunRecord,
    photos: UserPhotos,
    parent: str,
    choice: ChoiceRecord | None,
    suspects: list[Suspect],
    notes: list[str],
    changes: list[ClassChange],
) -> Adapted:
    """Of a run on these photos that led to this model file."""
    images, opened = photos.images, photos.opened
    labels = images.labels["test"]
    right = np.asarray(run.predicted) == labels
    trained = np.bincount(images.labels["train"], minlength=len(images.class_names))
    classes = [
        ClassResult(
            name=name,
            train_images=int(trained[label]),
            test_images=int((labels == label).sum()),
            recall=_proportion(right[labels == label]),
        )
        for label, name in enumerate(images.class_names)
    ]
    recalls = [each.recall.value for each in classes if each.recall is not None]
    return Adapted(
        model=model,
        accuracy=_accuracy(right, images, photos.opened.groups),
        balanced_accuracy=float(np.mean(recalls)),
        commonest=_commonest(trained, labels, images.class_names),
        parent=parent,
        fit=photos.config.fit,
        choice=choice,
        classes=classes,
        images={split: len(images.rows[split]) for split in SPLITS},
        excluded=opened.store.excluded,
        dropped_from_test=opened.dropped.images,
        decode_seconds=opened.store.decode_seconds,
        decoded=opened.store.decoded,
        features_computed=run.features_computed,
        epochs=run.epochs,
        seconds=dict(run.seconds),
        suspects=suspects,
        notes=notes,
        changes=changes,
    )


def _commonest(
    trained: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], names: list[str]
) -> tuple[str, float]:
    label = int(trained.argmax())
    return names[label], float((labels == label).mean())


def _accuracy(
    right: npt.NDArray[np.bool_], images: StageImages, groups: npt.NDArray[np.uint64] | None
) -> Estimate:
    """Of the test photos; with groups the interval resamples these, as their photos are not independent."""
    if groups is None:
        return proportion(int(right.sum()), len(right))
    tested = groups[images.rows["test"]].tolist()
    return accuracy_by_source(right.astype(np.float64), [str(group) for group in tested])


def _proportion(right: npt.NDArray[np.bool_]) -> Estimate | None:
    return proportion(int(right.sum()), len(right)) if len(right) else None
