"""What the models answered: confusion of classes, and the mistakes that they were surest of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..runfolder.ledger import ImagesRecord, RunRecord
from .part import Part
from .runs import RunFolder, right_answers

MOST_CLASSES = 12
"""Of a matrix that can be read; of more classes only the pairs that are mixed up most are given."""
MOST_PAIRS = 10
MOST_MISTAKES = 12


class Pair(Part):
    """One class taken for another, mean count over runs."""

    true: str
    said: str
    images: float


class Confusion(Part):
    """Answers of an arm, or of a preparation stage, on its test images: means over runs."""

    name: str
    runs: int
    class_names: list[str]
    counts: list[list[float]] | None
    """Rows true, columns answered; None with too many classes to be read."""
    pairs: list[Pair]


class Mistake(Part):
    """A test image that runs of an arm got wrong."""

    name: str
    images_digest: str
    key: str
    source: str
    true: str
    said: str
    runs_wrong: int
    runs: int
    confidence: float
    """Mean probability that the wrong runs gave to their answer."""


def confusions(folder: RunFolder) -> list[Confusion]:
    """Of every arm, and of preparation stages that have predictions here."""
    return [_confusion(name, runs, images) for name, runs, images in _answered(folder)]


def mistakes_shown(folder: RunFolder) -> list[Mistake]:
    """The surest mistakes of every arm: by confidence in wrong answers, summed over runs."""
    arms = set(folder.arms)
    return [
        mistake
        for name, runs, images in _answered(folder)
        if name in arms
        for mistake in _surest(name, runs, images)
    ]


def _answered(folder: RunFolder) -> list[tuple[str, list[RunRecord], ImagesRecord]]:
    named = [(arm.name, arm.once_a_seed) for arm in folder.arms.values()]
    prepared = [run for run in folder.preparation if run.predicted]
    often = Counter(run.stage for run in prepared)
    named += [
        (run.stage if often[run.stage] == 1 else f"{run.stage}, seed {run.seed}", [run]) for run in prepared
    ]
    found = []
    for name, runs in named:
        images = folder.images_of(runs[0]) if runs else None
        if images is not None and images.test.labels and all(folder.images_of(r) is images for r in runs):
            found.append((name, runs, images))
    return found


def _confusion(name: str, runs: Sequence[RunRecord], images: ImagesRecord) -> Confusion:
    size = len(images.class_names)
    labels = np.asarray(images.test.labels)
    counts = np.zeros((size, size))
    for run in runs:
        right_answers(run, images)
        np.add.at(counts, (labels, np.asarray(run.predicted)), 1)
    counts /= len(runs)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [
        Pair(true=images.class_names[row], said=images.class_names[column], images=float(wrong[row, column]))
        for row, column in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[row, column] > 0
    ]
    return Confusion(
        name=name,
        runs=len(runs),
        class_names=images.class_names if size <= MOST_CLASSES else [],
        counts=counts.tolist() if size <= MOST_CLASSES else None,
        pairs=pairs,
    )


def _surest(name: str, runs: Sequence[RunRecord], images: ImagesRecord) -> list[Mistake]:
    wrong = np.asarray([1 - right_answers(run, images) for run in runs])
    confidence = np.asarray([run.confidence for run in runs]) * wrong
    order = np.argsort(-confidence.sum(axis=0), kind="stable")[:MOST_MISTAKES]
    found = []
    for place in (int(place) for place in order if confidence[:, place].sum() > 0):
        said = [run.predicted[place] for run, is_wrong in zip(runs, wrong[:, place], strict=True) if is_wrong]
        found.append(
            Mistake(
                name=name,
                images_digest=images.digest,
                key=images.test.keys[place],
                source=images.test.sources[place],
                true=images.class_names[images.test.labels[place]],
                said=images.class_names[max(sorted(set(said)), key=said.count)],
                runs_wrong=len(said),
                runs=len(runs),
                confidence=float(confidence[:, place].sum() / len(said)),
            )
        )
    return found
