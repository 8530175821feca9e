"""Question `files`: a retraining in a new process, from JPEG files, with nothing kept from before.

Everything counts: the clock starts before the process does. Contenders, readings and recipes are those of
`retrain`; whoever keeps features computes them here. The photos lie in the page cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import retrain
from rounds import Bench, Contender, run_rounds

PARTS = ("start", "decode", "features", "prepare")
"""As the contenders name them; what remains to the threshold is training."""
SHORT = 4
"""Epochs of an uncached contender; its 60 are reckoned from the median of all but the first."""


def measure(bench: Bench, _data: Path, quick: bool) -> dict[str, Any]:
    """Rounds of all contenders with their reading's recipe. Raises RuntimeError where there is none."""
    recipes = retrain.chosen_recipes()
    full, short = (6, 3) if quick else (retrain.EPOCHS, SHORT)

    def job(contender: Contender, number: int) -> dict[str, Any]:
        epochs = full if contender.job["cached"] else short
        recipe = recipes.get(contender.job.get("reading"), {})
        return recipe | {"seed": number, "epochs": epochs}

    return run_rounds(bench, retrain.contenders(), "files", job) | {"epochs": full, "recipes": recipes}


def rows(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of `retrain`, each with the seconds of its `parts`, of the round that is its median."""
    timelines = retrain.timelines_of(measured)
    lines = []
    for line, of_rounds in zip(retrain.rows(measured), timelines.values(), strict=True):
        middle = _middle(of_rounds)
        parts = {name: middle["parts"].get(name, 0.0) for name in PARTS}
        reached = retrain.seconds_to(middle, retrain.TARGET)
        training = None if reached is None else reached - sum(parts.values())
        reckoned = max(line["epochs_run"]) < measured["epochs"]
        lines.append(
            line | {"parts": parts | {"train": training}, "to_target": reached, "is_reckoned": reckoned}
        )
    return lines


def _middle(timelines: list[dict[str, Any]]) -> dict[str, Any]:
    """The median round by seconds to the target, the quicker of two; last are those that did not reach it."""

    def seconds(timeline: dict[str, Any]) -> float:
        reached = retrain.seconds_to(timeline, retrain.TARGET)
        return float("inf") if reached is None else reached

    return sorted(timelines, key=seconds)[(len(timelines) - 1) // 2]
