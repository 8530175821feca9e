"""The steps of a study, each one thing changed between two arms: its factor in time, and in accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..runfolder.ledger import RunRecord
from . import units
from .accuracy import difference, is_of_same_images
from .blocks import Block, Grid, Lines
from .runs import VARIANT_TEXT, VARIANTS, Arm, RunFolder, Variant
from .speed import OTHER_MACHINE, factors, same_machine
from .statistics import ratio_of_means
from .summary import StudyStep


def steps(folder: RunFolder, declared: Sequence[Mapping[str, Any]]) -> list[StudyStep]:
    """One entry for each step and each variant of the arm that it leads to."""
    return [
        _step(folder, step["what"], before, after, kinds)
        for step in declared
        for before, after in [(folder.arms[step["before"]], folder.arms[step["after"]])]
        for kinds in _variants(before, after)
    ]


def told(found: Sequence[StudyStep]) -> list[str]:
    """Each step in a sentence."""
    return [
        f"{_named(step)}: {units.estimate(step.ratio, units.times)} as fast"
        + (f" ({OTHER_MACHINE})" if step.other_machine else "")
        + (f", accuracy {units.estimate(step.accuracy.bare, units.points)} points" if step.accuracy else "")
        + "."
        for step in found
    ]


def blocks(found: Sequence[StudyStep]) -> list[Block]:
    """The table of the steps; nothing where a study has none."""
    if not found:
        return []
    rows = [
        [
            _named(step),
            f"{units.seconds(step.before_seconds)} / {units.seconds(step.after_seconds)}",
            units.estimate(step.ratio.bare, units.times) + (" #" if step.other_machine else ""),
            units.times(step.epochs),
            units.times(step.images_per_epoch),
            units.times(step.cost_per_image),
            units.estimate(step.accuracy.bare, units.points) if step.accuracy else "",
        ]
        for step in found
    ]
    header = [
        "step",
        "before / after",
        "factor",
        "epochs",
        "images\nan epoch",
        "cost\nan image",
        "accuracy,\npoints",
    ]
    lines = [
        "Each factor is before over after; factor = epochs x images an epoch x cost an image. "
        "Accuracy is after minus before."
    ]
    if any(step.other_machine for step in found):
        lines.append(f"# {OTHER_MACHINE}.")
    return [Grid(header, rows, frozenset(range(1, len(header)))), Lines(lines)]


def _named(step: StudyStep) -> str:
    kept = f", {VARIANT_TEXT[step.after_variant]}" if step.after_variant != "pixels" else ""
    return f"{step.what}{kept}"


def _variants(before: Arm, after: Arm) -> Iterator[tuple[Variant, Variant]]:
    """Like against like; an arm that has not the other's variant stands with its first runs."""
    there = [kind for kind in VARIANTS if before.timed(kind)]
    for kind in VARIANTS:
        if there and after.timed(kind):
            yield (kind if kind in there else there[0]), kind


def _step(folder: RunFolder, what: str, before: Arm, after: Arm, kinds: tuple[Variant, Variant]) -> StudyStep:
    slow, fast = before.timed(kinds[0]), after.timed(kinds[1])
    times = _seconds(slow), _seconds(fast)
    epochs, images, cost = factors(slow, fast)
    judged = after.once_a_seed, before.once_a_seed
    return StudyStep(
        what=what,
        before=before.name,
        after=after.name,
        before_variant=kinds[0],
        after_variant=kinds[1],
        before_seconds=float(np.mean(times[0])),
        after_seconds=float(np.mean(times[1])),
        ratio=ratio_of_means(*times),
        epochs=epochs,
        images_per_epoch=images,
        cost_per_image=cost,
        accuracy=difference(folder, *judged)[2] if is_of_same_images(folder, *judged) else None,
        other_machine=not same_machine([*slow, *fast]),
    )


def _seconds(runs: Sequence[RunRecord]) -> list[float]:
    return [run.total_seconds for run in runs]
