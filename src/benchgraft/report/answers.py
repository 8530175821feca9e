"""What `adapt` and `evaluate` answer: the figures as data, and the blocks that a terminal and a page show."""

from __future__ import annotations

import re
from pathlib import Path

from ..config.choices import Fit
from ..part import Part, Result
from ..photos.scan import photos, some
from ..runfolder.records import ChoiceRecord, ExcludedImage, Phase, PlanRecord, VerdictRecord
from ..statistics.estimates import Estimate
from .blocks import Block, Grid, Heading, Lines, numbers, said
from .words import estimate, per_cent, seconds

SHOWN_SUSPECTS = 10
LARGEST_SHOWN_MATRIX = 12
SHOWN_MISTAKES = 24
SHOWN_LEFT_OUT = 3
"""Of photos left out for one reason so many are named."""
NOISE = 0.05
LISTED_SECONDS = 0.005


class ClassChange(Part):
    """Old and new model on the same test photos of one class."""

    name: str | None
    """None: all classes together."""
    images: int
    right_before: int
    right_after: int
    lost: int
    """Right before, wrong after."""
    won: int
    p: float
    """Chance of at least so many lost among lost and won if neither model is better (one-sided sign test)."""

    @property
    def is_worse(self) -> bool:
        """Whether the loss is beyond noise."""
        return self.p < NOISE

    def text(self) -> str:
        """One line to print."""
        name = f'class "{self.name}"' if self.name is not None else "all classes"
        return (
            f"{name}: {self.right_before} of {self.images} right before, {self.right_after} after "
            f"({self.lost} lost, {self.won} won, p = {self.p:.3f})"
        )


class Suspect(Part):
    """One photo whose given class is likely wrong."""

    key: str
    given: str
    likelier: str
    probability: float
    """Chance that the given class is wrong, from that of the list on to 1."""


class Mistake(Part):
    """One wrong answer."""

    key: str
    given: str
    predicted: str
    confidence: float


class Threshold(Part):
    """What answering `unsure` below a probability would do."""

    below: float
    answered: float
    """Share of the photos that would get an answer."""
    right: float | None
    """Share of these that would be right; None: there are none."""


class ClassResult(Part):
    """One class on test photos that training never saw."""

    name: str
    train_images: int
    test_images: int
    recall: Estimate | None
    """None without test images."""


class Adapted(Result):
    """What `adapt` has done. Accuracies are fractions, times seconds."""

    model: Path
    accuracy: Estimate
    balanced_accuracy: float
    """Mean recall of the classes that have test images."""
    commonest: tuple[str, float]
    """The class with most training images, and how often it is right to answer nothing else."""
    parent: str
    """What was transferred from; the old model after an update."""
    fit: Fit
    """How photos were brought to the model's input."""
    plan: PlanRecord | None = None
    """Of training more than the head, where that was asked for."""
    verdict: VerdictRecord | None = None
    """Whether that paid."""
    choice: ChoiceRecord | None
    """The parents that were tried; None where the parent was named, or is the old model."""
    classes: list[ClassResult]
    confusion: list[list[int]]
    """Test photos. Row: given class, column: answer, in the order of `classes`."""
    mistakes: list[Mistake]
    """Test photos that it got wrong, the most confident first, at most SHOWN_MISTAKES."""
    thresholds: list[Threshold]
    """By the photos to validate on, and a model that had not seen them."""
    images: dict[str, int]
    """Split -> photos."""
    excluded: list[ExcludedImage]
    dropped_from_test: list[ExcludedImage]
    decode_seconds: float
    decoded: int
    """Photos read and decoded now; the others were in the store."""
    features_computed: int
    epochs: int
    seconds: dict[Phase, float]
    suspects: list[Suspect]
    notes: list[str]
    report: Path | None = None
    """The same as a page."""
    changes: list[ClassChange]
    """After an update: each class on the test photos of the old model, and all of them together, first."""


class ClassFigures(Part):
    """One class. None where there is nothing to divide by."""

    name: str
    photos: int
    recall: Estimate | None
    precision: Estimate | None


class Bin(Part):
    """Answers of one range of confidence."""

    low: float
    high: float
    photos: int
    confidence: float | None
    """Mean probability of the answers."""
    accuracy: float | None


class EvaluationReport(Result):
    """What a model is worth on a folder. Accuracies are fractions; intervals hold for independent photos."""

    model: Path
    folder: Path
    photos: int
    accuracy: Estimate
    balanced_accuracy: float
    """Mean recall of the classes that have photos."""
    classes: list[ClassFigures]
    confusion: list[list[int]]
    """Row: given class, column: predicted, in the order of `classes`."""
    calibration: list[Bin]
    calibration_error: float
    """Mean distance of confidence and accuracy over the bins, weighted by their photos."""
    mistakes: list[Mistake]
    """The most confident ones first, at most SHOWN_MISTAKES."""
    unknown_classes: dict[str, int]
    """Class folders that the model does not know -> photos; left out."""
    trained_on: int
    """Photos left out since the model, or a parent of it, was trained on the same bytes."""
    excluded: list[ExcludedImage]
    notes: list[str]
    """What was passed over in the folder, and what looks like a mistake."""
    report: Path | None = None
    """The same as a page."""


def adapted_blocks(result: Adapted) -> list[Block]:
    """The answer first."""
    images = result.images
    return [
        Lines(
            [
                f"{result.model}: {estimate(result.accuracy, per_cent)} right of {images['test']:,} photos "
                f"that training never saw; mean over classes {per_cent(result.balanced_accuracy)}; "
                f'always "{result.commonest[0]}": {per_cent(result.commonest[1])}',
                f"photos: {images['train']:,} train, {images['validation']:,} validation, {images['test']:,} "
                f"test; {len(result.excluded):,} unusable; {result.decoded:,} decoded and "
                f"{result.features_computed:,} featurised now, the others were there",
            ]
        ),
        numbers(
            ["class", "train", "test", "right"],
            [
                [
                    each.name,
                    f"{each.train_images:,}",
                    f"{each.test_images:,}",
                    "not tested" if each.recall is None else estimate(each.recall, per_cent),
                ]
                for each in result.classes
            ],
        ),
        *_tried(result.choice),
        *_deeper(result),
        *said([*_left_out([*result.excluded, *result.dropped_from_test]), *_notes(result.notes)]),
        *_changes(result.changes),
        *_suspects(result.suspects, sum(images.values())),
        Lines([_time_told(result), *_report_told(result.report)]),
    ]


def _report_told(report: Path | None) -> list[str]:
    return [f"Report: {report}"] if report else []


def _tried(choice: ChoiceRecord | None) -> list[Block]:
    """The parents, the best first."""
    if choice is None:
        return []
    rows = [
        [
            each.parent,
            each.fit,
            per_cent(each.balanced_accuracy),
            f"{each.error:.3f}",
            "best" if not each.difference else f"+{each.difference:.3f} +- {each.standard_error:.3f}",
            f"{each.megaflops:,.0f}",
        ]
        for each in sorted(choice.tried, key=lambda each: each.error)
    ]
    title = (
        f"Parent {choice.parent}, photos by {choice.fit}: the best on {choice.photos:,} photos (none to "
        "test on), or the cheapest of those that may be as good and are less than a point behind"
    )
    return [
        Heading(title),
        Grid(
            ["parent", "photos by", "mean over classes", "error", "to the best", "MFLOPs"],
            rows,
            frozenset(range(2, 6)),
        ),
    ]


def _deeper(result: Adapted) -> list[Block]:
    """What training more than the head has brought."""
    plan, verdict = result.plan, result.verdict
    if plan is None or verdict is None:
        return []
    paid = "paid" if verdict.kept_deeper else "did not clearly pay, so only the head is kept"
    expected = "" if plan.seconds is None else f", {seconds(plan.seconds)} by the plan"
    error = "" if verdict.standard_error is None else f" +- {verdict.standard_error:.3f}"
    difference = f"{verdict.difference:+.3f}{error}"
    return [
        Heading(f"Training from {plan.train_from} on {paid}"),
        Lines(
            [
                f"{plan.epochs} epochs over {plan.views} views of each photo{expected}: log loss on "
                f"{photos(verdict.photos)} to validate on {verdict.deeper_loss:.3f}, with only the head "
                f"{verdict.head_loss:.3f} ({difference}); {per_cent(verdict.deeper_accuracy)} of them right, "
                f"with only the head {per_cent(verdict.head_accuracy)}",
                "It is kept if more are right"
                + (" and the loss falls by one standard error." if verdict.bar else ", or the loss falls."),
            ]
        ),
    ]


def evaluated_blocks(found: EvaluationReport) -> list[Block]:
    """The answer first, the mistakes last."""
    lines = [
        f"{estimate(found.accuracy, per_cent)} right of {found.photos:,} photos; mean over classes "
        f"{per_cent(found.balanced_accuracy)}; calibration error {per_cent(found.calibration_error)}",
        "intervals hold for photos that are independent of each other; frames of one object are not",
    ]
    if found.trained_on:
        lines.append(f"left out: {found.trained_on:,} photos that the model was trained on")
    lines += _left_out(found.excluded)
    unknown = [f'"{name}" ({photos(count)})' for name, count in found.unknown_classes.items()]
    if unknown:
        lines.append(f"left out, because the model does not know these classes: {some(unknown)}")
    return [
        Lines([*lines, *_notes(found.notes)]),
        _class_grid(found),
        *_matrix(found),
        *_mistakes(found),
        *said(_report_told(found.report)),
    ]


def _class_grid(found: EvaluationReport) -> Grid:
    rows = [
        [
            each.name,
            f"{each.photos:,}",
            *(estimate(value, per_cent) if value else "none" for value in (each.recall, each.precision)),
        ]
        for each in found.classes
    ]
    return numbers(["class", "photos", "recall", "precision"], rows)


def matrix(names: list[str], counts: list[list[int]]) -> Grid | None:
    """How often each class (row) was answered by each (column); None: too many classes to be read."""
    if len(names) > LARGEST_SHOWN_MATRIX:
        return None
    rows = [[name, *(f"{count:,}" for count in of)] for name, of in zip(names, counts, strict=True)]
    return numbers(["", *names], rows)


def _matrix(found: EvaluationReport) -> list[Block]:
    grid = matrix([each.name for each in found.classes], found.confusion)
    return [Heading("Given class (row) and answer (column)"), grid] if grid else []


def _mistakes(found: EvaluationReport) -> list[Block]:
    lines = [
        f"  {each.key}: given {each.given}, answer {each.predicted} ({each.confidence:.1%})"
        for each in found.mistakes
    ]
    return [Heading("Most confident mistakes"), Lines(lines)] if lines else []


def _changes(found: list[ClassChange]) -> list[Block]:
    if not found:
        return []
    lines = [f"  {change.text()}" for change in found]
    lines += [f"WORSE beyond noise: {change.text()}" for change in found if change.is_worse]
    return [Heading("On the photos that the old model was tested on"), Lines(lines)]


def _suspects(found: list[Suspect], of: int) -> list[Block]:
    if not found:
        return []
    lines = [
        f"  {each.key}: given {each.given}, looks like {each.likelier}; "
        f"{int(100 * each.probability)} % likely wrong"
        for each in found[:SHOWN_SUSPECTS]
    ]
    if len(found) > SHOWN_SUSPECTS:
        lines.append(f"  and {len(found) - SHOWN_SUSPECTS:,} more: --json")
    title = "Labels to check first, each wrong with a chance of 60 % or more"
    return [Heading(f"{title} ({len(found):,} of {of:,} photos)"), Lines(lines)]


def _time_told(result: Adapted) -> str:
    spent = ", ".join(
        f"{name} {seconds(value)}" for name, value in result.seconds.items() if value >= LISTED_SECONDS
    )
    tried = result.choice.seconds if result.choice else 0.0
    whole = sum(result.seconds.values()) + result.decode_seconds + tried
    how = f"{result.epochs} epochs" if result.epochs else "head solved on frozen features"
    trying = f"trying parents {seconds(tried)}, " if tried else ""
    return f"{seconds(whole)}: {trying}decoding photos {seconds(result.decode_seconds)}, {spent}; {how}"


def _left_out(excluded: list[ExcludedImage]) -> list[str]:
    """Each by name, but of many for one reason the first few only."""
    by_reason: dict[str, list[ExcludedImage]] = {}
    for item in excluded:
        # One reason, whichever photo it is that another looks like.
        kind = re.sub(r"( as the \w+ image) .*", r"\1", item.reason)
        by_reason.setdefault(kind, []).append(item)
    lines = []
    for reason, items in by_reason.items():
        lines += [f"left out {item.key}: {item.reason}" for item in items[:SHOWN_LEFT_OUT]]
        if len(items) > SHOWN_LEFT_OUT:
            lines.append(f"left out, and {len(items) - SHOWN_LEFT_OUT:,} more: {reason}")
    return lines


def _notes(notes: list[str]) -> list[str]:
    return [f"note: {note}" for note in notes]
