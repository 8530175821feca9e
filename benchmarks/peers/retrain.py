"""Question 1: seconds of a retraining from the same pretrained weights, to equal accuracy and for 60 epochs.

Two readings of what the paper trains: `text`, the last two layers; `code`, the output layer alone. In both
the BatchNorms are frozen with their statistics. Batch 32, constant rate, the same new output layer, the same
pixels in memory. All train the same network on the same images, so one search on validation serves them all:
recipes.json holds its recipe for each reading. A recipe for each would compare optimizers, not programs.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rounds import HERE, Bench, Contender, run_one, run_rounds

READINGS = {
    "text": (["conv2d_*", "batch_normalization_*", "dense_1"], "dense_1"),
    "code": (["conv2d_*", "batch_normalization_*", "dense_1", "dense_2"], "dense_2"),
}
"""Reading -> what is frozen, and the last frozen layer."""
FROZEN = ("conv2d_1", "batch_normalization_1", "conv2d_2", "batch_normalization_2", "conv2d_3", "conv2d_4")
DENSE = {"text": ("dense_1",), "code": ("dense_1", "dense_2")}
PEERS = {
    "Keras/TensorFlow": ("keras_", False),
    "Keras/TensorFlow, features cached by hand": ("keras_", True),
    "PyTorch": ("torch_", False),
    "PyTorch, features cached by hand": ("torch_", True),
    "skorch": ("skorch_", False),
    "Lightning": ("lightning_", False),
}
OURS = "benchgraft"
SHIPPED = "benchgraft, stage 3 as shipped"
GRID = {"sgd": (3e-3, 1e-2, 3e-2, 1e-1), "adam": (3e-4, 1e-3, 3e-3, 1e-2)}
SEARCHER = "PyTorch, features cached by hand"
"""Carries out the search for all contenders: the quickest that is not ours."""
BATCH, EPOCHS, TARGET = 32, 60, 0.965
SEARCH_EPOCHS, SEARCH_SEEDS = 30, 5
FIRST_SEARCH_SEED = 100
"""So that the rounds measure with other seeds than the search had."""
SHORT = 12
"""Epochs of an uncached contender in all rounds but the first; its 60 are reckoned from their median."""
RECIPES = HERE / "recipes.json"


def contenders(readings: tuple[str, ...] = ("text", "code")) -> list[Contender]:
    """All of them, in every reading."""
    found = []
    for reading in readings:
        patterns, cut = READINGS[reading]
        facts = {"reading": reading, "batch": BATCH, "cut": cut}
        found.append(
            Contender(
                f"{OURS} | {reading}", "ours", facts | {"frozen": patterns, "cached": True}, is_ours=True
            )
        )
        frozen = [*FROZEN, *DENSE[reading]]
        found += [
            Contender(f"{name} | {reading}", module, facts | {"frozen": frozen, "cached": cached})
            for name, (module, cached) in PEERS.items()
        ]
    found.append(Contender(f"{SHIPPED} | own", "ours", {"as_shipped": True, "cached": True}, is_ours=True))
    return found


def _place(bench: Bench, data: Path) -> dict[str, Any]:
    return {"data": str(data), "stores": str(bench.work / "stores")}


def measure(bench: Bench, data: Path, quick: bool) -> dict[str, Any]:
    """Rounds of all contenders with their reading's recipe. Raises RuntimeError where there is none."""
    recipes = chosen_recipes()
    full, short = (6, 3) if quick else (EPOCHS, SHORT)

    def job(contender: Contender, number: int) -> dict[str, Any]:
        epochs = full if contender.job["cached"] or number == 0 else short
        recipe = recipes.get(contender.job.get("reading"), {})
        return _place(bench, data) | recipe | {"seed": number, "epochs": epochs}

    return run_rounds(bench, contenders(), "retrain", job) | {"epochs": full, "recipes": recipes}


def chosen_recipes() -> dict[str, Any]:
    """Reading -> optimizer and rate. Raises RuntimeError where there is none."""
    recipes: dict[str, Any] = _recipes()["chosen"]
    if lacking := set(READINGS) - set(recipes):
        raise RuntimeError(f"no recipe yet for {', '.join(sorted(lacking))}: run --search")
    return recipes


def search(bench: Bench, data: Path) -> None:
    """Try the grid in each reading that recipes.json lacks: fewest epochs to the target on validation.

    Of equals, the one with the higher validation accuracy where it stopped. Test images are not asked. The
    file is written after every reading, so that a search goes on where it was stopped.
    """
    recipes = _recipes()
    for contender in contenders():
        title, _, reading = contender.name.partition(" | ")
        if title != SEARCHER or reading in recipes["chosen"]:
            continue
        trials = _trials(bench, contender, data)
        best = min(trials, key=lambda trial: (trial["epochs_to_target"], -trial["validation_accuracy"]))
        recipes["chosen"][reading] = {key: best[key] for key in ("optimizer", "rate")}
        recipes["tried"][reading] = trials
        bench.say(f"search: {reading}: {best}")
        RECIPES.write_text(json.dumps(recipes, indent=1) + "\n")


def _recipes() -> dict[str, Any]:
    """What the search has found so far."""
    if RECIPES.exists():
        return json.loads(RECIPES.read_text())
    facts = {"searcher": SEARCHER, "target": TARGET, "epochs": SEARCH_EPOCHS, "seeds": SEARCH_SEEDS}
    return facts | {"chosen": {}, "tried": {}}


def _trials(bench: Bench, contender: Contender, data: Path) -> list[dict[str, Any]]:
    """Every point of the grid with every seed, in one process."""
    points = [
        {"optimizer": optimizer, "rate": rate, "seed": FIRST_SEARCH_SEED + seed}
        for optimizer, rates in GRID.items()
        for rate in rates
        for seed in range(SEARCH_SEEDS)
    ]
    job = _place(bench, data) | {
        "epochs": SEARCH_EPOCHS,
        "stop_at": TARGET,
        "searching": True,
        "trials": points,
    }
    result = run_one(bench, contender, "retrain", job)
    if "failed" in result:
        raise RuntimeError(f"{contender.name}: {result['failed']}")
    timelines = [next(iter(trial["variants"].values())) for trial in result["trials"]]
    return [
        _judged(points[start], timelines[start : start + SEARCH_SEEDS])
        for start in range(0, len(points), SEARCH_SEEDS)
    ]


def _judged(point: dict[str, Any], timelines: list[dict[str, Any]]) -> dict[str, Any]:
    at = [_epochs_to(timeline, TARGET) for timeline in timelines]
    accuracy = [
        t["validation_accuracy"][(n or SEARCH_EPOCHS) - 1] for n, t in zip(at, timelines, strict=True)
    ]
    return {
        "optimizer": point["optimizer"],
        "rate": point["rate"],
        "epochs_to_target": fmean(n or SEARCH_EPOCHS + 1 for n in at),
        "validation_accuracy": round(fmean(accuracy), 4),
    }


def _epochs_to(timeline: dict[str, Any], target: float) -> int | None:
    """Number of the first epoch after which validation accuracy is at least this."""
    reached = [n for n, value in enumerate(timeline["validation_accuracy"], start=1) if value >= target]
    return reached[0] if reached else None


def seconds_to(timeline: dict[str, Any], target: float) -> float | None:
    """From the start, or None if it was not reached."""
    epoch = _epochs_to(timeline, target)
    return timeline["ends"][epoch - 1] if epoch else None


def seconds_for(timeline: dict[str, Any], epochs: int) -> float:
    """From the start to the end of so many epochs; beyond what was run, by the median of its epochs."""
    ends = timeline["ends"]
    if len(ends) >= epochs or len(ends) < 2:
        return ends[min(len(ends), epochs) - 1]
    each = median(b - a for a, b in itertools.pairwise(ends))
    return ends[-1] + (epochs - len(ends)) * each


def warm_up(timeline: dict[str, Any]) -> float:
    """Preparation, and what the first epoch took beyond the others' median: compilation, first use."""
    ends, parts = timeline["ends"], timeline["parts"]
    before = sum(parts.values())
    if len(ends) < 2:
        return before
    first = ends[0] - before
    return (
        before
        - parts.get("features", 0.0)
        + max(0.0, first - median(b - a for a, b in itertools.pairwise(ends)))
    )


def common_target(measured: dict[str, Any]) -> float:
    """The highest validation accuracy that every contender reaches in its median round."""
    best = [
        median(max(timeline["validation_accuracy"]) for timeline in timelines)
        for timelines in timelines_of(measured).values()
    ]
    return min(best)


def timelines_of(measured: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(contender, variant) -> its timeline of each round."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, results in measured["results"].items():
        for result in results:
            for variant, timeline in result["variants"].items():
                found.setdefault((name, variant), []).append(timeline)
    return found


def rows(measured: dict[str, Any], target: float = TARGET) -> list[dict[str, Any]]:
    """One line of the table for each contender, reading and variant; medians over rounds."""
    common = common_target(measured)
    lines = []
    for (name, variant), timelines in timelines_of(measured).items():
        title, _, reading = name.partition(" | ")
        to_target = [seconds_to(t, target) for t in timelines]
        epochs_to = [_epochs_to(t, target) for t in timelines]
        to_common = [seconds_to(t, common) for t in timelines]
        ran = [len(t["ends"]) for t in timelines]
        lines.append(
            {
                "contender": title,
                "features": variant,
                "reading": reading,
                "to_target": _median_reached(to_target),
                "reached": sum(s is not None for s in to_target),
                "rounds": len(to_target),
                "epochs_to_target": _median_reached(epochs_to),
                "to_common": _median_reached(to_common),
                "common": common,
                "warm_up": median(warm_up(t) for t in timelines),
                "all_epochs": median(seconds_for(t, measured["epochs"]) for t in timelines)
                if reading != "own"
                else None,
                "validation_accuracy": median(max(t["validation_accuracy"]) for t in timelines),
                "test_accuracy": median(t["test_accuracy"] for t in timelines if len(t["ends"]) == max(ran)),
                "epochs_run": sorted(set(ran)),
            }
        )
    return lines


def _median_reached(seconds: Sequence[float | None]) -> float | None:
    """A round that did not reach counts as endless; None if the median round did not."""
    value = median(float("inf") if s is None else s for s in seconds)
    return None if value == float("inf") else value
