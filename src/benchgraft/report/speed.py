"""Time: speed-up and its factors, phases, break-even, and accuracy as it rose with time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from ..part import Part
from ..runfolder.records import Phase, RunRecord
from ..runfolder.runs import SCRATCH, VARIANTS, Arm, RunFolder, Variant
from ..statistics.estimates import BreakEven, Estimate, break_even, ratio_of_means
from ..statistics.significance import Significance, permutation_test

RETRAININGS = 10
"""So many are added up beside the same number of models from scratch; the paper made as many."""
_PHASES: tuple[Phase, ...] = get_args(Phase)


class Phases(Part):
    """Where the time of an arm's runs went: mean seconds by phase."""

    arm: str
    variant: Variant
    runs: int
    seconds: dict[str, float]


class TimeRatio(Part):
    """Mean time of some runs over that of others, and what it is made of.

    ratio.value = epochs x images_per_epoch x cost_per_image; each factor is slow runs over fast ones.
    None where some runs have no epochs, since their head is solved.
    """

    ratio: Estimate
    epochs: float | None
    images_per_epoch: float | None
    cost_per_image: float | None
    other_machine: bool
    """The two were timed on different machines, or with other threads: not a ratio of methods."""


class Speedup(TimeRatio):
    """Scratch over a transfer arm."""

    arm: str
    variant: Variant
    permutation: Significance | None
    """Of the difference in mean times; None with one run an arm."""
    scratch_seconds: float
    transfer_seconds: float
    scratch_runs: int
    transfer_runs: int


class Payback(Part):
    """Retrainings until the preparation has paid."""

    arm: str
    variant: Variant
    preparation_seconds: float
    preparation_given: bool
    """Some of it came with the program instead of being measured in this folder."""
    other_machine: bool
    """Some of it was timed on another machine, or with other threads, than the retrainings: not measured."""
    break_even: BreakEven
    at_ten: float
    """Cost of ten retrainings, preparation included, over that of ten models from scratch."""


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
    """Accuracy against wall time of all uninterrupted runs; a head that is solved has no epochs."""

    target: float | None
    """Median over scratch runs of the validation accuracy of the epoch that was kept."""
    curves: list[Curve]
    reached: list[Reached]


def speedups(folder: RunFolder) -> list[Speedup]:
    """Of each transfer arm, cold and warm, where both arms have an uninterrupted run."""
    scratch = _whole(folder)
    return [
        _speedup(scratch, arm, variant)
        for arm in folder.rivals
        for variant in VARIANTS
        if scratch and arm.timed(variant)
    ]


def is_told_apart(speedup: Speedup | None) -> bool:
    """Whether the arms' times differ by the speed-up's interval too.

    With few runs the break-even's interval, made on seconds and not on their logarithms, may be finite while
    that of the speed-up includes 1; whether transfer pays is then not claimed.
    """
    return speedup is None or not speedup.ratio.has_interval or speedup.ratio.differs_from(1.0)


def phases(folder: RunFolder) -> list[Phases]:
    """Mean seconds by phase of every arm and variant that has an uninterrupted run."""
    return [
        Phases(
            arm=arm.name,
            variant=variant,
            runs=len(runs),
            seconds={
                phase: float(np.mean([run.seconds.get(phase, 0.0) for run in runs])) for phase in _PHASES
            },
        )
        for arm in folder.arms.values()
        for variant in VARIANTS
        if (runs := arm.timed(variant))
    ]


def paybacks(folder: RunFolder) -> list[Payback]:
    """Break-even of each transfer arm and variant; none where not all of the preparation left a record."""
    scratch = _whole(folder)
    return [
        _payback(scratch, arm, variant, chain)
        for arm in folder.rivals
        for variant in VARIANTS
        if (chain := folder.chain(arm)) and not folder.origin(arm) and scratch and arm.timed(variant)
    ]


def same_machine(runs: Sequence[RunRecord]) -> bool:
    """Whether all were timed on the same machine with the same threads and device."""
    return len({_machine(run) for run in runs}) <= 1


def same_machines(some: Sequence[RunRecord], others: Sequence[RunRecord]) -> bool:
    """Whether all were timed on one machine; or each seed of both on one, as a cluster has it: a machine that
    is slower then is so for both."""
    of_seed = [{run.seed: _machine(run) for run in runs} for runs in (some, others)]
    in_pairs = of_seed[0] == of_seed[1] and all(
        of_seed[0][run.seed] == _machine(run) for run in (*some, *others)
    )
    return in_pairs or same_machine([*some, *others])


def _machine(run: RunRecord) -> tuple[str | None, str, int, int, str]:
    there = run.environment
    return there.machine, there.cpu, there.threads, there.workers, there.device


def time_ratio(slow: Sequence[RunRecord], fast: Sequence[RunRecord]) -> TimeRatio:
    """Of the mean times of two groups of runs."""
    factors: list[float | None] = [None] * 3
    if not any(run.penalty is not None for run in (*slow, *fast)):
        factors = [first / second for first, second in zip(_parts(slow), _parts(fast), strict=True)]
    return TimeRatio(
        ratio=ratio_of_means(seconds_of(slow), seconds_of(fast)),
        epochs=factors[0],
        images_per_epoch=factors[1],
        cost_per_image=factors[2],
        other_machine=not same_machines(slow, fast),
    )


def seconds_of(runs: Sequence[RunRecord]) -> list[float]:
    """Wall time of each."""
    return [run.total_seconds for run in runs]


def mean_seconds(runs: Sequence[RunRecord]) -> float:
    """Of a run."""
    return float(np.mean(seconds_of(runs)))


def learning(folder: RunFolder) -> Learning:
    """Of both arms; without a scratch run there is no target."""
    curves = [
        _curve(arm, variant, run)
        for arm in folder.arms.values()
        for variant in VARIANTS
        for run in arm.timed(variant)
        if run.validation_accuracy and run.penalty is None
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


def _whole(folder: RunFolder) -> list[RunRecord]:
    """Scratch runs whose time counts."""
    return [run for run in folder.scratch.once_a_seed if run.segments == 1] if folder.scratch else []


def _speedup(scratch: list[RunRecord], arm: Arm, variant: Variant) -> Speedup:
    transfer = arm.timed(variant)
    return Speedup.of(
        time_ratio(scratch, transfer),
        arm=arm.name,
        variant=variant,
        permutation=permutation_test(seconds_of(scratch), seconds_of(transfer)),
        scratch_seconds=mean_seconds(scratch),
        transfer_seconds=mean_seconds(transfer),
        scratch_runs=len(scratch),
        transfer_runs=len(transfer),
    )


def _payback(scratch: list[RunRecord], arm: Arm, variant: Variant, chain: list[RunRecord]) -> Payback:
    runs = arm.timed(variant)
    preparation = sum(run.total_seconds for run in chain)
    retrained = preparation + RETRAININGS * mean_seconds(runs)
    return Payback(
        arm=arm.name,
        variant=variant,
        preparation_seconds=preparation,
        preparation_given=any(run.given is not None for run in chain),
        other_machine=not same_machine([*chain, *scratch, *runs]),
        break_even=break_even(preparation, seconds_of(scratch), seconds_of(runs)),
        at_ten=retrained / (RETRAININGS * mean_seconds(scratch)),
    )


def _parts(runs: Sequence[RunRecord]) -> tuple[float, float, float]:
    """Epochs a run, images an epoch, seconds an image; their product is the mean time of a run."""
    epochs = sum(run.epochs for run in runs)
    images = sum(run.images_seen for run in runs)
    seconds = sum(seconds_of(runs))
    # a run without any epoch has no images to divide by: all its time is then in the last factor
    return max(epochs, 1) / len(runs), max(images, 1) / max(epochs, 1), seconds / max(images, 1)


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
