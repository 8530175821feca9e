"""What `adapt` and `evaluate` answer as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .answers import (
    Adapted,
    EvaluationReport,
    Mistake,
    Suspect,
    Threshold,
    adapted_blocks,
    evaluated_blocks,
    matrix,
)
from .blocks import Block, numbers
from .template import template
from .words import estimate, per_cent, seconds

SHOWN = 24
"""Pictures of one kind."""
Jpegs = Mapping[str, str]
"""Key of a photo -> JPEG in base64."""


class Shown(NamedTuple):
    """A photo with what is said of it."""

    key: str
    jpeg: str | None
    told: str
    alt: str


@dataclass(frozen=True)
class Chapter:
    """Of the page."""

    title: str
    see: str
    blocks: Sequence[Block] = ()
    photos: list[Shown] = field(default_factory=list)


def adapted_page(result: Adapted, jpegs: Jpegs) -> str:
    """jpegs: of mistakes and of labels to check, as far as there are any."""
    tested, labels = result.images["test"], len(result.suspects)
    chapters = [
        Chapter(
            "What was found",
            "Which classes the model knows well, by photos that training never saw; and what was left out.",
            adapted_blocks(result),
        ),
        *_confusion([each.name for each in result.classes], result.confusion),
        *_mistakes(result.mistakes, jpegs),
        *_suspects(result.suspects, jpegs),
        *_thresholds(result.thresholds, result.images["validation"]),
    ]
    whole = sum(result.seconds.values()) + result.decode_seconds
    return template("answers.html.jinja").render(
        title=f"a model of {len(result.classes):,} classes, from {result.parent}",
        answer=f"{estimate(result.accuracy, per_cent)} right of {tested:,} photos that training never saw",
        tiles=[
            ("right", per_cent(result.accuracy.value), f"of {tested:,} test photos"),
            (
                "always the most common class",
                per_cent(result.commonest[1]),
                f"right by always answering {result.commonest[0]}",
            ),
            ("labels to check", f"{labels:,}", "photos whose class is likely wrong"),
            ("trained in", seconds(whole), f"on {result.images['train']:,} photos"),
        ],
        chapters=chapters,
    )


def evaluated_page(found: EvaluationReport, jpegs: Jpegs) -> str:
    """jpegs: of mistakes."""
    return template("answers.html.jinja").render(
        title=f"{found.model.name} on {found.folder.name}",
        answer=f"{estimate(found.accuracy, per_cent)} right of {found.photos:,} photos",
        tiles=[
            ("right", per_cent(found.accuracy.value), f"of {found.photos:,} photos"),
            ("mean over classes", per_cent(found.balanced_accuracy), f"{len(found.classes):,} classes"),
            (
                "calibration error",
                per_cent(found.calibration_error),
                "between what it says and what is right",
            ),
        ],
        chapters=[
            Chapter(
                "What was found",
                "Recall: of the photos of a class, how many are recognised. Precision: of the photos "
                "answered as a class, how many really are of it.",
                evaluated_blocks(found),
            ),
            *_mistakes(found.mistakes, jpegs),
        ],
    )


def _confusion(names: list[str], counts: list[list[int]]) -> list[Chapter]:
    see = (
        "Rows: the class on the label. Columns: the model's answer. Everything off the diagonal is a mistake."
    )
    grid = matrix(names, counts)
    return [Chapter("Which classes are mixed up", see, [grid])] if grid else []


def _mistakes(mistakes: Sequence[Mistake], jpegs: Jpegs) -> list[Chapter]:
    photos = [
        Shown(
            each.key,
            jpegs.get(each.key),
            f"said {each.predicted}, is {each.given}; {100 * each.confidence:.0f} % sure",
            f"{each.given}, taken for {each.predicted}",
        )
        for each in mistakes[:SHOWN]
    ]
    see = "Most confident first. Look for what they have in common, and take more photos like that."
    return [Chapter("Most confident mistakes", see, photos=photos)] if photos else []


def _suspects(suspects: Sequence[Suspect], jpegs: Jpegs) -> list[Chapter]:
    photos = []
    for each in suspects[:SHOWN]:
        doubt = f"given {each.given}, looks like {each.likelier}"
        told = f"{doubt}; {int(100 * each.probability)} % likely wrong"
        photos.append(Shown(each.key, jpegs.get(each.key), told, doubt))
    more = f", the first {SHOWN} of {len(suspects):,}" if len(suspects) > SHOWN else ""
    see = f"Photos whose class is likely wrong{more}. Correct them in labels.csv, or move the photos."
    return [Chapter("Labels to check", see, photos=photos)] if photos else []


def _thresholds(found: Sequence[Threshold], validated: int) -> list[Chapter]:
    if not found:
        return []
    rows = [
        [
            f"{100 * each.below:.0f} %",
            per_cent(each.answered),
            "none" if each.right is None else per_cent(each.right),
        ]
        for each in found
    ]
    see = (
        f"If the model answers `unsure` below a probability: how many photos still get an answer, and how "
        f"many of these are right. Measured on {validated:,} photos that the model had not seen then. "
        "Option of predict: --unsure-below."
    )
    grid = numbers(["below", "answered", "right of these"], rows)
    return [Chapter("When to say that it is unsure", see, [grid])]
