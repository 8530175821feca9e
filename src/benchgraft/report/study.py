"""A study: arms as points of lines, each with seconds, epochs, images and accuracy, and steps between arms.

A step is one thing changed from an arm to another: its factor in time, and what it does to accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

from ..part import Part
from ..runfolder.records import RunRecord
from ..runfolder.runs import VARIANTS, Arm, RunFolder, Variant
from ..statistics.estimates import Estimate, mean_interval, mean_time_interval, within_fractions
from ..statistics.pairs import over_both
from .accuracy import difference, is_of_same_images, over_sources
from .speed import TimeRatio, mean_seconds, time_ratio
from .words import OTHER_MACHINE, estimate, named, per_cent, points, seconds, times


class StudyRow(Part):
    """One point of a line; of a pooled study the whole line."""

    line: str
    x: float | None
    arms: list[str]
    runs: int
    train_images: int
    """Mean over arms."""
    epochs: float
    """Mean over runs."""
    seconds: dict[Variant, Estimate]
    """Of one run; cumulative: of all runs of a seed up to here."""
    accuracy: Estimate


class StudyDifference(Part):
    """In accuracy, between two lines of a study at one place."""

    first: str
    second: str
    x: float | None
    value: Estimate
    """First minus second, a fraction."""


class StudyStep(TimeRatio):
    """One change from an arm to the next of a study: what it does to the seconds of a run and to accuracy."""

    what: str
    before: str
    after: str
    before_variant: Variant
    after_variant: Variant
    before_seconds: float
    after_seconds: float
    accuracy: Estimate | None
    """After minus before, a fraction; None where the two were tested on different images."""

    @property
    def name(self) -> str:
        """What changed, and of which runs, where these are not the only ones."""
        return self.what if self.after_variant == "pixels" else named(self.what, self.after_variant)


class StudySummary(Part):
    """What a study's table and figure are made of."""

    question: str
    x: str | None
    cumulative: bool
    rows: list[StudyRow]
    differences: list[StudyDifference]
    """Of every two lines at the same place, tested on the same images."""
    steps: list[StudyStep]
    """As the study declares them, in its order, where both arms have an uninterrupted run."""


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
        steps=[
            _step(folder, step["what"], before, after, kinds)
            for step in declared.get("steps", [])
            for before, after in [(folder.arms[step["before"]], folder.arms[step["after"]])]
            for kinds in _variants(before, after)
        ],
    )


def study_answer(found: StudySummary) -> list[str]:
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
    return sentences + [_step_told(step) for step in found.steps]


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
    return within_fractions(over_runs if sources is None else over_both(over_runs, sources))


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


def _variants(before: Arm, after: Arm) -> Iterator[tuple[Variant, Variant]]:
    """Like against like; an arm that has not the other's variant stands with its first runs."""
    there = [kind for kind in VARIANTS if before.timed(kind)]
    for kind in VARIANTS:
        if there and after.timed(kind):
            yield (kind if kind in there else there[0]), kind


def _step(folder: RunFolder, what: str, before: Arm, after: Arm, kinds: tuple[Variant, Variant]) -> StudyStep:
    slow, fast = before.timed(kinds[0]), after.timed(kinds[1])
    judged = after.once_a_seed, before.once_a_seed
    return StudyStep.of(
        time_ratio(slow, fast),
        what=what,
        before=before.name,
        after=after.name,
        before_variant=kinds[0],
        after_variant=kinds[1],
        before_seconds=mean_seconds(slow),
        after_seconds=mean_seconds(fast),
        accuracy=difference(folder, *judged)[2] if is_of_same_images(folder, *judged) else None,
    )


def _step_told(step: StudyStep) -> str:
    machine = f" ({OTHER_MACHINE})" if step.other_machine else ""
    accuracy = f", accuracy {estimate(step.accuracy.bare, points)} points" if step.accuracy else ""
    return f"{step.name}: {estimate(step.ratio, times)} as fast{machine}{accuracy}."
