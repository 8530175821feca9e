"""Runs that diverged: those that were tried again, and those that gave no model, which no mean holds."""

from __future__ import annotations

from collections.abc import Sequence

from ..runfolder.ledger import RunRecord
from .runs import Arm, RunFolder

_RATES = {1: "half the learning rate", 2: "half the learning rate, then a quarter"}


def answered(folder: RunFolder) -> list[str]:
    """A sentence for each arm of which some run gave no model: what is said of the arm leaves it out."""
    return [_without_model(arm) for arm in folder.arms.values() if arm.diverged]


def noted(folder: RunFolder) -> list[str]:
    """A sentence for each arm, or preparation stage, of which some run was tried again."""
    arms = [
        f"{len(again)} of {_count(arm)} runs of {arm.name} diverged at first; {_tried(again)}; all their "
        "time counts."
        for arm in folder.arms.values()
        if (again := [run for run in arm.once_a_seed if run.diverged])
    ]
    return arms + [
        f"{run.stage}, seed {run.seed}: {line}." for run in folder.preparation for line in of_one(run)
    ]


def of_one(run: RunRecord) -> list[str]:
    """The same of a single run; nothing of one that went well at once."""
    return [f"training diverged at first; {_tried([run])}; all its time counts"] if run.diverged else []


def missed(folder: RunFolder) -> list[str]:
    """The seeds of the runs that gave no model."""
    return [
        f"{arm.name}: no model of seed{'s' if len(arm.diverged) > 1 else ''} "
        + ", ".join(str(run.seed) for run in arm.diverged)
        for arm in folder.arms.values()
        if arm.diverged
    ]


def _count(arm: Arm) -> int:
    return len(arm.once_a_seed) + len(arm.diverged)


def _without_model(arm: Arm) -> str:
    tried = [run for run in arm.diverged if run.diverged]
    why = (
        f"training diverged {len(tried[0].diverged)} times, with a lower learning rate each time"
        if tried
        else "the runs that they build on gave none"
    )
    left = len(arm.once_a_seed)
    if not left:
        return f"No run of {arm.name} gave a model, of {_count(arm)}: {why}."
    return (
        f"{len(arm.diverged)} of {_count(arm)} runs of {arm.name} gave no model: {why}. What is said of "
        f"{arm.name} is said of the other{'s' if left > 1 else ''}."
    )


def _tried(runs: Sequence[RunRecord]) -> str:
    most = max(len(run.diverged) for run in runs)
    return f"tried again with {_RATES.get(most, 'ever lower learning rates')}"
