"""A study: arms as points of lines, each with its seconds, epochs, images and accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from ..runfolder.ledger import RunRecord
from . import steps
from .accuracy import difference, over_sources
from .blocks import Block, Grid, Heading, Lines
from .runs import VARIANT_TEXT, VARIANTS, Arm, RunFolder, Variant
from .statistics import Estimate, joined, mean_interval, mean_time_interval, within_fractions
from .summary import StudyDifference, StudyRow, StudySummary
from .units import estimate, per_cent, points, seconds


def study(folder: RunFolder) -> StudySummary | None:
    """The study that the experiment declares, as far as it has runs; None if it declares none."""
    declared = folder.experiment.config.get("study")
    if not declared:
        return None
    places: dict[tuple[str, float | None], list[Arm]] = {}
    for arm, point in declared["points"].items():
        if folder.arms[arm].runs:
            places.setdefault((point["line"], point["x"]), []).append(folder.arms[arm])
    rows = [
        _row(folder, line, x, arms, _before(places, line, x) if declared["cumulative"] else [])
        for (line, x), arms in places.items()
    ]
    return StudySummary(
        question=declared["question"],
        x=declared["x"],
        cumulative=declared["cumulative"],
        rows=rows,
        differences=[
            StudyDifference(first=first[0], second=second[0], x=first[1], value=value)
            for first, second in combinations(places, 2)
            if first[1] == second[1]
            and (value := _difference(folder, places[first], places[second])) is not None
        ],
        steps=steps.steps(folder, declared.get("steps", [])),
    )


def answer(found: StudySummary) -> list[str]:
    """Each line in a sentence: accuracy and seconds, of an ordered study at both ends."""
    sentences = [found.question]
    for line in dict.fromkeys(row.line for row in found.rows):
        rows = [row for row in found.rows if row.line == line]
        ends = rows if len(rows) < 2 else [rows[0], rows[-1]]
        told = "; ".join(
            f"{'' if row.x is None else f'at {row.x:g} '}{estimate(row.accuracy, per_cent)} {time_told(row)}"
            for row in ends
        )
        sentences.append(f"{line}: {told}.")
    return sentences + steps.told(found.steps)


def blocks(found: StudySummary) -> list[Block]:
    """The table, for every form of output."""
    has_x = found.x is not None
    header = ["", *([found.x or ""] if has_x else []), "runs", "training images", "epochs"]
    shown = [kind for kind in VARIANTS if any(kind in row.seconds for row in found.rows)]
    header += [f"seconds {VARIANT_TEXT[kind]}" for kind in shown] + ["test accuracy"]
    rows = [
        [
            row.line,
            *([f"{row.x:g}" if row.x is not None else ""] if has_x else []),
            f"{row.runs}",
            f"{row.train_images:,}",
            f"{row.epochs:.1f}",
            *(estimate(row.seconds[kind].bare, seconds) if kind in row.seconds else "" for kind in shown),
            estimate(row.accuracy, per_cent),
        ]
        for row in found.rows
    ]
    notes = ["In brackets: 95 % intervals, over runs and varieties together; all for these parents."]
    if found.cumulative:
        notes.append("Seconds are added up along each line.")
    differences = [
        [
            f"{entry.first}, less {entry.second}",
            *([f"{entry.x:g}" if entry.x is not None else ""] if has_x else []),
            estimate(entry.value, points),
            "yes" if entry.value.differs_from(0.0) else "no",
        ]
        for entry in found.differences
        if entry.value.has_interval
    ]
    columns = ["accuracy", *([found.x or ""] if has_x else []), "points", "told apart"]
    return [
        Heading(found.question),
        Grid(header, rows, frozenset(range(1, len(header)))),
        *steps.blocks(found.steps),
        *([Grid(columns, differences, frozenset(range(1, len(columns))))] if differences else []),
        Lines(notes),
    ]


def shown_seconds(row: StudyRow) -> tuple[Variant, Estimate] | None:
    """The seconds that stand for a row where only one figure can: those of a first run.

    None where every run was interrupted: their records do not hold all the time that they took.
    """
    return next(((kind, row.seconds[kind]) for kind in VARIANTS if kind in row.seconds), None)


def time_told(row: StudyRow) -> str:
    """The same in words."""
    shown = shown_seconds(row)
    return f"in {seconds(shown[1].value)}" if shown else "(every run was interrupted: no time)"


def _row(folder: RunFolder, line: str, x: float | None, arms: list[Arm], before: list[list[Arm]]) -> StudyRow:
    runs = [run for arm in arms for run in arm.once_a_seed]
    return StudyRow(
        line=line,
        x=x,
        arms=[arm.name for arm in arms],
        runs=len(runs),
        train_images=round(sum(run.train_images for run in runs) / len(runs)),
        epochs=sum(run.epochs for run in runs) / len(runs),
        seconds=_seconds(arms, before),
        accuracy=_accuracy(folder, arms),
    )


def _before(places: dict[tuple[str, float | None], list[Arm]], line: str, x: float | None) -> list[list[Arm]]:
    return [
        arms
        for (other, place), arms in places.items()
        if other == line and x is not None and place is not None and place < x
    ]


def _seconds(arms: list[Arm], before: list[list[Arm]]) -> dict[Variant, Estimate]:
    """By variant, with the runs of the same seed of all points before."""
    found: dict[Variant, Estimate] = {}
    for kind in VARIANTS:
        runs = [run for arm in arms for run in arm.timed(kind)]
        totals = [run.total_seconds + _earlier(run, before) for run in runs]
        totals = [total for total in totals if math.isfinite(total)]
        if totals:
            found[kind] = mean_time_interval(totals)
    return found


def _earlier(run: RunRecord, before: list[list[Arm]]) -> float:
    """Seconds of this seed's first runs at the points before; nan where one is missing or was interrupted."""
    total = 0.0
    for arms in before:
        firsts = [other for arm in arms for other in arm.once_a_seed]
        same = [other for other in firsts if other.seed == run.seed and other.segments == 1]
        total += sum(other.total_seconds for other in same) if same else math.nan
    return total


def _accuracy(folder: RunFolder, arms: Sequence[Arm]) -> Estimate:
    """Of one arm over runs and varieties; of folds over the folds, which hold different varieties."""
    if len(arms) > 1:
        return within_fractions(mean_interval([_mean(arm) for arm in arms]))
    runs = arms[0].once_a_seed
    over_runs, sources = mean_interval([run.accuracy for run in runs]), over_sources(folder, runs)
    return within_fractions(over_runs if sources is None else joined(over_runs, sources))


def _difference(folder: RunFolder, ours: Sequence[Arm], theirs: Sequence[Arm]) -> Estimate | None:
    """Between two arms, or fold by fold; None where they were tested on different images."""
    tested = [[folder.images_of(arm.once_a_seed[0]) for arm in arms] for arms in (ours, theirs)]
    keys = [[images.test.keys if images else None for images in side] for side in tested]
    if keys[0] != keys[1]:
        return None
    if len(ours) > 1:
        return mean_interval([_mean(one) - _mean(other) for one, other in zip(ours, theirs, strict=True)])
    return difference(folder, ours[0].once_a_seed, theirs[0].once_a_seed)[2]


def _mean(arm: Arm) -> float:
    return sum(run.accuracy for run in arm.once_a_seed) / len(arm.once_a_seed)
