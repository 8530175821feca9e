"""The table and the bars of the question `files`."""

from __future__ import annotations

from typing import Any

import files
import retrain
from cells import number, ratio, table


def table_of_parts(measured: dict[str, Any]) -> str:
    """Markdown, with what the parts hold."""
    epochs = measured["epochs"]
    header = [
        "trains", "contender", "features", "start, s", "decode, s", "features, s", "build, s",
        f"train to {retrain.TARGET:.1%}, s", "sum, s", "against benchgraft", f"s for {epochs} epochs",
        "against benchgraft", "validation", "test",
    ]  # fmt: skip
    lines = files.rows(measured)
    ours = {line["reading"]: line for line in lines if line["contender"].startswith(retrain.OURS)}
    body = []
    for line in lines:
        mine = ours.get(line["reading"], {})
        if line["contender"].startswith(retrain.OURS):
            mine = {}
        everything = line["all_epochs"]
        body.append(
            [
                line["reading"],
                line["contender"],
                line["features"],
                *(number(seconds) if seconds != 0 else "" for seconds in line["parts"].values()),
                number(line["to_target"]),
                ratio(line["to_target"], mine.get("to_target")),
                ("~" * line["is_reckoned"] + number(everything)) if everything else "",
                ratio(everything, mine.get("all_epochs")),
                f"{line['validation_accuracy']:.1%}",
                f"{line['test_accuracy']:.1%}",
            ]
        )
    return table(header, body) + "\n\n" + "\n\n".join(_notes())


def _notes() -> list[str]:
    return [
        "The clock starts before the process does and counts all that follows. `start` is the interpreter "
        "and the imports of the contender's module; what a framework imports later stands where it happens: "
        "PyTorch its compiler when the optimizer is made, in `build` (skorch does that in training), "
        "Lightning in `start`. `decode` brings 1,200 training and "
        "270 validation photos from the page cache to pixels in memory, for benchgraft to a checked, hashed "
        "and fingerprinted store on disk with its split. `features` computes them, "
        "their network's building included; `build` is the network, its weights and the optimizer. The parts "
        "are those of the median round.",
        "Peers read once and keep the pixels: tf.data with a parallel map for Keras, Pillow for the others. "
        "That is kinder to them than their usual folder data sets, which decode every photo in every epoch. "
        "Cached contenders ran all epochs; `~` is reckoned from the median of an uncached contender's later "
        "epochs. `text`, `code` and `own` as in `retrain`. Test photos were decoded after the clock.",
    ]


def bars(measured: dict[str, Any]) -> tuple[list[str], list[float], str]:
    """Labels, seconds, and what they are."""
    lines = [line for line in files.rows(measured) if line["reading"] == "text" and line["to_target"]]
    return (
        [f"{line['contender']}, {line['features']}" for line in lines],
        [line["to_target"] for line in lines],
        f"seconds from the start of the process to {retrain.TARGET:.1%} validation accuracy",
    )
