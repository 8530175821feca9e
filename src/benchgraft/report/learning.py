"""How accuracy rose with wall time, and which runs reached what scratch ends at."""

from __future__ import annotations

import numpy as np

from ..runfolder.ledger import RunRecord
from .part import Part
from .runs import SCRATCH, VARIANTS, Arm, RunFolder, Variant


class Curve(Part):
    """One run: validation accuracy at the end of each epoch, and the wall time until then.

    The ledger has the time of all epochs together; it is spread over them evenly.
    """

    arm: str
    variant: Variant
    seed: int
    seconds: list[float]
    accuracy: list[float]


class Reached(Part):
    """How many runs of an arm reached the target, and the median time of all its runs to it."""

    arm: str
    variant: Variant
    runs: int
    reached: int
    median_seconds: float | None
    """None where half of the runs or more never reached it."""


class Learning(Part):
    """Accuracy against wall time of all uninterrupted runs."""

    target: float | None
    """Median over scratch runs of the validation accuracy of the epoch that was kept."""
    curves: list[Curve]
    reached: list[Reached]


def learning(folder: RunFolder) -> Learning:
    """Of both arms; without a scratch run there is no target."""
    curves = [
        _curve(arm, variant, run)
        for arm in folder.arms.values()
        for variant in VARIANTS
        for run in arm.timed(variant)
        if run.validation_accuracy
    ]
    kept = [
        run.validation_accuracy[run.kept_epoch - 1]
        for run in (folder.scratch.once_a_seed if folder.scratch else [])
        if 0 < run.kept_epoch <= len(run.validation_accuracy)
    ]
    if not kept:
        return Learning(target=None, curves=curves, reached=[])
    target = float(np.median(kept))
    groups = list(dict.fromkeys((curve.arm, curve.variant) for curve in curves))
    groups.sort(key=lambda group: group[0] != SCRATCH)
    return Learning(
        target=target,
        curves=curves,
        reached=[
            _reached(arm, variant, [c for c in curves if (c.arm, c.variant) == (arm, variant)], target)
            for arm, variant in groups
        ],
    )


def _curve(arm: Arm, variant: Variant, run: RunRecord) -> Curve:
    in_vain = sum(attempt.seconds for attempt in run.diverged)
    before = run.seconds.get("decode", 0.0) + run.seconds.get("features", 0.0) + in_vain
    looped = run.seconds.get("train", 0.0) + run.seconds.get("validate", 0.0) - in_vain
    count = len(run.validation_accuracy)
    return Curve(
        arm=arm.name,
        variant=variant,
        seed=run.seed,
        seconds=[before + looped * number / count for number in range(1, count + 1)],
        accuracy=run.validation_accuracy,
    )


def _reached(arm: str, variant: Variant, curves: list[Curve], target: float) -> Reached:
    times = [
        next((s for s, a in zip(curve.seconds, curve.accuracy, strict=True) if a >= target), np.inf)
        for curve in curves
    ]
    median = float(np.median(times)) if times else np.inf
    return Reached(
        arm=arm,
        variant=variant,
        runs=len(curves),
        reached=sum(bool(np.isfinite(value)) for value in times),
        median_seconds=median if np.isfinite(median) else None,
    )
