"""Time: speed-up and its factors, phases, break-even."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np

from ..runfolder.ledger import Phase, RunRecord
from .runs import VARIANTS, Arm, RunFolder, Variant
from .significance import permutation_test
from .statistics import break_even, ratio_of_means
from .summary import Payback, Phases, Speedup

PAPER_RETRAININGS = 10
_PHASES: tuple[Phase, ...] = get_args(Phase)


def speedups(folder: RunFolder) -> list[Speedup]:
    """Of each transfer arm, cold and warm, where both arms have an uninterrupted run."""
    if folder.scratch is None:
        return []
    scratch = _whole(folder.scratch)
    return [
        _speedup(scratch, arm, variant)
        for arm in folder.rivals
        for variant in VARIANTS
        if scratch and arm.timed(variant)
    ]


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
    if folder.scratch is None:
        return []
    scratch = _whole(folder.scratch)
    found = []
    for arm in folder.rivals:
        chain = folder.chain(arm)
        for variant in VARIANTS:
            runs = arm.timed(variant)
            if chain and scratch and runs and folder.origin(arm) is None:
                preparation = sum(run.total_seconds for run in chain)
                times = _seconds(scratch), _seconds(runs)
                retrainings = preparation + PAPER_RETRAININGS * float(np.mean(times[1]))
                found.append(
                    Payback(
                        arm=arm.name,
                        variant=variant,
                        preparation_seconds=preparation,
                        preparation_given=any(run.given is not None for run in chain),
                        other_machine=not same_machine([*chain, *scratch, *runs]),
                        break_even=break_even(preparation, *times),
                        at_ten=retrainings / (PAPER_RETRAININGS * float(np.mean(times[0]))),
                    )
                )
    return found


OTHER_MACHINE = "times of two machines or numbers of threads: not a ratio of methods"


def same_machine(runs: Sequence[RunRecord]) -> bool:
    """Whether all were timed on the same processor with the same threads and device."""
    return len({(run.environment.cpu, run.environment.threads, run.environment.device) for run in runs}) <= 1


def factors(slow: Sequence[RunRecord], fast: Sequence[RunRecord]) -> tuple[float, float, float]:
    """What the ratio of their mean times is the product of: epochs, images an epoch, cost an image."""
    epochs, images, cost = (first / second for first, second in zip(_parts(slow), _parts(fast), strict=True))
    return epochs, images, cost


def _whole(scratch: Arm) -> list[RunRecord]:
    return [run for run in scratch.once_a_seed if run.segments == 1]


def _seconds(runs: Sequence[RunRecord]) -> list[float]:
    return [run.total_seconds for run in runs]


def _speedup(scratch: list[RunRecord], arm: Arm, variant: Variant) -> Speedup:
    transfer = arm.timed(variant)
    epochs, images, cost = factors(scratch, transfer)
    return Speedup(
        arm=arm.name,
        variant=variant,
        ratio=ratio_of_means(_seconds(scratch), _seconds(transfer)),
        permutation=permutation_test(_seconds(scratch), _seconds(transfer)),
        epochs=epochs,
        images_per_epoch=images,
        cost_per_image=cost,
        scratch_seconds=float(np.mean(_seconds(scratch))),
        transfer_seconds=float(np.mean(_seconds(transfer))),
        scratch_runs=len(scratch),
        transfer_runs=len(transfer),
        other_machine=not same_machine([*scratch, *transfer]),
    )


def _parts(runs: Sequence[RunRecord]) -> tuple[float, float, float]:
    """Epochs a run, images an epoch, seconds an image; their product is the mean time of a run."""
    epochs = sum(run.epochs for run in runs)
    images = sum(run.images_seen for run in runs)
    seconds = sum(_seconds(runs))
    # a run without any epoch has no images to divide by: all its time is then in the last factor
    return max(epochs, 1) / len(runs), max(images, 1) / max(epochs, 1), seconds / max(images, 1)
