"""ordinary.md, from the JSON of question `ordinary`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import Any

import ordinary
from cells import number, table

HEADER = (
    "program", "rounds", "seconds", "to new", "to kept", "validation, best %", "as by hand, s",
    "test right, %",
)  # fmt: skip
LEFT_OUT = """Left out (2026-11-27):

- AutoGluon and Ludwig, which cannot be installed beside PyTorch 2.14.1 and Python 3.11. pip says of AutoGluon
  `autogluon-multimodal 1.6.3 depends on torch<2.14 and >=2.10` (older ones on older), of Ludwig `Ignored the
  following versions that require a different python version: 0.12.0 Requires-Python >=3.12` (and so up to
  0.17.9) and `No matching distribution found for ludwig`.
- scikit-learn's `LogisticRegressionCV` (10 penalties, 5 folds) on the same features: on clothing its fit
  alone takes 88 s of processor time, against 2 s with the default penalty, and is right on 88.2 % of test
  photos, against 88.4 %: once, outside the rounds."""


def rows(of_set: dict[str, Any]) -> list[dict[str, Any]]:
    """A line a contender and number of epochs, in the order of contenders: medians of its rounds.

    `to_goal` is None unless every round got there, or where nobody says what is to be reached.
    """
    found = {name: runs for who, runs in of_set["results"].items() for name, runs in _lines(who, runs)}
    by_hand = [run["validation_accuracy"][-1] for run in found.get(ordinary.BY_HAND, [])]
    goal = median(by_hand) if by_hand else math.inf
    return [
        {
            "name": name,
            "rounds": len(runs),
            "seconds": median(run["ends"][-1] for run in runs),
            "best": median(max(run["validation_accuracy"]) for run in runs),
            "to_goal": _to(goal, runs),
            "right": median(run["test_accuracy"] for run in runs),
        }
        for name, runs in found.items()
    ]


def _lines(who: str, runs: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Runs that were tested earlier as well make two lines."""
    if "early" in runs[0]:
        early = [
            run
            | {key: run[key][: run["early"]] for key in ("ends", "validation_accuracy")}
            | {"test_accuracy": run["early_test_accuracy"]}
            for run in runs
        ]
        yield f"{who}, {_epochs(early)}", early
        who = f"{who}, {_epochs(runs)}"
    yield who, runs


def _epochs(runs: list[dict[str, Any]]) -> str:
    count = len(runs[0]["ends"])
    return f"{count} epoch" + "s" * (count > 1)


def _to(goal: float, runs: list[dict[str, Any]]) -> float | None:
    """Seconds until validation was as good as the goal."""
    reached = []
    for run in runs:
        judged = zip(run["ends"], run["validation_accuracy"], strict=True)
        reached.append(next((end for end, right in judged if right >= goal), None))
    return None if None in reached else median(reached)


def markdown(measured: dict[str, Any]) -> str:
    """All sets, with what holds for them."""
    parts = ["# Retraining on ordinary photos, beside other programs", *_about(measured)]
    for name, of_set in measured["sets"].items():
        parts += _of_set(name, of_set)
    return "\n\n".join([*parts, LEFT_OUT]) + "\n"


def _about(measured: dict[str, Any]) -> list[str]:
    machine, epochs = measured["machine"], measured["epochs"]
    one = next(iter(measured["sets"])) if len(measured["sets"]) == 1 else None
    asked = f'"ordinary --only {one}"' if one else "ordinary"
    versions: dict[str, str] = {}
    for of_set in measured["sets"].values():
        for runs in of_set["results"].values():
            versions |= runs[0]["versions"]
    return [
        f"`make bench DATA=DIR BENCH={asked}`, {machine['cores']} cores of an {machine['cpu']}, "
        f"{measured['date'][:10]}. A new process each time, from its start to a trained model: imports, "
        "decoding, features, training. The same photos, split and ImageNet weights of EfficientNet-Lite0 for "
        f"all but Keras, whose accuracy therefore does not count; {epochs} epochs where no number is named "
        "(fastai: one with the backbone frozen, one with all layers). Medians of interleaved rounds; "
        "who takes more than a minute ran once.",
        "*benchgraft*: photos that it has never seen, the parent's graph there from other photos. *To new*, "
        "*to kept*: how many times as long as that, and as with features kept. *As by hand*: seconds until "
        f"validation photos are as often right as by {ordinary.BY_HAND}, judged after each epoch. "
        "benchgraft's seconds hold its test; the others' do not. Its last fit takes in the validation "
        "photos, a ninth more than the others train on; under *validation* is what a fit without them has.",
        "Versions: " + ", ".join(f"{name} {text}" for name, text in sorted(versions.items())) + ".",
    ]


def _of_set(name: str, of_set: dict[str, Any]) -> Iterator[str]:
    lines = rows(of_set)
    seconds = {line["name"]: line["seconds"] for line in lines}
    cold, warm = (seconds.get(name) for name in (ordinary.COLD, ordinary.WARM))
    photos, gemm = of_set["photos"], of_set["gemm_gflops"]
    yield (
        f"## {name}: {photos['train']:,} photos to train on, {photos['validation']:,} to validate, "
        f"{photos['test']:,} to test"
    )
    yield table(HEADER, [_cells(line, cold, warm) for line in lines])
    spread = f"{min(gemm):,.0f} to {max(gemm):,.0f}"
    yield f"Matrix product in the same run: {median(gemm):,.0f} GFLOP/s ({spread})."
    for who, why in of_set["failed"].items():
        yield f"Did not run: {who}: {(why.splitlines() or ['it was ended'])[-1]}"


def _cells(line: dict[str, Any], cold: float | None, warm: float | None) -> list[str]:
    seconds = line["seconds"]
    cells = [line["name"], str(line["rounds"]), number(seconds, 1)]
    cells += [_times(seconds / ours) if ours else "" for ours in (cold, warm)]
    if line["name"] == ordinary.KERAS:
        return [*cells, "", "", ""]
    return [*cells, number(100 * line["best"], 1), number(line["to_goal"], 1), number(100 * line["right"], 1)]


def _times(factor: float) -> str:
    """Near 1 with two decimals, so that who wins is seen."""
    return f"{factor:.2f}x" if 0.9 <= factor < 1.1 else f"{factor:.1f}x"
