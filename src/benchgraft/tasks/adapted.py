"""What `adapt` gives back: the model, what it is worth class by class, and what to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..experiment.photos import UserPhotos
from ..experiment.stage import StageRun
from ..report.answers import (
    SHOWN_MISTAKES,
    Adapted,
    ClassChange,
    ClassResult,
    Mistake,
    Suspect,
    Threshold,
)
from ..runfolder.records import ChoiceRecord
from ..statistics.by_source import accuracy_by_source
from ..statistics.estimates import Estimate, Floats
from ..statistics.proportions import proportion
from ..store.classes import StageImages
from ..store.sides import SPLITS
from ..training.logistic import Validated

Integers = npt.NDArray[np.int64]
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)


def adapted(
    model: Path,
    done: StageRun,
    photos: UserPhotos,
    parent: str,
    choice: ChoiceRecord | None,
    suspects: list[Suspect],
    notes: list[str],
    changes: list[ClassChange],
) -> Adapted:
    """Of a run on these photos that led to this model file."""
    run, images, opened = done.record, photos.images, photos.opened
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
        confusion=confusion_of(labels, np.asarray(run.predicted), len(classes)).tolist(),
        mistakes=surest_mistakes(
            images.keys, labels, np.asarray(run.predicted), np.asarray(run.confidence), images.class_names
        ),
        thresholds=_thresholds(done.validated()),
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


def confusion_of(labels: Integers, predicted: Integers, count: int) -> Integers:
    """int64 (classes, classes). Row: given class, column: answer."""
    return np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)


def surest_mistakes(
    keys: Sequence[str], labels: Integers, predicted: Integers, confidence: Floats, names: list[str]
) -> list[Mistake]:
    """The most confident first, at most SHOWN_MISTAKES. keys, labels, predicted, confidence: of n photos."""
    wrong = np.flatnonzero(labels != predicted)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:SHOWN_MISTAKES]
    return [
        Mistake(
            key=keys[place],
            given=names[labels[place]],
            predicted=names[predicted[place]],
            confidence=round(float(confidence[place]), 4),
        )
        for place in order.tolist()
    ]


def _thresholds(validated: Validated) -> list[Threshold]:
    found = []
    for below in THRESHOLDS:
        answered = validated.confidence >= below
        share = float(validated.right[answered].mean()) if answered.any() else None
        found.append(Threshold(below=below, answered=float(answered.mean()), right=share))
    return found


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
