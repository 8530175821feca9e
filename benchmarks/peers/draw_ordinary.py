"""ordinary.md, from the JSON of question `ordinary`."""

from __future__ import annotations

from statistics import median
from typing import Any

import ordinary

KERAS = "Keras"


def rows(of_set: dict[str, Any]) -> list[dict[str, Any]]:
    """A line a contender, in their order: medians of its rounds."""
    found = of_set["results"]
    goal = median(run["validation_accuracy"][-1] for run in found[ordinary.BY_HAND])
    return [
        {
            "name": contender.name,
            "rounds": len(found[contender.name]),
            "seconds": median(run["ends"][-1] for run in found[contender.name]),
            "to_goal": _to(goal, found[contender.name][0]),
            "right": median(run["test_accuracy"] for run in found[contender.name]),
        }
        for contender in ordinary.contenders()
        if contender.name in found
    ]


def _to(goal: float, run: dict[str, Any]) -> float | None:
    """Seconds until validation was as good as by hand; None: never, or not to be said."""
    for end, accuracy in zip(run["ends"], run["validation_accuracy"], strict=True):
        if accuracy >= goal:
            return float(end)
    return None


def markdown(measured: dict[str, Any]) -> str:
    """Both sets."""
    machine = measured["machine"]
    parts = [
        "# Retraining on ordinary photos, beside other programs",
        f"`make bench DATA=DIR BENCH=ordinary`, {machine['cores']} cores of an {machine['cpu']}, "
        f"{measured['date'][:10]}. A new process each time, from its start to a trained model: imports, "
        "decoding, features, training. The same photos, split and ImageNet weights of EfficientNet-Lite0 for "
        f"all but Keras; {ordinary.EPOCHS} epochs where there are epochs (fastai: one with the backbone "
        "frozen, the rest with all layers). Medians of all rounds. *As by hand*: seconds "
        "until the accuracy on validation photos is that of features by hand + scikit-learn. *To new*, *to "
        "kept*: how many times as long as benchgraft with new photos, and with their features kept.",
    ]
    for name, of_set in measured["sets"].items():
        lines = rows(of_set)
        seconds = {line["name"]: line["seconds"] for line in lines}
        cold, warm = seconds[ordinary.COLD], seconds[ordinary.WARM]
        photos = of_set["photos"]
        parts.append(
            f"## {name}: {photos['train']:,} photos to train on, {photos['validation']:,} to validate, "
            f"{photos['test']:,} to test"
        )
        table = ["| program | rounds | seconds | to new | to kept | as by hand, s | right, % |"]
        table.append("|---|---:|---:|---:|---:|---:|---:|")
        table += [_cells(line, cold, warm) for line in lines]
        parts.append("\n".join(table))
        parts += [f"Left out: {who}: {why}" for who, why in of_set["failed"].items()]
    parts.append(LEFT_OUT)
    return "\n\n".join(parts) + "\n"


def _cells(line: dict[str, Any], cold: float, warm: float) -> str:
    seconds = line["seconds"]
    right = "" if line["name"].startswith(KERAS) else f"{100 * line['right']:.1f}"
    goal = "" if line["to_goal"] is None else f"{line['to_goal']:.0f}"
    cells = [
        line["name"],
        line["rounds"],
        f"{seconds:.1f}",
        f"{seconds / cold:.1f}x",
        f"{seconds / warm:.1f}x",
    ]
    return "| " + " | ".join(map(str, [*cells, goal, right])) + " |"


LEFT_OUT = "AutoGluon and Ludwig are left out: see docs/performance.md."
