"""Answers: the difference in accuracy, noise taken for fruit, classes mixed up, the surest mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..part import Part
from ..runfolder.records import ImagesRecord, RunRecord
from ..runfolder.runs import Arm, RunFolder, rest_class, right_answers
from ..statistics.by_source import accuracy_by_source, accuracy_difference_by_source
from ..statistics.estimates import Estimate, Floats, difference_of_means, joined
from ..statistics.pairs import over_photos
from ..statistics.significance import Significance, mcnemar, permutation_test

INDEPENDENT_FORMATS = frozenset({"cifar100"})
"""Data sets of photos that have nothing to do with each other; Fruits-360 has frames of turning fruits."""
MOST_CLASSES = 12
"""Of a matrix that can be read; of more classes only the pairs that are mixed up most are given."""
MOST_PAIRS = 10
MOST_MISTAKES = 12


class AccuracyDifference(Part):
    """Transfer minus scratch, for this parent."""

    arm: str
    over_runs: Estimate
    over_sources: Estimate | None
    """Over photos where `by_photo`."""
    by_photo: bool = False
    """Whether each photo counts as independent of the others, see `is_by_photo`."""
    together: Estimate
    """What claims are judged by."""
    same_images: bool
    permutation: Significance | None
    """Of the runs' accuracies; None with one run an arm."""
    mcnemar: Significance | None
    """Of two single models, only where the test images are independent of each other."""
    mcnemar_why_none: str | None


class RestMistakes(Part):
    """Answers of an arm by kind, where one class is to be ignored. Counts are means over runs."""

    arm: str
    runs: int
    rest: str
    classes: list[str]
    """The others."""
    rest_images: int
    rest_taken_for_class: float
    class_images: int
    class_taken_for_rest: float
    class_taken_for_other: float


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


def over_sources(folder: RunFolder, runs: Sequence[RunRecord]) -> Estimate | None:
    """Mean accuracy of runs, interval over source classes, or photos; None with a single run or without one
    test set."""
    tested = answers_of(folder, runs)
    if len(runs) < 2 or tested is None:
        return None
    images, right = tested
    return over_photos(right) if is_by_photo(images) else accuracy_by_source(right, images.test.sources)


def differences(folder: RunFolder) -> list[AccuracyDifference]:
    """Of each transfer arm against scratch, where both have a run."""
    if folder.scratch is None or not folder.scratch.runs:
        return []
    return [_difference(folder, folder.scratch, arm) for arm in folder.rivals if arm.runs]


def rest_mistakes(folder: RunFolder) -> list[RestMistakes]:
    """Of each arm whose classes have one that is to be ignored."""
    found = [_rest_mistakes(folder, arm) for arm in folder.arms.values()]
    return [entry for entry in found if entry is not None]


def difference(
    folder: RunFolder, ours: Sequence[RunRecord], theirs: Sequence[RunRecord]
) -> tuple[Estimate, Estimate | None, Estimate]:
    """Of mean accuracies: over runs, over source classes or photos (None: cannot be had), over both."""
    runs = difference_of_means(by_parent(ours), by_parent(theirs))
    tested, rival = answers_of(folder, ours), answers_of(folder, theirs)
    if min(len(ours), len(theirs)) < 2 or tested is None or rival is None:
        why = runs.why_none or "the test images are not all in the ledger: no interval"
        return runs, None, Estimate(value=runs.value, method=runs.method, why_none=why)
    if is_by_photo(tested[0]) and tested[0].test.keys == rival[0].test.keys:
        photos = over_photos(tested[1] - rival[1])
        return runs, photos, joined(runs, photos, "photos")
    sources = accuracy_difference_by_source(
        tested[1], tested[0].test.sources, rival[1], rival[0].test.sources
    )
    return runs, sources, joined(runs, sources)


def is_by_photo(images: ImagesRecord) -> bool:
    """Whether no class has several source classes: then nothing is known of which photos belong together, and
    other source classes would be other classes, of which nobody asked."""
    return all(len(sources) < 2 for sources in images.matched.values())


def is_of_same_images(folder: RunFolder, ours: Sequence[RunRecord], theirs: Sequence[RunRecord]) -> bool:
    """Whether all these runs were tested on the same images."""
    tested, rival = answers_of(folder, ours), answers_of(folder, theirs)
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


def answers_of(folder: RunFolder, runs: Sequence[RunRecord]) -> tuple[ImagesRecord, Floats] | None:
    """Test images and the fraction of runs that got each right; None if the runs share no test set."""
    found = [folder.images_of(run) for run in runs]
    images = found[0] if found else None
    if images is None or not images.test.labels or any(other is not images for other in found):
        return None
    right: Floats = np.mean([right_answers(run, images) for run in runs], axis=0)
    return images, right


def confusions(folder: RunFolder) -> list[Confusion]:
    """Of every arm, and of preparation stages that have predictions here."""
    return [_confusion(name, runs, images) for name, runs, images in _answered(folder)]


def surest_mistakes(folder: RunFolder) -> list[Mistake]:
    """The surest mistakes of every arm: by confidence in wrong answers, summed over runs."""
    arms = set(folder.arms)
    return [
        mistake
        for name, runs, images in _answered(folder)
        if name in arms
        for mistake in _surest(name, runs, images)
    ]


def _difference(folder: RunFolder, scratch: Arm, arm: Arm) -> AccuracyDifference:
    ours, theirs = arm.once_a_seed, scratch.once_a_seed
    runs, sources, together = difference(folder, ours, theirs)
    same_images = is_of_same_images(folder, ours, theirs)
    single, why_none = _single_models(folder, ours, theirs, same_images)
    images = folder.images_of(ours[0])
    return AccuracyDifference(
        arm=arm.name,
        by_photo=same_images and images is not None and is_by_photo(images),
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


def _rest_mistakes(folder: RunFolder, arm: Arm) -> RestMistakes | None:
    runs = arm.once_a_seed
    images = folder.images_of(runs[0]) if runs else None
    if images is None or answers_of(folder, runs) is None:
        return None
    rest = rest_class(folder.experiment.config, images.class_names)
    if rest is None:
        return None
    number = images.class_names.index(rest)
    labels = np.asarray(images.test.labels)
    answers = np.asarray([run.predicted for run in runs])
    is_rest, says_rest = labels == number, answers == number
    return RestMistakes(
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
