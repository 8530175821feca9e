"""Question `scratch`: seconds of training from scratch to an accuracy, on the photos of stage 3.

All contenders start from the same random weights and train with one recipe: of SGD at 0.003 and 0.01 with
batch 32, 0.01 and 0.03 with batch 64, tried by benchgraft with seeds 0 to 2, the one with which all three
reached the target on validation (after 7 to 10 epochs). The rounds have other seeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import retrain
from cells import number, ratio, table
from rounds import Bench, Contender, run_rounds

RECIPE = {"optimizer": "sgd", "rate": 0.01, "batch": 64}
EPOCHS, TARGET = 16, 0.95
FIRST_SEED = 3
START = {"from_scratch": True, "cached": False, "frozen": []}
CONTENDERS = [
    Contender("benchgraft", "ours", START, is_ours=True),
    Contender("PyTorch, channels last", "torch_", START),
    Contender("Keras/TensorFlow", "keras_", START),
    Contender("Keras/JAX", "keras_", START, backend="jax"),
]


def measure(bench: Bench, _data: Path, quick: bool) -> dict[str, Any]:
    """Rounds of all contenders, each with another seed."""
    epochs = 2 if quick else EPOCHS

    def job(_contender: Contender, number: int) -> dict[str, Any]:
        return RECIPE | {"seed": FIRST_SEED + number, "epochs": epochs}

    measured = run_rounds(bench, CONTENDERS, "retrain", job)
    return measured | {"question": "scratch", "epochs": epochs, "recipe": RECIPE}


def table_of_times(measured: dict[str, Any]) -> str:
    """Markdown, with what it says."""
    epochs = measured["epochs"]
    header = [
        "contender", f"s to {TARGET:.0%}", "against benchgraft", "epochs to it", "reached in",
        f"s for {epochs} epochs", "against benchgraft", "warm-up s in it", "validation", "test",
    ]  # fmt: skip
    lines = retrain.rows(measured, TARGET)
    ours = next((line for line in lines if line["contender"] == retrain.OURS), {})
    body = []
    for line in lines:
        mine = {} if line is ours else ours
        body.append(
            [
                line["contender"],
                number(line["to_target"]),
                ratio(line["to_target"], mine.get("to_target")),
                number(line["epochs_to_target"], 0),
                f"{line['reached']} of {line['rounds']} rounds",
                number(line["all_epochs"]),
                ratio(line["all_epochs"], mine.get("all_epochs")),
                number(line["warm_up"]),
                f"{line['validation_accuracy']:.1%}",
                f"{line['test_accuracy']:.1%}",
            ]
        )
    notes = (
        "From the same random weights with one recipe (SGD with Nesterov momentum, rate 0.01, batch 64, "
        "chosen with benchgraft on other seeds), pixels in memory. A round that did not reach the target in "
        "all its epochs counts as endless in the median. benchgraft trains full batches only, 18 an epoch; "
        "the others 19, the last one smaller. The order of the photos is each program's own, which is why "
        "epochs to the target differ. `validation` is the best epoch's, `test` the last one's: photos of "
        "other frames, on which training from scratch stays below the target. Imports are not in the times."
    )
    return table(header, body) + "\n\n" + notes


def bars(measured: dict[str, Any]) -> tuple[list[str], list[float], str]:
    """Labels, seconds, and what they are."""
    lines = [line for line in retrain.rows(measured, TARGET) if line["to_target"]]
    seconds = [line["to_target"] for line in lines]
    return [line["contender"] for line in lines], seconds, f"seconds to {TARGET:.0%} validation accuracy"
