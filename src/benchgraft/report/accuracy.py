"""Answers: the difference in accuracy, and how often noise is taken for fruit and fruit for noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runfolder.ledger import ImagesRecord, RunRecord
from .runs import Arm, RunFolder, rest_class, right_answers
from .significance import Significance, mcnemar, permutation_test
from .statistics import (
    Estimate,
    Floats,
    accuracy_by_source,
    accuracy_difference_by_source,
    difference_of_means,
    joined,
)
from .summary import AccuracyDifference, Mistakes

INDEPENDENT_FORMATS = frozenset({"cifar100"})
"""Data sets of photos that have nothing to do with each other; Fruits-360 has frames of turning fruits."""


def over_sources(folder: RunFolder, runs: Sequence[RunRecord]) -> Estimate | None:
    """Mean accuracy of runs, interval over source classes; None with a single run or without one test set."""
    tested = _tested(folder, runs)
    if len(runs) < 2 or tested is None:
        return None
    images, right = tested
    return accuracy_by_source(right, images.test.sources)


def differences(folder: RunFolder) -> list[AccuracyDifference]:
    """Of each transfer arm against scratch, where both have a run."""
    if folder.scratch is None or not folder.scratch.runs:
        return []
    return [_difference(folder, folder.scratch, arm) for arm in folder.rivals if arm.runs]


def mistakes(folder: RunFolder) -> list[Mistakes]:
    """Of each arm whose classes have one that is to be ignored."""
    found = [_mistakes(folder, arm) for arm in folder.arms.values()]
    return [entry for entry in found if entry is not None]


def difference(
    folder: RunFolder, ours: Sequence[RunRecord], theirs: Sequence[RunRecord]
) -> tuple[Estimate, Estimate | None, Estimate]:
    """Of mean accuracies: over runs, over source classes (None where it cannot be had), over both."""
    runs = difference_of_means(by_parent(ours), by_parent(theirs))
    tested, rival = _tested(folder, ours), _tested(folder, theirs)
    if min(len(ours), len(theirs)) < 2 or tested is None or rival is None:
        why = runs.why_none or "the test images are not all in the ledger: no interval"
        return runs, None, Estimate(value=runs.value, method=runs.method, why_none=why)
    sources = accuracy_difference_by_source(
        tested[1], tested[0].test.sources, rival[1], rival[0].test.sources
    )
    return runs, sources, joined(runs, sources)


def is_of_same_images(folder: RunFolder, ours: Sequence[RunRecord], theirs: Sequence[RunRecord]) -> bool:
    """Whether all these runs were tested on the same images."""
    tested, rival = _tested(folder, ours), _tested(folder, theirs)
    return tested is not None and rival is not None and tested[0].test.keys == rival[0].test.keys


def by_parent(runs: Sequence[RunRecord]) -> list[float]:
    """Accuracies that vary independently: of runs on several parents the mean of each parent's, else all.

    Runs on one parent share what its training drew, so with several parents these are the sample.
    """
    parents: dict[str | None, list[float]] = {}
    for run in runs:
        parents.setdefault(run.parent_digest, []).append(run.accuracy)
    if len(parents) < 2:
        return [run.accuracy for run in runs]
    return [float(np.mean(values)) for values in parents.values()]


def _tested(folder: RunFolder, runs: Sequence[RunRecord]) -> tuple[ImagesRecord, Floats] | None:
    """Test images and the fraction of runs that got each right; None if the runs share no test set."""
    found = [folder.images_of(run) for run in runs]
    images = found[0] if found else None
    if images is None or not images.test.labels or any(other is not images for other in found):
        return None
    right: Floats = np.mean([right_answers(run, images) for run in runs], axis=0)
    return images, right


def _difference(folder: RunFolder, scratch: Arm, arm: Arm) -> AccuracyDifference:
    ours, theirs = arm.once_a_seed, scratch.once_a_seed
    runs, sources, together = difference(folder, ours, theirs)
    same_images = is_of_same_images(folder, ours, theirs)
    single, why_none = _single_models(folder, ours, theirs, same_images)
    return AccuracyDifference(
        arm=arm.name,
        over_runs=runs,
        over_sources=sources,
        together=together,
        same_images=same_images,
        permutation=permutation_test([run.accuracy for run in ours], [run.accuracy for run in theirs]),
        mcnemar=single,
        mcnemar_why_none=why_none,
    )


def _single_models(
    folder: RunFolder, ours: Sequence[RunRecord], theirs: Sequence[RunRecord], same_images: bool
) -> tuple[Significance | None, str | None]:
    """McNemar's test, or why there is none."""
    images = folder.images_of(ours[0])
    data = folder.data.get(images.data) if images else None
    if len(ours) > 1 or len(theirs) > 1:
        return None, "it compares two single models, and here are several runs"
    if images is None or not same_images:
        return None, "the two were not tested on the same images"
    if data is None or data.format not in INDEPENDENT_FORMATS:
        return None, "frames of one object, or photos whose origin is not known, are not independent"
    return mcnemar(right_answers(ours[0], images), right_answers(theirs[0], images)), None


def _mistakes(folder: RunFolder, arm: Arm) -> Mistakes | None:
    runs = arm.once_a_seed
    images = folder.images_of(runs[0]) if runs else None
    if images is None or _tested(folder, runs) is None:
        return None
    rest = rest_class(folder.experiment.config, images.class_names)
    if rest is None:
        return None
    number = images.class_names.index(rest)
    labels = np.asarray(images.test.labels)
    answers = np.asarray([run.predicted for run in runs])
    is_rest, says_rest = labels == number, answers == number
    return Mistakes(
        arm=arm.name,
        runs=len(runs),
        rest=rest,
        classes=[name for name in images.class_names if name != rest],
        rest_images=int(is_rest.sum()),
        rest_taken_for_class=float((~says_rest[:, is_rest]).sum() / len(runs)),
        class_images=int((~is_rest).sum()),
        class_taken_for_rest=float(says_rest[:, ~is_rest].sum() / len(runs)),
        class_taken_for_other=float((~is_rest & ~says_rest & (answers != labels)).sum() / len(runs)),
    )
